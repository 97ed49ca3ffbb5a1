"""OpenAI's API (https://platform.openai.com/docs/api-reference)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from dispatch.errors import ConfigError
from dispatch.providers.base import PATHS, below, build_head, options_of, origin_of, plain_target, require_model
from dispatch.providers.classify import classify

if TYPE_CHECKING:
    from dispatch.config import Endpoint
    from dispatch.dialects.target import Target
    from dispatch.errors import Failure
    from dispatch.schema import Origin

__all__ = ["PROVIDER", "Options"]

BASE_URL = "https://api.openai.com/v1"
_COUNTED = "/responses/input_tokens"
"""Tokens counted before they are sent; servers that speak its dialect do not have it."""


_Id = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]*\Z")]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom requests are booked on."""

    organization: _Id = ""
    """Sent as `OpenAI-Organization`."""
    project: _Id = ""
    """Sent as `OpenAI-Project`."""


class OpenAI:
    """Bearer authentication at a fixed address that `base_url` may replace."""

    name = "openai"
    capabilities = frozenset({"stream_usage"})

    def check(self, endpoint: Endpoint) -> None:
        """Check model, base URL, key and options."""
        require_model(endpoint)
        if not endpoint.api_key:
            raise ConfigError("api_key", "missing; a server that needs none is `provider: openai_compatible`")
        self.head(endpoint, "chat", "")

    def head(self, endpoint: Endpoint, door: str, secret: str) -> bytes | None:
        """Build the fixed part of a request."""
        path = _COUNTED if door == "responses_counted" else PATHS.get(door)
        if path is None or door == "rerank":
            return None
        options = options_of(endpoint, Options)
        fields = []
        if secret:
            fields.append(("authorization", f"Bearer {secret}"))
        if options.organization:
            fields.append(("openai-organization", options.organization))
        if options.project:
            fields.append(("openai-project", options.project))
        return build_head(endpoint.base_url or BASE_URL, path, fields, endpoint)

    def target(self, endpoint: Endpoint) -> Target:
        """Tell what a translated request must know of the endpoint."""
        return plain_target(self.name, endpoint, max_tokens_field="max_completion_tokens")

    def free_target(self, endpoint: Endpoint) -> str:
        """Tell what can be asked for without cost."""
        return below(endpoint.base_url or BASE_URL, "/models")

    def origin(self, endpoint: Endpoint) -> Origin:
        """Tell where connections go."""
        return origin_of(endpoint.base_url or BASE_URL)

    def classify(self, status: int, content_type: bytes, body: bytes) -> Failure:
        """Name what an answer means."""
        return classify(status, content_type, body)


PROVIDER = OpenAI()
