"""Servers that speak OpenAI's API at an address of their own: vLLM, llama.cpp, Ollama's `/v1`, Groq, DeepSeek, OpenRouter, Together, ...

A key is optional. `capabilities: {stream_usage: false}` is for those that refuse `stream_options`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.providers.base import PATHS, NoOptions, below, build_head, options_of, origin_of, plain_target, require_model
from dispatch.providers.classify import classify

if TYPE_CHECKING:
    from dispatch.config import Endpoint
    from dispatch.dialects.target import Target
    from dispatch.errors import Failure
    from dispatch.schema import Origin

__all__ = ["PROVIDER"]


class OpenAICompatible:
    """Bearer authentication, if any, at the address that `base_url` gives (with `/v1` where the server has it)."""

    name = "openai_compatible"
    capabilities = frozenset({"stream_usage"})

    def check(self, endpoint: Endpoint) -> None:
        """Check model, base URL and options."""
        require_model(endpoint)
        options_of(endpoint, NoOptions)
        self.head(endpoint, "chat", "")

    def head(self, endpoint: Endpoint, door: str, secret: str) -> bytes | None:
        """Build the fixed part of a request."""
        if door not in PATHS:
            return None
        fields = [("authorization", f"Bearer {secret}")] if secret else []
        return build_head(endpoint.base_url, PATHS[door], fields, endpoint)

    def target(self, endpoint: Endpoint) -> Target:
        """Tell what a translated request must know of the endpoint: servers of many makes have many fields more."""
        return plain_target(self.name, endpoint, unknown_ok=True)

    def free_target(self, endpoint: Endpoint) -> str:
        """Tell what can be asked for without cost."""
        return below(endpoint.base_url, "/models")

    def origin(self, endpoint: Endpoint) -> Origin:
        """Tell where connections go."""
        return origin_of(endpoint.base_url)

    def classify(self, status: int, content_type: bytes, body: bytes) -> Failure:
        """Name what an answer means."""
        return classify(status, content_type, body)


PROVIDER = OpenAICompatible()
