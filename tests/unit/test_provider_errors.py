"""What providers make of an answer: its failure, and what its error says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from dispatch.errors import Failure
from dispatch.providers.classify import classify, describe


def error(message: str = "(text)", **fields: Any) -> bytes:
    return json.dumps({"error": {"message": message, **fields}}).encode()


JSON = b"application/json"
HTML = b"text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("status", "content_type", "body", "failure"),
    [
        (200, JSON, b'{"id": "x", "choices": []}', Failure.NONE),
        (200, JSON, b"", Failure.MALFORMED),
        (200, JSON, b"hello", Failure.MALFORMED),
        (200, JSON, b'{"id": ', Failure.MALFORMED),
        (200, b"audio/mpeg", b"\xff\xfb", Failure.NONE),
        (200, HTML, b"<html>Sign in</html>", Failure.MALFORMED),
        (200, b"", b"<!DOCTYPE html>", Failure.MALFORMED),
        (200, JSON, error(code=502), Failure.SERVER),
        (200, JSON, error(code=429), Failure.RATE_LIMITED),
        (200, JSON, error(type="overloaded_error"), Failure.OVERLOADED),
        (200, JSON, b'{"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}', Failure.RATE_LIMITED),
        (200, JSON, b'[{"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}]', Failure.OVERLOADED),
        (200, JSON, b'{"error": null, "choices": []}', Failure.NONE),
        (103, b"", b"", Failure.MALFORMED),
        (302, b"", b"", Failure.MALFORMED),
        (400, JSON, error(), Failure.BAD_REQUEST),
        (400, JSON, error(code="context_length_exceeded"), Failure.CONTEXT_LENGTH),
        (
            400,
            JSON,
            error("This model's maximum context length is 2048 tokens. However, ...", type="BadRequestError"),
            Failure.CONTEXT_LENGTH,
        ),
        (400, JSON, error("prompt is too long: 210000 tokens > 200000 maximum", type="invalid_request_error"), Failure.CONTEXT_LENGTH),
        (
            400,
            JSON,
            error("the request exceeds the available context size", type="exceed_context_size_error", code=400),
            Failure.CONTEXT_LENGTH,
        ),
        (400, JSON, error(code="content_filter"), Failure.CONTENT_FILTER),
        (400, JSON, error(code=None, innererror={"code": "ResponsibleAIPolicyViolation"}), Failure.CONTENT_FILTER),
        (400, JSON, error("Your credit balance is too low to use this", type="invalid_request_error"), Failure.QUOTA_EXHAUSTED),
        (400, HTML, b"<html>400</html>", Failure.MALFORMED),
        (401, JSON, error(code="invalid_api_key"), Failure.CREDENTIAL),
        (401, b"", b"", Failure.CREDENTIAL),
        (402, JSON, error("Insufficient Balance"), Failure.CREDENTIAL),
        (403, HTML, b"<html>403</html>", Failure.CREDENTIAL),
        (403, JSON, error("your input was flagged", code=403), Failure.CONTENT_FILTER),
        (404, JSON, error(), Failure.BAD_REQUEST),
        (404, JSON, error(code="model_not_found"), Failure.CREDENTIAL),
        (404, JSON, error(code="DeploymentNotFound"), Failure.CREDENTIAL),
        (404, HTML, b"<html>nginx</html>", Failure.MALFORMED),
        (408, JSON, error(), Failure.SERVER),
        (409, JSON, error(), Failure.BAD_REQUEST),
        (413, JSON, error(), Failure.BAD_REQUEST),
        (413, HTML, b"<html>", Failure.BAD_REQUEST),
        (413, JSON, error("Request too large for model", code="rate_limit_exceeded"), Failure.CONTEXT_LENGTH),
        (422, JSON, b'{"detail": [{"loc": ["body"], "msg": "field required"}]}', Failure.BAD_REQUEST),
        (429, JSON, error(code="rate_limit_exceeded", type="tokens"), Failure.RATE_LIMITED),
        (429, JSON, error("Request too large for gpt-4o on tokens per min", code="rate_limit_exceeded"), Failure.CONTEXT_LENGTH),
        (429, JSON, error(code="insufficient_quota"), Failure.QUOTA_EXHAUSTED),
        (429, JSON, error(type="insufficient_quota"), Failure.QUOTA_EXHAUSTED),
        (429, JSON, error("You exceeded your current quota", status="RESOURCE_EXHAUSTED", code=429), Failure.RATE_LIMITED),
        (429, HTML, b"<html>", Failure.RATE_LIMITED),
        (429, b"", b"", Failure.RATE_LIMITED),
        (500, JSON, error(), Failure.SERVER),
        (500, JSON, error(type="overloaded_error"), Failure.OVERLOADED),
        (500, b"text/plain", b"Internal Server Error", Failure.SERVER),
        (502, HTML, b"<html>502 Bad Gateway</html>", Failure.SERVER),
        (503, HTML, b"<html>", Failure.OVERLOADED),
        (504, b"", b"", Failure.SERVER),
        (524, HTML, b"<html>", Failure.SERVER),
        (529, JSON, b'{"type": "error", "error": {"type": "overloaded_error", "message": "x"}}', Failure.OVERLOADED),
    ],
)
def test_what_an_answer_means(status: int, content_type: bytes, body: bytes, failure: Failure) -> None:
    assert classify(status, content_type, body) is failure


SHAPES = {
    "anthropic-529": Failure.OVERLOADED,
    "openai-429-quota": Failure.QUOTA_EXHAUSTED,
    "azure-400-content-filter": Failure.CONTENT_FILTER,
    "gemini-503": Failure.OVERLOADED,
    "openrouter-error-chunk": Failure.SERVER,
    "compat-error-line-then-eof": Failure.SERVER,
    "mistral-429": Failure.RATE_LIMITED,
    "openrouter-429": Failure.RATE_LIMITED,
    "transformers-serve-detail": Failure.BAD_REQUEST,
    "plain-text-500": Failure.SERVER,
    "vllm-anthropic-404": Failure.BAD_REQUEST,
    "llama-cpp-python-500-for-bad-input": Failure.SERVER,
}


@pytest.mark.skipif("DISPATCH_WIRE_DIR" not in os.environ, reason="recorded traffic is not here")
def test_the_recorded_error_shapes_are_told_apart() -> None:
    recorded = json.loads((Path(os.environ["DISPATCH_WIRE_DIR"]) / "error_shapes.json").read_text())["shapes"]
    found = {}
    for shape in recorded:
        body = shape.get("body", shape.get("body_event", shape.get("body_text")))
        if isinstance(body, str) and "body_text" not in shape:
            continue
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        if shape["id"] in SHAPES:
            found[shape["id"]] = classify(shape["status"], shape.get("content_type", "application/json").encode(), data)

    assert found == SHAPES


@pytest.mark.skipif("DISPATCH_WIRE_DIR" not in os.environ, reason="recorded traffic is not here")
def test_no_recorded_answer_is_taken_for_its_opposite() -> None:
    folder = Path(os.environ["DISPATCH_WIRE_DIR"])
    for line in (folder / "index.jsonl").read_text().splitlines():
        response = json.loads((folder / json.loads(line)["file"]).read_text())["response"]
        body = response.get("body")
        if body is None or not isinstance(response.get("status"), int):
            continue
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        verdict = classify(response["status"], str(response.get("content_type") or "").encode(), data)
        if response["status"] >= 400:
            assert verdict is not Failure.NONE, line


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (error("m", code="c"), "m", "c"),
        (error("m", code=429), "m", "429"),
        (b'{"object": "error", "message": "m", "type": "rate_limited", "code": "1300"}', "m", "1300"),
        (b'{"message": "m"}', "m", ""),
        (b'{"detail": "m"}', "m", ""),
        (b'{"detail": [{"msg": "m"}]}', '[{"msg":"m"}]', ""),
        (b'{"error": "m"}', "m", ""),
        (b'[{"error": {"message": "m"}}]', "m", ""),
        (b"Internal Server Error\n", "Internal Server Error", ""),
        (b"<html>secret</html>", "", ""),
        (b"\xff\xfe", "\ufffd\ufffd", ""),
        (b"", "", ""),
        (b"[]", "", ""),
        (b"null", "", ""),
        (b"[" * 5000, "[" * 2000, ""),
        (b"x" * 1_000_000, "", ""),
    ],
)
def test_an_error_is_read_in_every_envelope(body: bytes, message: str, code: str) -> None:
    assert (describe(body).message, describe(body).code) == (message, code)
