"""Endpoints that answer as a test says, for plans over several models."""

from __future__ import annotations

import json
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from tests.integration.upstream import Line, Upstream, chunk, delta, stream_head

if TYPE_CHECKING:
    from collections.abc import Callable

    Says = Callable[[dict[str, Any]], Any]

__all__ = ["Model", "asked", "config"]


class Model(Upstream):
    """`Model(says)`: what `says` returns for a request's body is its answer.

    Text is the content; a mapping is laid over the message, with `logprob` and `finish` for the choice and `raw` for the whole body; a
    number is the status of an error; None never comes.
    """

    def __init__(self, says: Says | Any) -> None:
        super().__init__(self._play)
        self._says = says if callable(says) else lambda _: says

    async def _play(self, line: Line) -> None:
        try:
            while True:
                request = await line.request()
                body = json.loads(request.partition(b"\r\n\r\n")[2])
                said = self._says(body)
                if isawaitable(said):
                    said = await said
                if said is None:
                    await line.gone()
                    return
                await line.send(_error(said) if isinstance(said, int) else _stream(said) if body.get("stream") else _whole(said))
        except (EOFError, ConnectionError):
            return


def asked(model: Upstream, place: int = -1) -> dict[str, Any]:
    """The body of a request that `model` got."""
    found: dict[str, Any] = json.loads(model.requests[place].partition(b"\r\n\r\n")[2])
    return found


def config(plan: dict[str, Any], *models: Upstream, price: float | None = None, **settings: Any) -> dict[str, Any]:
    """Endpoints `a`, `b`, ... and the model `m` with the plan."""
    endpoints = [
        {
            "name": name,
            "provider": "openai_compatible",
            "model": f"up-{name}",
            "base_url": model.base_url,
            "api_key": "env:UP_KEY",
            **({} if price is None else {"price": {"input": price, "output": price}}),
        }
        for name, model in zip("abcdefgh", models, strict=False)
    ]
    return {"endpoints": endpoints, "models": {"m": {**plan, "retry": {"attempts": 1}, **settings}}}


def _error(status: int) -> bytes:
    body = json.dumps({"error": {"message": "no", "type": "server_error", "param": None, "code": None}}).encode()
    return b"HTTP/1.1 %d Bad\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def _whole(said: Any) -> bytes:
    tree = said if isinstance(said, dict) else {"content": said}
    if "raw" in tree:
        body = json.dumps(tree["raw"]).encode()
    else:
        logprob, finish = tree.pop("logprob", None), tree.pop("finish", "stop")
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": None, **tree}, "finish_reason": finish}
        if logprob is not None:
            choice["logprobs"] = {"content": [{"token": "x", "logprob": logprob, "bytes": None, "top_logprobs": []}]}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        body = json.dumps({"id": "c1", "object": "chat.completion", "model": "up", "choices": [choice], "usage": usage}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _stream(said: Any) -> bytes:
    text = said["content"] if isinstance(said, dict) else said
    usage = {"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}
    parts = [delta(None), *(delta(word) for word in text.split(" ")), delta(None, "stop")]
    return stream_head() + b"".join(parts) + chunk(b"data: %b\n\n" % json.dumps(usage).encode()) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
