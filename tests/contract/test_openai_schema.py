"""OpenAI's own description of its API asks the sidecar, by schemathesis: no 5xx, no answer outside the description, streams included.

What it asks is valid, or made invalid on purpose; the endpoints behind speak OpenAI's, Anthropic's and Google's dialects.
`HYPOTHESIS_PROFILE=slow` asks a hundred times as often.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import response_schema_conformance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import Case

SPEC = json.loads((Path(__file__).parents[1] / "fixtures" / "openai" / "openapi.json").read_text())
SCHEMA = schemathesis.openapi.from_dict(SPEC)
OPERATIONS = [
    ("/chat/completions", "POST"),
    ("/completions", "POST"),
    ("/embeddings", "POST"),
    ("/models", "GET"),
    ("/models/{model}", "GET"),
]
PROVIDERS = {"chat": "openai", "messages": "anthropic", "generate": "gemini", "echo": "echo"}
FEWER = settings(
    max_examples=max(12, settings().max_examples // 4), suppress_health_check=[*HealthCheck], deadline=None, phases=[Phase.generate]
)
"""The first that fails tells enough: making it smaller takes minutes with a description of this size."""

CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hi", "refusal": None}, "finish_reason": "stop", "logprobs": None}
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
CHAT = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [CHOICE], "usage": USAGE}
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
DELTAS = [
    {"index": 0, "delta": {"role": "assistant", "content": "hi"}, "finish_reason": None},
    {"index": 0, "delta": {}, "finish_reason": "stop"},
]
MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
}
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 1, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
]
CANDIDATE = {"content": {"parts": [{"text": "hi"}], "role": "model"}, "finishReason": "STOP", "index": 0}
GENERATED = {
    "candidates": [CANDIDATE],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1},
    "modelVersion": "m",
    "responseId": "r",
}
EMBEDDED = {
    "object": "list",
    "model": "m",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
}
TEXT = {"id": "c", "object": "text_completion", "created": 1, "model": "m", "usage": USAGE}
TEXT_CHOICE = {"index": 0, "text": "hi", "finish_reason": "stop", "logprobs": None}


def events(*trees: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(tree).encode() + b"\n\n" for tree in trees)


def reply(path: str, body: dict[str, Any]) -> tuple[str, bytes]:
    """What each provider would say."""
    stream = body.get("stream") is True
    if path.endswith("/chat/completions") and stream:
        usage = [{**CHUNK, "choices": [], "usage": USAGE}] if (body.get("stream_options") or {}).get("include_usage") else []
        return "text/event-stream", events(*({**CHUNK, "choices": [one]} for one in DELTAS), *usage) + b"data: [DONE]\n\n"
    if path.endswith("/completions") and not path.endswith("/chat/completions"):
        text = {**TEXT, "choices": [TEXT_CHOICE]}
        return ("text/event-stream", events(text) + b"data: [DONE]\n\n") if stream else ("application/json", json.dumps(text).encode())
    if path.endswith("/messages") and stream:
        return "text/event-stream", b"".join(b"event: %b\n%b" % (one["type"].encode(), events(one)) for one in EVENTS)
    if path.endswith(":batchEmbedContents"):
        return "application/json", json.dumps({"embeddings": [{"values": [0.5]} for _ in body["requests"]]}).encode()
    if "streamGenerateContent" in path:
        return "text/event-stream", events(GENERATED)
    whole: dict[str, Any] = CHAT if path.endswith("/chat/completions") else EMBEDDED
    whole = MESSAGE | {"usage": {"input_tokens": 1, "output_tokens": 1}} if path.endswith("/messages") else whole
    return "application/json", json.dumps(GENERATED if ":generateContent" in path else whole).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        kind, data = reply(self.path.partition("?")[0], body)
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a sidecar in front of all of them."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as upstream:
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{upstream.server_port}"
        urls = {"openai": f"{base}/v1", "anthropic": base, "gemini": base}
        endpoints = [
            {"name": f"at-{name}", "provider": provider, "model": "m", "base_url": urls.get(provider), "api_key": "env:UP_KEY"}
            if provider in urls
            else {"name": f"at-{name}", "provider": provider}
            for name, provider in PROVIDERS.items()
        ]
        models = {name: {"endpoints": [f"at-{name}"]} for name in PROVIDERS}
        folder = tmp_path_factory.mktemp("schema")
        (folder / "dispatch.json").write_text(json.dumps({"endpoints": endpoints, "models": models}))
        command = [sys.executable, "-m", "dispatch", "serve", "--config", "dispatch.json", "--port", "0", "--workers", "1", "--log", "json"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env={"UP_KEY": "sk-x"}) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            yield "http://" + line.partition("http://")[2].split()[0].rstrip("/,")
            process.terminate()
            process.stdout.read()
        upstream.shutdown()


def with_nulls(tree: Any) -> Any:
    """The description with its `nullable` told as JSON Schema tells it: the word is of OpenAPI 3.0, and this is 3.1."""
    if isinstance(tree, list):
        return [with_nulls(one) for one in tree]
    if not isinstance(tree, dict):
        return tree
    told = {key: with_nulls(one) for key, one in tree.items() if key != "nullable"}
    return {"anyOf": [told, {"type": "null"}]} if tree.get("nullable") is True else told


CHUNKS = jsonschema_rs.validator_for(
    {"$ref": "#/components/schemas/CreateChatCompletionStreamResponse", "components": with_nulls(SPEC["components"])}
)


def judge(case: Case[Any], url: str) -> int:
    """Ask, and hold the answer against the description. Returns its status."""
    response = case.call(base_url=url, headers={"content-type": "application/json"})
    if "event-stream" in str(response.headers.get("content-type")):
        lines = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        for line in lines[:-1] if case.path == "/chat/completions" else []:
            CHUNKS.validate(json.loads(line))
    elif not (isinstance(case.body, dict) and case.body.get("encoding_format") == "base64"):
        # Of embeddings in base64, which are a string, the description does not know.
        case.validate_response(response, checks=[response_schema_conformance])
    assert response.status_code < 500, response.text
    return response.status_code


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mode", "path", "method"),
    [(mode, *operation) for mode in GenerationMode for operation in OPERATIONS if mode is GenerationMode.POSITIVE or "POST" in operation],
    ids=str,
)
def test_no_answer_is_outside_of_what_openai_describes(root: str, path: str, method: str, mode: GenerationMode) -> None:
    statuses: set[int] = set()

    @FEWER
    @given(case=SCHEMA[path][method].as_strategy(generation_mode=mode), model=st.sampled_from([*PROVIDERS, ""]))
    def ask(case: Case[Any], model: str) -> None:
        if isinstance(case.body, dict) and model:
            case.body["model"] = model
        if case.path_parameters and model:
            case.path_parameters["model"] = model
        statuses.add(judge(case, f"{root}/v1"))

    ask()
    if mode is GenerationMode.POSITIVE:
        assert 200 in statuses
