"""Messages, sans IO: what goes over the wire between clients, us and providers. Bytes in, bytes out; no sockets, no clock.

The work is done in the core (`rust/src/http1`, `rust/src/sse`, `rust/src/json`), one call per message or network chunk, because
it runs once per byte; these modules give it names.

- `http1`: heads and bodies of requests and answers, and what a request's JSON says.
- `sse`: streams of events on their way from a provider to a client.
"""

from __future__ import annotations

__all__: list[str] = []
