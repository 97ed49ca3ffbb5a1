"""Azure OpenAI (https://learn.microsoft.com/azure/ai-foundry/openai/reference), in both of its forms.

`base_url: https://NAME.openai.azure.com`, what `AzureOpenAI` takes as its endpoint: the deployment stands in the path, the API version
in the query. `base_url: https://NAME.openai.azure.com/openai/v1`, what `OpenAI` takes: paths as at OpenAI, the deployment's name in the
body's `model`, no version needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from dispatch.errors import ConfigError
from dispatch.providers.base import PATHS, below, build_head, options_of, origin_of, plain_target, require_model, split_url
from dispatch.providers.classify import classify
from dispatch.providers.identity import EntraIdentity, check_references

if TYPE_CHECKING:
    from dispatch.config import Endpoint
    from dispatch.dialects.target import Target
    from dispatch.errors import Failure
    from dispatch.schema import Origin

__all__ = ["PROVIDER", "Options"]

API_VERSION = "2024-10-21"
"""The last version of the data plane that was generally available in the older form."""

_RESPONSES_SINCE = "2025-03-01"
"""First version with the responses API; versions are dates, so text compares as time does."""

_ELSEWHERE = frozenset(("moderations", "rerank"))
"""Doors that Azure has as services of other names."""

_Segment = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]*\Z")]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the model is deployed, and how to show the credential."""

    api_version: _Segment = ""
    """The query's `api-version`. Left out: `2024-10-21`, or none under `/openai/v1`."""
    deployment: _Segment = ""
    """Name of the deployment in the path. Left out: `model`."""
    auth: Literal["api-key", "bearer", "entra"] = "api-key"
    """`bearer` for a token of Microsoft Entra as `api_key`; `entra` without `api_key`: tokens are had, and renewed ahead of time."""
    tenant: _Segment = ""
    """For `entra`; left out: `AZURE_TENANT_ID`."""
    client_id: _Segment = ""
    """For `entra`: of the client or the managed identity; left out: `AZURE_CLIENT_ID`, or the identity that the machine has."""
    client_secret: str = ""
    """For `entra`: `env:NAME` or `file:/path`; left out: `AZURE_CLIENT_SECRET`, the workload's federated token, or the managed identity."""
    authority: str = "https://login.microsoftonline.com"
    """For `entra`: who issues tokens; other clouds have their own."""
    scope: str = "https://cognitiveservices.azure.com/.default"
    """For `entra`: what the token is for; other clouds have their own."""


class Azure:
    """One deployment of a model in one Azure resource."""

    name = "azure"
    capabilities = frozenset({"stream_usage"})

    def check(self, endpoint: Endpoint) -> None:
        """Check model, base URL, key and options."""
        require_model(endpoint)
        options = options_of(endpoint, Options)
        check_references(client_secret=options.client_secret)
        if bool(endpoint.api_key) == (options.auth == "entra"):
            raise ConfigError("api_key", "missing" if not endpoint.api_key else "`auth: entra` has tokens of its own")
        if options.auth != "entra" and (options.tenant or options.client_id or options.client_secret):
            raise ConfigError("options.auth", "tenant, client_id and client_secret are for `entra`")
        if _is_v1(endpoint):
            if options.deployment:
                raise ConfigError("options.deployment", "under /openai/v1 the deployment is named by `model`")
        elif not options.deployment:
            if endpoint.passes_name:
                raise ConfigError(
                    "model", "the deployment stands in the path and cannot come from the client; use a base_url that ends in /openai/v1"
                )
            if not _is_segment(endpoint.model):
                raise ConfigError("model", "expected the name of a deployment: letters, digits and . _ -")
        self.head(endpoint, "chat", "")

    def head(self, endpoint: Endpoint, door: str, secret: str) -> bytes | None:
        """Build the fixed part of a request; the responses API needs a version that has it."""
        target = _target(endpoint, options_of(endpoint, Options), door)
        if target is None:
            return None
        bearer = options_of(endpoint, Options).auth == "bearer"
        field = ("authorization", f"Bearer {secret}") if bearer else ("api-key", secret)
        return build_head(endpoint.base_url, target, [field] if secret else [], endpoint)

    def target(self, endpoint: Endpoint) -> Target:
        """Tell what a translated request must know of the endpoint."""
        return plain_target(self.name, endpoint, max_tokens_field="max_completion_tokens")

    def free_target(self, endpoint: Endpoint) -> str:
        """Tell what can be asked for without cost."""
        version = options_of(endpoint, Options).api_version
        if _is_v1(endpoint):
            return below(endpoint.base_url, "/models" + (f"?api-version={version}" if version else ""))
        return below(endpoint.base_url, f"{_root(endpoint)}/models?api-version={version or API_VERSION}")

    def identity(self, endpoint: Endpoint) -> EntraIdentity | None:
        """Tell whose token its requests carry; None where `api_key` says it all."""
        options = options_of(endpoint, Options)
        if options.auth != "entra":
            return None
        return EntraIdentity(
            tenant=options.tenant,
            client_id=options.client_id,
            client_secret=options.client_secret,
            authority=options.authority,
            scope=options.scope,
        )

    def origin(self, endpoint: Endpoint) -> Origin:
        """Tell where connections go."""
        return origin_of(endpoint.base_url)

    def classify(self, status: int, content_type: bytes, body: bytes) -> Failure:
        """Name what an answer means."""
        return classify(status, content_type, body)


def _is_v1(endpoint: Endpoint) -> bool:
    return split_url(endpoint.base_url).path.endswith("/openai/v1")


def _root(endpoint: Endpoint) -> str:
    return "" if split_url(endpoint.base_url).path.endswith("/openai") else "/openai"


def _is_segment(name: str) -> bool:
    return bool(name) and name.replace(".", "").replace("_", "").replace("-", "").isalnum() and name.isascii()


def _target(endpoint: Endpoint, options: Options, door: str) -> str | None:
    """Return path and query below the base URL."""
    if door not in PATHS or door in _ELSEWHERE:
        return None
    version = options.api_version
    if _is_v1(endpoint):
        return PATHS[door] + (f"?api-version={version}" if version else "")
    if door in {"stored", "realtime"}:
        return None
    version = version or API_VERSION
    root = _root(endpoint)
    if door.startswith("responses"):
        # Not below a deployment: there the body's `model` names it.
        return f"{root}{PATHS[door]}?api-version={version}" if version >= _RESPONSES_SINCE else None
    return f"{root}/deployments/{options.deployment or endpoint.model}{PATHS[door]}?api-version={version}"


PROVIDER = Azure()
