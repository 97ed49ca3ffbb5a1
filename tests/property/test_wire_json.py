"""The scan of a body says what `json.loads` says, and a splice changes what it should and nothing else."""

from __future__ import annotations

import json
from typing import Any

from dispatch.wire.http1 import INCLUDE_USAGE_TRUE, BodyError, Scan, read_answer
from hypothesis import given
from hypothesis import strategies as st

text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=10)
options = st.fixed_dictionaries({}, optional={"include_usage": st.none() | st.booleans(), "include_obfuscation": st.booleans()})


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A request's body, its keys in any order, escaped or not, with any white space."""
    members: dict[str, Any] = draw(st.dictionaries(text, values, max_size=3)) | {"model": draw(text)}
    members |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "stream": st.booleans() | st.none(),
                "stream_options": options | st.none(),
                "max_tokens": st.integers(0, 10**6) | st.none(),
                "user": text,
                "messages": st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": text}), max_size=3),
            },
        )
    )
    shuffled = dict(draw(st.permutations(list(members.items()))))
    encoded = json.dumps(shuffled, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 0, 2])))
    if draw(st.booleans()):
        encoded = encoded.replace('"model"', '"\\u006dod\\u0065l"').replace('"stream"', '"str\\u0065am"')
    return encoded.encode()


def scanned(body: bytes) -> Scan | BodyError:
    try:
        return Scan(body)
    except BodyError as error:
        return error


@given(bodies())
def test_what_is_routed_is_what_was_sent(body: bytes) -> None:
    sent = json.loads(body)
    scan = Scan(body)

    assert scan.model == sent["model"]
    assert scan.stream == bool(sent.get("stream"))
    assert scan.max_tokens == (sent.get("max_tokens") or 0)
    assert bool(scan.affinity) == bool(sent.get("user"))
    assert bool(scan.flags & INCLUDE_USAGE_TRUE) == ((sent.get("stream_options") or {}).get("include_usage") is True)


@given(bodies(), text, st.booleans())
def test_a_splice_changes_what_it_should_and_nothing_else(body: bytes, model: str, inject: bool) -> None:
    sent = json.loads(body)

    changed = json.loads(Scan(body).body(json.dumps(model).encode(), inject))

    expected = sent | {"model": model}
    if inject and sent.get("stream"):
        expected["stream_options"] = (sent.get("stream_options") or {}) | {"include_usage": True}
    assert changed == expected
    assert Scan(body).body(b"", False) == body


@given(bodies())
def test_the_prompt_weighs_what_its_text_does(body: bytes) -> None:
    messages = json.loads(body).get("messages", [])
    text_bytes = Scan(body).text_bytes

    plain = sum(len(message["content"].encode()) for message in messages)
    # Text is counted as written: an escape takes up to six bytes where the character takes one.
    assert plain <= text_bytes <= 6 * plain


@given(st.binary() | st.text().map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_are_refused_or_read_as_json_is(body: bytes) -> None:
    is_json, _ = read_answer(body)

    if is_json:
        json.loads(body)
    assert isinstance(scanned(body), BodyError)


@given(values, st.data())
def test_json_with_a_byte_changed_is_judged_as_python_judges_it(value: object, data: st.DataObject) -> None:
    body = bytearray(json.dumps(value).encode())
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] = data.draw(st.integers(0x20, 0x7E))

    assert read_answer(bytes(body))[0] == is_json(bytes(body))


def is_json(body: bytes) -> bool:
    """What RFC 8259 says of `body`: Python's parser takes three words too many."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        json.loads(body.decode(), parse_constant=refuse)
    except ValueError:
        return False
    return True


@given(values)
def test_what_python_writes_is_taken(value: object) -> None:
    assert read_answer(json.dumps(value).encode())[0]
    assert read_answer(json.dumps(value, ensure_ascii=False).encode())[0]
