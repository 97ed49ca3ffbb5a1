"""Recorded embeddings of other dialects at the doors of OpenAI and Gemini: the same vectors, the same count of tokens."""

from __future__ import annotations

import base64
import json
import os
import random
import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.contract.recordings import OWN, Player, Recording, ask, cut_randomly, frame

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Embedding", "embeddings", "translated"]


def _google(tree: Any) -> tuple[list[list[float]], int]:
    vectors = [one["values"] for one in tree.get("embeddings") or [tree["embedding"]]]
    return vectors, tree.get("usageMetadata", {}).get("promptTokenCount", 0)


def _predicted(tree: Any) -> tuple[list[list[float]], int]:
    found = [one["embeddings"] for one in tree["predictions"]]
    return [one["values"] for one in found], sum(one["statistics"]["token_count"] for one in found)


def _cohere(tree: Any) -> tuple[list[list[float]], int]:
    found = tree["embeddings"]
    return found["float"] if isinstance(found, dict) else found, tree["meta"]["billed_units"]["input_tokens"]


def _ollama(tree: Any) -> tuple[list[list[float]], int]:
    return tree["embeddings"], tree["prompt_eval_count"]


SAID: dict[tuple[str, str], tuple[str, Callable[[Any], tuple[list[list[float]], int]]]] = {
    ("gemini", "embedContent"): ("generate", _google),
    ("vertex", "embedContent"): ("vertex", _google),
    ("cohere", "embed"): ("cohere", _cohere),
    ("ollama", "api.embed"): ("ollama", _ollama),
}


class Embedding(NamedTuple):
    """One exchange."""

    name: str
    model: str
    recording: Recording
    vectors: list[list[float]]
    tokens: int


@cache
def embeddings() -> tuple[Embedding, ...]:
    """All that succeeded, in the index's order."""
    folder = Path(os.environ.get("DISPATCH_WIRE_DIR") or OWN)
    rows = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    wanted = [row for row in rows if (row["provider"], row["endpoint"]) in SAID and row["status"] == 200]
    return tuple(_read(row, json.loads((folder / row["file"]).read_text())["response"]) for row in wanted)


def _read(row: dict[str, Any], answer: dict[str, Any]) -> Embedding:
    model, said = SAID[row["provider"], row["endpoint"]]
    body = answer["body"]
    raw = (body if isinstance(body, str) else json.dumps(body)).encode()
    tree = json.loads(raw)
    if "predictions" in tree:
        model, said = "predict", _predicted
    recording = Recording(row["file"], "/v1/embeddings", {}, 200, "application/json", {}, raw, False, bool(row.get("core")))
    return Embedding(row["file"].removesuffix(".json"), model, recording, *said(tree))


async def translated(port: int, player: Player, one: Embedding) -> str:
    """Why an exchange says something else at another door; empty: it does not."""
    chance = random.Random(one.name)
    asked: Any = ["h\u00e9"] if one.model == "vertex" else ["h\u00e9", "\U0001f600"]
    for form in ("float", "base64"):
        player.play(cut_randomly(frame(one.recording, chance, "chunked"), chance))
        answer = await ask(port, "/v1/embeddings", {"model": one.model, "input": asked, "encoding_format": form})
        tree = json.loads(answer.body)
        if answer.status != 200 or tree["usage"]["prompt_tokens"] != one.tokens:
            return f"to embeddings: status {answer.status}, usage {tree.get('usage')}"
        if [_rounded(each["embedding"]) for each in tree["data"]] != [_rounded(vector) for vector in one.vectors]:
            return "to embeddings: other vectors"
    if one.model in {"generate", "vertex"}:
        # Its own door is Google's, and proved by `natives`.
        return ""
    player.play(cut_randomly(frame(one.recording, chance, "chunked"), chance))
    requests = [{"content": {"parts": [{"text": text}]}} for text in asked]
    answer = await ask(port, f"/v1beta/models/{one.model}:batchEmbedContents", {"requests": requests})
    said = [each["values"] for each in json.loads(answer.body).get("embeddings", [])]
    return "" if said == one.vectors else f"to batchEmbedContents: status {answer.status}"


def _rounded(vector: Any) -> list[float]:
    """As floats of 32 bits, which is what base64 can say."""
    raw = base64.b64decode(vector) if isinstance(vector, str) else struct.pack(f"<{len(vector)}f", *vector)
    return [*struct.unpack(f"<{len(raw) // 4}f", raw)]
