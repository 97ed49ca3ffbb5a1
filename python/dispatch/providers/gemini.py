"""Google's Gemini API, as AI Studio's keys reach it (https://ai.google.dev/api)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from dispatch.errors import ConfigError
from dispatch.providers.base import NoOptions, below, build_head, options_of, origin_of, require_model
from dispatch.providers.classify import classify

if TYPE_CHECKING:
    from dispatch.config import Endpoint
    from dispatch.errors import Failure
    from dispatch.schema import Origin

__all__ = ["PROVIDER"]

BASE_URL = "https://generativelanguage.googleapis.com"
_VERBS = {
    "generate": "generateContent",
    "generate_stream": "streamGenerateContent?alt=sse",
    "gemini_count": "countTokens",
    "gemini_embed": "embedContent",
    "gemini_embed_batch": "batchEmbedContents",
}


class Gemini:
    """A key in a header of its own; the model stands in the path."""

    name = "gemini"
    capabilities = frozenset({"stream_usage"})

    def check(self, endpoint: Endpoint) -> None:
        """Check model, base URL and key."""
        require_model(endpoint)
        if endpoint.passes_name:
            raise ConfigError("model", "the path names the model, so it must be named here")
        if not endpoint.api_key and not endpoint.base_url:
            raise ConfigError("api_key", "missing")
        options_of(endpoint, NoOptions)
        self.head(endpoint, "generate", "")

    def head(self, endpoint: Endpoint, door: str, secret: str) -> bytes | None:
        """Build the fixed part of a request."""
        verb = _VERBS.get(door)
        if verb is None:
            return None
        model = endpoint.model.removeprefix("models/")
        target = f"/v1beta/{model}:{verb}" if model.startswith("tunedModels/") else f"/v1beta/models/{quote(model)}:{verb}"
        return build_head(endpoint.base_url or BASE_URL, target, [("x-goog-api-key", secret)] if secret else [], endpoint)

    def free_target(self, endpoint: Endpoint) -> str:
        """Tell what can be asked for without cost."""
        return below(endpoint.base_url or BASE_URL, "/v1beta/models")

    def origin(self, endpoint: Endpoint) -> Origin:
        """Tell where connections go."""
        return origin_of(endpoint.base_url or BASE_URL)

    def classify(self, status: int, content_type: bytes, body: bytes) -> Failure:
        """Name what an answer means."""
        return classify(status, content_type, body)


PROVIDER = Gemini()
