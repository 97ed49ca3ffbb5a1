"""`dispatch bench`: a load generator without coordinated omission.

Open loop: send times are drawn ahead and do not wait for answers; latencies count from the intended time. It shares no code
with the data path, so that it can judge it: plain `asyncio.Protocol`, httptools, a timer of its own.
"""

from __future__ import annotations

__all__: list[str] = []
