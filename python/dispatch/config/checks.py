"""What types cannot say: names, references to secrets, safe header fields, and doors that must not stand open."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from dispatch import extensions
from dispatch.config.decode import join, nearest, shown
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dispatch.config.plans import Model
    from dispatch.config.structs import Endpoint, Key, Server

__all__ = ["HEADER_NAME", "HEADER_VALUE", "PROVIDERS", "check_endpoints", "check_keys", "check_server", "is_loopback"]

PROVIDERS = "dispatch.providers"
"""Group of the provider modules."""

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A field name: RFC 9110, 5.6.2."""
HEADER_VALUE = re.compile(r"[!-~]([ -~\t]*[!-~])?")
"""A field value that cannot end its line: visible ASCII inside, no space at its ends (RFC 9110, 5.5)."""

# Names stand in header fields, metric labels and log lines, so they are visible ASCII without quotes, commas or backslashes.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:/@+-]{0,126}[A-Za-z0-9._:/@+-])?")
_PATTERN = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,126})?\*")
_TARGET = re.compile(r"/[!-~]*")
_SECRET = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+")
_DIGEST = re.compile(r"sha256:[0-9a-fA-F]{64}")

# Fields that we write ourselves, that belong to one connection (RFC 9110, 7.6.1), or that carry a credential.
_OWN_FIELDS = frozenset(
    (
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "accept-encoding",
        "authorization",
        "proxy-authorization",
        "cookie",
        "api-key",
        "x-api-key",
        "x-goog-api-key",
        "x-dispatch-key",
    )
)


def check_endpoints(endpoints: tuple[Endpoint, ...], models: Mapping[str, Any]) -> None:
    """Check each endpoint by itself, and the namespace that endpoints and models share.

    Raises:
        ConfigError: the first thing that is wrong.
    """
    taken: dict[str, str] = {}
    for place, endpoint in enumerate(endpoints):
        path = f"endpoints[{place}]"
        _check_name(endpoint.name, f"{path}.name")
        if endpoint.name in taken:
            raise ConfigError(f"{path}.name", f"{shown(endpoint.name)} is the name of {taken[endpoint.name]} already")
        taken[endpoint.name] = path
        if not extensions.offers(PROVIDERS, endpoint.provider):
            known = extensions.names(PROVIDERS)
            reason = f"found {shown(endpoint.provider)}, expected one of {', '.join(known)}{nearest(endpoint.provider, known)}"
            raise ConfigError(f"{path}.provider", reason)
        if endpoint.api_key and endpoint.api_key != "from_client":
            _check_secret(endpoint.api_key, f"{path}.api_key", "env:NAME, file:/path or from_client")
        _check_headers(endpoint, path)
        _check_at_provider(endpoint, path)
    for name in models:
        _check_name(name, join("models", name), pattern=True)
        if name in taken:
            raise ConfigError(join("models", name), f"is the name of {taken[name]} already; endpoints and models share one namespace")


def check_keys(keys: tuple[Key, ...], models: Iterable[str]) -> None:
    """Check the clients' keys.

    Raises:
        ConfigError: the first thing that is wrong.
    """
    models = tuple(models)
    taken: set[str] = set()
    for place, key in enumerate(keys):
        path = f"keys[{place}]"
        _check_name(key.name, f"{path}.name")
        if key.name in taken:
            raise ConfigError(f"{path}.name", f"{shown(key.name)} is the name of another key already")
        taken.add(key.name)
        if not _DIGEST.fullmatch(key.key):
            _check_secret(key.key, f"{path}.key", "env:NAME, file:/path or sha256: and 64 hex digits")
        for number, model in enumerate(key.models or ()):
            if model not in models and not any(_stands_for(pattern, model) for pattern in models):
                raise ConfigError(f"{path}.models[{number}]", f"found {shown(model)}, expected the name of a model{nearest(model, models)}")


def check_stores(models: Iterable[Model]) -> None:
    """Check where answers are kept outside.

    Raises:
        ConfigError: an address that is written out: it may hold a password.
    """
    for model in models:
        cache = model.settings.cache
        if cache is not None and cache.redis:
            _check_secret(cache.redis, f"{join('models', model.name)}.cache.redis", "env:NAME or file:/path")


def check_server(server: Server, *, has_keys: bool) -> None:
    """Refuse an address that others can reach while anyone may call.

    Raises:
        ConfigError: the address is public and there are no keys.
    """
    if server.unix is None and not has_keys and not is_loopback(server.host):
        reason = f"found {shown(server.host)}, which other machines can reach; configure keys, or listen on 127.0.0.1"
        raise ConfigError("server.host", reason)
    for place, origin in enumerate(server.cors_origins):
        if not re.fullmatch(r"https?://[^\s/]+|null", origin):
            raise ConfigError(
                f"server.cors_origins[{place}]", f"found {shown(origin)}, expected a web origin such as http://localhost:3000"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _stands_for(pattern: str, model: str) -> bool:
    return pattern.endswith("*") and model.startswith(pattern[:-1])


def _check_name(name: str, path: str, *, pattern: bool = False) -> None:
    if _NAME.fullmatch(name) or (pattern and _PATTERN.fullmatch(name)):
        return
    star = ", and a `*` at the end" if pattern else ""
    raise ConfigError(path, f"found {shown(name)}, expected 1 to 128 letters, digits and . _ : / @ + - (a letter or digit first){star}")


def _check_secret(reference: str, path: str, expected: str) -> None:
    if not _SECRET.fullmatch(reference):
        # What was found is not repeated: it is most likely the secret.
        raise ConfigError(path, f"expected {expected}; a key that is written out is refused")


def _check_at_provider(endpoint: Endpoint, path: str) -> None:
    """Let the provider check what only it knows. It is reached through the loader: providers stand a floor above the configuration."""
    provider: Any = extensions.load(PROVIDERS, endpoint.provider, "PROVIDER")
    try:
        provider.check(endpoint)
        _check_question(endpoint, provider)
    except ConfigError as error:
        raise ConfigError(f"{path}.{error.path}" if error.path else path, error.reason) from None
    except ValueError as error:
        # The provider's last guard against a header field that could end its line.
        raise ConfigError(path, str(error)) from None


def _check_question(endpoint: Endpoint, provider: Any) -> None:  # noqa: ANN401  # providers stand a floor above
    if endpoint.check is False:
        return
    path = "" if endpoint.check is True else endpoint.check.path
    if provider.origin(endpoint).scheme not in ("http", "https"):
        raise ConfigError("check", f"{endpoint.provider} has no address that could be asked")
    if path and not _TARGET.fullmatch(path):
        raise ConfigError("check.path", f"found {shown(path)}, expected a path from the root of the host, such as /health")
    if not path and not hasattr(provider, "free_target"):
        raise ConfigError("check", f"nothing is free at {endpoint.provider}; write `check: {{path: ...}}`")


def _check_headers(endpoint: Endpoint, path: str) -> None:
    for name, value in endpoint.headers.items():
        place = join(f"{path}.headers", name)
        _check_field_name(name, place)
        if not HEADER_VALUE.fullmatch(value):
            raise ConfigError(place, "expected visible ASCII on one line")
    for number, name in enumerate(endpoint.forward_headers):
        _check_field_name(name, f"{path}.forward_headers[{number}]")


def _check_field_name(name: str, path: str) -> None:
    if not HEADER_NAME.fullmatch(name):
        raise ConfigError(path, f"found {shown(name)}, expected the name of a header field")
    if name.lower() in _OWN_FIELDS:
        raise ConfigError(
            path, f"{name.lower()} cannot be set here: it is written by dispatch, belongs to one connection or is a credential"
        )
