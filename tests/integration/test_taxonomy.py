"""Every row of docs/failures.md, played against the sidecar: what it is taken for, where the request goes next, what the client gets."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.config import Retry
from dispatch.errors import Failure
from dispatch.failures import markdown
from dispatch.policy.faults import ANSWERS, EVENTS, MEANING, Event, Shape
from dispatch.policy.retry import REACH, Reach, may_fall_back

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import Peer, Reply, chat, events_of
from tests.integration.upstream import ANSWER, Upstream, answer, chunk, delta, hang, once, part, stream_head

if TYPE_CHECKING:
    from tests.integration.upstream import Line, Script

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
ROLE = delta(None)
FINISH = delta("", "stop")
DONE = chunk(b"data: [DONE]\n\n")
END = b"0\r\n\r\n"
GOOD_STREAM = once(stream_head() + ROLE + delta("good") + FINISH + DONE + END)
GOOD = once(answer())
ERROR_EVENT = chunk(b'data: {"error":{"message":"busy","type":"server_error","code":503}}\n\n')
BARE_ERROR = chunk(b'{\n "error": {\n  "code": 503,\n  "message": "high demand",\n  "status": "UNAVAILABLE"\n }\n}\n\n')
ROUTER_ERROR = chunk(b'data: {"id":"gen-1","choices":[],"error":{"code":502,"message":"provider unavailable"}}\n\n')
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Par'}}


def tool_delta(finish: str | None = None, *calls: dict[str, Any]) -> bytes:
    choice = {"index": 0, "delta": {"tool_calls": list(calls)} if calls else {}, "finish_reason": finish}
    return chunk(b"data: " + json.dumps({"id": "c1", "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n")


def tool_answer(finish: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "tool_calls": [{key: CALL[key] for key in ("id", "type", "function")}]}
    return ANSWER | {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}


def test_the_page_is_the_code() -> None:
    assert (ROOT / "docs/failures.md").read_text() == markdown(), "run: python -m dispatch.failures > docs/failures.md"


def test_every_failure_has_a_meaning_and_every_event_a_script() -> None:
    assert set(MEANING) == set(Failure)
    assert {(one.name, one.moment) for one in EVENTS} == set(SCRIPTS)


async def ask(hosted: Hosted, *, stream: bool = False) -> tuple[Peer, Reply]:
    peer = await hosted.peer()
    return peer, await peer.ask(chat(stream=stream))


def shaped(one: Shape) -> Script:
    return once(answer(one.body.encode(), one.status, content_type=one.kind))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("one", ANSWERS, ids=lambda one: f"{one.said_by}: {one.name}")
async def test_an_answer_that_is_no_success(one: Shape, stream: bool) -> None:
    """In a pool, then as a step of a fallback that names nothing, then of one that names what may be named."""
    async with Upstream(shaped(one)) as wrong, Upstream(GOOD_STREAM if stream else GOOD) as good:
        async with Hosted(pool(wrong.base_url, good.base_url)) as hosted:
            _, reply = await ask(hosted, stream=stream)

            assert (reply.status == 200) == (REACH[one.failure] >= Reach.ELSEWHERE)
            assert hosted.attempts() == {one.failure: 1}
        for named in ([], ["context_length", "content_filter"]):
            config = pool(wrong.base_url, good.base_url)
            config["models"]["m"] = {"fallback": ["a", "b"], "retry": {"attempts": 1, "fallback_on": named}}
            async with Hosted(config) as hosted:
                _, reply = await ask(hosted, stream=stream)
                goes_on = may_fall_back(one.failure, committed=False, left_s=9, retry=Retry(fallback_on=tuple(named)))  # type: ignore[arg-type]

                assert (reply.status == 200) == goes_on
                if not goes_on:
                    assert reply.status == one.status
                    assert json.loads(reply.body)["error"]["message"]
                    assert reply.headers["x-should-retry"] == "false"


async def trickle(line: Line) -> None:
    """Some characters a second, for ever."""
    await line.request()
    await line.send(stream_head() + ROLE)
    while True:
        await line.send(delta("x"))
        await asyncio.sleep(0.05)


SCRIPTS: dict[tuple[str, str], tuple[Script | None, bool]] = {
    ("connection refused", "connecting"): (None, False),
    ("connection ends", "before the answer"): (once(b"", then="fin"), False),
    ("silence", "before the answer"): (hang, False),
    ("bytes that are no HTTP", "before the answer"): (once(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), False),
    ("connection ends", "in the head"): (once(b"HTTP/1.1 200 OK\r\ncont", then="fin"), False),
    ("connection ends", "in a whole answer"): (once(answer()[:-9], then="rst"), False),
    ("silence", "in a whole answer"): (part(answer()[:-9]), False),
    ("cut tool call", "in a whole answer"): (once(answer(tool_answer("tool_calls"))), False),
    ("connection ends", "in a stream, before content"): (once(stream_head() + ROLE, then="fin"), True),
    ("error event", "in a stream, before content"): (once(stream_head() + ROLE + ERROR_EVENT + END), True),
    ("error without `data:`", "in a stream, before content"): (once(stream_head() + ROLE + BARE_ERROR + END), True),
    ("silence", "in a stream, before content"): (part(stream_head() + ROLE), True),
    ("connection ends", "in a stream, after content"): (once(stream_head() + delta("half"), then="rst"), True),
    ("error event", "in a stream, after content"): (once(stream_head() + delta("half") + ROUTER_ERROR + DONE + END), True),
    ("silence", "in a stream, after content"): (part(stream_head() + delta("half")), True),
    ("trickle", "in a stream, after content"): (trickle, True),
    ("clean end without finish reason", "in a stream, after content"): (once(stream_head() + delta("half") + END), True),
    ("bad chunk", "in a stream, after content"): (once(stream_head() + delta("half") + b"zz\r\n"), True),
    ("cut tool call", "in a stream, after content"): (
        once(stream_head() + tool_delta(None, CALL) + tool_delta("tool_calls") + DONE + END),
        True,
    ),
    ("clean end without `[DONE]`", "in a stream, finished"): (once(stream_head() + delta("all") + FINISH + END), True),
    ("connection ends without `[DONE]`", "in a stream, finished"): (once(stream_head() + delta("all") + FINISH, then="rst"), True),
    ("silence", "in a stream, finished"): (part(stream_head() + delta("all") + FINISH), True),
    ("malformed event", "in a stream, healthy"): (
        once(stream_head() + delta("all") + chunk(b'data: {"choices":[{"in\n\n') + FINISH + DONE + END),
        True,
    ),
    ("finish reason `length`", "in a stream, finished"): (
        once(stream_head() + tool_delta(None, CALL) + tool_delta("length") + DONE + END),
        True,
    ),
}
"""What the provider does, and whether it is asked for a stream."""


def played(one: Event, url: str, *others: str, **model: Any) -> dict[str, Any]:
    speed: dict[str, Any] = {"min_speed": {"chars_per_s": 1000, "window_s": 0.5}} if one.name == "trickle" else {}
    return pool(url, *others, first_token_s=0.2, answer_s=0.2, stall_s=0.2 if not speed else 5, **speed, **model)


@pytest.mark.parametrize("one", EVENTS, ids=lambda one: f"{one.moment}: {one.name}")
async def test_what_happens_on_the_wire(one: Event) -> None:
    script, stream = SCRIPTS[one.name, one.moment]
    async with Upstream(script or GOOD) as wrong, Upstream(GOOD_STREAM if stream else GOOD) as good:
        url = wrong.base_url if script is not None else "http://127.0.0.1:1/v1"
        async with Hosted(played(one, url, good.base_url)) as hosted:
            peer, reply = await ask(hosted, stream=stream)
            failure = Failure.NONE if one.failure is None else one.failure

            assert hosted.attempts() == {failure: 1}
            assert hosted.snapshot().endpoints["a"].dropped == ("malformed" in one.name)
            if one.failure is None:
                assert (reply.status, reply.is_whole) == (200, True)
                assert not good.requests
            elif "after content" in one.moment:
                assert "error" in events_of(reply.body)[-1]
                assert b"[DONE]" not in reply.body
                assert (reply.is_whole, peer.end) == (False, "fin")
                assert not good.requests
            else:
                is_again = one.failure is not Failure.UNKNOWN_EXECUTION
                assert (reply.status == 200, len(good.requests)) == (is_again, int(is_again))


# The shapes that were seen in the wild; the texts of each in `expect`.

WIRE = Path(os.environ.get("DISPATCH_WIRE_DIR") or "nowhere") / "error_shapes.json"
SEEN: dict[str, Failure] = {
    "anthropic-529": Failure.OVERLOADED,
    "openai-429-quota": Failure.QUOTA_EXHAUSTED,
    "azure-400-content-filter": Failure.CONTENT_FILTER,
    "gemini-503": Failure.OVERLOADED,
    "gemini-503-in-sse-without-data-prefix": Failure.OVERLOADED,
    "openrouter-error-chunk": Failure.SERVER,
    "compat-error-line-then-eof": Failure.SERVER,
    "mistral-429": Failure.RATE_LIMITED,
    "openrouter-429": Failure.RATE_LIMITED,
    "transformers-serve-detail": Failure.BAD_REQUEST,
    "plain-text-500": Failure.SERVER,
    "vllm-engine-death": Failure.SERVER,
    "vllm-anthropic-404": Failure.BAD_REQUEST,
    "llama-cpp-python-500-for-bad-input": Failure.SERVER,
}


def event_of(shape: dict[str, Any]) -> bytes:
    """The error as it stands in a stream."""
    if "body_after_some_events" in shape:
        return BARE_ERROR
    body = shape["body_event"]
    data = body if isinstance(body, dict) else {"error": {"message": body, "type": "internal_error", "code": 500}}
    return chunk(b"data: " + json.dumps(data).encode() + b"\n\n")


@pytest.mark.skipif(not WIRE.exists(), reason="recorded traffic is not here")
def test_every_shape_that_was_seen_is_played() -> None:
    assert {shape["id"] for shape in json.loads(WIRE.read_text())["shapes"]} == set(SEEN)


@pytest.mark.skipif(not WIRE.exists(), reason="recorded traffic is not here")
@pytest.mark.parametrize("name", SEEN)
async def test_a_shape_that_was_seen(name: str) -> None:
    shape = next(shape for shape in json.loads(WIRE.read_text())["shapes"] if shape["id"] == name)
    if shape["status"] == 200:
        await _play_in_a_stream(event_of(shape), SEEN[name])
        return
    body = shape["body_text"].encode() if "body_text" in shape else json.dumps(shape["body"]).encode()
    wrong = answer(body, shape["status"], content_type=shape.get("content_type", "application/json"))
    for stream in (False, True):
        async with Upstream(once(wrong)) as bad, Hosted(pool(bad.base_url, retry={"attempts": 1})) as hosted:
            _, reply = await ask(hosted, stream=stream)

            assert reply.status == shape["status"]
            error = json.loads(reply.body)["error"]
            assert error["message"]
            if "innererror" in str(shape.get("body")):
                # Fields beyond OpenAI's own survive.
                assert error == shape["body"]["error"]
            assert hosted.attempts() == {SEEN[name]: 1}


async def _play_in_a_stream(event: bytes, failure: Failure) -> None:
    for content, is_told in ((ROLE, False), (delta("half"), True)):
        script = once(stream_head() + content + event, then="fin")
        async with Upstream(script) as bad, Upstream(GOOD_STREAM) as good, Hosted(pool(bad.base_url, good.base_url)) as hosted:
            _, reply = await ask(hosted, stream=True)

            assert hosted.attempts() == {failure: 1}
            assert ("error" in events_of(reply.body)[-1]) == is_told
            assert reply.is_whole == (not is_told)
            assert len(good.requests) == (not is_told)


async def test_an_answer_with_a_whole_tool_call_is_passed_on() -> None:
    whole = {**CALL, "function": {"name": "f", "arguments": '{"city": "Par\\"is{"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [whole]}
    good = ANSWER | {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    for body in (good, tool_answer("length")):
        async with Upstream(once(answer(body))) as upstream, Hosted(pool(upstream.base_url)) as hosted:
            _, reply = await ask(hosted)

            assert json.loads(reply.body) == body
            assert hosted.attempts() == {Failure.NONE: 1}


async def test_a_tool_call_in_pieces_is_passed_on() -> None:
    texts = ['{"ci', 'ty": "Pa', "\\", '"r', 'is", "n": [1, {', "}]}"]
    first = {**CALL, "function": {"name": "f", "arguments": ""}}
    pieces = [tool_delta(None, first), *(tool_delta(None, {"index": 0, "function": {"arguments": text}}) for text in texts)]
    pieces.append(tool_delta(None, {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}))
    data = stream_head() + b"".join(pieces) + tool_delta("tool_calls") + DONE + END
    async with Upstream(once(data)) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        _, reply = await ask(hosted, stream=True)

        assert reply.is_whole
        assert events_of(reply.body)[-1] == "[DONE]"
        assert hosted.attempts() == {Failure.NONE: 1}
