"""Embeddings in Google's forms: `embedContent` and `batchEmbedContents` of Gemini's API, and `predict` of Vertex's older models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.embeddings import EmbedDoor, EmbedRequest, EmbedUpstream, Vectors
from dispatch.dialects.form import Usage
from dispatch.dialects.shape import MalformedAnswer, answer_tree, expect, integer, items, request_tree, text
from dispatch.dialects.target import WISHES
from dispatch.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.dialects import Tree
    from dispatch.dialects.target import Losses, Target

__all__ = ["DOORS", "UPSTREAMS"]

_TASKS = {"taskType": "task_type", "title": "title"}
"""Fields of one text: Gemini's name, Vertex's."""
_PLACED = frozenset(("model", "content", "outputDimensionality"))


def _text_of(tree: Tree, where: str) -> str:
    parts = items(expect(tree.get("content"), dict, f"{where}content"), "parts")
    if not parts or any(not isinstance(part, dict) or not isinstance(part.get("text"), str) for part in parts):
        raise BadRequest(f"{where}content.parts: expected text", code="unsupported_parameter", param=f"{where}content.parts")
    return "\n".join(part["text"] for part in parts)


def _read_one(body: bytes) -> EmbedRequest:
    tree = request_tree(body)
    return EmbedRequest(
        model=text(tree, "model"), inputs=[_text_of(tree, "")], dimensions=integer(tree, "outputDimensionality"), extra=_rest(tree)
    )


def _read_batch(body: bytes) -> EmbedRequest:
    tree = request_tree(body)
    wanted = [expect(one, dict, f"requests[{at}]") for at, one in enumerate(items(tree, "requests"))]
    if not wanted:
        raise BadRequest("requests: expected at least one text", code="missing_parameter", param="requests")
    first = wanted[0]
    if any(_rest(one) != _rest(first) or integer(one, "outputDimensionality") != integer(first, "outputDimensionality") for one in wanted):
        raise BadRequest("requests: texts with different settings need a request each", code="unsupported_parameter", param="requests")
    texts = [_text_of(one, f"requests[{at}].") for at, one in enumerate(wanted)]
    return EmbedRequest(model=text(tree, "model"), inputs=texts, dimensions=integer(first, "outputDimensionality"), extra=_rest(first))


def _rest(tree: Tree) -> Tree:
    return {name: value for name, value in tree.items() if name not in _PLACED and value is not None}


def _write_answer_of_one(answer: Vectors) -> bytes:
    return msgspec.json.encode({"embedding": {"values": answer.vectors[0]}, **_counted(answer)})


def _write_answer_of_batch(answer: Vectors) -> bytes:
    return msgspec.json.encode({"embeddings": [{"values": vector} for vector in answer.vectors], **_counted(answer)})


def _counted(answer: Vectors) -> Tree:
    return {"usageMetadata": {"promptTokenCount": answer.usage.input}} if answer.usage.input else {}


def _contents(request: EmbedRequest, target: Target, losses: Losses) -> list[Tree]:
    common = losses.rest(request.extra, ("taskType", "title", "autoTruncate"), WISHES, target.provider)
    if request.dimensions is not None:
        common["outputDimensionality"] = request.dimensions
    return [{"content": {"parts": [{"text": one}]}, **common} for one in request.inputs]


def _write_batch(request: EmbedRequest, target: Target, losses: Losses) -> bytes:
    name = f"models/{(target.model or request.model).removeprefix('models/')}"
    return msgspec.json.encode({"requests": [{"model": name, **one} for one in _contents(request, target, losses)]})


def _write_one(request: EmbedRequest, target: Target, losses: Losses) -> bytes:
    contents = _contents(request, target, losses)
    if len(contents) != 1:
        raise BadRequest("input: this model takes one text at a time", code="unsupported_parameter", param="input")
    return msgspec.json.encode(contents[0])


def _write_predict(request: EmbedRequest, target: Target, losses: Losses) -> bytes:
    rest = losses.rest(request.extra, (*_TASKS, "autoTruncate"), WISHES, target.provider)
    told = {theirs: rest[ours] for ours, theirs in _TASKS.items() if ours in rest}
    settings = {"outputDimensionality": request.dimensions, "autoTruncate": rest.get("autoTruncate")}
    tree: Tree = {"instances": [{"content": one, **told} for one in request.inputs]}
    if given := {name: value for name, value in settings.items() if value is not None}:
        tree["parameters"] = given
    return msgspec.json.encode(tree)


def _read_answer(body: bytes) -> Vectors:
    tree = answer_tree(body)
    found = [tree["embedding"]] if "embedding" in tree else tree.get("embeddings")
    used = (tree.get("usageMetadata") or {}).get("promptTokenCount") or 0
    return Vectors(model="", vectors=_values(found), usage=Usage(input=used))


def _read_prediction(body: bytes) -> Vectors:
    found = answer_tree(body).get("predictions")
    vectors = [one.get("embeddings") for one in found] if isinstance(found, list) else found
    told = [(one or {}).get("statistics") or {} for one in vectors or ()]
    return Vectors(model="", vectors=_values(vectors), usage=Usage(input=int(sum(one.get("token_count") or 0 for one in told))))


def _values(found: Any) -> list[list[float]]:
    if (
        not isinstance(found, list)
        or not found
        or any(not isinstance(one, dict) or not isinstance(one.get("values"), list) for one in found)
    ):
        raise MalformedAnswer("the answer has no vectors")
    return [one["values"] for one in found]


DOORS: Mapping[str, EmbedDoor] = {
    "gemini_embed": EmbedDoor(_read_one, _write_answer_of_one),
    "gemini_embed_batch": EmbedDoor(_read_batch, _write_answer_of_batch),
}
"""By name."""

UPSTREAMS: Mapping[str, EmbedUpstream] = {
    "gemini_embed": EmbedUpstream(_write_one, _read_answer),
    "gemini_embed_batch": EmbedUpstream(_write_batch, _read_answer),
    "embed_predict": EmbedUpstream(_write_predict, _read_prediction),
}
"""By the name of the door at which an endpoint speaks it."""
