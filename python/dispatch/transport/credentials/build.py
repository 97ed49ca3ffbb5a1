"""The source of each kind of identity, and what puts its credential into a request."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from dispatch.providers.identity import AwsIdentity, GoogleIdentity
from dispatch.transport.credentials.aws import AwsSource
from dispatch.transport.credentials.entra import EntraSource
from dispatch.transport.credentials.google import GoogleSource
from dispatch.transport.credentials.keeper import Keeper
from dispatch.transport.credentials.origin import CredentialedOrigin, with_line
from dispatch.transport.credentials.sigv4 import AwsKeys, sign

if TYPE_CHECKING:
    from dispatch.providers.identity import Identity
    from dispatch.transport.credentials.keeper import Source
    from dispatch.transport.pool import Origin

__all__ = ["credentialed", "keeper_of"]

_SHARE = 0.8
"""Of the time for a connection: a credential that does not come is told as such, before it looks like no connection."""


def keeper_of(identity: Identity, connect_s: float) -> Keeper:
    """The keeper of an identity's credential."""
    source: Source
    if isinstance(identity, AwsIdentity):
        source = AwsSource(identity)
    else:
        source = GoogleSource(identity) if isinstance(identity, GoogleIdentity) else EntraSource(identity)
    return Keeper(source, _SHARE * connect_s)


def credentialed(inner: Origin, identity: Identity, keeper: Keeper) -> CredentialedOrigin:
    """An origin whose requests carry that credential."""
    if not isinstance(identity, AwsIdentity):
        return CredentialedOrigin(inner, keeper, with_line)
    region, service = identity.region, identity.service

    def signed(request: bytes, keys: AwsKeys) -> bytes:
        return sign(request, keys, region, service, time())

    return CredentialedOrigin(inner, keeper, signed)
