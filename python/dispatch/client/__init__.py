"""The library: the engine inside the caller's event loop, or a sidecar somewhere, behind one face.

async with Client("dispatch.yaml") as client:          # in process
    reply = await client.chat("chat", "Say hi")
async with Client("http://127.0.0.1:8080") as client:  # a sidecar
    async for delta in client.stream("chat", "Say hi"):
        print(delta.text, end="")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self, overload

import msgspec

from dispatch.client.reading import DeltaReader, read_answer, read_object, read_vectors
from dispatch.config import Config, load, locate
from dispatch.errors import BadRequest
from dispatch.providers.chat import encode_request
from dispatch.schema import Request

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

    from openai import AsyncOpenAI

    from dispatch.client.backend import Backend
    from dispatch.schema import Delta, Response

    Messages = str | Iterable[Mapping[str, Any]]

__all__ = ["Client"]

DOORS = ("chat", "completions", "embeddings", "responses")


class Client:
    """Sends requests to the models of a configuration. Opened by `async with`; belongs to the event loop that opens it.

    Leaving the block ends what is still under way: its callers get `Draining`, its upstreams see the connection close.

    Args:
        source: a configuration file, a `Config`, or the base URL of a sidecar. None: `DISPATCH_CONFIG` or `./dispatch.yaml`,
            else what the machine offers (the `echo` model always).
        api_key: for a sidecar: the key to present, `DISPATCH_API_KEY` if left out. In process: the credential for endpoints whose
            `api_key` is `from_client`.
        key: in process: the name of a configured key whose permissions and limits hold for this client.

    Raises:
        ConfigError: the configuration is refused; when the client is opened: a secret is missing, or no key has that name.
    """

    def __init__(self, source: str | Path | Config | None = None, *, api_key: str | None = None, key: str | None = None) -> None:
        self._backend: Backend
        if isinstance(source, str) and source.startswith(("http://", "https://")):
            from dispatch.client.remote import RemoteBackend  # noqa: PLC0415  # aiohttp is loaded only where it is used

            self._backend = RemoteBackend(source, os.environ.get("DISPATCH_API_KEY", "") if api_key is None else api_key)
        else:
            from dispatch.client.inside import InsideBackend  # noqa: PLC0415  # so is the engine

            config = source if isinstance(source, Config) else load(locate(source, os.environ), os.environ)
            self._backend = InsideBackend(config, key, api_key or "")

    async def __aenter__(self) -> Self:
        await self._backend.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._backend.close()

    @overload
    async def chat(self, model: Request, /, *, deadline_s: float | None = None) -> Response: ...
    @overload
    async def chat(self, model: str, messages: Messages, *, deadline_s: float | None = None, **fields: Any) -> Response: ...
    async def chat(self, model: str | Request, messages: Messages = (), *, deadline_s: float | None = None, **fields: Any) -> Response:
        """Ask a model and wait for its whole answer. Cancelling the task that waits cancels the request upstream.

        Args:
            model: a name of the configuration, or a whole `Request`.
            messages: a question, or messages in OpenAI's form.
            deadline_s: seconds for everything together; shortens the model's own deadline.
            fields: further fields of the request's body (`temperature`, `tools`, ...).

        Raises:
            DispatchError: there is no answer; the subclass says what can be done.
        """
        body = encode_request(_request(model, messages, fields, stream=False))
        raw, endpoint, attempts, decision = await self._backend.whole("chat", body, deadline_s)
        return read_answer(raw, endpoint, attempts, decision)

    @overload
    def stream(self, model: Request, /, *, deadline_s: float | None = None) -> AsyncGenerator[Delta, None]: ...
    @overload
    def stream(self, model: str, messages: Messages, *, deadline_s: float | None = None, **fields: Any) -> AsyncGenerator[Delta, None]: ...
    async def stream(
        self, model: str | Request, messages: Messages = (), *, deadline_s: float | None = None, **fields: Any
    ) -> AsyncGenerator[Delta, None]:
        """Ask a model and take its answer piece by piece. The request is sent when the first piece is asked for.

        Leaving the loop early cancels the request upstream: in the loop's next round, or at once under `contextlib.aclosing`.
        A reader that falls behind slows the upstream down. Takes what `chat` takes.

        Raises:
            DispatchError: there is no answer, or it broke off.
        """
        body = encode_request(_request(model, messages, fields, stream=True))
        pieces = self._backend.stream("chat", body, deadline_s)
        reader = DeltaReader()
        try:
            async for piece in pieces:
                for delta in reader.feed(piece):
                    yield delta
            for delta in reader.finish():
                yield delta
        finally:
            await pieces.aclose()

    async def embed(self, model: str, inputs: str | list[str], *, deadline_s: float | None = None, **fields: Any) -> list[list[float]]:
        """Turn texts into vectors, in their order. Raises `DispatchError`."""
        body = msgspec.json.encode({"model": model, "input": inputs, "encoding_format": "float", **fields})
        raw, endpoint, *_ = await self._backend.whole("embeddings", body, deadline_s)
        return read_vectors(raw, endpoint)

    async def request(self, door: str, body: Mapping[str, Any], *, deadline_s: float | None = None) -> dict[str, Any]:
        """Send a body as it is and return the answer's JSON.

        Args:
            door: `chat`, `completions`, `embeddings` or `responses`.
            body: what the provider's API takes there, `model` being a name of the configuration.
            deadline_s: as of `chat`.

        Raises:
            DispatchError: there is no answer.
        """
        if door not in DOORS:
            raise BadRequest(f"there is no door {door!r}, only {', '.join(DOORS)}", code="not_found", status=404)
        _refuse_stream(body)
        raw, endpoint, *_ = await self._backend.whole(door, msgspec.json.encode(body), deadline_s)
        return read_object(raw, endpoint)

    async def feedback(self, answer: Response | str, score: float) -> None:
        """Tell how good an answer of a model that decides was, so that learned routes choose better.

        Args:
            answer: the answer, or the id of its decision.
            score: from 0 to 1.

        Raises:
            DispatchError: there is no such decision, or it is too long ago.
        """
        await self._backend.feedback(answer if isinstance(answer, str) else answer.decision, score)

    async def models(self) -> list[str]:
        """Names that can be asked for. Raises `DispatchError`."""
        return await self._backend.models()

    def openai(self) -> AsyncOpenAI:
        """OpenAI's own client; its requests take this client's way. Needs the extra `dispatch-llm[openai]`.

        In process it retries nothing, the engine does; its `timeout` is an error after so many seconds of silence.
        """
        return self._backend.openai()


def _request(model: str | Request, messages: Messages, fields: dict[str, Any], *, stream: bool) -> Request:
    """Join what a caller gave into one request."""
    if isinstance(model, Request):
        request = model if model.stream is stream else msgspec.structs.replace(model, stream=stream)
    else:
        said = ({"role": "user", "content": messages},) if isinstance(messages, str) else tuple(dict(message) for message in messages)
        request = Request(model=model, messages=said, stream=stream, extra=fields)
    if not stream:
        _refuse_stream(request.extra)
        return request
    options = {"include_usage": True, **(request.extra.get("stream_options") or {})}
    return msgspec.structs.replace(request, extra={**request.extra, "stream": True, "stream_options": options})


def _refuse_stream(body: Mapping[str, Any]) -> None:
    if body.get("stream"):
        raise BadRequest("'stream' is not taken here: call Client.stream()", code="unsupported_parameter", param="stream")
