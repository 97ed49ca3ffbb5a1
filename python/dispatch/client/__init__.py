"""The library: the engine inside the caller's event loop, or a sidecar somewhere, behind one face.

async with Client("dispatch.yaml") as client:          # in process
    reply = await client.chat("chat", "Say hi")
async with Client("http://127.0.0.1:8080") as client:  # a sidecar
    async for delta in client.stream("chat", "Say hi"):
        print(delta.text, end="")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol, Self

import msgspec

from dispatch.client.reading import deltas, response
from dispatch.config import Config, load, locate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

    from openai import AsyncOpenAI

    from dispatch.schema import Delta, Response

__all__ = ["Client"]


class Backend(Protocol):
    """Where requests of a client go."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def whole(self, door: str, body: bytes, deadline_s: float | None) -> tuple[bytes, str, int]:
        """The answer's body, the endpoint that gave it, the attempts that it took. Raises `DispatchError`."""

    def stream(self, door: str, body: bytes, deadline_s: float | None) -> AsyncIterator[bytes]:
        """The bytes of a stream of events. Raises `DispatchError`."""

    async def models(self) -> list[str]: ...
    def openai(self) -> AsyncOpenAI: ...


class Client:
    """Sends requests to the models of a configuration.

    Args:
        source: a configuration file, a `Config`, or the base URL of a sidecar. None: `DISPATCH_CONFIG` or `./dispatch.yaml`,
            else what the machine offers (the `echo` model always).
        api_key: for a sidecar: the key to present, `DISPATCH_API_KEY` if left out. In process: not used.
        key: in process: the name of a configured key whose permissions and limits hold for this client.

    Raises:
        ConfigError: the configuration is refused; from `__aenter__` when a secret is missing.
    """

    def __init__(self, source: str | Path | Config | None = None, *, api_key: str | None = None, key: str | None = None) -> None:
        self._backend: Backend
        if isinstance(source, str) and source.startswith(("http://", "https://")):
            from dispatch.client.remote import RemoteBackend  # noqa: PLC0415  # aiohttp is loaded only where it is used

            self._backend = RemoteBackend(source, api_key or os.environ.get("DISPATCH_API_KEY", ""))
        else:
            from dispatch.client.inside import InsideBackend  # noqa: PLC0415  # so is the engine

            config = source if isinstance(source, Config) else load(locate(source, os.environ), os.environ)
            self._backend = InsideBackend(config, key)

    async def __aenter__(self) -> Self:
        await self._backend.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._backend.close()

    async def chat(
        self, model: str, messages: str | Iterable[Mapping[str, Any]], *, deadline_s: float | None = None, **fields: Any
    ) -> Response:
        """Ask a model and wait for its whole answer.

        Args:
            model: a name of the configuration.
            messages: a question, or messages in OpenAI's form.
            deadline_s: seconds for everything together; shortens the model's own deadline.
            fields: further fields of the request's body (`temperature`, `tools`, ...).

        Raises:
            DispatchError: there is no answer; the subclass says what can be done.
        """
        body = msgspec.json.encode({"model": model, "messages": _messages(messages), **fields})
        raw, endpoint, attempts = await self._backend.whole("chat", body, deadline_s)
        return response(raw, endpoint, attempts)

    async def stream(
        self, model: str, messages: str | Iterable[Mapping[str, Any]], *, deadline_s: float | None = None, **fields: Any
    ) -> AsyncIterator[Delta]:
        """Ask a model and take its answer piece by piece. Leaving the loop early cancels the request upstream.

        Raises:
            DispatchError: there is no answer, or it broke off.
        """
        options = {"include_usage": True, **fields.pop("stream_options", {})}
        body = msgspec.json.encode({"model": model, "messages": _messages(messages), "stream": True, "stream_options": options, **fields})
        pieces = self._backend.stream("chat", body, deadline_s)
        try:
            async for delta in deltas(pieces):
                yield delta
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]  # every backend yields from a generator or a Stream

    async def embed(self, model: str, inputs: str | list[str], **fields: Any) -> list[list[float]]:
        """Turn texts into vectors, in their order. Raises `DispatchError`."""
        body = msgspec.json.encode({"model": model, "input": inputs, "encoding_format": "float", **fields})
        raw, _, _ = await self._backend.whole("embeddings", body, None)
        rows = msgspec.json.decode(raw)["data"]
        return [row["embedding"] for row in sorted(rows, key=lambda row: row["index"])]

    async def request(self, door: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a body as it is through a door (`chat`, `completions`, `embeddings`, `responses`); returns the answer's JSON."""
        raw, _, _ = await self._backend.whole(door, msgspec.json.encode(body), None)
        answer: dict[str, Any] = msgspec.json.decode(raw)
        return answer

    async def models(self) -> list[str]:
        """Names that can be asked for."""
        return await self._backend.models()

    def openai(self) -> AsyncOpenAI:
        """OpenAI's own client; its requests take this client's way (needs the extra `dispatch-llm[openai]`)."""
        return self._backend.openai()


def _messages(messages: str | Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
