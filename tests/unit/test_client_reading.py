"""Streams of events read into deltas, and a sidecar's errors read back into classes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from dispatch import errors
from dispatch.client.reading import DeltaReader, read_answer, read_object, read_vectors
from dispatch.client.told import from_answer, from_event
from hypothesis import given
from hypothesis import strategies as st


def event(index: int = 0, text: str = "", finish: str | None = None, end: bytes = b"\n\n", **more: Any) -> bytes:
    chunk = {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}], **more}
    return b"data: " + msgspec.json.encode(chunk) + end


STREAM = (
    b": hello\n\n"
    + event(role="assistant")
    + event(text="a")
    + event(text='an "error" \u00e9', end=b"\r\n\r\n")
    + b'event: x\ndata: {"choices": [],\ndata: "usage": {"completion_tokens": 2}}\n\n'
    + event(finish="stop")
    + b"data: [DONE]\n\n"
)


def read(*pieces: bytes) -> list[tuple[str, str, int]]:
    reader = DeltaReader()
    deltas = [delta for piece in pieces for delta in reader.feed(piece)]
    deltas += reader.finish()
    return [(delta.text, delta.finish_reason, delta.usage.output_tokens if delta.usage else 0) for delta in deltas]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_where_the_network_cuts_does_not_matter(cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(STREAM)]

    assert read(*(STREAM[a:b] for a, b in pairwise(at))) == [
        ("a", "", 0),
        ('an "error" é', "", 0),
        ("", "", 2),
        ("", "stop", 0),
    ]


@pytest.mark.parametrize(
    "cut",
    [event(text="a"), event(text="a") + event(1, "b") + event(finish="stop"), b"", event(text="a") + b"data: [DONE]"],
    ids=["no finish", "one choice of two", "nothing", "half an event"],
)
def test_a_stream_that_ends_early_is_an_error(cut: bytes) -> None:
    with pytest.raises(errors.UpstreamError) as caught:
        read(cut)

    assert caught.value.failure is errors.Failure.BROKEN


def test_every_choice_that_finished_makes_a_whole_answer_without_a_terminator() -> None:
    assert len(read(event(text="a") + event(1, "b") + event(1, finish="stop") + event(0, finish="length"))) == 4


def test_a_refusal_is_said_in_the_stream_too() -> None:
    refused = b'data: {"choices": [{"index": 0, "delta": {"refusal": "I will not"}, "finish_reason": null}]}\n\n'

    assert [delta.refusal for delta in DeltaReader().feed(event() + refused)] == ["I will not"]


def test_what_is_no_chunk_is_an_error() -> None:
    with pytest.raises(errors.UpstreamError, match="no chunk"):
        read(b"data: nonsense\n\n")
    with pytest.raises(errors.UpstreamError, match="no chat completion"):
        read(b'{"choices": [')
    with pytest.raises(errors.UpstreamError, match="no chat completion"):
        read_answer(b'{"object": "list"}', "east", 1)
    with pytest.raises(errors.UpstreamError, match="no vectors"):
        read_vectors(b"{}", "east")
    with pytest.raises(errors.UpstreamError, match="no JSON object"):
        read_object(b"<html>", "east")


def test_an_error_event_is_raised_as_what_it_says() -> None:
    late = b'{"error": {"message": "too late", "type": "server_error", "code": "deadline_exceeded"}}'

    with pytest.raises(errors.DeadlineExceeded, match="too late"):
        read(event(text="a") + b"data: " + late + b"\n\n")
    overloaded = from_event(b'{"error": {"message": "busy", "type": "overloaded_error"}}')
    assert isinstance(overloaded, errors.UpstreamError)
    assert overloaded.failure is errors.Failure.OVERLOADED
    assert isinstance(from_event(b'{"error": "plain words"}'), errors.UpstreamError)
    assert from_event(b'{"choices": [], "error": null}') is None
    assert from_event(b'"error"') is None


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "invalid_api_key", errors.InvalidKey),
        (403, "model_not_allowed", errors.ModelNotAllowed),
        (404, "model_not_found", errors.ModelNotFound),
        (413, "request_too_large", errors.BadRequest),
        (429, "rate_limit_exceeded", errors.Overloaded),
        (503, "no_endpoint_available", errors.NoEndpoint),
        (503, "draining", errors.Draining),
        (504, "deadline_exceeded", errors.DeadlineExceeded),
    ],
)
def test_a_refusal_of_the_sidecar_is_the_class_that_it_was_there(status: int, code: str, kind: type[errors.DispatchError]) -> None:
    raw = msgspec.json.encode({"error": {"message": "why", "type": "t", "param": "model", "code": code}})

    error = from_answer(status, {"retry-after-ms": "1500", "x-should-retry": "true"}, raw)

    assert type(error) is kind
    assert (error.status, error.code, error.message, error.param, error.should_retry) == (status, code, "why", "model", True)
    assert error.retry_after_s == (None if kind is errors.BadRequest else 1.5)


def test_the_providers_refusal_is_not_taken_for_the_sidecars() -> None:
    raw = msgspec.json.encode({"error": {"message": "slow down", "code": "rate_limit_exceeded"}})

    error = from_answer(429, {"x-dispatch-endpoint": "east", "retry-after-ms": "20"}, raw)

    assert isinstance(error, errors.UpstreamError)
    assert (error.failure, error.endpoint, error.upstream_status) == (errors.Failure.RATE_LIMITED, "east", 429)
    assert error.retry_after_s == 0.02


@given(st.integers(400, 599), st.binary(max_size=60))
def test_whatever_answers_an_error_comes_of_it(status: int, raw: bytes) -> None:
    assert from_answer(status, {}, raw).message
