"""Cohere (https://docs.cohere.com/reference): chat and embeddings in version 2, rerank. Version 1 is passed on as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from dispatch.errors import ConfigError
from dispatch.providers.base import below, build_head, options_of, origin_of, plain_target, require_model
from dispatch.providers.classify import classify

if TYPE_CHECKING:
    from dispatch.config import Endpoint
    from dispatch.dialects.target import Target
    from dispatch.errors import Failure
    from dispatch.schema import Origin

__all__ = ["PROVIDER", "Options"]

BASE_URL = "https://api.cohere.com"
_PATHS = {
    "cohere": "/v2/chat",
    "cohere_embed": "/v2/embed",
    "rerank": "/v2/rerank",
    "cohere_v1": "/v1/chat",
    "cohere_generate": "/v1/generate",
}


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How requests of other dialects are put."""

    input_type: Literal["search_document", "search_query", "classification", "clustering"] = "search_document"
    """What texts are for that OpenAI's embeddings door brings, where the request does not say `input_type`."""


class Cohere:
    """A bearer token at a fixed address that `base_url` may replace: what its own SDK takes, without a version."""

    name = "cohere"
    capabilities = frozenset({"stream_usage"})

    def check(self, endpoint: Endpoint) -> None:
        """Check model, base URL, key and options."""
        require_model(endpoint)
        if not endpoint.api_key and not endpoint.base_url:
            raise ConfigError("api_key", "missing")
        options_of(endpoint, Options)
        self.head(endpoint, "cohere", "")

    def head(self, endpoint: Endpoint, door: str, secret: str) -> bytes | None:
        """Build the fixed part of a request."""
        path = _PATHS.get(door.removesuffix("_stream"))
        if path is None:
            return None
        fields = [("authorization", f"Bearer {secret}")] if secret else []
        return build_head(endpoint.base_url or BASE_URL, path, fields, endpoint)

    def target(self, endpoint: Endpoint) -> Target:
        """Tell what a translated request must know of the endpoint."""
        body: dict[str, Any] = {"input_type": options_of(endpoint, Options).input_type}
        return plain_target(self.name, endpoint, body=body)

    def free_target(self, endpoint: Endpoint) -> str:
        """Tell what can be asked for without cost."""
        return below(endpoint.base_url or BASE_URL, "/v1/models")

    def origin(self, endpoint: Endpoint) -> Origin:
        """Tell where connections go."""
        return origin_of(endpoint.base_url or BASE_URL)

    def classify(self, status: int, content_type: bytes, body: bytes) -> Failure:
        """Name what an answer means."""
        return classify(status, content_type, body)


PROVIDER = Cohere()
