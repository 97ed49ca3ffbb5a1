"""Anthropic's API (https://docs.anthropic.com/en/api)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from dispatch.errors import ConfigError
from dispatch.providers.base import below, build_head, options_of, origin_of, plain_target, require_model
from dispatch.providers.classify import classify

if TYPE_CHECKING:
    from dispatch.config import Endpoint
    from dispatch.dialects.target import Target
    from dispatch.errors import Failure
    from dispatch.schema import Origin

__all__ = ["PROVIDER", "Options"]

BASE_URL = "https://api.anthropic.com"
_PATHS = {"messages": "/v1/messages", "count_tokens": "/v1/messages/count_tokens"}


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How requests of other dialects are put."""

    auth: Literal["x-api-key", "bearer"] = "x-api-key"
    """`bearer` for a token of OAuth."""
    max_tokens: Annotated[int, Meta(ge=1)] = 8192
    """For requests of dialects that need no limit; thinking comes on top."""
    thinking: Literal["auto", "budget", "adaptive"] = "auto"
    """How a reasoning effort is asked for: in tokens (models up to 4.5), or left to the model. `auto` goes by the model's name."""


class Anthropic:
    """A key in a header of its own at a fixed address that `base_url` may replace."""

    name = "anthropic"
    capabilities = frozenset({"stream_usage"})

    def check(self, endpoint: Endpoint) -> None:
        """Check model, base URL, key and options."""
        require_model(endpoint)
        if not endpoint.api_key and not endpoint.base_url:
            raise ConfigError("api_key", "missing")
        self.head(endpoint, "messages", "")

    def head(self, endpoint: Endpoint, door: str, secret: str) -> bytes | None:
        """Build the fixed part of a request. The version is the client's own, or the translation's."""
        path = _PATHS.get(door)
        if path is None:
            return None
        bearer = options_of(endpoint, Options).auth == "bearer"
        field = ("authorization", f"Bearer {secret}") if bearer else ("x-api-key", secret)
        return build_head(endpoint.base_url or BASE_URL, path, [field] if secret else [], endpoint)

    def target(self, endpoint: Endpoint) -> Target:
        """Tell what a translated request must know of the endpoint."""
        options = options_of(endpoint, Options)
        return plain_target(self.name, endpoint, default_max_tokens=options.max_tokens, thinking=options.thinking)

    def free_target(self, endpoint: Endpoint) -> str:
        """Tell what can be asked for without cost."""
        return below(endpoint.base_url or BASE_URL, "/v1/models")

    def origin(self, endpoint: Endpoint) -> Origin:
        """Tell where connections go."""
        return origin_of(endpoint.base_url or BASE_URL)

    def classify(self, status: int, content_type: bytes, body: bytes) -> Failure:
        """Name what an answer means."""
        return classify(status, content_type, body)


PROVIDER = Anthropic()
