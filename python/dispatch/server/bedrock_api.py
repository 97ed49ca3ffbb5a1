"""Bedrock's runtime as doors of the sidecar (https://docs.aws.amazon.com/bedrock/latest/APIReference): model and verb stand in the path.

AWS's SDKs need nothing but `endpoint_url` and a key. They send it as a bearer token (`AWS_BEARER_TOKEN_BEDROCK`), which they do over TLS
alone, or sign with a pair of keys of which this sidecar knows the first: where keys are configured, the access key id is the client's key.
A signature is never passed on, for it holds for this host: an endpoint's own credential takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.errors import BadRequest
from dispatch.server.frames import ChunkSink, FrameSink
from dispatch.server.path_door import PathBody, PathDoor

if TYPE_CHECKING:
    from dispatch.exchange import Call
    from dispatch.generation import Model
    from dispatch.wire.http1 import Inbound, Scan

__all__ = ["BedrockDoor", "door_at"]

_ROOT = b"POST /model/"
_RAIL = b"x-amzn-bedrock-guardrailidentifier: "
_SAID = (
    *(b"x-amzn-bedrock-guardrailidentifier", b"x-amzn-bedrock-guardrailversion", b"x-amzn-bedrock-trace"),
    *(b"x-amzn-bedrock-performanceconfig-latency", b"x-amzn-bedrock-service-tier"),
)
"""What InvokeModel has in header fields."""


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


class _InvokeDoor(BedrockDoor):
    """Bodies of each model's maker, which are passed on to Bedrock alone."""

    __slots__ = ()

    @staticmethod
    def body_of(inbound: Inbound, scan: Scan) -> _InvokeBody:
        """The body, with what only the head says here."""
        said = ((name, inbound.header(name)) for name in _SAID)
        lines = b"".join(b"%b: %b\r\n" % (name, value) for name, value in said if value is not None)
        if inbound.header(b"content-type") is None:
            lines += b"content-type: application/json\r\n"
        return _InvokeBody(inbound.forward + lines, inbound.body, scan)


class _InvokeStreamDoor(_InvokeDoor):
    """Answers in frames."""

    __slots__ = ()

    @staticmethod
    def amend(_model: Model, call: Call, _inbound: Inbound) -> None:
        """Let the events become frames."""
        call.sink = ChunkSink(call.sink, chunked=call.chunked)
        call.chunked = False


class _InvokeBody(PathBody):
    __slots__ = ()

    def compose(self, prefix: bytes, model: bytes, inject_usage: bool, /) -> bytes:
        """The request. Raises `BadRequest` for a guardrail beside the endpoint's."""
        if _RAIL in prefix and _RAIL in self._forward:
            raise BadRequest("x-amzn-bedrock-guardrailidentifier: the endpoint has a guardrail of its own", code="unsupported_parameter")
        return super().compose(prefix, model, inject_usage)


_DOORS: dict[bytes, BedrockDoor] = {
    b"converse": BedrockDoor("converse"),
    b"converse-stream": _StreamDoor("converse_stream"),
    b"invoke": _InvokeDoor("invoke_model"),
    b"invoke-with-response-stream": _InvokeStreamDoor("invoke_model_stream"),
}
