"""Users of a key under limits of their own, told apart by a header or by what the body says."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from dispatch.client import Client
from dispatch.config import build
from dispatch.errors import ConfigError, Overloaded
from dispatch.policy.users import user_named
from dispatch.routing import Refusal, Routing, Ticket

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import body_of, post
from tests.integration.upstream import GOOD, Upstream

pytestmark = pytest.mark.anyio

KEY = "sk-team-0123456789"
AUTH = f"authorization: Bearer {KEY}"
NOW = 10**15


def team(limits: dict[str, Any]) -> list[Any]:
    return [{"name": "team", "key": f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}", "limits": limits}]


async def test_each_user_of_a_key_has_its_own_limit_however_it_is_named() -> None:
    async with Upstream(*[GOOD] * 20) as upstream:
        keys = team({"per_user": {"requests_per_min": 4, "burst_s": 60}})
        async with Hosted(pool(upstream.base_url, keys=keys)) as hosted:
            peer = await hosted.peer()

            async def statuses(*fields: str, **body: Any) -> list[int]:
                return [(await peer.ask(post(body_of(**body), AUTH, *fields))).status for _ in range(3)]

            assert await statuses(user="ann") == [200, 200, 429]
            assert await statuses(metadata={"user_id": "ben"}) == [200, 200, 429]
            assert await statuses("x-dispatch-user: cid", user="ann") == [200, 200, 429]
            # Those that name nobody are one user, too.
            assert await statuses() == [200, 200, 429]
            refusal = await peer.ask(post(body_of(user="ann"), AUTH))

            assert refusal.error["code"] == "rate_limit_exceeded"
            assert 0 < int(refusal.headers["retry-after"]) <= 61
            assert hosted.snapshot().keys["team"].overflows == 0


async def test_users_beyond_the_table_share_one_limit_and_are_counted() -> None:
    async with Upstream(*[GOOD] * 20) as upstream:
        keys = team({"per_user": {"requests_per_min": 1, "burst_s": 60}})
        async with Hosted(pool(upstream.base_url, keys=keys, server={"users_max": 1})) as hosted:
            peer = await hosted.peer()
            statuses = [(await peer.ask(post(body_of(user=f"u{number}"), AUTH))).status for number in range(4)]

            assert statuses == [200, 200, 429, 429]
            assert hosted.snapshot().keys["team"].overflows == 1
            assert (await hosted.metrics())["dispatch_key_user_overflows_total", frozenset({("key", "team")})] == 1


async def test_a_key_without_such_limits_does_not_let_strangers_in() -> None:
    """Its requests leave the express lane, which must not take "no keys on the lane" for "no keys"."""
    async with Upstream(GOOD) as upstream, Hosted(pool(upstream.base_url, keys=team({"per_user": {"concurrency": 1}}))) as hosted:
        peer = await hosted.peer()
        assert (await peer.ask(post(body_of()))).status == 401
        assert (await peer.ask(post(body_of(), AUTH))).status == 200


async def test_the_library_asks_for_users_too() -> None:
    config = {
        "endpoints": [{"name": "e", "provider": "echo"}],
        "models": {"m": "e"},
        "keys": team({"per_user": {"requests_per_min": 1, "burst_s": 60}}),
    }
    async with Client(build(config), key="team") as client:
        message = [{"role": "user", "content": "hi"}]
        await client.chat("m", message, user="ann")
        await client.chat("m", message, user="ben")
        with pytest.raises(Overloaded, match="team"):
            await client.chat("m", message, user="ann")


def test_a_place_of_a_user_is_held_until_its_request_ends() -> None:
    endpoint = {"name": "a", "provider": "echo"}
    routing = Routing.alone(build({"endpoints": [endpoint], "models": {"m": "a"}, "keys": team({"per_user": {"concurrency": 1}})}))
    ann, ben = 7 << 16, 8 << 16
    first = routing.admit(0, ann, 1, 1, NOW)
    assert isinstance(first, Ticket)
    assert isinstance(routing.admit(0, ann, 1, 1, NOW), Refusal)
    assert isinstance(routing.admit(0, ben, 1, 1, NOW), Ticket)
    first.settle(0, NOW, 0, 1, 1, 0)

    assert isinstance(routing.admit(0, ann, 1, 1, NOW), Ticket)


def test_such_limits_need_a_board_with_room_for_users() -> None:
    config = {"endpoints": [{"name": "a", "provider": "echo"}], "models": {"m": "a"}, "keys": team({})}
    routing = Routing.alone(build(config))
    with pytest.raises(ConfigError, match="restart"):
        routing.reloaded(0, build(config | {"keys": team({"per_user": {"concurrency": 1}})}))


@pytest.mark.parametrize(
    ("body", "user"),
    [
        (b'{"user": "ann", "metadata": {"user_id": "ben"}}', b"ann"),
        (b'{"user": "", "metadata": {"user_id": "b\\u0065n"}}', b"ben"),
        (b'{"user": 7, "metadata": []}', b""),
        (b'{"messages": [{"user": "x"}]}', b""),
    ],
)
def test_a_user_is_named_by_the_first_field_that_does(body: bytes, user: bytes) -> None:
    assert user_named(body) == user
