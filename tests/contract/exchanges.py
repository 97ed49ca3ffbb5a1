"""Recorded exchanges of every dialect that is translated, and what is done with each of them."""

from __future__ import annotations

import base64
import json
import os
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.contract.facts import (
    Facts,
    said_in_chat,
    said_in_cohere,
    said_in_converse,
    said_in_generate,
    said_in_invoke,
    said_in_messages,
    said_in_ollama,
)
from tests.contract.facts_boto import boto_sdk
from tests.contract.facts_responses import responses_sdk, said_in_responses
from tests.contract.facts_sdk import anthropic_sdk, google_sdk, openai_sdk
from tests.contract.recordings import OWN, Recording, ask, cut_everywhere, cut_inside, cut_randomly, frame

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.contract.recordings import Answer, Player

__all__ = [
    "CLIENTS",
    "HALF_CALLS",
    "Exchange",
    "Unequal",
    "answered",
    "configuration",
    "exchanges",
    "is_broken",
    "maker",
    "put",
    "replayed",
]

DIALECTS = {
    "messages": "messages",
    "chat.completions": "chat",
    "generateContent": "generate",
    "streamGenerateContent": "generate",
    "converse": "converse",
    "converse-stream": "converse",
    "invoke": "invoke",
    "invoke-stream": "invoke",
    "responses": "responses",
    "v2.chat": "cohere",
    "api.chat": "ollama",
    "api.generate": "ollama",
    "v1.chat": "chat",
}
"""Endpoints of the recordings, and the dialect they speak."""
ARRAY = "an array with numbers for words, which is asked for by parameters that we never send"
LEFT_OUT = {
    "openai_compatible/chat.completions__6a4e55248867b739": "a server that echoes what it was asked for, listed with the answers",
    "cohere/v2.chat__5de8bd76732ba5bc": "an answer of /v2/embed, listed with the chats",
    "gemini/streamGenerateContent__4ae6195a3d7ed163": ARRAY,
    "gemini/streamGenerateContent__b89d862084b951c8": ARRAY,
    "gemini/streamGenerateContent__bd1cfac8fcfdc261": "arguments of a call in pieces by JSON path, which only a request of Vertex asks for",
    "writer/completions__da6a3b9f67c7ae81": "a stream that says neither its end nor a reason for it: one that is cut would look whole",
}
"""Recordings that are no answers to what this sidecar asks, or not whole by what they say."""
HALF_CALLS = {
    "anthropic/messages__29d18134d656d74e": "a second message begins inside a call of the first, whose arguments stay cut",
}
"""Recorded streams that are broken though they end as they should: no client may take them for whole."""
NOT_CHAT = {("cohere", "v1.chat"), ("writer", "completions")}
"""Providers with an API of their own under names of others."""

SAID: dict[str, Callable[[bytes, bool], Facts]] = {
    "messages": said_in_messages,
    "chat": said_in_chat,
    "generate": said_in_generate,
    "converse": said_in_converse,
    "invoke": said_in_invoke,
    "responses": said_in_responses,
    "cohere": said_in_cohere,
    "ollama": said_in_ollama,
}
READ: dict[str, Callable[[bytes, bool], Facts]] = {
    "messages": anthropic_sdk,
    "chat": openai_sdk,
    "generate": google_sdk,
    "responses": responses_sdk,
    "converse": boto_sdk,
}
PATHS = {
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
    "generate": "/v1beta/models/{model}:{verb}",
    "responses": "/v1/responses",
    "converse": "/model/{model}/{verb}",
}
PROVIDERS = {
    "chat": "openai_compatible",
    "messages": "anthropic",
    "generate": "gemini",
    "responses": "openai_compatible",
    "converse": "bedrock",
    "invoke": "bedrock",
    "cohere": "cohere",
    "ollama": "ollama",
    "vertex": "vertex",
    "predict": "vertex",
}
HAVE = {
    "chat": ["chat", "completions", "embeddings"],
    "responses": ["responses"],
    "ollama": ["ollama", "ollama_generate", "ollama_embed"],
}
"""Doors of those endpoints whose provider has more."""
CLIENTS = tuple(PATHS)
SIGNED = {"messages", "chat", "converse", "invoke"}
"""Dialects that show the signatures of each other's reasoning as they are."""
ONE_BYTE_MOST = 6_000

TURN = [{"role": "user", "content": "h\u00e9 \U0001f600"}]
ASKS: dict[str, dict[str, Any]] = {
    "chat": {"messages": TURN},
    "messages": {"messages": TURN, "max_tokens": 100},
    "generate": {"contents": [{"parts": [{"text": "h\u00e9 \U0001f600"}]}]},
    "responses": {"input": TURN},
    "converse": {"messages": [{"role": "user", "content": [{"text": "h\u00e9 \U0001f600"}]}]},
}
VERBS = {
    "generate": ("generateContent", "streamGenerateContent?alt=sse"),
    "converse": ("converse", "converse-stream"),
}
"""Of dialects whose paths say the model and whether it is for a stream."""
FRAMES = "application/vnd.amazon.eventstream"
LINES = "application/x-ndjson"


class Unequal(AssertionError):
    """A translated answer says something else than the provider did."""


class Exchange(NamedTuple):
    """One recorded exchange."""

    name: str
    provider: str
    dialect: str
    request: dict[str, Any] | None
    recording: Recording
    said: Facts | None
    """None: no answer, but an error."""

    def __repr__(self) -> str:
        return self.name


@cache
def exchanges() -> tuple[Exchange, ...]:
    """All of them, in the index's order."""
    folder = Path(os.environ.get("DISPATCH_WIRE_DIR") or OWN)
    rows = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["file"].removesuffix(".json") not in LEFT_OUT]
    wanted = [row for row in rows if row["endpoint"] in DIALECTS and (row["provider"], row["endpoint"]) not in NOT_CHAT]
    found = (_read(row, json.loads((folder / row["file"]).read_text())) for row in wanted)
    return tuple(one for one in found if one is not None)


def _read(row: dict[str, Any], found: dict[str, Any]) -> Exchange | None:
    answer = found["response"]
    dialect = DIALECTS[row["endpoint"]]
    if dialect == "invoke":
        dialect = maker(found["request"]["path"]) if row["status"] == 200 else "invoke"
        if not dialect:
            return None
    body = answer["body"]
    if answer["body_form"] == "base64":
        body, answer = "", {**answer, "body_base64": body}
    raw = (
        base64.b64decode(answer["body_base64"])
        if answer.get("body_base64")
        else (body if isinstance(body, str) else json.dumps(body)).encode()
    )
    if b'"chat.completion' in raw:
        # Two chats are listed with the responses.
        dialect = "chat"
    stream = bool(row["stream"]) and row["status"] == 200
    if stream and answer["body_form"] == "sse_data_lines":
        raw = frames(raw) if dialect == "converse" else _first_stream(raw)
        if not raw:
            return None
    events = FRAMES if dialect in {"converse", "invoke"} else LINES if dialect == "ollama" else "text/event-stream; charset=utf-8"
    kind = events if stream else answer["content_type"] or "application/json"
    headers = {name: value for name, value in (answer["headers"] or {}).items() if name != "content-encoding"}
    recording = Recording(row["file"], PATHS.get(dialect, ""), {}, row["status"], kind, headers, raw, stream, bool(row.get("core")))
    request = (found["request"] or {}).get("json")
    is_answer = row["status"] == 200 and b'"error":{' not in raw.replace(b" ", b"")
    said = SAID[dialect](raw, stream) if is_answer else None
    return Exchange(row["file"].removesuffix(".json"), row["provider"], dialect, request, recording, said)


def maker(path: str) -> str:
    """In which dialect a model answers InvokeModel; empty: in one of its own."""
    if "anthropic" in path:
        return "invoke"
    return "converse" if "amazon.nova" in path else ""


def frames(lines: bytes) -> bytes:
    """Events that were stored as one object a line, in frames of an AWS event stream."""
    found = [next(iter(json.loads(line).items())) for line in filter(None, lines.split(b"\n"))]
    return b"".join(frame_of(name, json.dumps(payload).encode()) for name, payload in found)


def frame_of(name: str, payload: bytes, message: str = "event") -> bytes:
    """One frame."""
    kind = ":event-type" if message == "event" else ":exception-type"
    headers = b"".join(
        b"%c%b\x07%b%b" % (len(key), key.encode(), len(value).to_bytes(2, "big"), value.encode())
        for key, value in ((kind, name), (":content-type", "application/json"), (":message-type", message))
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return body + struct.pack(">I", zlib.crc32(body))


def _first_stream(raw: bytes) -> bytes:
    """The events of a stream that was stored as one object a line."""
    out: list[str] = []
    for line in filter(None, raw.decode().split("\n")):
        try:
            kind = json.loads(line).get("type")
        except ValueError:
            return b"" if line != "[DONE]" else "".join(out).encode()
        out.append(f"event: {kind}\ndata: {line}\n\n" if kind else f"data: {line}\n\n")
        if kind in {"message_stop", "response.completed", "response.incomplete", "response.failed"}:
            break
    return "".join(out).encode()


def configuration(player: Player) -> dict[str, Any]:
    """One model for each dialect upstream, named like it."""
    root = f"http://127.0.0.1:{player.port}"
    base = {"chat": f"{root}/v1", "responses": f"{root}/v1"}
    more: dict[str, dict[str, object]] = {"invoke": {"options": {"api": "invoke"}}}
    more |= {dialect: {"doors": doors} for dialect, doors in HAVE.items()}
    project: dict[str, object] = {"options": {"project": "p"}}
    more |= {"vertex": project, "predict": {**project, "model": "text-embedding-005"}}
    endpoints = [
        {
            "name": f"at-{dialect}",
            "provider": provider,
            "base_url": base.get(dialect, root),
            "model": "upstream-5",
            "drop_unsupported": True,
            **more.get(dialect, {}),
        }
        for dialect, provider in PROVIDERS.items()
    ]
    models = {dialect: {"endpoints": [f"at-{dialect}"], "retry": {"attempts": 1}} for dialect in PROVIDERS}
    return {"endpoints": endpoints, "models": models}


def cuts(one: Exchange, chance: random.Random) -> list[tuple[str, list[bytes]]]:
    """The ways in which an answer is played: whole, cut anywhere, cut inside of what belongs together, byte by byte."""
    recording = one.recording
    plays = [("sized", [frame(recording, chance, "sized")])] if not recording.stream else [("whole", [frame(recording, chance, "chunked")])]
    plays.append(("random", cut_randomly(frame(recording, chance, "chunked"), chance)))
    if chance.random() < 0.5:
        plays.append(("inside", cut_inside(frame(recording, chance, "chunked"))))
    if len(recording.body) <= ONE_BYTE_MOST and recording.core:
        plays.append(("bytes", cut_everywhere(frame(recording, chance, "chunked"))))
    return plays


async def replayed(port: int, player: Player, one: Exchange, client: str, pieces: list[bytes]) -> Answer:
    """Ask in one dialect, with the recorded answer of another one upstream."""
    player.play(pieces)
    stream: dict[str, Any] = {"stream": True} if one.recording.stream else {}
    if stream and client == "chat":
        stream["stream_options"] = {"include_usage": True}
    return await put(port, client, one.dialect, {**ASKS[client], **stream})


async def put(port: int, client: str, model: str, body: dict[str, Any]) -> Answer:
    """Send a request in a client's dialect to a model."""
    if client not in VERBS:
        return await ask(port, PATHS[client], {**body, "model": model})
    verb = VERBS[client][bool(body.get("stream"))]
    inside = {name: value for name, value in body.items() if name not in {"stream", "model"}}
    return await ask(port, PATHS[client].format(model=model, verb=verb), inside)


def is_broken(answer: Answer) -> bool:
    """Whether an answer tells its client that a call in it is cut."""
    return not answer.whole and b"the arguments of a tool call are cut" in answer.body


def answered(one: Exchange, client: str, answer: Answer) -> None:
    """Compare an answer with what the provider said. Raises `Unequal`."""
    said = one.said
    assert said is not None
    if one.name in HALF_CALLS:
        if not is_broken(answer):
            raise Unequal(f"no error: {answer.body[-300:].decode('utf-8', 'replace')}")
        return
    if answer.status != 200 or not answer.whole:
        raise Unequal(f"status {answer.status}, whole {answer.whole}: {answer.body[-300:].decode('utf-8', 'replace')}")
    read = READ[client](answer.body, one.recording.stream)
    for name in ("text", "thinking", "tools", "finish", "usage", "signatures"):
        expected, found = getattr(said, name), getattr(read, name)
        if name == "signatures" and not {client, one.dialect} <= SIGNED:
            # Gemini signs calls and text, which others do not; the Responses API hides a foreign signature in its own.
            continue
        if name == "signatures" and client == "chat" and not expected:
            continue
        if name == "finish" and (not expected or (client in {"generate", "responses"} and found == "tool" and said.tools)):
            # Nobody said, or it stopped for another reason beside its calls, which Gemini and the Responses API have no word for.
            continue
        if expected != found:
            raise Unequal(f"{name}: said {str(expected)[:200]!r}, read {str(found)[:200]!r}")
