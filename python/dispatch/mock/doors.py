"""Which path is which door, and where a credential may stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dispatch.mock.http1 import Request

__all__ = ["door_of", "key_of"]

_ENDINGS: Final = (
    ("/chat/completions", "chat"),
    ("/completions", "completions"),
    ("/embeddings", "embeddings"),
    ("/responses", "responses"),
    ("/models", "models"),
)
_EXACT: Final = {f"/v1{ending}": door for ending, door in _ENDINGS}
_DEPLOYMENTS: Final = "/openai/deployments/"


def door_of(path: str) -> tuple[str, str]:
    """Give the door of a path and the name in it: Azure's deployment, or the model of `/models/NAME`; empty if none."""
    door = _EXACT.get(path)
    if door is not None:
        return door, ""
    if path.startswith(_DEPLOYMENTS):
        deployment, _, _ = path.removeprefix(_DEPLOYMENTS).partition("/")
        return next((door for ending, door in _ENDINGS if path.endswith(ending)), ""), deployment
    for ending, door in _ENDINGS:
        if path.endswith(ending):
            return door, ""
    before, found, name = path.partition("/models/")
    return ("models", name) if found and before in ("", "/v1", "/openai/v1") else ("", "")


def key_of(request: Request) -> str:
    """Give the credential of a request, empty if there is none."""
    bearer = request.header(b"authorization")
    if bearer:
        return bearer[7:] if bearer[:7].lower() == "bearer " else bearer
    return request.header(b"api-key") or request.header(b"x-api-key")
