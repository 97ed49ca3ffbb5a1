"""Recorded exchanges of dialects that are only passed on: an endpoint's own, at a door of its own."""

from __future__ import annotations

import base64
import json
import os
import random
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.contract.exchanges import FRAMES, maker
from tests.contract.facts import payloads
from tests.contract.recordings import OWN, Player, Recording, ask, cut_randomly, events, frame

if TYPE_CHECKING:
    from tests.contract.recordings import Answer

__all__ = ["Native", "natives", "unchanged"]

DOORS: dict[tuple[str, str], tuple[str, str]] = {
    ("ollama", "api.chat"): ("ollama", "/api/chat"),
    ("ollama", "api.generate"): ("ollama", "/api/generate"),
    ("ollama", "api.embed"): ("ollama", "/api/embed"),
    ("cohere", "v2.chat"): ("cohere", "/v2/chat"),
    ("cohere", "v1.chat"): ("cohere", "/v1/chat"),
    ("cohere", "generate"): ("cohere", "/v1/generate"),
    ("cohere", "embed"): ("cohere", "/v2/embed"),
    ("cohere", "rerank"): ("cohere", "/v1/rerank"),
    ("anthropic", "messages.count_tokens"): ("messages", "/v1/messages/count_tokens"),
    ("openai", "responses.compact"): ("responses", "/v1/responses/compact"),
    ("openai", "images"): ("chat", "/v1/images/generations"),
    ("writer", "completions"): ("chat", "/v1/completions"),
    ("gemini", "countTokens"): ("generate", "/v1beta/models/generate:countTokens"),
    ("gemini", "embedContent"): ("generate", "/v1beta/models/generate:batchEmbedContents"),
    ("vertex", "embedContent"): ("vertex", "/v1beta/models/vertex:embedContent"),
    ("bedrock", "invoke"): ("converse", "/model/converse/invoke"),
    ("bedrock", "invoke-stream"): ("converse", "/model/converse/invoke-with-response-stream"),
}
"""The model that stands for a provider, and the door."""
TYPES = {"/api/chat": "application/x-ndjson", "/api/generate": "application/x-ndjson", "/v1/chat": "application/stream+json"}


class Native(NamedTuple):
    """One exchange."""

    name: str
    model: str
    request: dict[str, Any]
    recording: Recording


@cache
def natives() -> tuple[Native, ...]:
    """All of them, in the index's order."""
    folder = Path(os.environ.get("DISPATCH_WIRE_DIR") or OWN)
    rows = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    read = ((row, json.loads((folder / row["file"]).read_text())) for row in rows if (row["provider"], row["endpoint"]) in DOORS)
    # What InvokeModel says in a dialect that is translated is told with that.
    found = (
        _read(row, one)
        for row, one in read
        if not row["endpoint"].startswith("invoke") or (row["status"] == 200 and not maker(one["request"]["path"]))
    )
    # One recording is of an older call, which has no door of its own (`vectors`); a stream of Writer's says no end (`LEFT_OUT`).
    return tuple(one for one in found if b'"predictions"' not in one.recording.body and not (one.recording.stream and one.model == "chat"))


def _read(row: dict[str, Any], found: dict[str, Any]) -> Native:
    answer = found["response"]
    model, path = DOORS[row["provider"], row["endpoint"]]
    body = answer["body"]
    raw = (body if isinstance(body, str) else json.dumps(body)).encode()
    if answer.get("body_base64") or answer["body_form"] == "base64":
        raw = base64.b64decode(answer.get("body_base64") or body)
    stream = bool(row["stream"]) and row["status"] == 200
    kind = TYPES.get(path, "text/event-stream") if stream else answer["content_type"] or "application/json"
    if path.endswith("-stream"):
        kind = FRAMES
    recording = Recording(row["file"], path, {}, row["status"], kind, {}, raw, stream, bool(row.get("core")))
    asked = dict((found["request"] or {}).get("json") or {})
    if "stream" in asked or (stream and not path.startswith("/model")):
        asked["stream"] = stream
    return Native(row["file"].removesuffix(".json"), model, asked, recording)


async def unchanged(port: int, player: Player, one: Native) -> str:
    """Why an exchange does not come through as it was; empty: it does."""
    recording = one.recording
    chance = random.Random(one.name)
    player.play(cut_randomly(frame(recording, chance, "chunked"), chance))
    is_named = "/model" not in recording.path
    answer = await ask(port, recording.path, {**one.request, **({"model": one.model} if is_named else {})})
    if recording.status >= 400:
        return "" if answer.status in {recording.status, 502} else f"an error of status {recording.status} became {answer.status}"
    if answer.status != 200 or not answer.whole or _told(answer, recording) != _told(recording, recording):
        return "not unchanged in its own dialect"
    sent = json.loads(player.received[-1][1])
    wanted = {**one.request, **({"model": "upstream-5"} if is_named else {})}
    if "requests" in wanted:
        wanted["requests"] = [{**each, "model": "models/upstream-5"} for each in wanted["requests"]]
    return "" if sent == wanted else "its request is not sent as it is"


def _told(one: Answer | Recording, recording: Recording) -> object:
    if not recording.stream:
        return json.loads(one.body)
    if recording.content_type == FRAMES:
        return payloads(one.body)
    if recording.content_type == "text/event-stream":
        return events(one.body)
    return [json.loads(line) for line in one.body.split(b"\n") if line.strip()]
