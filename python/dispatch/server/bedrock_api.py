"""Bedrock's runtime as doors of the sidecar (https://docs.aws.amazon.com/bedrock/latest/APIReference): model and verb stand in the path.

AWS's SDKs need nothing but `endpoint_url` and a key. They send it as a bearer token (`AWS_BEARER_TOKEN_BEDROCK`), which they do over TLS
alone, or sign with a pair of keys of which this sidecar knows the first: where keys are configured, the access key id is the client's key.
A signature is never passed on, for it holds for this host: an endpoint's own credential takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.server.frames import FrameSink
from dispatch.server.path_door import PathDoor

if TYPE_CHECKING:
    from dispatch.exchange import Call
    from dispatch.generation import Model
    from dispatch.wire.http1 import Inbound

__all__ = ["BedrockDoor", "door_at"]

_ROOT = b"POST /model/"


def door_at(line: bytes) -> BedrockDoor | None:
    """The door of a method and path; None if it is none of Bedrock's."""
    if not line.startswith(_ROOT):
        return None
    return _DOORS.get(line.rpartition(b"/")[2])


class BedrockDoor(PathDoor):
    """One operation."""

    __slots__ = ()
    said_again = ("model", "stream")

    @staticmethod
    def model_in(line: bytes) -> bytes:
        """What stands between root and verb: an ARN has slashes of its own, which some clients do not encode."""
        return line[len(_ROOT) :].rpartition(b"/")[0]


class _StreamDoor(BedrockDoor):
    """Answers in frames."""

    __slots__ = ()

    @staticmethod
    def amend(_model: Model, call: Call, _inbound: Inbound) -> None:
        """Let the events become frames."""
        call.sink = FrameSink(call.sink, chunked=call.chunked)
        call.chunked = False


_DOORS: dict[bytes, BedrockDoor] = {
    b"converse": BedrockDoor("converse"),
    b"converse-stream": _StreamDoor("converse_stream"),
}
