"""What a provider is, and what those that speak OpenAI's HTTP have in common.

A provider turns an endpoint into the fixed part of a request (a `head`: request line, host, credential, header lines) once, when the
tables are built; per request the core appends what the client sent. No byte of a client's body passes through this package when both
sides speak the same dialect.

Nothing that comes from a configuration or a client can end a header line: values are held to visible ASCII here, where they become
bytes, whatever was checked before.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from dispatch import extensions
from dispatch.config.checks import HEADER_NAME, HEADER_VALUE, PROVIDERS
from dispatch.config.decode import decode
from dispatch.dialects.target import Target
from dispatch.errors import ConfigError
from dispatch.schema import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dispatch.config import Endpoint
    from dispatch.errors import Failure

__all__ = [
    "DOORS",
    "PATHS",
    "NoOptions",
    "Provider",
    "below",
    "build_head",
    "fields_of",
    "find_provider",
    "free_target",
    "has_capability",
    "options_of",
    "origin_of",
    "plain_target",
    "require_model",
    "target_of",
]

T = TypeVar("T")

PATHS: Mapping[str, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "responses": "/responses",
    "moderations": "/moderations",
    "rerank": "/rerank",
    "images": "/images/generations",
    "image_edits": "/images/edits",
    "image_variations": "/images/variations",
    "speech": "/audio/speech",
    "transcriptions": "/audio/transcriptions",
    "audio_translations": "/audio/translations",
    "realtime": "/realtime",
    "responses_stored": "/responses",
    "responses_compact": "/responses/compact",
    "stored": "",
}
"""What each door appends to an OpenAI base URL; at `stored` the client's own path follows."""

DOORS = ("chat", "completions", "embeddings", "responses")
"""Those whose requests are plain: text in, JSON out."""

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_VISIBLE = re.compile(r"[!-~]+")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*")


class Provider(Protocol):
    """One API dialect. Instances hold nothing and are shared."""

    name: str
    """The module's name."""
    capabilities: frozenset[str]
    """What its endpoints support unless they say otherwise: `stream_usage`, `prefill:KIND` (`policy.prefill`)."""

    def check(self, endpoint: Endpoint) -> None:
        """Check what only this provider can: base URL, options, whether a key or a model is needed.

        Raises:
            ConfigError: with the path inside the endpoint.
        """

    def head(self, endpoint: Endpoint, door: str, secret: str) -> bytes | None:
        """Build the fixed part of a passthrough request.

        Args:
            endpoint: where it goes; has passed `check`.
            door: one of `DOORS`, or a door of a dialect of its own.
            secret: the credential; empty for none.

        Returns:
            Request line and header lines, each with its CRLF, neither content-length nor content-type; None if this provider has no
            such door.

        Raises:
            ValueError: the credential could not stand in a header field.
        """

    def origin(self, endpoint: Endpoint) -> Origin:
        """Tell where connections go."""

    def classify(self, status: int, content_type: bytes, body: bytes) -> Failure:
        """Name what an answer that is no success means (`classify.py`)."""


class NoOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a provider that has none."""


class _Url(Struct, frozen=True):
    origin: Origin
    authority: str
    """As `Host` carries it: without the scheme's own port."""
    path: str
    """Without a slash at its end."""


def find_provider(name: str) -> Provider:
    """Return a provider by name.

    Raises:
        LookupError: there is none of that name.
    """
    return cast("Provider", extensions.load(PROVIDERS, name, "PROVIDER"))


def has_capability(provider: Provider, endpoint: Endpoint, capability: str) -> bool:
    """Whether an endpoint supports something: its own word if it gives one, else its provider's."""
    own: bool | None = getattr(endpoint.capabilities, capability)
    return capability in provider.capabilities if own is None else own


def plain_target(provider: str, endpoint: Endpoint, **fields: Any) -> Target:
    """What a translated request must know of an endpoint; `fields` are those of `Target` in which a provider differs."""
    model = "" if endpoint.passes_name else endpoint.model or endpoint.name
    usual: dict[str, Any] = {
        "provider": provider,
        "model": model,
        "drops": endpoint.drop_unsupported,
        "stream_usage": endpoint.capabilities.stream_usage is not False,
    }
    own = {} if endpoint.capabilities.reasoning is None else {"takes_reasoning": endpoint.capabilities.reasoning}
    return Target(**{**usual, **fields, **own})


def target_of(provider: Provider, endpoint: Endpoint) -> Target:
    """The same by the provider's own word, if it has a method `target`."""
    own = getattr(provider, "target", None)
    return plain_target(provider.name, endpoint) if own is None else cast("Target", own(endpoint))


def free_target(provider: Provider, endpoint: Endpoint) -> str:
    """Path and query of what can be asked for without cost: the endpoint's own, else its provider's, which has a method `free_target`."""
    if not isinstance(endpoint.check, bool) and endpoint.check.path:
        return endpoint.check.path
    return cast("str", cast("Any", provider).free_target(endpoint))


def below(base_url: str, target: str) -> str:
    """Path and query of `target` below a base URL."""
    return split_url(base_url).path + target


def fields_of(head: bytes) -> dict[str, str]:
    """The header fields of a head, its host and what belongs to a body's coding left out."""
    lines = (line.partition(": ") for line in head.decode("ascii").split("\r\n")[1:-1])
    return {name: value for name, _, value in lines if name not in ("host", "accept-encoding")}


def options_of(endpoint: Endpoint, kind: type[T]) -> T:
    """Decode the options of an endpoint.

    Raises:
        ConfigError: an option is unknown or wrong.
    """
    return decode(endpoint.options, kind, "options")


def require_model(endpoint: Endpoint) -> None:
    """Refuse an endpoint that does not name its model.

    Raises:
        ConfigError: it does not.
    """
    if not endpoint.model:
        raise ConfigError("model", 'missing; write the name of the model at the provider, or "*" to pass on what the client asks for')


def origin_of(base_url: str) -> Origin:
    """Return where a base URL points.

    Raises:
        ConfigError: it is no `http` or `https` URL, or has parts that a base URL cannot have.
    """
    return split_url(base_url).origin


@lru_cache(maxsize=4_096)
def split_url(base_url: str) -> _Url:
    """Take a base URL apart.

    Raises:
        ConfigError: it is no `http` or `https` URL, or has parts that a base URL cannot have.
    """
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError as error:
        raise ConfigError("base_url", f"not a URL: {error}") from None
    _check_url(parts, base_url)
    host = parts.hostname or ""
    port = _PORTS[parts.scheme] if port is None else port
    bracketed = f"[{host}]" if ":" in host else host
    authority = bracketed if port == _PORTS[parts.scheme] else f"{bracketed}:{port}"
    return _Url(Origin(parts.scheme, host, port), authority, parts.path.rstrip("/"))


def _check_url(parts: SplitResult, base_url: str) -> None:
    # urlsplit drops tabs and line ends silently, so the text is looked at too.
    if not _VISIBLE.fullmatch(base_url):
        raise ConfigError("base_url", "missing" if not base_url else "expected a URL of visible ASCII")
    if parts.scheme not in _PORTS:
        raise ConfigError("base_url", f"found the scheme {parts.scheme!r}, expected http or https")
    if "@" in parts.netloc:
        raise ConfigError("base_url", "a credential in the URL is refused; use `api_key`")
    if parts.query or parts.fragment:
        raise ConfigError("base_url", "a base URL has neither query nor fragment")
    if (
        parts.port == 0
        or not parts.hostname
        or not _HOST.fullmatch(parts.netloc.rsplit(":", 1)[0] if parts.port else parts.netloc.rstrip(":"))
    ):
        raise ConfigError("base_url", "expected a host name or address after the scheme")
    if not _PATH.fullmatch(parts.path):
        raise ConfigError("base_url", "the path holds characters that must be percent-encoded")


def build_head(base_url: str, target: str, fields: Iterable[tuple[str, str]], endpoint: Endpoint) -> bytes:
    """Write a head: a POST to `target` below `base_url`, its host, `fields`, and the endpoint's own header fields.

    Raises:
        ValueError: a name or value could end its line. The value is not repeated.
    """
    url = split_url(base_url)
    lines = [f"POST {url.path}{target} HTTP/1.1", f"host: {url.authority}"]
    # Answers are read and forwarded as they come, so none may be compressed (CONTRACT section 2).
    for name, value in (("accept-encoding", "identity"), *fields, *endpoint.headers.items()):
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the value for {name!r} of endpoint {endpoint.name!r} cannot stand in a header field")
        lines.append(f"{name.lower()}: {value}")
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")
