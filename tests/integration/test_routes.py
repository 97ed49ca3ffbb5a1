"""Plans of kind `route`: the right plan for what a request is, why, and the same choice again from its record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.config import build
from dispatch.errors import ConfigError
from dispatch.routing import LearnedRouter

from tests.integration.hosted import Hosted, until
from tests.integration.peer import Peer, body_of, chat, post
from tests.integration.upstream import GOOD, Upstream, hang

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.peer import Reply

pytestmark = pytest.mark.anyio


def config(plan: dict[str, Any], *extra: dict[str, Any], **server: Any) -> dict[str, Any]:
    """Endpoints `a`, `b`, `c` that echo, and the model `m` with a route."""
    echoes = [{"name": name, "provider": "echo", "offline_ok": name == "c"} for name in "abc"]
    named = {one["name"]: one for one in [*echoes, *extra]}
    return {"server": server, "endpoints": [*named.values()], "models": {"m": {"route": plan}}}


async def went(hosted: Hosted, text: str, *lines: str, **fields: Any) -> str:
    """The endpoint that answers."""
    async with Peer(hosted.port) as peer:
        reply = await peer.ask(chat("m", text, *lines, **fields))
    assert reply.status == 200, reply
    return reply.headers["x-dispatch-endpoint"]


async def why(hosted: Hosted, reply: Reply) -> dict[str, Any]:
    """The record of an answer's decision."""
    async with Peer(hosted.port) as peer:
        name = reply.headers["x-dispatch-decision"]
        shown = await peer.ask(f"GET /admin/decision?id={name} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
    assert shown.status == 200, shown
    return dict(json.loads(shown.body))


RULES = {
    "by": "rules",
    "rules": [
        {"when": {"modality": "image"}, "to": "a"},
        {"when": {"language": ["de", "fr"], "topic": "billing"}, "to": "b"},
        {"when": {"tokens": ">100"}, "to": "b"},
    ],
    "default": "c",
}


async def test_the_first_rule_that_holds_chooses_the_plan() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    async with Hosted(config(RULES)) as hosted:
        assert await went(hosted, "x", messages=[{"role": "user", "content": [image, {"type": "text", "text": "Was ist das?"}]}]) == "a"
        german = "Bitte erklären Sie mir meine letzte Rechnung noch einmal"
        assert await went(hosted, german, "x-dispatch-topic: billing") == "b"
        assert await went(hosted, german, metadata={"topic": "billing"}) == "b"
        assert await went(hosted, german) == "c"
        assert await went(hosted, "word " * 200) == "b"


async def test_a_decision_is_shown_and_made_again_bit_for_bit() -> None:
    async with Hosted(config(RULES)) as hosted:
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(chat("m", "Pouvez-vous expliquer cette facture ?", "x-dispatch-topic: billing"))
        found = await why(hosted, reply)

    step = found["steps"][0]
    assert (step["by"], step["chosen"], step["why"], step["replayed"]) == ("rules", "b", "rules[1]", True)
    assert step["signals"]["language"] == "fr"
    assert step["signals"]["declared"] == [["topic", "billing"]]
    assert [one["endpoint"] for one in found["tries"]] == ["b"]
    assert found["outcome"] == "ok"
    assert "Pouvez" not in json.dumps(found), "the prompt itself is not kept"


async def test_a_stream_has_its_decision_too() -> None:
    async with Hosted(config(RULES)) as hosted:
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(chat("m", "hello", stream=True))
        assert (await why(hosted, reply))["steps"][0]["chosen"] == "c"


async def test_an_unknown_decision_is_told_as_such() -> None:
    async with Hosted(config(RULES)) as hosted, Peer(hosted.port) as peer:
        for name, status in (("nonsense", 404), ("0-1-0", 410), ("3-1-0", 410)):
            reply = await peer.ask(f"GET /admin/decision?id={name} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
            assert reply.status == status


PRIVATE = {"by": "rules", "rules": [{"when": {"code": ">0.5"}, "to": "b"}], "default": "a", "private": "c"}


async def test_personal_data_never_leave_and_a_dead_local_endpoint_is_an_error() -> None:
    """Fails closed: where the private plan has no answer there is none, whatever else would have one."""
    async with Upstream(GOOD) as outside, Upstream() as dead:
        dead_url = dead.base_url
        await dead.__aexit__()
        ends: list[dict[str, Any]] = [
            {"name": "a", "provider": "openai_compatible", "model": "x", "base_url": outside.base_url},
            {"name": "c", "provider": "openai_compatible", "model": "x", "base_url": dead_url, "offline_ok": True},
        ]
        plan = config(PRIVATE, *ends)
        plan["models"]["m"]["retry"] = {"attempts": 1}
        async with Hosted(plan) as hosted, Peer(hosted.port) as peer:
            marked = ("hi", "x-dispatch-private: true")
            for text, *lines in (("my card is 4111 1111 1111 1111",), ("write to ann@example.org",), marked):
                reply = await peer.ask(chat("m", text, *lines))
                assert reply.status == 502
                assert reply.headers["x-dispatch-endpoint"] == "c"
            hidden = await peer.ask(chat("m", "hi", messages=[{"role": "tool", "content": "iban GB82 WEST 1234 5698 7654 32"}]))
            broken = await peer.ask(post(b'{"model":"m","messages":[{"role":"user","content":"a \\ud800 b"}]}'))
            assert (hidden.status, broken.status) == (502, 502)
            assert outside.requests == []

            assert (await peer.ask(chat("m", "hi"))).status == 200
            assert len(outside.requests) == 1


async def test_a_profile_follows_what_the_client_prefers_and_what_is_measured() -> None:
    ends = [
        {"name": "a", "provider": "echo", "profile": {"accuracy": 0.9, "creativity": 0.2}, "price": {"input": 5, "output": 15}},
        {"name": "b", "provider": "echo", "profile": {"accuracy": 0.5, "creativity": 0.9}, "price": {"input": 1, "output": 1}},
    ]
    plan = {"by": "profile", "among": ["a", "b"], "prefer": {"accuracy": 1}}
    async with Hosted(config(plan, *ends)) as hosted:
        assert await went(hosted, "hi") == "a"
        assert await went(hosted, "hi", "x-dispatch-prefer: creativity") == "b"
        assert await went(hosted, "hi", "x-dispatch-prefer: ") == "a"
        assert await went(hosted, "hi", "x-dispatch-prefer: accuracy=1, cost=2") == "b"
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(chat("m", "hi", "x-dispatch-prefer: beauty"))
            assert reply.code == (400, "invalid_header")
            reply = await peer.ask(chat("m", "hi"))
        step = (await why(hosted, reply))["steps"][0]
        assert step["replayed"] is True
        assert [one["name"] for one in step["candidates"]] == ["a", "b"]


async def test_utterances_lead_to_the_route_that_they_are_like() -> None:
    plan = {
        "by": "semantic",
        "routes": {
            "billing": {"utterances": ["I want my money back", "my invoice is wrong"], "to": "a"},
            "support": {"utterances": ["the printer does not print", "my screen stays black"], "to": "b"},
        },
        "default": "c",
    }
    async with Hosted(config(plan)) as hosted:
        assert await went(hosted, "since this morning my screen is black") == "b"
        assert await went(hosted, "this invoice looks wrong to me") == "a"
        assert await went(hosted, "Tell me a joke about penguins") == "c"


def table(folder: Path) -> str:
    """A router of two models: `weak` fails at what `strong` can do, proofs."""
    easy = [f"add {at} and {at + 1} please" for at in range(200)]
    hard = [f"prove the theorem number {at} rigorously" for at in range(200)]
    scores = [[1.0, 1.0]] * len(easy) + [[0.0, 1.0]] * len(hard)
    path = folder / "router.bin"
    path.write_bytes(LearnedRouter.train(["weak", "strong"], easy + hard, scores, []).encode())
    return str(path)


async def test_a_learned_route_asks_the_cheap_model_where_it_is_good_enough(tmp_path: Path) -> None:
    plan = {
        "by": "learned",
        "router": table(tmp_path),
        "among": {"weak": "a", "strong": "b"},
        "costs": {"weak": 1, "strong": 10},
        "cost_weight": 0.3,
    }
    async with Hosted(config(plan)) as hosted:
        assert await went(hosted, "add 3 and 4 please") == "a"
        assert await went(hosted, "prove the theorem number 7 rigorously") == "b"
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(chat("m", "prove the theorem number 7 rigorously"))
        step = (await why(hosted, reply))["steps"][0]
    assert (step["chosen"], step["why"], step["replayed"]) == ("b", "most quality at price 0.3", True)
    weak, strong = step["candidates"]
    assert (weak["name"], strong["name"]) == ("weak", "strong")
    assert weak["score"] < strong["score"] == pytest.approx(step["signals"]["scores"][1] - 0.3)


async def test_feedback_moves_a_learned_route_and_stands_in_the_record(tmp_path: Path) -> None:
    plan = {"by": "learned", "router": table(tmp_path), "among": {"weak": "a", "strong": "b"}, "costs": {"weak": 1, "strong": 2}}
    async with Hosted(config(plan)) as hosted, Peer(hosted.port) as peer:
        first = await peer.ask(chat("m", "add 3 and 4 please"))
        assert first.headers["x-dispatch-endpoint"] == "a"
        reply = first
        for _ in range(60):
            reply = await peer.ask(chat("m", "add 3 and 4 please"))
            if reply.headers["x-dispatch-endpoint"] == "b":
                break
            said = json.dumps({"id": reply.headers["x-dispatch-decision"], "score": 0.0}).encode()
            assert (await peer.ask(post(said, path="/v1/feedback"))).status == 200
        assert reply.headers["x-dispatch-endpoint"] == "b", "an answer that users find bad is not given for ever"
        metrics = await hosted.metrics()
        drift = {dict(labels)["candidate"]: value for (name, labels), value in metrics.items() if name == "dispatch_route_drift"}
        assert drift["weak"] < -0.1
        assert (await why(hosted, first))["steps"][0]["replayed"] is True, "the correction of that time is part of the record"

        wrong = await peer.ask(post(b'{"id": "x", "score": 3}', path="/v1/feedback"))
        assert wrong.status == 400


async def test_a_share_of_strong_calls_is_held(tmp_path: Path) -> None:
    plan = {
        "by": "learned",
        "router": table(tmp_path),
        "among": {"weak": "a", "strong": "b"},
        "costs": {"weak": 1, "strong": 10},
        "budget": {"strong_share": 0.25},
    }
    async with Hosted(config(plan)) as hosted, Peer(hosted.port) as peer:
        strong = 0
        for at in range(1000):
            text = f"prove the theorem number {at} rigorously" if at % 2 else f"add {at} and 3 please"
            strong += (await peer.ask(chat("m", text))).headers["x-dispatch-endpoint"] == "b"
    assert 200 <= strong <= 300


async def test_a_class_leads_to_its_plan(tmp_path: Path) -> None:
    prompts = [f"my invoice {at} is wrong" for at in range(40)] + [f"the screen {at} stays black" for at in range(40)]
    scores = [[1.0, 0.0]] * 40 + [[0.0, 1.0]] * 40
    path = tmp_path / "topics.bin"
    path.write_bytes(LearnedRouter.train(["billing", "support"], prompts, scores, []).encode())
    plan = {"by": "classifier", "router": str(path), "classes": {"billing": "a", "support": "b"}, "default": "c", "threshold": 0.4}
    async with Hosted(config(plan)) as hosted:
        assert await went(hosted, "is my invoice 3 wrong") == "a"
        assert await went(hosted, "why is the screen black") == "b"
    with pytest.raises(ConfigError, match=r"models.m.route.classes: the router's class 'support' has no plan"):
        build(config({"by": "classifier", "router": str(path), "classes": {"billing": "a"}}))


async def test_where_a_request_would_go_is_told_without_sending_it() -> None:
    inner = {"route": {"by": "rules", "rules": [{"when": {"turns": ">3"}, "to": "a"}], "default": "b"}}
    plan = {"by": "rules", "rules": [{"when": {"language": "de"}, "to": inner}], "default": "c"}
    async with Hosted(config(plan)) as hosted, Peer(hosted.port) as peer:
        reply = await peer.ask(post(body_of("m", "Könnten Sie mir das bitte erklären?"), path="/admin/route"))
        told = json.loads(reply.body)
        assert [step["chosen"] for step in told["steps"]] == ["rules[0]", "b"]
        assert hosted.reports == []
        assert await went(hosted, "Könnten Sie mir das bitte erklären?") == "b"
        await until(lambda: hosted.reports)


@pytest.mark.parametrize(
    ("plan", "path"),
    [
        ({"by": "rules", "rules": [{"when": {}, "to": "a"}]}, "models.m.route.default"),
        (
            {"by": "rules", "rules": [{"when": {"modality": "pictures"}, "to": "a"}], "default": "b"},
            "models.m.route.rules[0].when.modality",
        ),
        (
            {"by": "rules", "rules": [{"when": {"difficulty": ">1.5"}, "to": "a"}], "default": "b"},
            "models.m.route.rules[0].when.difficulty",
        ),
        (
            {
                "by": "rules",
                "rules": [{"when": {"tokens": ">10"}, "to": "a"}, {"when": {"tokens": ">100", "language": "de"}, "to": "b"}],
                "default": "b",
            },
            "models.m.route.rules[1]",
        ),
        ({"by": "rules", "rules": [{"when": {"turns": 1}, "to": "nobody"}], "default": "b"}, "models.m.route.rules[0].to"),
        ({"by": "rules", "rules": [{"when": {"turns": 1}, "to": "m"}], "default": "b"}, "models.m.route.rules[0].to"),
        ({"by": "rules", "rules": [{"when": {"turns": 1}, "to": "a"}], "default": "b", "private": "a"}, "models.m.route.private"),
        ({"by": "profile", "among": ["a", "b"], "prefer": {"beauty": 1}}, "models.m.route.prefer.beauty"),
        ({"by": "learned", "among": ["a", "b"]}, "models.m.route.router"),
        ({"by": "semantic", "routes": {}, "default": "a"}, "models.m.route.routes"),
        ({"by": "magic"}, "models.m.route.by"),
        ({"by": "profile", "among": ["a", "b"], "rules": []}, "models.m.route.rules"),
    ],
)
def test_a_route_that_cannot_work_stops_the_start_with_its_path(plan: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(config(plan))
    assert caught.value.path == path, str(caught.value)


def test_a_router_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.bin"
    path.write_bytes(b"dsprout\n" + (99).to_bytes(4, "little") + bytes(64))
    with pytest.raises(ConfigError, match=r"models\.m\.route\.router: .* is of version 99, expected 2: train it again"):
        build(config({"by": "learned", "router": str(path), "among": ["a", "b"]}))


async def test_a_question_is_read_at_every_door() -> None:
    german = "Könnten Sie mir bitte erklären, wie das funktioniert?"
    plan = {"by": "rules", "rules": [{"when": {"language": "de"}, "to": "a"}], "default": "b"}
    asked = [
        ("/v1/messages", {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": german}]}),
        ("/v1/responses", {"model": "m", "input": german}),
        ("/v1/completions", {"model": "m", "prompt": german}),
        ("/v1/embeddings", {"model": "m", "input": [german]}),
        ("/v1beta/models/m:generateContent", {"contents": [{"role": "user", "parts": [{"text": german}]}]}),
    ]
    async with Hosted(config(plan)) as hosted, Peer(hosted.port) as peer:
        for path, body in asked:
            reply = await peer.ask(post(json.dumps(body).encode(), path=path))
            assert (reply.status, reply.headers.get("x-dispatch-endpoint")) == (200, "a"), (path, reply)


async def test_a_decision_that_waited_in_the_queue_keeps_its_name() -> None:
    """A place in the queue writes header lines of its own."""
    plan = {"by": "rules", "rules": [{"when": {"language": "de"}, "to": "a"}], "default": "b"}
    async with Upstream(hang) as slow:
        end = {"name": "b", "provider": "openai_compatible", "model": "x", "base_url": slow.base_url, "limits": {"concurrency": 1}}
        held = config(plan, end)
        held["models"]["m"]["deadline_s"] = 1
        async with Hosted(held) as hosted:
            first, second = await hosted.peer(), await hosted.peer()
            await first.send(chat("m", "hi"))
            await slow.until(lambda: slow.requests)
            reply = await second.ask(chat("m", "hi"))
            assert reply.status in (429, 504)
            assert reply.headers["x-dispatch-decision"]
            await first.reply()
