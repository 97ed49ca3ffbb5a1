"""Endpoints joined with their connections and credentials, for one generation of tables: those that the one before had are carried over."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dispatch.links import Link
from dispatch.providers import echo
from dispatch.providers.base import find_provider
from dispatch.providers.identity import identity_of
from dispatch.transport.connect import Connector, Resolver, Target, proxy_for
from dispatch.transport.local import LocalOrigin
from dispatch.transport.pool import Origin
from dispatch.transport.programs import program_of
from dispatch.transport.tls import TlsConfig

if TYPE_CHECKING:
    from dispatch.config import Config, Endpoint, Secrets
    from dispatch.providers.identity import Identity
    from dispatch.routing import Routing
    from dispatch.schema import Origin as Address
    from dispatch.transport.connection import Owner
    from dispatch.transport.credentials.keeper import Keeper

__all__ = ["Held", "links_of", "users_of"]


class Held(Protocol):
    """The connections and credentials of one generation."""

    @property
    def config(self) -> Config:
        """What it was made of."""

    @property
    def routing(self) -> Routing:
        """Where it counts."""

    @property
    def origins(self) -> dict[tuple[object, ...], Owner]:
        """By what they are made of."""

    @property
    def keepers(self) -> dict[Identity, Keeper]:
        """By whose credentials they keep."""


def links_of(config: Config, secrets: Secrets, generation: Held, old: Held | None) -> dict[str, Link]:
    """Join each endpoint with its connections, which `generation` holds from then on; what `old` has of them is carried over."""
    resolver = Resolver()
    links = {}
    for endpoint in config.endpoints:
        provider = find_provider(endpoint.provider)
        where = provider.origin(endpoint)
        identity = (where, endpoint.proxy, endpoint.ca_file, endpoint.client_cert, endpoint.idle_s)
        origin = generation.origins.get(identity)
        if origin is None and old is not None:
            origin = old.origins.get(identity)
        if origin is None:
            origin = _origin(endpoint, where, resolver, config)
        generation.origins[identity] = origin
        whose = identity_of(provider, endpoint)
        if whose is not None and isinstance(origin, Origin):
            origin = _credentialed((*identity, whose), origin, whose, generation, old)
        count = partial(generation.routing.leave_out, endpoint.name)
        links[endpoint.name] = Link(endpoint, provider, origin, secrets.endpoints[endpoint.name].reveal(), count)
    return links


def users_of(config: Config, whose: Identity) -> list[str]:
    """The endpoints whose requests carry that credential."""
    return [endpoint.name for endpoint in config.endpoints if identity_of(find_provider(endpoint.provider), endpoint) == whose]


def _credentialed(place: tuple[object, ...], inner: Origin, whose: Identity, generation: Held, old: Held | None) -> Owner:
    """The same connections for requests with a credential that is renewed. Both are carried over a reload."""
    # Few need it, and it brings a reader of files and processes along.
    from dispatch.transport.credentials.build import credentialed, keeper_of  # noqa: PLC0415

    keeper = generation.keepers.get(whose) or (None if old is None else old.keepers.get(whose))
    keeper = keeper or keeper_of(whose, generation.config.defaults.connect_s)
    generation.keepers[whose] = keeper
    origin = generation.origins.get(place) or (None if old is None else old.origins.get(place)) or credentialed(inner, whose, keeper)
    generation.origins[place] = origin
    return origin


def _origin(endpoint: Endpoint, where: Address, resolver: Resolver, config: Config) -> Owner:
    if where.scheme == "builtin":
        return LocalOrigin(endpoint.provider, echo.respond)
    if where.scheme == "program":
        return program_of(endpoint)
    target = Target(where.scheme, where.host, where.port, proxy=proxy_for(where.scheme, where.host, endpoint.proxy))
    tls = _tls(endpoint) if where.scheme == "https" else None
    name = f"{where.scheme}://{where.host}:{where.port}"
    connector = Connector(target, resolver, tls)
    return Origin(name, connector, config.defaults.connect_s, config.server.max_answer_bytes, endpoint.idle_s)


def _tls(endpoint: Endpoint) -> TlsConfig:
    def read(path: str | None) -> bytes | None:
        return None if path is None else Path(path).read_bytes()

    cert = endpoint.client_cert
    return TlsConfig(read(endpoint.ca_file), endpoint.ca_file is None, read(cert.cert if cert else None), read(cert.key if cert else None))
