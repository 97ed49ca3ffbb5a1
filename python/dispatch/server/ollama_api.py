"""Ollama's API as doors of the sidecar (https://docs.ollama.com/api): what its SDKs and the tools built on them ask for.

A request without `stream` is one for a stream here. Models are listed and shown as far as the configuration knows them; what manages
models (`/api/pull`, `/api/create`, ...) is not there.
"""

from __future__ import annotations

from time import gmtime, strftime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from dispatch.errors import BadRequest
from dispatch.server.answers import page
from dispatch.server.openai_api import Door, check_type, identify

if TYPE_CHECKING:
    from dispatch.exchange import Body
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound, Scan

__all__ = ["OllamaDoor", "running", "show", "tags", "version"]

_API_VERSION = "0.13.5"
"""The version of Ollama whose API this is: tools look at it before they use tools, thinking or structured output."""
_STARTED = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
_DETAILS = {
    "parent_model": "",
    "format": "",
    "family": "dispatch",
    "families": ["dispatch"],
    "parameter_size": "",
    "quantization_level": "",
}


class _Asked(Struct):
    stream: Any = None


_decode = msgspec.json.Decoder(_Asked).decode


class OllamaDoor(Door):
    """A POST path whose answer is a stream unless the request says that it is none."""

    __slots__ = ()

    def __call__(self, front: Front, client: ClientConnection, inbound: Inbound, scan: Scan | None = None) -> None:
        """Take a request in."""
        if scan is None:
            check_type(inbound)
            scan = inbound.scan()
        body = inbound.body.lstrip()
        if not scan.stream and (b'"stream"' not in body or _decode(body).stream is None):
            scan = scan.rewritten(b'{"stream":true,' + body[1:])
        super().__call__(front, client, inbound, scan)

    @staticmethod
    def body_of(inbound: Inbound, scan: Scan) -> Body:
        """The body for an endpoint of the same dialect, and for a translation."""
        return _Body(inbound.scan(), scan) if scan.stream else scan


class _Body:
    """What the client sent, and the same with a `stream`."""

    __slots__ = ("_amended", "_own")

    def __init__(self, own: Scan, amended: Scan) -> None:
        self._own = own
        self._amended = amended

    def compose(self, prefix: bytes, model: bytes, inject_usage: bool, /) -> bytes:
        """The request under another model name; without a prefix, for a translation, it always says whether it is a stream."""
        return (self._own if prefix else self._amended).compose(prefix, model, inject_usage)

    @property
    def text_bytes(self) -> int:
        """Bytes of text in the prompt."""
        return self._own.text_bytes

    def body(self, model: bytes, inject_usage: bool, /) -> bytes:
        """The JSON that says whether it is a stream."""
        return self._amended.body(model, inject_usage)

    def rewritten(self, body: bytes, /) -> Scan:
        """Another body, that of a plan, which says it too."""
        return self._own.rewritten(body)


def tags(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """`GET /api/tags`: what this key may ask for."""
    shown = [
        {"name": name, "model": name, "modified_at": _STARTED, "size": 0, "digest": "", "details": _DETAILS}
        for name in _names(front, inbound)
    ]
    client.answer(page(200, msgspec.json.encode({"models": shown}), keep=client.keeps))


def running(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """`GET /api/ps`: nothing is loaded here."""
    identify(front, inbound)
    client.answer(page(200, b'{"models":[]}', keep=client.keeps))


def version(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """`GET /api/version`."""
    identify(front, inbound)
    client.answer(page(200, msgspec.json.encode({"version": _API_VERSION}), keep=client.keeps))


def show(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """`POST /api/show`: what is known of a model."""
    check_type(inbound)
    key = identify(front, inbound)
    scan = inbound.scan()
    name = scan.model
    if not name:
        raise BadRequest("model: missing", code="missing_parameter", param="model")
    generation = front.dispatcher.generation
    assert generation is not None
    model, _ = generation.find(name, key)
    capabilities = ["embedding"] if not model.doors & {"chat", "ollama"} else ["completion", "tools", "vision", "thinking"]
    info = {"general.architecture": "dispatch", "general.basename": name}
    tree = {
        "modelfile": "",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": _DETAILS,
        "model_info": info,
        "capabilities": capabilities,
        "modified_at": _STARTED,
    }
    client.answer(page(200, msgspec.json.encode(tree), keep=client.keeps))


def _names(front: Front, inbound: Inbound) -> list[str]:
    key = identify(front, inbound)
    generation = front.dispatcher.generation
    assert generation is not None
    return [name for name in generation.listed if key.models is None or name in key.models]
