"""Plans that choose by share, by time and by reach, and one that mirrors."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from dispatch.config import build
from dispatch.errors import ConfigError
from dispatch.plans.schedule import Schedule

from tests.integration.hosted import Hosted, until
from tests.integration.peer import Peer, chat
from tests.integration.upstream import GOOD, Upstream, hang

pytestmark = pytest.mark.anyio


def config(plan: dict[str, Any], *extra: dict[str, Any], **model: Any) -> dict[str, Any]:
    echoes = [{"name": name, "provider": "echo", "offline_ok": name == "c"} for name in "abc"]
    named = {one["name"]: one for one in [*echoes, *extra]}
    return {"endpoints": [*named.values()], "models": {"m": {**plan, **model}}}


def outside(name: str, url: str) -> dict[str, Any]:
    return {"name": name, "provider": "openai_compatible", "model": "x", "base_url": url}


async def went(peer: Peer, *lines: str, **fields: Any) -> str:
    reply = await peer.ask(chat("m", "hi", *lines, **fields))
    assert reply.status == 200, reply
    return reply.headers["x-dispatch-endpoint"]


async def record(peer: Peer, name: str) -> dict[str, Any]:
    reply = await peer.ask(f"GET /admin/decision?id={name} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
    return dict(json.loads(reply.body))


SPLIT: dict[str, Any] = {"split": {"arms": {"stable": "a", "canary": "b"}, "shares": {"stable": 80, "canary": 20}}}


async def test_a_user_stays_in_an_arm_and_the_shares_hold() -> None:
    async with Hosted(config(SPLIT)) as hosted, Peer(hosted.port) as peer:
        arms = {f"user-{at}": await went(peer, user=f"user-{at}") for at in range(400)}
        again = {name: await went(peer, user=name) for name in [*arms][:50]}

    assert all(arms[name] == arm for name, arm in again.items())
    assert 50 <= sum(arm == "b" for arm in arms.values()) <= 110


async def test_a_rollback_is_one_number() -> None:
    back = {"split": {"arms": {"stable": "a", "canary": "b"}, "shares": {"stable": 1, "canary": 0}}}
    async with Hosted(config(SPLIT)) as hosted, Peer(hosted.port) as peer:
        hosted.reload(config(back))
        assert {await went(peer, user=f"user-{at}") for at in range(50)} == {"a"}


async def test_a_mirror_is_never_waited_for_and_compared_when_it_is_there() -> None:
    async with Upstream(GOOD) as fast, Upstream(hang) as slow:
        plan = config({"shadow": {"plan": "a", "mirror": "b"}}, outside("a", fast.base_url), outside("b", slow.base_url), deadline_s=2)
        async with Hosted(plan) as hosted, Peer(hosted.port) as peer:
            reply = await peer.ask(chat("m", "hi"))
            assert (reply.status, reply.headers["x-dispatch-endpoint"]) == (200, "a")
            await slow.until(lambda: slow.requests)
            name = reply.headers["x-dispatch-decision"]
            await until(lambda: not hosted.dispatcher.watch)
            step = (await record(peer, name))["steps"][0]
            assert step["details"]["plan"]["outcome"] == "ok"
            assert step["details"]["mirror"]["outcome"] == "deadline_exceeded"
            hosted.reports[0][0].attempts += 1  # the mirror's own try is on the board, and in no client's report


async def test_two_equal_answers_are_told_as_such() -> None:
    async with Hosted(config({"shadow": {"plan": "a", "mirror": "b"}})) as hosted, Peer(hosted.port) as peer:
        reply = await peer.ask(chat("m", "hi"))
        await until(lambda: not hosted.dispatcher.watch)
        found = await record(peer, reply.headers["x-dispatch-decision"])
        assert found["steps"][0]["details"]["same"] is True
        hosted.reports[0][0].attempts += 1  # as above


async def test_while_the_outside_cannot_be_reached_the_local_plan_answers_at_once() -> None:
    async with Upstream() as gone:
        url = gone.base_url
    plan = {"offline": {"plan": "a", "local": "c", "for_s": 600}}
    async with Hosted(config(plan, outside("a", url), retry={"attempts": 1})) as hosted, Peer(hosted.port) as peer:
        assert [await went(peer) for _ in range(3)] == ["c", "c", "c"]
        assert sum(hosted.attempts("a").values()) == 1, "the outside was tried once"


async def test_an_answer_that_says_no_is_no_reason_to_go_offline() -> None:
    async with Upstream(GOOD) as there:
        plan = {"offline": {"plan": "a", "local": "c"}}
        async with Hosted(config(plan, outside("a", there.base_url))) as hosted, Peer(hosted.port) as peer:
            assert await went(peer) == "a"


def test_a_schedule_follows_the_clock_of_its_zone() -> None:
    form = {
        "schedule": {
            "zone": "Europe/Berlin",
            "periods": [
                {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "08:00", "end": "18:00", "plan": "a"},
                {"start": "22:00", "end": "06:00", "plan": "b"},
            ],
            "default": "c",
        }
    }
    plan: Any = build(config(form)).models["m"].plan
    schedule = Schedule(plan, (), None)  # type: ignore[arg-type]  # it runs nothing

    def at(day: int, hour: int) -> int:
        return schedule.choose(datetime(2026, 6, day, hour, 30, tzinfo=UTC).timestamp())

    # 1 June 2026 is a Monday; Berlin is two hours ahead then.
    assert [at(1, 5), at(1, 6), at(1, 15), at(1, 16), at(1, 20), at(2, 3), at(2, 4)] == [2, 0, 0, 2, 1, 1, 2]
    assert at(6, 10) == 2


@pytest.mark.parametrize(
    ("plan", "path"),
    [
        ({"split": {"arms": {"a": "a", "b": "b"}, "shares": {"a": 0, "b": 0}}}, "models.m.split.shares"),
        ({"split": {"arms": {"a": "a"}, "shares": {"b": 1}}}, "models.m.split.shares.b"),
        ({"schedule": {"periods": [{"plan": "a", "start": "8:00"}], "default": "b"}}, "models.m.schedule.periods[0].start"),
        ({"schedule": {"periods": [{"plan": "a"}, {"plan": "b", "start": "08:00"}], "default": "b"}}, "models.m.schedule.periods[1]"),
        ({"schedule": {"periods": [], "default": "b", "zone": "Mars/Base"}}, "models.m.schedule.zone"),
        ({"offline": {"plan": "a", "local": "b"}}, "models.m.offline.local"),
        ({"shadow": {"plan": "a", "mirror": "m"}}, "models.m.shadow.mirror"),
    ],
)
def test_a_plan_that_cannot_work_stops_the_start_with_its_path(plan: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(config(plan))
    assert caught.value.path == path, str(caught.value)
