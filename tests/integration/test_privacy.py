"""What a route keeps private leaves by no other part of the plan that the route stands in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.retrieve.store import Passage, write

from tests.integration.hosted import Hosted, until
from tests.integration.models import Model, config
from tests.integration.peer import Peer, chat, post

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

ROUTE = {"route": {"by": "rules", "rules": [{"when": {"code": ">0.9"}, "to": "a"}], "default": "a", "private": "b"}}
"""`a` is outside, `b` is here."""
IBAN = "List.\n\nDE89370400440532013000\nthe second"
PLAIN = "List.\n\nthe first\nthe second"
DOUBT = {"verify": {"regex": "nothing like it"}}


def set_up(plan: dict[str, Any], *models: Model, **settings: Any) -> dict[str, Any]:
    built = config(plan, *models, **settings)
    built["endpoints"][1]["offline_ok"] = True
    return built


@pytest.mark.parametrize(
    ("plan", "status"),
    [
        ({"fallback": [ROUTE, "a"]}, 200),
        ({"fallback": ["a", ROUTE]}, 200),
        ({"cascade": {"steps": [ROUTE, "a"], "escalate_if": DOUBT}}, 200),
        ({"cascade": {"steps": ["a", ROUTE], "escalate_if": DOUBT}}, 200),
        ({"cascade": {"steps": [["a", ROUTE], ROUTE]}}, 200),
        ({"cascade": {"steps": [ROUTE, ROUTE], "escalate_if": {"verify": {"plan": "a"}}}}, 200),
        ({"ensemble": {"of": ["a", ROUTE]}}, 200),
        ({"ensemble": {"of": ["a", ROUTE], "by": "judge", "model": "a"}}, 200),
        ({"ensemble": {"of": [ROUTE, ROUTE], "by": "fuse", "model": "a"}}, 200),
        ({"ensemble": {"of": ["a", ROUTE], "by": "mixture", "model": ROUTE}}, 200),
        ({"chain": {"steps": [{"plan": ROUTE}, {"plan": "a"}]}}, 502),
        ({"chain": {"steps": [{"plan": ROUTE, "name": "x"}, {"plan": ROUTE, "prompt": "Only {last}"}]}}, 200),
        ({"fanout": {"split": "list", "work": ROUTE}}, 200),
        ({"fanout": {"split": "list", "work": ROUTE, "join": "reduce", "reduce": "a"}}, 502),
        ({"shadow": {"plan": ROUTE, "mirror": "a"}}, 200),
        ({"shadow": {"plan": {"cascade": {"steps": [ROUTE, ROUTE]}}, "mirror": "a"}}, 200),
        ({"split": {"arms": {"x": "a", "y": ROUTE}, "shares": {"x": 1, "y": 0}}}, 502),
        ({"offline": {"plan": {"fallback": [ROUTE, "a"]}, "local": "b"}}, 200),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_personal_data_stay_here_whatever_the_route_stands_in(plan: dict[str, Any], status: int, stream: bool) -> None:
    async with Model("outside") as out, Model("here") as here, Hosted(set_up(plan, out, here)) as hosted:
        async with Peer(hosted.port) as peer:
            private = await peer.ask(chat(text=IBAN, stream=stream))
        await until(lambda: not hosted.dispatcher.watch)

        assert private.status == status
        assert len(out.requests) == 0
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(chat(text=PLAIN, stream=stream))
        await until(lambda: not hosted.dispatcher.watch)
        assert reply.status == 200
        assert len(out.requests) > 0
        for call, *_ in hosted.reports:
            call.attempts = 0  # mirrors are on the board alone
        hosted.reports[0][0].attempts = sum(sum(row.attempts) for row in hosted.snapshot().endpoints.values())


async def test_a_private_plan_without_an_answer_is_an_error_though_others_have_one() -> None:
    for plan in ({"fallback": [ROUTE, "a"]}, {"cascade": {"steps": [ROUTE, "a"]}}, {"ensemble": {"of": [ROUTE, "a"]}}):
        async with Model("outside") as out, Model(503) as here, Hosted(set_up(plan, out, here)) as hosted:
            reply = await (await hosted.peer()).ask(chat(text=IBAN))
            marked = await (await hosted.peer()).ask(chat("m", "hi", "x-dispatch-private: true"))

            assert {reply.status, marked.status} <= {502, 503}
            assert len(out.requests) == 0


async def test_a_record_of_a_piece_of_a_private_request_is_made_again() -> None:
    """The second piece has no personal data in it, and yet stays here."""
    plan = {"fanout": {"split": "list", "work": ROUTE}}
    async with Model("outside") as out, Model("here") as here, Hosted(set_up(plan, out, here)) as hosted:
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(chat(text=IBAN))
            name = reply.headers["x-dispatch-decision"]
            shown = json.loads((await peer.ask(f"GET /admin/decision?id={name} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())).body)
        routes = [step for step in shown["steps"] if step["kind"] == "route"]
        assert [step["why"] for step in routes] == ["private: marked", "private: marked"]
        assert all(step["replayed"] for step in routes)


async def test_a_retriever_does_not_ask_an_embedder_outside(tmp_path: Path) -> None:
    write(tmp_path / "x.db", [(Passage("notes", "the second"), [1.0, 0.0])])
    plan = {"retrieve": {"index": str(tmp_path / "x.db"), "plan": ROUTE, "embed": "a"}}
    async with Model("outside") as out, Model("here") as here, Hosted(set_up(plan, out, here)) as hosted:
        reply = await (await hosted.peer()).ask(post(json.dumps({"model": "m", "messages": [{"role": "user", "content": IBAN}]}).encode()))
        assert reply.status == 200
        assert len(out.requests) == 0
