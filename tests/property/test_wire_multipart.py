"""Laws of forms: what is written is found, only the model's name ever changes, and no bytes do more than be refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from dispatch.wire.http1 import BodyError
from dispatch.wire.multipart import Form, boundary_of
from dispatch.wire.rope import Rope
from hypothesis import assume, given
from hypothesis import strategies as st

BOUNDARY = b"xYz"
NAMES = st.text(st.sampled_from("abcdefgh[]_"), min_size=1, max_size=8).filter(lambda name: name not in {"model", "stream", "user"})
CONTENT = st.binary(max_size=60) | st.sampled_from([b"--xYz", b"\r\n--xY", b'\r\nContent-Disposition: form-data; name="model"\r\n\r\nx'])


def part(name: str, content: bytes, more: bytes = b"") -> bytes:
    return b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (BOUNDARY, name.encode(), more, content)


@given(
    before=st.lists(st.tuples(NAMES, CONTENT), max_size=4),
    after=st.lists(st.tuples(NAMES, CONTENT), max_size=4),
    model=st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=20),
    other=st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=20),
    size=st.integers(1, 200),
)
def test_the_model_is_found_and_nothing_else_changes(
    before: list[tuple[str, bytes]], after: list[tuple[str, bytes]], model: str, other: str, size: int
) -> None:
    assume(not any(b"\r\n--" + BOUNDARY in b"\r\n" + content for _, content in (*before, *after)))
    head = b"".join(part(name, content, b'; filename="; name=model"') for name, content in before)
    tail = b"".join(part(name, content) for name, content in after) + b"--" + BOUNDARY + b"--\r\n"
    body = head + part("model", model.encode()) + tail
    form = Form(Rope([body[at : at + size] for at in range(0, len(body), size)]), BOUNDARY)

    assert form.model == model
    assert b"".join(form.renamed(other)) == head + part("model", other.encode()) + tail
    assert b"".join(form.renamed(model)) == body


@given(
    body=st.binary(max_size=200)
    | st.lists(st.sampled_from([b"--xYz", b"--xYz--", b"\r\n", b"\r\n\r\n", part("model", b"m")])).map(b"".join)
)
def test_no_bytes_do_more_than_be_refused(body: bytes) -> None:
    code = "none"
    try:
        assert Form(body, BOUNDARY).model
    except BodyError as error:
        code = error.code

    assert code in {"none", "invalid_request", "missing_parameter", "duplicate_parameter"}


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'multipart/form-data; charset=utf-8; Boundary="a b"; x=y', b"a b"),
        (b"multipart/form-data", b""),
        (b"multipart/form-data; boundary=" + b"x" * 71, b""),
    ],
)
def test_a_boundary_is_read(kind: bytes, boundary: bytes) -> None:
    assert boundary_of(kind) == boundary


def test_a_form_without_a_boundary_is_refused() -> None:
    with pytest.raises(BodyError):
        Form(b"--\r\n\r\n----", b"")


@given(
    body=st.lists(st.sampled_from([b"a", b"b", b"ab"]), max_size=40).map(b"".join),
    what=st.text("ab", min_size=1, max_size=5),
    data=st.data(),
)
def test_pieces_are_searched_as_if_they_were_one(body: bytes, what: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    rope = Rope([body[start:end] for start, end in pairwise([0, *cuts, len(body)])])
    start, end = (data.draw(st.integers(0, len(body) + 1)) for _ in range(2))
    sought = what.encode()

    assert rope.find(sought, start) == body.find(sought, start)
    assert rope.find(sought, start, end) == body.find(sought, start, end)
    assert rope.slice(start, end) == body[start:end]
    assert rope.startswith(sought, start) == body.startswith(sought, start)
