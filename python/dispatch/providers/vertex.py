"""Google's Vertex AI (https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest): Gemini, Anthropic's models, and others.

Each maker's models are asked in their own dialect: Gemini in Google's, Claude in Anthropic's (`rawPredict`), all others in OpenAI's.
Requests carry an access token that is renewed ahead of time, or a key of Vertex's express mode.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from dispatch.errors import ConfigError
from dispatch.providers.base import build_head, options_of, origin_of, plain_target, require_model
from dispatch.providers.classify import classify
from dispatch.providers.identity import GoogleIdentity

if TYPE_CHECKING:
    from dispatch.config import Endpoint
    from dispatch.dialects.target import Target
    from dispatch.errors import Failure
    from dispatch.schema import Origin

__all__ = ["PROVIDER", "Options"]

_Word = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:-]*\Z")]
_VERBS = {
    "gemini": {
        "generate": "generateContent",
        "generate_stream": "streamGenerateContent?alt=sse",
        "gemini_count": "countTokens",
        "gemini_embed": "embedContent",
        "embed_predict": "predict",
    },
    "anthropic": {"predict": "rawPredict", "predict_stream": "streamRawPredict", "count_tokens": "rawPredict"},
}
_PREDICTED = re.compile(r"(gemini-embedding-001|text(-multilingual)?-embedding|textembedding-gecko)")
"""Models that make vectors by `predict`; all later ones by `embedContent`."""
_PUBLISHERS = {"gemini": "google", "anthropic": "anthropic"}
_VERSION = "vertex-2023-10-16"
_REGIONAL = frozenset(("us", "eu"))
"""Locations that are more than one region, with addresses of another form."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose project, where, and in which dialect."""

    project: _Word = ""
    """The project's id. Left out: express mode, where `api_key` is the key of that; with a project `api_key` is a token of one's own."""
    location: _Word = "global"
    """A region as `europe-west4`, `us`, `eu` or `global`."""
    api: Literal["auto", "gemini", "anthropic", "openai"] = "auto"
    """`auto`: `anthropic` for models that begin with `claude`, `openai` for those with a slash (`meta/llama-3.3-70b-instruct-maas`)."""
    credentials: str = ""
    """Path of an account's JSON (`service_account` or `authorized_user`). Left out: application default credentials, then the machine's
    account; none before a `base_url` of plain http, which is a gateway's."""
    api_version: Literal["v1", "v1beta1"] = "v1"
    """Of the paths."""
    max_tokens: Annotated[int, Meta(ge=1)] = 8192
    """For requests of other dialects to Anthropic's models, which need a limit; thinking comes on top."""
    thinking: Literal["auto", "budget", "adaptive"] = "auto"
    """How Anthropic's models are asked for a reasoning effort: in tokens (up to 4.5), or left to the model. `auto` goes by the name."""


class Vertex:
    """One model in one location of one project."""

    name = "vertex"
    capabilities = frozenset({"stream_usage"})

    def check(self, endpoint: Endpoint) -> None:
        """Check model, project, key and options."""
        require_model(endpoint)
        options = options_of(endpoint, Options)
        if endpoint.passes_name and options.api != "openai":
            raise ConfigError("model", "the path names the model, so it must be named here")
        if not options.project and not (endpoint.api_key and _api(endpoint, options) == "gemini"):
            raise ConfigError("options.project", "missing; write the id of the project")
        if endpoint.api_key and options.credentials:
            raise ConfigError("api_key", "a key and `credentials` exclude each other")
        self.head(endpoint, "generate", "")

    def head(self, endpoint: Endpoint, door: str, secret: str) -> bytes | None:
        """Build the fixed part of a request."""
        options = options_of(endpoint, Options)
        api = _api(endpoint, options)
        place = f"/{options.api_version}"
        if options.project:
            place += f"/projects/{options.project}/locations/{options.location}"
        if api == "openai":
            target = f"{place}/endpoints/openapi/chat/completions" if door == "chat" else None
        else:
            verb = _VERBS[api].get(door)
            if "embed" in door and (door == "embed_predict") != bool(_PREDICTED.match(endpoint.model)):
                verb = None
            # Counting has a path of its own, and finds the model in the body.
            model = "count-tokens" if door == "count_tokens" else quote(endpoint.model)
            target = None if verb is None else f"{place}/publishers/{_PUBLISHERS[api]}/models/{model}:{verb}"
        if target is None:
            return None
        # Keys are those of express mode, which has no projects; within a project it is a token that somebody else renews.
        field = ("authorization", f"Bearer {secret}") if options.project else ("x-goog-api-key", secret)
        return build_head(_base_url(endpoint, options), target, [field] if secret else [], endpoint)

    def target(self, endpoint: Endpoint) -> Target:
        """Tell what a translated request must know of the endpoint."""
        options = options_of(endpoint, Options)
        if _api(endpoint, options) == "anthropic":
            limits = {"default_max_tokens": options.max_tokens, "thinking": options.thinking}
            return plain_target(self.name, endpoint, version=_VERSION, **limits)
        return plain_target(self.name, endpoint, unknown_ok=_api(endpoint, options) == "openai")

    def identity(self, endpoint: Endpoint) -> GoogleIdentity | None:
        """Tell whose token its requests carry; None where a key says it all, or a gateway at `base_url` adds it."""
        options = options_of(endpoint, Options)
        if endpoint.api_key or (endpoint.base_url.startswith("http://") and not options.credentials):
            return None
        return GoogleIdentity(file=options.credentials)

    def origin(self, endpoint: Endpoint) -> Origin:
        """Tell where connections go."""
        return origin_of(_base_url(endpoint, options_of(endpoint, Options)))

    def classify(self, status: int, content_type: bytes, body: bytes) -> Failure:
        """Name what an answer means."""
        return classify(status, content_type, body)


def _api(endpoint: Endpoint, options: Options) -> str:
    if options.api != "auto":
        return options.api
    if endpoint.model.startswith("claude"):
        return "anthropic"
    return "openai" if "/" in endpoint.model else "gemini"


def _base_url(endpoint: Endpoint, options: Options) -> str:
    if endpoint.base_url:
        return endpoint.base_url
    if options.location == "global" or not options.project:
        return "https://aiplatform.googleapis.com"
    if options.location in _REGIONAL:
        return f"https://aiplatform.{options.location}.rep.googleapis.com"
    return f"https://{options.location}-aiplatform.googleapis.com"


PROVIDER = Vertex()
