"""Streams that break, and what takes them over: the pieces that tests of recovery are made of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import Reply, chat, events_of
from tests.integration.test_stream_failures import text_of
from tests.integration.upstream import Line, chunk, stream_head

if TYPE_CHECKING:
    from collections.abc import Callable


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
