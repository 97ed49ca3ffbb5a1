"""Bedrock's Converse and ConverseStream (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html).

The core makes server-sent events of the frames of an endpoint's stream; `server.frames` makes frames of them for a client.
"""

from __future__ import annotations

__all__: list[str] = []
