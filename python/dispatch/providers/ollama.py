"""Ollama (https://docs.ollama.com/api), by its own API where that can say more than its copy of OpenAI's.

By its own API it is told how long the context is, how long the model stays loaded and whether it thinks; the copy takes none of it, and
leaves out without a word what it does not know (`tool_choice`, `logit_bias`). `options: {api: openai}` is for clients that want OpenAI's
chat passed through as it is. `base_url` is what its own SDK takes, without a path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field

from dispatch.providers.base import PATHS, below, build_head, options_of, origin_of, plain_target, require_model
from dispatch.providers.classify import classify

if TYPE_CHECKING:
    from dispatch.config import Endpoint
    from dispatch.dialects.target import Target
    from dispatch.errors import Failure
    from dispatch.schema import Origin

__all__ = ["PROVIDER", "Options"]

BASE_URL = "http://127.0.0.1:11434"
_OWN = {"ollama": "/api/chat", "ollama_generate": "/api/generate", "ollama_embed": "/api/embed"}
_COPIED = {door: f"/v1{path}" for door, path in PATHS.items() if door != "chat"}


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How requests of other dialects are put."""

    api: Literal["native", "openai"] = "native"
    """`native` puts chat of any dialect to `/api/chat`; `openai` passes OpenAI's on to `/v1/chat/completions`, and translates others to
    it. Clients of Ollama's own dialect are passed through either way, and so are OpenAI's other doors."""
    keep_alive: str | int | None = None
    """How long the model stays loaded after a request that does not say it: `10m`, seconds, or -1 for ever. Only `native`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Ollama's `options` for requests that do not say them, such as `num_ctx`. Only `native`."""


class Ollama:
    """A server of one's own, without a key; ollama.com takes one as a bearer token."""

    name = "ollama"
    capabilities = frozenset({"stream_usage"})

    def check(self, endpoint: Endpoint) -> None:
        """Check model, base URL and options."""
        require_model(endpoint)
        self.head(endpoint, "ollama", "")

    def head(self, endpoint: Endpoint, door: str, secret: str) -> bytes | None:
        """Build the fixed part of a request."""
        options = options_of(endpoint, Options)
        path = "/v1/chat/completions" if door == "chat" and options.api == "openai" else _OWN.get(door) or _COPIED.get(door)
        if path is None:
            return None
        fields = [("authorization", f"Bearer {secret}")] if secret else []
        return build_head(endpoint.base_url or BASE_URL, path, fields, endpoint)

    def target(self, endpoint: Endpoint) -> Target:
        """Tell what a translated request must know of the endpoint."""
        options = options_of(endpoint, Options)
        if options.api == "openai":
            return plain_target(self.name, endpoint, unknown_ok=True)
        body: dict[str, Any] = {} if options.keep_alive is None else {"keep_alive": options.keep_alive}
        if options.options:
            body["options"] = options.options
        return plain_target(self.name, endpoint, body=body)

    def free_target(self, endpoint: Endpoint) -> str:
        """Tell what can be asked for without cost."""
        return below(endpoint.base_url or BASE_URL, "/api/version")

    def origin(self, endpoint: Endpoint) -> Origin:
        """Tell where connections go."""
        return origin_of(endpoint.base_url or BASE_URL)

    def classify(self, status: int, content_type: bytes, body: bytes) -> Failure:
        """Name what an answer means."""
        return classify(status, content_type, body)


PROVIDER = Ollama()
