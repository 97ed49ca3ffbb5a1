"""Bedrock's Converse and ConverseStream (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html).

No door speaks it: requests are written, answers and streams are read. The core makes server-sent events of a stream's frames.
"""

from __future__ import annotations

__all__: list[str] = []
