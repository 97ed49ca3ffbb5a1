"""Vendors whose HTTP is OpenAI's at an address of their own: each is a row of data in a module of its name.

What differs is the address, which doors exist, and a few quirks of requests that are translated from other dialects; requests in
OpenAI's own are passed through, so a vendor's further fields need nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatch.errors import ConfigError
from dispatch.providers.base import PATHS, NoOptions, below, build_head, options_of, origin_of, plain_target, require_model
from dispatch.providers.classify import classify

if TYPE_CHECKING:
    from dispatch.config import Endpoint
    from dispatch.dialects.target import Target
    from dispatch.errors import Failure
    from dispatch.schema import Origin

__all__ = ["OpenAILike"]


class OpenAILike:
    """One vendor.

    Args:
        name: the module's.
        base_url: what its own documentation gives to OpenAI's SDK; empty: the endpoint must say.
        doors: those that it has.
        paths: of doors that stand elsewhere than at OpenAI.
        prefix: stands between base URL and door, where the vendor's own SDK takes a shorter base URL.
        needs_key: refuse an endpoint without one.
        stream_usage: it takes `stream_options`.
        target: fields of `Target` in which it differs.
    """

    def __init__(  # a row of a table, each by its name
        self,
        name: str,
        base_url: str,
        doors: str,
        *,
        paths: dict[str, str] | None = None,
        prefix: str = "",
        needs_key: bool = True,
        stream_usage: bool = True,
        target: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.capabilities = frozenset({"stream_usage"}) if stream_usage else frozenset[str]()
        self._base_url = base_url
        self._doors = frozenset(doors.split())
        self._paths = {**PATHS, **(paths or {})}
        self._prefix = prefix
        self._needs_key = needs_key
        self._fields: dict[str, Any] = {"unknown_ok": True, **(target or {})}

    def check(self, endpoint: Endpoint) -> None:
        """Check model, base URL, key and options."""
        require_model(endpoint)
        if self._needs_key and not endpoint.api_key and not endpoint.base_url:
            raise ConfigError("api_key", "missing")
        options_of(endpoint, NoOptions)
        self.head(endpoint, "chat", "")

    def head(self, endpoint: Endpoint, door: str, secret: str) -> bytes | None:
        """Build the fixed part of a request."""
        if door not in self._doors:
            return None
        fields = [("authorization", f"Bearer {secret}")] if secret else []
        return build_head(endpoint.base_url or self._base_url, self._prefix + self._paths[door], fields, endpoint)

    def target(self, endpoint: Endpoint) -> Target:
        """Tell what a translated request must know of the endpoint."""
        usage = endpoint.capabilities.stream_usage
        stream_usage = "stream_usage" in self.capabilities if usage is None else usage
        return plain_target(self.name, endpoint, stream_usage=stream_usage, **self._fields)

    def free_target(self, endpoint: Endpoint) -> str:
        """Tell what can be asked for without cost."""
        return below(endpoint.base_url or self._base_url, self._prefix + "/models")

    def origin(self, endpoint: Endpoint) -> Origin:
        """Tell where connections go."""
        return origin_of(endpoint.base_url or self._base_url)

    def classify(self, status: int, content_type: bytes, body: bytes) -> Failure:
        """Name what an answer means."""
        return classify(status, content_type, body)
