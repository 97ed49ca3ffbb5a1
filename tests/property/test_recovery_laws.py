"""A stream cut anywhere, and whoever takes it over: the client reads one undisturbed answer, or an error, never a clean end of half of one.

Everything is played over sockets; what varies is the byte at which the first endpoint ends, how it ends, how its text is cut into events,
and what the second one says.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from dispatch.errors import Failure
from dispatch.wire import sse
from dispatch.wire.sse import Told
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.hosted import Hosted
from tests.integration.peer import Reply, chat, events_of
from tests.integration.recovering import DONE, END, asked, assert_one_answer, last_message, recovering, stream, tools, words
from tests.integration.test_stream_failures import text_of
from tests.integration.upstream import Line, Upstream, chunk, stream_head

if TYPE_CHECKING:
    from tests.integration.upstream import Script

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
ERROR = chunk(b'data: {"error":{"message":"overloaded","type":"server_error","code":503}}\n\n')
STALL_S = 0.3
"""Of who falls silent, and of who takes over: a pause of the machine between two events may not be as long."""


def breaks(data: bytes, end: str) -> Script:
    """Say `data`, then end that way."""

    async def script(line: Line) -> None:
        await line.request()
        await line.send(data)
        if end == "rst":
            line.reset()
        elif end == "stall":
            await line.gone()

    return script


def answers(text: str, mode: str, size: int) -> Script:
    """What takes over: the same again, another text, a shorter one, or the rest."""

    async def script(line: Line) -> None:
        body = await asked(line)
        begun = last_message(body) if body["messages"][-1]["role"] == "assistant" else ""
        assert text.startswith(begun)
        said = {"equal": text, "continue": text[len(begun) :], "other": "\x00" + text, "shorter": text[: len(text) // 2]}[mode]
        await line.send(stream("b", said, size))
        await line.gone()

    return script


async def play(first: Script, second: Script, **model: Any) -> tuple[Reply, set[Failure]]:
    async with (
        Upstream(first) as a,
        Upstream(second) as b,
        Hosted(recovering(a.base_url, b.base_url, stall_s=STALL_S, first_token_s=STALL_S, **model)) as hosted,
    ):
        peer = await hosted.peer()
        return await peer.ask(chat(stream=True)), set(hosted.outcomes())


def assert_error(reply: Reply, text: str, outcomes: set[Failure]) -> None:
    if reply.headers["content-type"].startswith("application/json"):
        assert reply.code == (502, "upstream_error")
    else:
        assert text.startswith(text_of(reply))
        assert events_of(reply.body)[-1]["error"]["code"] == "upstream_error"
        assert b"[DONE]" not in reply.body
        assert not reply.is_whole
    assert Failure.NONE not in outcomes


@settings(max_examples=40)
@given(st.data(), TEXTS, st.integers(1, 9), st.integers(1, 9), st.sampled_from(["fin", "rst", "stall", "error"]))
def test_a_stream_cut_at_any_byte_reads_as_if_it_had_not_been(data: st.DataObject, text: str, size: int, other: int, end: str) -> None:
    whole = b"".join(words("a", text, size)) + DONE + END
    cut = data.draw(st.integers(0, len(whole)))
    mode = data.draw(st.sampled_from(["equal", "continue"]))
    # An error is an event: it comes between two of them.
    part = whole[: whole.rfind(b"\n\n\r\n", 0, cut) + 4 if end == "error" and b"\n\n\r\n" in whole[:cut] else 0 if end == "error" else cut]
    first = breaks(stream_head() + part + (ERROR if end == "error" else b""), end)
    model: dict[str, Any] = {"prefill": "continue_final_message", "recover": ("continue",)} if mode == "continue" else {}

    reply, outcomes = asyncio.run(play(first, answers(text, mode, other), **model))

    events = [one for one in events_of(reply.body) if isinstance(one, dict)]
    assert outcomes == {Failure.NONE}
    assert text_of(reply) == text
    assert reply.is_whole
    assert len({one["id"] for one in events}) == 1
    if events[0]["id"] == "id-a" and "[DONE]" in events_of(reply.body):
        assert_one_answer(reply, text)


@settings(max_examples=40)
@given(st.data(), TEXTS, st.integers(1, 9), st.sampled_from(["other", "shorter"]), st.sampled_from(["fin", "rst", "stall"]))
def test_an_answer_that_is_not_the_same_never_ends_half_of_another(data: st.DataObject, text: str, size: int, mode: str, end: str) -> None:
    whole = b"".join(words("a", text, size)) + DONE + END
    cut = data.draw(st.integers(0, len(whole)))

    reply, outcomes = asyncio.run(play(breaks(stream_head() + whole[:cut], end), answers(text, mode, 4)))

    if outcomes != {Failure.NONE}:
        assert_error(reply, text, outcomes)
        return
    said = {"other": "\x00" + text, "shorter": text[: len(text) // 2]}[mode]
    owner = {one["id"] for one in events_of(reply.body) if isinstance(one, dict)}
    assert reply.is_whole
    if owner == {"id-b"}:
        # Nothing of the first had been delivered.
        assert text_of(reply) == said
    else:
        # The first had said all, or the second begins with what it had said.
        assert text_of(reply) in {text, said}
        assert text_of(reply) == text or said.startswith(text_of(reply))


@settings(max_examples=25)
@given(st.data(), st.booleans(), st.sampled_from(["fin", "rst"]))
def test_a_tool_call_cut_at_any_byte_is_whole_or_an_error(data: st.DataObject, same: bool, end: str) -> None:
    whole = b"".join(tools("a")) + DONE + END
    cut = data.draw(st.integers(0, len(whole)))
    again = stream_head() + b"".join(tools("b", "f" if same else "h")) + DONE + END

    reply, outcomes = asyncio.run(play(breaks(stream_head() + whole[:cut], end), breaks(again, "stall")))

    if outcomes != {Failure.NONE}:
        assert not same
        assert not reply.is_whole
        return
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for one in events_of(reply.body):
        for call in one["choices"][0]["delta"].get("tool_calls") or () if isinstance(one, dict) else ():
            names[call["index"]] = names.get(call["index"], "") + (call["function"].get("name") or "")
            arguments[call["index"]] = arguments.get(call["index"], "") + call["function"]["arguments"]
    assert reply.is_whole
    assert names in ({0: "f", 1: "g"}, {0: "h", 1: "g"})
    assert [json.loads(arguments[index]) for index in (0, 1)] == [{"city": "Zürich"}, {"n": 1}]


@settings(max_examples=25)
@given(st.data(), TEXTS, st.integers(1, 9), st.sampled_from(["whole", {"after_tokens": 3}]), st.sampled_from(["fin", "rst", "stall"]))
def test_a_held_stream_cut_at_any_byte_is_another_ones_or_whole(data: st.DataObject, text: str, size: int, commit: Any, end: str) -> None:
    whole = b"".join(words("a", text, size)) + DONE + END
    cut = data.draw(st.integers(0, len(whole)))

    reply, outcomes = asyncio.run(play(breaks(stream_head() + whole[:cut], end), answers(text, "equal", 5), commit=commit, recover=()))

    if outcomes == {Failure.NONE}:
        assert reply.is_whole
        assert text_of(reply) == text
    else:
        assert commit != "whole"
        assert_error(reply, text, outcomes)


def plain(who: str, text: str, size: int) -> list[bytes]:
    """The events of an answer without the framing of HTTP."""
    return [part.partition(b"\r\n")[2].removesuffix(b"\r\n") for part in words(who, text, size)]


@given(TEXTS, st.integers(1, 9), st.integers(1, 9), st.data())
def test_what_is_passed_on_of_the_same_answer_is_what_was_missing(text: str, size: int, other: int, data: st.DataObject) -> None:
    told = Told(sse.CHAT, 10_000)
    first = plain("a", text, size)
    before = first[: data.draw(st.integers(1, len(first) - 1))]
    out = [told.take(part) for part in before]
    sent = data.draw(
        st.none() | st.integers(0, len(told.content)).filter(lambda at: told.content[:at].decode(errors="replace").find("\ufffd") < 0)
    )
    if sent is None:
        told.restart(0, 0)
        after = plain("b", text, other)
    else:
        told.resume(sent, 0, 0)
        after = plain("b", text.encode()[sent:].decode(), other)
    out += [told.take(part) for part in after]

    deltas = [one["choices"][0]["delta"].get("content") or "" for one in events_of(b"".join(out))]
    assert "".join(deltas) == text == told.content.decode()
    assert told.is_aligned
    assert not told.has_diverged


NOISE = st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b'{"choices":[', b'"delta":{"content":"', b"\\ud83d", b'"}]}', b"\r"])


@given(st.lists(st.sampled_from(plain("a", "noise", 2)) | NOISE, max_size=12), st.sampled_from([sse.CHAT, sse.RESPONSES, sse.ANTHROPIC]))
def test_noise_is_read_without_a_fault(parts: list[bytes], dialect: int) -> None:
    told = Told(dialect, 100)
    assert told.take(b"".join(parts)) == b"".join(parts)
    told.restart(1, 1)
    told.take(b"".join(parts))
    told.resume(3, 1, 1)
    told.take(b"".join(parts))
    assert told.size <= 100
