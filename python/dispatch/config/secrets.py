"""Read the secrets that a configuration names. They live outside `Config`, so printing or sending a configuration cannot leak one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from dispatch.config.checks import HEADER_VALUE
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.config.load import Config

__all__ = ["FROM_CLIENT", "Secret", "Secrets", "read_secret", "resolve"]

FROM_CLIENT = "from_client"
"""The `api_key` that stands for the client's own credential."""


class Secret:
    """A credential; only `reveal` shows it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the credential."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


class Secrets(Struct, frozen=True, kw_only=True):
    """What a configuration names, read."""

    endpoints: dict[str, Secret]
    """Credentials by endpoint; empty for an endpoint without one and for `from_client`."""
    keys: dict[bytes, str]
    """Names of the clients' keys by the SHA-256 of the key. Looking a digest up takes no longer for a better guess of the key."""
    stores: dict[str, Secret] = msgspec.field(default_factory=dict)
    """URLs of the Redis of models that have one."""


def resolve(config: Config, environ: Mapping[str, str]) -> Secrets:
    """Read every secret that the configuration names.

    Raises:
        ConfigError: one is missing, empty, or could not stand in a header field; the message names the endpoint or key.
    """
    endpoints = {}
    for place, endpoint in enumerate(config.endpoints):
        reference = "" if endpoint.api_key == FROM_CLIENT else endpoint.api_key
        endpoints[endpoint.name] = Secret(read_secret(reference, environ, f"endpoints[{place}].api_key", f"endpoint {endpoint.name!r}"))
    keys: dict[bytes, str] = {}
    for place, key in enumerate(config.keys):
        digest = _digest(key.key, environ, f"keys[{place}].key", f"key {key.name!r}")
        if digest in keys:
            raise ConfigError(f"keys[{place}].key", f"key {key.name!r} and key {keys[digest]!r} are the same")
        keys[digest] = key.name
    caches = ((name, model.settings.cache) for name, model in config.models.items())
    stores = {
        name: Secret(read_secret(cache.redis, environ, f"models.{name}.cache.redis", f"model {name!r}"))
        for name, cache in caches
        if cache is not None and cache.redis
    }
    return Secrets(endpoints=endpoints, keys=keys, stores=stores)


def _digest(reference: str, environ: Mapping[str, str], path: str, owner: str) -> bytes:
    if reference.startswith("sha256:"):
        return bytes.fromhex(reference.removeprefix("sha256:"))
    return hashlib.sha256(read_secret(reference, environ, path, owner).encode()).digest()


def read_secret(reference: str, environ: Mapping[str, str], path: str, owner: str) -> str:
    """Read what a reference such as `env:NAME` names; empty for an empty one. Raises `ConfigError`."""
    if not reference:
        return ""
    kind, _, place = reference.partition(":")
    if kind == "env":
        value = environ.get(place)
        if value is None:
            raise ConfigError(path, f"{owner}: the environment variable {place} is not set")
    else:
        try:
            value = Path(place).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise ConfigError(path, f"{owner}: cannot read {place}: {reason}") from error
    value = value.strip()
    if not HEADER_VALUE.fullmatch(value):
        raise ConfigError(path, f"{owner}: {reference} is empty or holds characters that no key has")
    return value
