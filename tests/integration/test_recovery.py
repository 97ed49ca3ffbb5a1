"""Streams that break after the client has content, and are taken over by another endpoint: the client sees one answer, or an error."""

from __future__ import annotations

import json
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from dispatch import Client
from dispatch.config import build
from dispatch.errors import Failure, UpstreamError

from tests.integration.hosted import ENVIRON, Hosted, pool, until
from tests.integration.peer import Reply, chat, events_of, post
from tests.integration.test_stream_failures import AFTER, text_of
from tests.integration.upstream import Line, Upstream, chunk, once, part, stream_head

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

TEXT = 'Grüße, 世界! \U0001f600 Two\n\nlines "quoted" and \\ more.'
DONE = chunk(b"data: [DONE]\n\n")
END = b"0\r\n\r\n"


def event(who: str, delta: dict[str, Any], finish: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {
        "id": f"id-{who}",
        "object": "chat.completion.chunk",
        "created": len(who),
        "model": f"model-{who}",
        "choices": [choice],
        **fields,
    }
    return chunk(b"data: " + json.dumps(body).encode() + b"\n\n")


def usage(who: str, tokens_in: int, tokens_out: int) -> bytes:
    body = {
        "id": f"id-{who}",
        "choices": [],
        "usage": {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out},
    }
    return chunk(b"data: " + json.dumps(body).encode() + b"\n\n")


def words(who: str, text: str, size: int = 5) -> list[bytes]:
    """The events of a whole answer, `size` characters in each."""
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    return [event(who, {"role": "assistant", "content": ""}), *(event(who, {"content": part}) for part in parts), event(who, {}, "stop")]


def stream(who: str, text: str = TEXT, size: int = 5) -> bytes:
    return stream_head() + b"".join(words(who, text, size)) + DONE + END


def broken(who: str = "a", events: int = 4) -> bytes:
    """A head, a role and some content."""
    return stream_head() + b"".join(words(who, TEXT)[:events])


async def asked(line: Line) -> dict[str, Any]:
    """Read a request; its JSON."""
    request = await line.request()
    return json.loads(request.partition(b"\r\n\r\n")[2])  # type: ignore[no-any-return]  # JSON


def recovering(*base_urls: str, prefill: str = "", recover: tuple[str, ...] = ("restart",), **model: Any) -> dict[str, Any]:
    config = pool(*base_urls, recover=list(recover), **model)
    if prefill:
        for endpoint in config["endpoints"][1:]:
            endpoint["capabilities"] = {"prefill": prefill}
    return config


async def ask(hosted: Hosted, **fields: Any) -> Reply:
    return await (await hosted.peer()).ask(chat(stream=True, **fields))


def assert_one_answer(reply: Reply, text: str = TEXT) -> None:
    """The stream reads as that of one undisturbed answer."""
    events = events_of(reply.body)
    chunks = [event for event in events if event != "[DONE]"]
    assert text_of(reply) == text
    assert reply.is_whole
    assert events.count("[DONE]") == 1
    assert events[-1] == "[DONE]"
    assert not [event for event in chunks if "error" in event]
    assert {event["id"] for event in chunks} == {"id-a"}
    assert len({event["created"] for event in chunks if "created" in event}) == 1
    assert [choice["finish_reason"] for event in chunks for choice in event["choices"] if choice["finish_reason"]] == ["stop"]
    assert [choice["delta"].get("role") for event in chunks for choice in event["choices"]].count("assistant") == 1


def assert_half(reply: Reply) -> None:
    """Part of the answer, an error, and an end that nobody takes for a clean one."""
    assert TEXT.startswith(text_of(reply))
    assert "error" in events_of(reply.body)[-1]
    assert b"[DONE]" not in reply.body
    assert b'finish_reason": "stop' not in reply.body
    assert not reply.is_whole


# Restart and align.


@pytest.mark.parametrize("name", [name for name in AFTER if AFTER[name][1] is not None])
async def test_however_a_stream_breaks_one_that_begins_alike_goes_on_with_it(name: str) -> None:
    script, failure = AFTER[name]
    rest = once(stream("b", "half and the other"))
    async with (
        Upstream(script) as first,
        Upstream(rest) as second,
        Hosted(recovering(first.base_url, second.base_url, stall_s=0.2)) as hosted,
    ):
        reply = await ask(hosted)

        assert text_of(reply) == "half and the other"
        assert reply.is_whole
        assert b": x-dispatch-recovered: restart b\n: x-dispatch-endpoint: b\n: x-dispatch-attempts: 2\n\n" in reply.body
        assert hosted.attempts() == {failure: 1}
        assert hosted.attempts("b") == {Failure.NONE: 1}
        assert hosted.outcomes() == {Failure.NONE: 1}


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_another_answer_is_aligned_however_its_text_is_cut(size: int) -> None:
    for events in range(2, len(words("a", TEXT))):
        async with (
            Upstream(once(broken("a", events), then="fin")) as first,
            Upstream(once(stream("b", size=size))) as second,
            Hosted(recovering(first.base_url, second.base_url)) as hosted,
        ):
            reply = await ask(hosted)

            assert_one_answer(reply)
            assert {event["model"] for event in events_of(reply.body)[:-1]} == {"model-a", "model-b"}


@pytest.mark.parametrize("text", ["Something else", TEXT[:7], "", TEXT.replace("Grüße", "Grusse")])
async def test_an_answer_that_does_not_begin_with_what_was_told_is_never_passed_on(text: str) -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b", text))) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await ask(hosted)

        assert_half(reply)
        assert text_of(reply) == TEXT[:15]
        assert len(second.requests) == 1
        assert Failure.NONE not in hosted.outcomes()


async def test_the_request_is_sent_again_as_it_was() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        await ask(hosted, temperature=0, unknown=[1, {"x": None}])

        bodies = [json.loads(upstream.requests[0].partition(b"\r\n\r\n")[2]) for upstream in (first, second)]
        assert [body.pop("model") for body in bodies] == ["up-a", "up-b"]
        assert bodies[0] == bodies[1]


async def test_a_second_break_is_taken_over_as_well_until_the_attempts_are_spent() -> None:
    scripts = [once(broken("a", 4), then="fin"), once(broken("b", 6), then="rst"), once(stream("c"))]
    async with Upstream(scripts[0]) as first, Upstream(scripts[1]) as second, Upstream(scripts[2]) as third:
        urls = first.base_url, second.base_url, third.base_url
        async with Hosted(recovering(*urls)) as hosted:
            reply = await ask(hosted)

            assert_one_answer(reply)
            assert hosted.reports[0][0].attempts == 3
        async with Hosted(recovering(*urls, retry={"attempts": 2})) as hosted:
            reply = await ask(hosted)

            assert_half(reply)
            assert text_of(reply) == TEXT[:25]


async def test_the_endpoint_that_broke_is_asked_again_only_where_there_is_no_other() -> None:
    once_broken, fine = once(broken(), then="fin"), once(stream("b"))
    async with Upstream(once_broken, fine) as alone, Hosted(recovering(alone.base_url)) as hosted:
        assert_one_answer(await ask(hosted))
        assert len(alone.requests) == 2
    async with (
        Upstream(once_broken) as first,
        Upstream(once_broken) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await ask(hosted)
        assert_half(reply)
        assert (len(first.requests), len(second.requests)) in {(2, 1), (1, 2)}


async def test_the_next_step_of_a_fallback_takes_a_stream_over() -> None:
    async with Upstream(once(broken(), then="fin")) as first, Upstream(once(stream("b"))) as second:
        config = recovering(first.base_url, second.base_url)
        config["models"]["m"] = {"fallback": ["a", "b"], "recover": ["restart"], "retry": {"attempts": 1}}
        async with Hosted(config) as hosted:
            reply = await ask(hosted)

            assert_one_answer(reply)
            assert hosted.reports[0][0].endpoint == "b"
            assert hosted.attempts("b") == {Failure.NONE: 1}


async def test_without_recover_nothing_of_this_happens() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(pool(first.base_url, second.base_url)) as hosted,
    ):
        assert_half(await ask(hosted))
        assert second.requests == []


@pytest.mark.parametrize("fields", [{"n": 2}, {"logprobs": True}])
async def test_what_cannot_be_compared_is_not_taken_over(fields: dict[str, Any]) -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        assert_half(await ask(hosted, **fields))
        assert second.requests == []


async def test_what_is_the_requests_own_fault_is_not_asked_again() -> None:
    veto = chunk(b'data: {"error":{"message":"no","type":"invalid_request_error","code":"content_filter"}}\n\n')
    async with (
        Upstream(once(broken() + veto + END)) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        assert_half(await ask(hosted))
        assert second.requests == []


# Tool calls.


def tool(who: str, index: int, text: str, name: str = "", label: bool = False) -> bytes:
    function = {"name": name, "arguments": text} if name else {"arguments": text}
    call: dict[str, Any] = {"index": index, "function": function}
    if label:
        call |= {"id": f"call-{who}-{index}", "type": "function"}
    return event(who, {"tool_calls": [call]})


def tools(who: str, name: str = "f") -> list[bytes]:
    arguments = ['{"city"', ': "Zü', 'rich"}']
    first = [tool(who, 0, "", name, label=True), *(tool(who, 0, part) for part in arguments)]
    second = [tool(who, 1, '{"n":', "g", label=True), tool(who, 1, "1}")]
    return [event(who, {"role": "assistant", "content": None}), *first, *second, event(who, {}, "tool_calls")]


def calls_of(reply: Reply) -> list[list[str]]:
    found: dict[int, list[str]] = {}
    for one in events_of(reply.body):
        for call in one["choices"][0]["delta"].get("tool_calls") or () if isinstance(one, dict) and one.get("choices") else ():
            row = found.setdefault(call["index"], ["", "", ""])
            parts = call.get("id"), call["function"].get("name"), call["function"].get("arguments")
            row[:] = [old + (new or "") for old, new in zip(row, parts, strict=True)]
    return [found[index] for index in sorted(found)]


@pytest.mark.parametrize("events", range(2, 7))
async def test_half_a_tool_call_is_restarted_and_aligned_and_never_continued(events: int) -> None:
    half = stream_head() + b"".join(tools("a")[:events])
    whole = stream_head() + b"".join(tools("b")) + DONE + END
    async with Upstream(once(half, then="fin")) as first, Upstream(once(whole)) as second:
        config = recovering(first.base_url, second.base_url, prefill="prefix", recover=("continue", "restart"))
        async with Hosted(config) as hosted:
            reply = await ask(hosted, tools=[{"type": "function", "function": {"name": "f"}}])

            calls = calls_of(reply)
            assert calls[0] == ["call-a-0", "f", '{"city": "Zürich"}']
            assert calls[1][1:] == ["g", '{"n":1}']
            assert calls[1][0] in {"call-a-1", "call-b-1"}
            assert reply.is_whole
            assert b"prefix" not in second.requests[0]


async def test_another_tool_call_is_no_rest_of_this_one() -> None:
    half = stream_head() + b"".join(tools("a")[:3])
    other = stream_head() + b"".join(tools("b", "h")) + DONE + END
    async with (
        Upstream(once(half, then="fin")) as first,
        Upstream(once(other)) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await ask(hosted)

        assert calls_of(reply) == [["call-a-0", "f", '{"city"']]
        assert not reply.is_whole


# Continue.


def continuing(find: Callable[[dict[str, Any]], str], seen: list[dict[str, Any]], echo: bool = False) -> Any:
    """A server that goes on where the last message of the request ends."""

    async def script(line: Line) -> None:
        body = await asked(line)
        seen.append(body)
        begun = find(body)
        assert TEXT.startswith(begun)
        await line.send(stream("b", TEXT if echo else TEXT[len(begun) :]))
        await line.gone()

    return script


def last_message(body: dict[str, Any]) -> str:
    message = body["messages"][-1]
    assert message["role"] == "assistant"
    return message["content"]  # type: ignore[no-any-return]  # JSON


@pytest.mark.parametrize("kind", ["prefix", "prefix_echoed", "continue_final_message", "assistant"])
@pytest.mark.parametrize("events", range(2, len(words("a", TEXT))))
async def test_an_endpoint_that_can_goes_on_where_the_text_ends(kind: str, events: int) -> None:
    seen: list[dict[str, Any]] = []
    async with (
        Upstream(once(broken("a", events), then="fin")) as first,
        Upstream(continuing(last_message, seen, kind == "prefix_echoed")) as second,
        Hosted(recovering(first.base_url, second.base_url, prefill=kind, recover=("continue",))) as hosted,
    ):
        reply = await ask(hosted, max_tokens=100)

        assert_one_answer(reply)
        assert b": x-dispatch-recovered: continue b\n" in reply.body
        [body] = seen
        told = TEXT[: (events - 1) * 5]
        assert last_message(body) == (told.rstrip() if kind == "assistant" else told)
        assert body["messages"][-1].get("prefix", False) == (kind in {"prefix", "prefix_echoed"})
        assert body.get("continue_final_message", False) == (kind == "continue_final_message")
        assert body.get("add_generation_prompt", True) == (kind != "continue_final_message")
        assert body["max_tokens"] < 100
        assert body["model"] == "up-b"


async def test_a_model_that_rejects_prefill_is_never_sent_one() -> None:
    """Only `c` can; `b` is asked nothing, not even when `c` refuses."""
    refuses = once(b"HTTP/1.1 400 No\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
    async with Upstream(once(broken(), then="fin")) as first, Upstream(once(stream("b"))) as second, Upstream(refuses) as third:
        config = recovering(first.base_url, second.base_url, third.base_url, recover=("continue",))
        config["endpoints"][2]["capabilities"] = {"prefill": "assistant"}
        async with Hosted(config) as hosted:
            reply = await ask(hosted)

            assert_half(reply)
            assert second.requests == []
            assert len(third.requests) == 1


async def test_where_nobody_can_continue_the_answer_is_restarted() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(recovering(first.base_url, second.base_url, recover=("continue", "restart"))) as hosted,
    ):
        reply = await ask(hosted)

        assert_one_answer(reply)
        assert b": x-dispatch-recovered: restart b\n" in reply.body


async def test_a_refused_continuation_is_followed_by_a_restart() -> None:
    async def picky(line: Line) -> None:
        while True:
            body = await asked(line)
            if body["messages"][-1]["role"] == "assistant":
                await line.send(b"HTTP/1.1 400 No\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
            else:
                await line.send(stream("b"))

    async with Upstream(once(broken(), then="fin")) as first, Upstream(picky) as second:
        config = recovering(first.base_url, second.base_url, prefill="assistant", recover=("continue", "restart"))
        async with Hosted(config) as hosted:
            assert_one_answer(await ask(hosted))
            assert len(second.requests) == 2


async def test_thought_that_broke_before_any_text_and_a_format_are_not_continued() -> None:
    thought = stream_head() + event("a", {"role": "assistant", "reasoning_content": "Let me"})
    whole = (
        stream_head()
        + event("b", {"reasoning_content": "Let me think"})
        + event("b", {"content": TEXT})
        + event("b", {}, "stop")
        + DONE
        + END
    )
    async with Upstream(once(thought, then="fin")) as first, Upstream(once(whole)) as second:
        config = recovering(first.base_url, second.base_url, prefill="prefix", recover=("continue", "restart"))
        async with Hosted(config) as hosted:
            assert text_of(await ask(hosted)) == TEXT
            assert b"prefix" not in second.requests[0]
    async with Upstream(once(broken(), then="fin")) as first, Upstream(once(stream("b"))) as second:
        config = recovering(first.base_url, second.base_url, prefill="prefix", recover=("continue", "restart"))
        async with Hosted(config) as hosted:
            assert_one_answer(await ask(hosted, response_format={"type": "json_object"}))
            assert b"prefix" not in second.requests[0]


async def test_headers_travel_with_a_continuation_but_not_the_name_of_another_execution() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(continuing(last_message, [])) as second,
        Hosted(recovering(first.base_url, second.base_url, prefill="prefix", recover=("continue",))) as hosted,
    ):
        peer = await hosted.peer()
        await peer.ask(chat("m", "hi", "traceparent: 00-1-2-03", "idempotency-key: k", stream=True))

        assert b"idempotency-key: k\r\n" in first.requests[0]
        assert b"traceparent: 00-1-2-03\r\n" in second.requests[0]
        assert b"idempotency-key" not in second.requests[0]


# Money, time, clients.


async def test_the_client_sees_the_usage_of_both_and_its_key_pays_for_what_was_delivered() -> None:
    async def script(line: Line) -> None:
        body = await asked(line)
        assert body["stream_options"] == {"include_usage": True}
        await line.send(stream_head() + b"".join(words("b", TEXT[15:])) + usage("b", 10, 6) + DONE + END)
        await line.gone()

    for recover in (("continue",), ("restart",)):
        whole = script if recover == ("continue",) else once(stream_head() + b"".join(words("b", TEXT)) + usage("b", 10, 6) + DONE + END)
        async with Upstream(once(broken(), then="fin")) as first, Upstream(whole) as second:
            config = recovering(first.base_url, second.base_url, prefill="prefix", recover=recover, keys=[])
            async with Hosted(config) as hosted:
                reply = await ask(hosted, stream_options={"include_usage": True})

                [told] = [event["usage"] for event in events_of(reply.body) if event != "[DONE]" and event.get("usage")]
                call = hosted.reports[0][0]
                before = len(TEXT[:15].encode()) // 4  # what was told before the break, by estimate
                assert told["completion_tokens"] == 6 + before
                assert told["prompt_tokens"] == 10 + call.tokens_in
                assert told["total_tokens"] == told["completion_tokens"] + told["prompt_tokens"]
                assert call.usage[:2] == ((10 - before, 6 + before) if recover == ("continue",) else (10, 6))
                # The sum is an estimate in the part that broke; what the key pays only where it was gone on with.
                assert b"\n: x-dispatch-estimated: true\n" in reply.body
                assert call.is_estimated is (recover == ("continue",))


async def test_usage_that_was_not_asked_for_is_not_shown() -> None:
    whole = once(stream_head() + b"".join(words("b", TEXT)) + usage("b", 10, 6) + DONE + END)
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(whole) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await ask(hosted)

        assert_one_answer(reply)
        assert b"usage" not in reply.body
        assert b"estimated" not in reply.body
        assert hosted.reports[0][0].usage[:2] == (10, 6)


async def test_the_deadline_holds_over_all_of_it() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(part(b"")) as second,
        Hosted(recovering(first.base_url, second.base_url, deadline_s=0.5)) as hosted,
    ):
        before = monotonic()
        reply = await ask(hosted)

        assert events_of(reply.body)[-1]["error"]["code"] == "deadline_exceeded"
        assert not reply.is_whole
        assert monotonic() - before < 5.5
        await second.until(lambda: second.left == 1)


async def test_a_client_that_leaves_amid_a_takeover_ends_it_upstream() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(part(stream_head() + words("b", TEXT)[1])) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        await second.until(lambda: second.requests)
        peer.sock.close()

        await second.until(lambda: second.left == 1)
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})
        assert hosted.attempts("b") == {Failure.CANCELLED: 1}


async def test_a_client_waits_awake_while_another_answer_comes_up_with_it() -> None:
    async def slow(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + words("b", TEXT)[1])
        await until(lambda: waited)
        await line.send(b"".join(words("b", TEXT)[2:]) + DONE + END)
        await line.gone()

    waited: list[bytes] = []
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(slow) as second,
        Hosted(recovering(first.base_url, second.base_url, server={"keepalive_s": 0.2})) as hosted,
    ):
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        waited.append(await peer.until(b": waiting\n\n"))
        reply = await peer.reply()

        assert_one_answer(reply)


async def test_a_slow_client_pauses_whoever_gives_its_stream() -> None:
    text = "x" * 3_000_000
    first_part = b"".join(words("a", text[:1000], 1000)[:2])

    async def long(line: Line) -> None:
        await line.request()
        await line.send(stream_head())
        for one in words("b", text, 1000):
            await line.send(one)
        await line.send(DONE + END)
        await line.gone()

    async with (
        Upstream(once(stream_head() + first_part, then="fin")) as first,
        Upstream(long) as second,
        Hosted(recovering(first.base_url, second.base_url, stall_s=0.3)) as hosted,
    ):
        peer = await hosted.peer(receive_bytes=4096)
        await peer.send(chat(stream=True))
        await until(lambda: any(client.paused_ns for client in hosted.front.connections))
        [client] = hosted.front.connections
        paused_at = monotonic()
        # Longer than the stall limit: time is what is tested.
        await until(lambda: monotonic() - paused_at > 1.0)
        assert client.transport.get_write_buffer_size() < 1_000_000
        reply = await peer.reply()

        assert_one_answer(reply, text)


async def test_http_1_0_clients_are_served_the_same() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await (await hosted.peer()).ask(chat(stream=True, version="1.0"))

        assert_one_answer(reply)


async def test_text_completions_are_taken_over_as_well() -> None:
    def texts(who: str, *parts: str) -> bytes:
        events = [
            {"id": who, "object": "text_completion", "choices": [{"index": 0, "text": part, "finish_reason": None}]} for part in parts
        ]
        return b"".join(chunk(b"data: " + json.dumps(one).encode() + b"\n\n") for one in events)

    stop = chunk(b'data: {"id":"b","choices":[{"index":0,"text":"","finish_reason":"stop"}]}\n\n')
    async with (
        Upstream(once(stream_head() + texts("a", "one ", "two "), then="fin")) as first,
        Upstream(once(stream_head() + texts("b", "one two", " three") + stop + DONE + END)) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await (await hosted.peer()).ask(post(b'{"model":"m","prompt":"count","stream":true}', path="/v1/completions"))

        assert "".join(event["choices"][0]["text"] for event in events_of(reply.body)[:-1]) == "one two three"
        assert reply.is_whole


async def test_the_library_gets_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", ENVIRON["UP_KEY"])
    for answer, is_whole in (("", False), (TEXT, True)):
        async with (
            Upstream(once(broken(), then="fin")) as first,
            Upstream(once(stream("b", answer))) as second,
            Client(build(recovering(first.base_url, second.base_url), ENVIRON)) as client,
        ):
            got = []
            try:
                async for delta in client.stream("m", "hi"):
                    got.append(delta.text)  # noqa: PERF401  # what came before the error counts, too
            except UpstreamError:
                assert not is_whole
            else:
                assert is_whole
            assert "".join(got) == (TEXT if is_whole else TEXT[:15])


# Recovery and holding together.


async def test_a_stream_that_is_held_for_some_tokens_is_taken_over_after_them() -> None:
    async with Upstream(once(broken("a", 6), then="fin")) as first, Upstream(once(stream("b"))) as second:
        async with Hosted(recovering(first.base_url, second.base_url, commit={"after_tokens": 2})) as hosted:
            assert_one_answer(await ask(hosted))
        async with Hosted(recovering(first.base_url, second.base_url, commit={"after_tokens": 50})) as hosted:
            reply = await ask(hosted)

            assert text_of(reply) == TEXT
            assert b"x-dispatch-recovered" not in reply.body
            assert {event["id"] for event in events_of(reply.body)[:-1]} == {"id-b"}
