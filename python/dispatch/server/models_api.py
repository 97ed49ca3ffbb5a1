"""What a key may ask for: lists of models, and one by its name, in the form of the API whose client asks.

OpenAI's and Anthropic's SDKs ask at the same path; they are told apart by how they show their key.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from dispatch.server.answers import page
from dispatch.server.openai_api import identify

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.generation import Generation, KeyEntry
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound

    Tree = dict[str, Any]

__all__ = ["is_of_models", "models"]

_STARTED = int(time())
_ROOTS = (b"/v1/models", b"/v1beta/models", b"/v1alpha/models")
_METHODS = {
    "generate": "generateContent",
    "generate_stream": "streamGenerateContent",
    "gemini_count": "countTokens",
    "gemini_embed": "embedContent",
    "gemini_embed_batch": "batchEmbedContents",
}
"""Google's words for what a model can be asked."""


def is_of_models(line: bytes) -> bool:
    """Whether a request line asks for models, or for one of them."""
    method, _, path = line.partition(b" ")
    root, _, rest = path.partition(b"/models")
    return method == b"GET" and root + b"/models" in _ROOTS and (not rest or (rest[:1] == b"/" and len(rest) > 1))


def models(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """`GET /v1/models`, `GET /v1/models/NAME`, and the same below Gemini's roots. Raises `ModelNotFound`, `ModelNotAllowed`."""
    key = identify(front, inbound)
    generation = front.dispatcher.generation
    assert generation is not None
    path = inbound.line.partition(b" ")[2]
    root, _, rest = path.partition(b"/models")
    show, listed = _form(root, inbound)
    if rest:
        name = unquote(rest[1:].decode("latin-1"))
        generation.find(name, key)
        tree = show(generation, name)
    else:
        tree = listed([show(generation, name) for name in _names(generation, key)])
    client.answer(page(200, msgspec.json.encode(tree), keep=client.keeps))


def _names(generation: Generation, key: KeyEntry) -> list[str]:
    return [name for name in generation.listed if key.models is None or name in key.models]


def _form(root: bytes, inbound: Inbound) -> tuple[Callable[[Generation, str], Tree], Callable[[list[Tree]], Tree]]:
    if root != b"/v1" or inbound.header(b"x-goog-api-key"):
        return _gemini, lambda shown: {"models": shown}
    if inbound.header(b"anthropic-version") or inbound.header(b"x-api-key"):
        return _anthropic, _anthropic_list
    is_mistral = (inbound.header(b"user-agent") or b"").startswith(b"mistral-client")
    return _mistral if is_mistral else _openai, lambda shown: {"object": "list", "data": shown}


def _openai(generation: Generation, name: str) -> Tree:
    del generation
    return {"id": name, "object": "model", "created": _STARTED, "owned_by": "dispatch"}


def _mistral(generation: Generation, name: str) -> Tree:
    """With what its SDK reads no list without."""
    return {**_openai(generation, name), "type": "base", "capabilities": {"completion_chat": True}}


def _anthropic(generation: Generation, name: str) -> Tree:
    del generation
    return {"id": name, "type": "model", "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


def _anthropic_list(shown: list[Tree]) -> Tree:
    first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    return {"data": shown, "has_more": False, "first_id": first, "last_id": last}


def _gemini(generation: Generation, name: str) -> Tree:
    model = generation.models.get(name)
    offered = _METHODS if model is None else model.doors
    methods = [word for door, word in _METHODS.items() if door in offered or door == "gemini_count"]
    return {"name": f"models/{name}", "displayName": name, "version": "1", "supportedGenerationMethods": methods}
