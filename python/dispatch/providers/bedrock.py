"""Amazon Bedrock (https://docs.aws.amazon.com/bedrock/latest/APIReference), by three of its APIs.

Converse speaks to every model in one dialect. InvokeModel speaks to each in its maker's: Anthropic's models are asked in Anthropic's own,
so that nothing that a client of `/v1/messages` sends is lost; newer ones also at a copy of Anthropic's own API. With `api_key` requests
carry it as a bearer token; without, they are signed with AWS's keys.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from dispatch.errors import ConfigError, Failure
from dispatch.providers.base import build_head, options_of, origin_of, plain_target, require_model
from dispatch.providers.classify import classify, describe
from dispatch.providers.identity import AwsIdentity, check_references

if TYPE_CHECKING:
    from dispatch.config import Endpoint
    from dispatch.dialects.target import Target
    from dispatch.schema import Origin

__all__ = ["PROVIDER", "Guardrail", "Options"]

_Word = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:/-]*\Z")]
_PATHS = {
    "converse": ("converse", "/model/{}/converse"),
    "converse_stream": ("converse", "/model/{}/converse-stream"),
    "invoke": ("invoke", "/model/{}/invoke"),
    "invoke_stream": ("invoke", "/model/{}/invoke-with-response-stream"),
    "messages": ("messages", "/anthropic/v1/messages"),
    "titan_embed": ("titan", "/model/{}/invoke"),
    "cohere_invoke": ("cohere", "/model/{}/invoke"),
    "invoke_model": ("own", "/model/{}/invoke"),
    "invoke_model_stream": ("own_stream", "/model/{}/invoke-with-response-stream"),
    "invoke_model_stream_others": ("others_stream", "/model/{}/invoke-with-response-stream"),
}
"""By door: the API and the path."""
_VERSION = "bedrock-2023-05-31"
_CLAUDE = re.compile(r"(^|[./])anthropic\.claude")
_EMBEDDERS = ((re.compile(r"(^|[./])amazon\.titan-embed-text"), "titan"), (re.compile(r"(^|[./])cohere\.embed"), "cohere"))
"""Models that make vectors, and the dialect of each."""

_EXCEPTIONS = {
    "throttlingexception": Failure.RATE_LIMITED,
    "toomanyrequestsexception": Failure.RATE_LIMITED,
    "servicequotaexceededexception": Failure.QUOTA_EXHAUSTED,
    "serviceunavailableexception": Failure.OVERLOADED,
    "modelnotreadyexception": Failure.OVERLOADED,
    "internalserverexception": Failure.SERVER,
    "modelerrorexception": Failure.SERVER,
    "modelstreamerrorexception": Failure.SERVER,
    "modeltimeoutexception": Failure.SERVER,
    "accessdeniedexception": Failure.CREDENTIAL,
    "expiredtokenexception": Failure.CREDENTIAL,
    "unrecognizedclientexception": Failure.CREDENTIAL,
}
"""Exceptions of streams, which come with their names; those before them only with a status."""
_NO_MODEL = re.compile(r"model identifier is invalid|on-demand throughput isn.t supported", re.IGNORECASE)
_ENDED = re.compile(r"security token included in the request is (expired|invalid)|signature (has )?expired", re.IGNORECASE)


class Guardrail(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A guardrail over each request."""

    id: _Word
    """Its id or ARN."""
    version: _Word = "DRAFT"
    trace: Literal["enabled", "disabled", "enabled_full"] = "disabled"


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the model is, how it is asked, and with whose keys."""

    region: Annotated[str, Meta(pattern=r"\A[a-z0-9-]*\Z")] = ""
    """As `us-east-1`; needed unless `base_url` is given. Without region and `api_key` requests go unsigned, for a gateway that signs."""
    api: Literal["auto", "converse", "invoke", "messages"] = "auto"
    """`invoke` (InvokeModel) and `messages` (`/anthropic/v1/messages`, newer models) are for Anthropic's models alone. `auto`: `invoke` for
    those whose name says so, `converse` for all others and for clients of the door `converse`."""
    profile: _Word = ""
    """A profile of AWS's files in place of the first keys that are found."""
    access_key_id: str = ""
    """`env:NAME` or `file:/path`, with `secret_access_key`: keys of this endpoint alone."""
    secret_access_key: str = ""
    """`env:NAME` or `file:/path`."""
    session_token: str = ""
    """`env:NAME` or `file:/path`, where the keys are temporary."""
    guardrail: Guardrail | None = None
    """A guardrail that looks at each request."""
    max_tokens: Annotated[int, Meta(ge=1)] = 8192
    """For requests of other dialects to Anthropic's models, which need a limit; thinking comes on top."""
    thinking: Literal["auto", "budget", "adaptive"] = "auto"
    """How Anthropic's models are asked for a reasoning effort: in tokens (up to 4.5), or left to the model. `auto` goes by the name."""


class Bedrock:
    """One model in one region."""

    name = "bedrock"
    capabilities = frozenset({"stream_usage"})

    def check(self, endpoint: Endpoint) -> None:
        """Check model, region, keys and options."""
        require_model(endpoint)
        if endpoint.passes_name:
            raise ConfigError("model", "the path names the model, so it must be named here")
        options = options_of(endpoint, Options)
        names = ("access_key_id", "secret_access_key", "session_token")
        check_references(**{name: getattr(options, name) for name in names})
        if not options.region and not endpoint.base_url:
            raise ConfigError("options.region", "missing; write the region of the model, such as us-east-1")
        if bool(options.access_key_id) != bool(options.secret_access_key):
            raise ConfigError("options", "`access_key_id` and `secret_access_key` belong together")
        if endpoint.api_key and (options.access_key_id or options.profile):
            raise ConfigError("api_key", "a bearer token and keys to sign with exclude each other")
        self.head(endpoint, "converse", "")

    def head(self, endpoint: Endpoint, door: str, secret: str) -> bytes | None:
        """Build the fixed part of a request."""
        options = options_of(endpoint, Options)
        api, path = _PATHS.get(door, ("", ""))
        if api not in _apis(endpoint, options):
            return None
        fields = [("authorization", f"Bearer {secret}")] if secret else []
        rail = options.guardrail
        if rail is not None and api != "converse":
            fields += [("x-amzn-bedrock-guardrailidentifier", rail.id), ("x-amzn-bedrock-guardrailversion", rail.version)]
            fields.append(("x-amzn-bedrock-trace", rail.trace.upper()))
        return build_head(_base_url(endpoint, options), path.format(quote(endpoint.model, safe="")), fields, endpoint)

    def target(self, endpoint: Endpoint) -> Target:
        """Tell what a translated request must know of the endpoint."""
        options = options_of(endpoint, Options)
        fields: dict[str, Any] = {"default_max_tokens": options.max_tokens, "thinking": options.thinking}
        rail = options.guardrail
        apis = _apis(endpoint, options)
        if "invoke" in apis:
            fields["version"] = _VERSION
        if rail is not None and "converse" in apis:
            config = {"guardrailIdentifier": rail.id, "guardrailVersion": rail.version, "trace": rail.trace}
            fields["body"] = {"guardrailConfig": config}
        return plain_target(self.name, endpoint, **fields)

    def identity(self, endpoint: Endpoint) -> AwsIdentity | None:
        """Tell whose keys sign its requests; None where a token says it all."""
        options = options_of(endpoint, Options)
        if endpoint.api_key or not options.region:
            return None
        return AwsIdentity(
            region=options.region,
            profile=options.profile,
            access_key_id=options.access_key_id,
            secret_access_key=options.secret_access_key,
            session_token=options.session_token,
        )

    def origin(self, endpoint: Endpoint) -> Origin:
        """Tell where connections go."""
        return origin_of(_base_url(endpoint, options_of(endpoint, Options)))

    def classify(self, status: int, content_type: bytes, body: bytes) -> Failure:
        """Name what an answer means."""
        fault = describe(body)
        known = _EXCEPTIONS.get(fault.kind.lower())
        if known is not None:
            return known
        if fault.kind.lower() == "validationexception":
            status = 400
        if status == 429:
            # "Too many tokens, please wait" is a rate here, and a prompt that is too long elsewhere.
            return Failure.RATE_LIMITED
        if status == 424:
            return Failure.SERVER
        if status == 400 and _NO_MODEL.search(fault.message):
            return Failure.CREDENTIAL
        return Failure.CREDENTIAL if status in (400, 403) and _ENDED.search(fault.message) else classify(status, content_type, body)


def _apis(endpoint: Endpoint, options: Options) -> tuple[str, ...]:
    """The APIs by which a model is asked: clients of Converse and of InvokeModel are passed through, whatever is best for others."""
    own = ("own", "own_stream" if _CLAUDE.search(endpoint.model) else "others_stream")
    if options.api != "auto":
        return options.api, *own
    for pattern, api in _EMBEDDERS:
        if pattern.search(endpoint.model):
            return api, *own
    return ("invoke", "converse", *own) if _CLAUDE.search(endpoint.model) else ("converse", *own)


def _base_url(endpoint: Endpoint, options: Options) -> str:
    suffix = ".cn" if options.region.startswith("cn-") else ""
    return endpoint.base_url or f"https://bedrock-runtime.{options.region}.amazonaws.com{suffix}"


PROVIDER = Bedrock()
