"""The mock's own doors: health, the journal, the scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import msgspec
import yaml

from dispatch.errors import ConfigError
from dispatch.mock.replies import Reply, error, send_json
from dispatch.mock.scenario import build

if TYPE_CHECKING:
    from dispatch.mock.http1 import Request
    from dispatch.mock.provider import Provider

__all__ = ["control"]

_LISTED: Final = 1000
"""Entries in one answer unless `limit` says."""


def control(provider: Provider, request: Request, path: str, query: str) -> bytes:
    """Answer `GET /healthz`, `GET|DELETE /journal`, `PUT /scenario`; anything else is 404."""
    reply = Reply(request, None)
    what = f"{request.method} {path}"
    if what == "GET /healthz":
        return send_json(reply, {"status": "ok", "requests": provider.journal.total, "connections": len(provider.connections)})
    if what == "GET /journal":
        return _journal(provider, reply, query)
    if what == "DELETE /journal":
        provider.journal.clear()
        return send_json(reply, {"status": "ok"})
    if what == "PUT /scenario":
        try:
            provider.configure(build(yaml.safe_load(request.body)))
        except (ConfigError, yaml.YAMLError) as wrong:
            return error(reply, 400, str(wrong), code="invalid_scenario")
        return send_json(reply, {"status": "ok"})
    return error(reply, 404, f"Unknown request URL: {what}.", code="unknown_url")


def _journal(provider: Provider, reply: Reply, query: str) -> bytes:
    """Give entries from number `since` on, at most `limit`."""
    fields = parse_qs(query)
    try:
        since, limit = int(fields.get("since", ["0"])[0]), int(fields.get("limit", [str(_LISTED)])[0])
    except ValueError:
        return error(reply, 400, "`since` and `limit` are whole numbers.")
    journal = provider.journal
    entries = [msgspec.to_builtins(entry) for entry in journal if entry.number >= since][:limit]
    return send_json(reply, {"total": journal.total, "entries": entries})
