"""From one dialect to another and back: what both can say comes back equal, what one cannot is named, never lost in silence."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from itertools import pairwise, permutations
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.dialects.table import DIALECTS
from dispatch.dialects.target import Losses
from dispatch.errors import BadRequest
from dispatch.links import DIALECTS as STREAM_NUMBERS
from dispatch.server.frames import event_frame
from dispatch.translation import LineTranslator, Translator
from dispatch.wire.http1 import ResponseReader
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property import forms
from tests.property.wishes import BASES, WISHES

if TYPE_CHECKING:
    from collections.abc import Iterator

FEWER = settings(max_examples=max(10, settings().max_examples // 4))
"""There are many pairs."""
PAIRS = list(permutations([name for name in DIALECTS if name not in {"ollama_generate", "completions"}], 2))
"""All but the one whose requests are no conversations."""
EQUAL = [pair for pair in PAIRS if "ollama" not in pair]
"""Ollama's requests demand no calls, its answers have no ids and no cached tokens: what it cannot say, the wishes tell one by one."""
SIGNED = {"chat", "messages", "generate", "converse"}
"""They have a place for the signature of reasoning that they show."""


def there_and_back(request: bytes, here: str, there: str, losses: Losses) -> bytes:
    """The request of a client of `here`, as an endpoint of `there` is asked, and as it would be asked back."""
    asked = DIALECTS[there].write_request(DIALECTS[here].read_request(request), forms.target(there), losses)
    return DIALECTS[here].write_request(DIALECTS[there].read_request(asked), forms.target(here), losses)


@pytest.mark.parametrize(("here", "there"), EQUAL)
@FEWER
@given(request=forms.requests())
def test_a_request_that_both_can_say_comes_back_equal(here: str, there: str, request: Any) -> None:
    losses = Losses(drops=False)
    forms.fit(request, {here, there})
    first = DIALECTS[here].write_request(request, forms.target(here), losses)
    back = there_and_back(first, here, there, losses)

    assert forms.meant(DIALECTS[here].read_request(back)) == forms.meant(DIALECTS[here].read_request(first)) == forms.meant(request)
    assert not losses.names


@pytest.mark.parametrize(("here", "there"), EQUAL)
@FEWER
@given(data=st.data())
def test_an_answer_that_both_can_say_comes_back_equal(here: str, there: str, data: st.DataObject) -> None:
    answer = forms.fit(data.draw(forms.answers(is_signed={here, there} <= SIGNED)), {here, there})
    losses = Losses(drops=True)
    first = DIALECTS[here].write_answer(answer, 1, losses)
    over = DIALECTS[there].write_answer(DIALECTS[here].read_answer(first), 1, losses)
    back = DIALECTS[here].write_answer(DIALECTS[there].read_answer(over), 1, losses)

    assert forms.said(DIALECTS[here].read_answer(back)) == forms.said(DIALECTS[here].read_answer(first)) == forms.said(answer)
    assert not losses.names


def written(events: list[Any], dialect: str) -> bytes:
    writer = DIALECTS[dialect].writer(1, wants_usage=True)
    return b"".join(writer.write([event]) for event in events) + writer.end()


def read(data: bytes, dialect: str) -> list[Any]:
    found: list[Any] = []

    class Heard:
        def __init__(self) -> None:
            self.lost: list[str] = []

        def write(self, events: Any) -> bytes:
            found.extend(events)
            return b""

        def end(self) -> bytes:
            return b""

    kind_of(dialect)(DIALECTS[dialect].reader(), Heard()).feed(data)
    return found


def kind_of(here: str) -> type[Translator]:
    return LineTranslator if DIALECTS[here].is_lines else Translator


@pytest.mark.parametrize(("here", "there"), EQUAL)
@FEWER
@given(data=st.data())
def test_a_stream_that_both_can_say_comes_back_equal(here: str, there: str, data: st.DataObject) -> None:
    events = forms.fit(data.draw(forms.streams(is_signed={here, there} <= SIGNED)), {here, there})
    first = written(events, here)
    over = translated(first, here, there)
    back = translated(over, there, here)

    assert forms.heard(read(back, here)) == forms.heard(read(first, here)) == forms.heard(events)
    assert b"x-dispatch-dropped" not in over + back


def translated(data: bytes, here: str, there: str) -> bytes:
    translator = kind_of(here)(DIALECTS[here].reader(), DIALECTS[there].writer(1, wants_usage=True))
    return translator.feed(data) + translator.end()


SPELT_OTHERWISE = {
    "a refusal": "a text elsewhere",
    "a plain document": "a text elsewhere",
    "broken arguments": "an object that holds them, where arguments are an object",
    "a text with sources": "Bedrock's sources have all of their members",
    "a result with an image": "OpenAI's results are text: the image follows as the user's",
    "allowed tools": "the others are not told where there is no such choice; of a single one it is a demand",
    "allowed functions": "the same",
    "reasoning_effort minimal": "the nearest that there is",
    "reasoning_effort none": "the same: some models cannot do without",
    "no thinking": "the same",
    "a budget of thinking": "the effort that is nearest to it",
}
"""Wishes that mean the same in other words, which come back in those."""


@pytest.mark.parametrize(
    ("here", "there", "wish"),
    [(here, there, wish) for here, there in PAIRS if here in WISHES for wish in WISHES[here]],
)
def test_a_wish_comes_back_or_is_named(here: str, there: str, wish: str) -> None:
    body = json.dumps(BASES[here] | WISHES[here][wish]).encode()
    plain = DIALECTS[here].read_request(json.dumps(BASES[here]).encode())
    asked = DIALECTS[here].read_request(body)
    losses = Losses(drops=True)
    back = DIALECTS[here].read_request(there_and_back(body, here, there, losses))

    assert forms.meant(asked) != forms.meant(plain) or asked.extra, "the reader lost it"
    if not losses.names and wish not in SPELT_OTHERWISE:
        assert forms.meant(back) == forms.meant(asked)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def relayed(pieces: list[bytes], here: str, there: str) -> bytes:
    """What a client of `there` gets of an answer in `here` that comes in these pieces: through the core's reader and the translator."""
    reader = ResponseReader(32 << 10, 128, 1 << 20, (b"content-type",))
    reader.expect()
    translator = kind_of(here)(DIALECTS[here].reader(), DIALECTS[there].writer(1, wants_usage=True))
    out = b""
    is_begun = False
    for piece in pieces:
        if is_begun:
            out += translator.feed(reader.forward(piece))
        elif reader.feed(piece) is not None:
            is_begun = True
            reader.start_stream(False, False, STREAM_NUMBERS[here])
            out += translator.feed(reader.forward(b""))
    return out + translator.feed(reader.finish()) + translator.end()


def in_frames(body: bytes) -> bytes:
    """The events of Converse as its endpoints send them."""
    payloads = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    named = [(data[2:].partition(b'":')[0], data.partition(b":")[2][:-1]) for data in payloads]
    return b"".join(event_frame(name, payload) for name, payload in named)


@pytest.mark.parametrize(("here", "there"), [pair for pair in PAIRS if pair[0] in STREAM_NUMBERS])
@FEWER
@given(data=st.data())
def test_where_the_network_cuts_a_stream_changes_nothing(here: str, there: str, data: st.DataObject) -> None:
    body = written(data.draw(forms.streams(is_signed={here, there} <= SIGNED)), here)
    if here == "converse":
        body = in_frames(body)
    message = HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    places = [0, *sorted(data.draw(st.sets(st.integers(1, len(message) - 1), max_size=12))), len(message)]
    whole = relayed([message], here, there)

    assert whole
    assert relayed([message[begin:end] for begin, end in pairwise(places)], here, there) == whole
    assert relayed([message[at : at + 1] for at in range(len(message))], here, there) == whole


OTHERS: list[Any] = [None, True, 1, 1.5, "x", "", [], {}, [1], ["a"], [{"a": 1}], {"a": 1}, {"text": 1}]


def places(tree: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of all values within a tree."""
    if way:
        yield way
    for key, inside in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(inside, (*way, key))


def with_other(tree: Any, way: tuple[Any, ...], value: Any) -> Any:
    tree = copy.deepcopy(tree)
    inside = tree
    for key in way[:-1]:
        inside = inside[key]
    inside[way[-1]] = value
    return tree


@pytest.mark.parametrize("wish", WISHES["converse"])
def test_anything_of_another_type_in_a_request_of_converse_is_refused_or_passed_over(wish: str) -> None:
    tree = BASES["converse"] | WISHES["converse"][wish]
    for way in places(tree):
        for value in OTHERS:
            body = json.dumps(with_other(tree, way, value)).encode()
            for there in ("chat", "messages", "converse"):
                with suppress(BadRequest):
                    DIALECTS[there].write_request(DIALECTS["converse"].read_request(body), forms.target(there), Losses(drops=True))
