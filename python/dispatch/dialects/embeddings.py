"""Embeddings in the forms of OpenAI, Ollama (`/api/embed`) and Cohere (`/v2/embed`), read into one form and written from it."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from dispatch.dialects import Tree
from dispatch.dialects.form import Usage
from dispatch.dialects.shape import MalformedAnswer, answer_tree, integer, request_tree, strings, text
from dispatch.dialects.target import WISHES, Losses, Target
from dispatch.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DOORS", "UPSTREAMS", "EmbedDoor", "EmbedRequest", "EmbedUpstream", "Vectors"]


class EmbedRequest(Struct, kw_only=True):
    """Texts that are to become vectors."""

    model: str
    inputs: list[str]
    is_base64: bool = False
    """See `Vectors`."""
    dimensions: int | None = None
    extra: Tree = field(default_factory=dict)
    """Further fields, as they came."""


class Vectors(Struct, kw_only=True):
    """Their vectors, in their order."""

    model: str
    vectors: list[list[float]]
    usage: Usage
    is_base64: bool = False
    """The client reads them as the base64 of little-endian floats of 32 bits."""


class EmbedDoor(Struct, frozen=True):
    """A dialect in which clients speak."""

    read_request: Callable[[bytes], EmbedRequest]
    write_answer: Callable[[Vectors], bytes]


class EmbedUpstream(Struct, frozen=True):
    """A dialect in which endpoints speak."""

    write_request: Callable[[EmbedRequest, Target, Losses], bytes]
    read_answer: Callable[[bytes], Vectors]


def _inputs(tree: Tree) -> list[str]:
    given = tree.get("input")
    if isinstance(given, list) and given and not isinstance(given[0], str):
        raise BadRequest("input: tokens of another model mean nothing here; send text", code="unsupported_parameter", param="input")
    found = strings(tree, "input")
    if not found:
        raise BadRequest("input: expected at least one text", code="missing_parameter", param="input")
    return found


def _rest(tree: Tree, *placed: str) -> Tree:
    return {name: value for name, value in tree.items() if name not in placed and value is not None}


def _body(request: EmbedRequest, target: Target, name: str) -> Tree:
    return {"model": target.model or request.model, name: request.inputs}


def _vectors(found: Any) -> list[list[float]]:
    if not isinstance(found, list):
        raise MalformedAnswer("the answer has no vectors")
    return [_floats(one) for one in found]


def _floats(vector: Any) -> list[float]:
    if isinstance(vector, str):
        raw = base64.b64decode(vector)
        return [*struct.unpack(f"<{len(raw) // 4}f", raw)]
    if not isinstance(vector, list):
        raise MalformedAnswer("a vector is no list")
    return vector


# OpenAI


def _read_openai(body: bytes) -> EmbedRequest:
    tree = request_tree(body)
    return EmbedRequest(
        model=text(tree, "model"),
        inputs=_inputs(tree),
        is_base64=text(tree, "encoding_format") == "base64",
        dimensions=integer(tree, "dimensions"),
        extra=_rest(tree, "model", "input", "encoding_format", "dimensions", "user"),
    )


def _write_openai(request: EmbedRequest, target: Target, losses: Losses) -> bytes:
    tree = _body(request, target, "input")
    if request.dimensions is not None:
        tree["dimensions"] = request.dimensions
    return msgspec.json.encode(tree | losses.rest(request.extra, (), WISHES, target.provider))


def _read_openai_answer(body: bytes) -> Vectors:
    tree = answer_tree(body)
    data = tree.get("data")
    if not isinstance(data, list):
        raise MalformedAnswer("the answer has no data")
    usage = tree.get("usage") or {}
    return Vectors(
        model=tree.get("model") or "",
        vectors=_vectors([one.get("embedding") for one in data]),
        usage=Usage(input=usage.get("prompt_tokens") or 0),
    )


def _write_openai_answer(answer: Vectors) -> bytes:
    vectors: list[Any] = [*answer.vectors]
    if answer.is_base64:
        vectors = [base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() for vector in answer.vectors]
    data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    used = {"prompt_tokens": answer.usage.input, "total_tokens": answer.usage.input}
    return msgspec.json.encode({"object": "list", "data": data, "model": answer.model, "usage": used})


# Ollama


def _read_ollama(body: bytes) -> EmbedRequest:
    tree = request_tree(body)
    rest = _rest(tree, "model", "input", "dimensions", "options")
    rest |= {f"options.{name}": value for name, value in (tree.get("options") or {}).items()}
    return EmbedRequest(model=text(tree, "model"), inputs=_inputs(tree), dimensions=integer(tree, "dimensions"), extra=rest)


def _write_ollama(request: EmbedRequest, target: Target, losses: Losses) -> bytes:
    tree = _body(request, target, "input")
    if request.dimensions is not None:
        tree["dimensions"] = request.dimensions
    known = ("options", "keep_alive", "truncate")
    return msgspec.json.encode({**target.body, **tree, **losses.rest(request.extra, known, WISHES, target.provider)})


def _read_ollama_answer(body: bytes) -> Vectors:
    tree = answer_tree(body)
    usage = Usage(input=tree.get("prompt_eval_count") or 0)
    return Vectors(model=tree.get("model") or "", vectors=_vectors(tree.get("embeddings")), usage=usage)


def _write_ollama_answer(answer: Vectors) -> bytes:
    tree = {"model": answer.model, "embeddings": answer.vectors, "total_duration": 0, "prompt_eval_count": answer.usage.input}
    return msgspec.json.encode(tree)


# Cohere


def _write_cohere(request: EmbedRequest, target: Target, losses: Losses) -> bytes:
    tree = _body(request, target, "texts")
    if request.dimensions is not None:
        tree["output_dimension"] = request.dimensions
    known = ("input_type", "truncate", "max_tokens", "images", "inputs")
    rest = losses.rest(request.extra, known, WISHES, target.provider)
    # What a text is for must be said here, and is said nowhere else.
    return msgspec.json.encode({"input_type": "search_document", "embedding_types": ["float"], **target.body, **tree, **rest})


def _read_cohere_answer(body: bytes) -> Vectors:
    tree = answer_tree(body)
    found = tree.get("embeddings")
    billed = (tree.get("meta") or {}).get("billed_units") or {}
    vectors = _vectors(found.get("float") if isinstance(found, dict) else found)
    return Vectors(model="", vectors=vectors, usage=Usage(input=int(billed.get("input_tokens") or 0)))


# Bedrock: the path says the model


def _write_titan(request: EmbedRequest, target: Target, losses: Losses) -> bytes:
    if len(request.inputs) != 1:
        raise BadRequest("input: this model reads one text at a time", code="unsupported_parameter", param="input")
    tree: Tree = {"inputText": request.inputs[0]}
    if request.dimensions is not None:
        tree["dimensions"] = request.dimensions
    return msgspec.json.encode(tree | losses.rest(request.extra, ("normalize",), WISHES, target.provider))


def _read_titan_answer(body: bytes) -> Vectors:
    tree = answer_tree(body)
    return Vectors(model="", vectors=_vectors([tree.get("embedding")]), usage=Usage(input=tree.get("inputTextTokenCount") or 0))


def _write_cohere_there(request: EmbedRequest, target: Target, losses: Losses) -> bytes:
    tree: Tree = msgspec.json.decode(_write_cohere(request, target, losses))
    del tree["model"]
    return msgspec.json.encode(tree)


DOORS: Mapping[str, EmbedDoor] = {
    "embeddings": EmbedDoor(_read_openai, _write_openai_answer),
    "ollama_embed": EmbedDoor(_read_ollama, _write_ollama_answer),
}
"""By name."""

UPSTREAMS: Mapping[str, EmbedUpstream] = {
    "embeddings": EmbedUpstream(_write_openai, _read_openai_answer),
    "ollama_embed": EmbedUpstream(_write_ollama, _read_ollama_answer),
    "cohere_embed": EmbedUpstream(_write_cohere, _read_cohere_answer),
    "cohere_invoke": EmbedUpstream(_write_cohere_there, _read_cohere_answer),
    "titan_embed": EmbedUpstream(_write_titan, _read_titan_answer),
}
"""By the name of the door at which an endpoint speaks it."""
