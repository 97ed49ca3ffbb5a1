"""Who we are to a provider whose credentials are made, signed with or renewed: what an endpoint says of it, without any secret.

The secrets themselves are read, and renewed ahead of time, by `transport.credentials`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from msgspec import Struct

from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from dispatch.config import Endpoint
    from dispatch.providers.base import Provider

__all__ = ["AwsIdentity", "EntraIdentity", "GoogleIdentity", "Identity", "check_references", "identity_of"]

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+")
"""Where a secret lies."""


class AwsIdentity(Struct, frozen=True, kw_only=True):
    """Keys of AWS, with which requests are signed (SigV4)."""

    region: str
    service: str = "bedrock"
    """The name that signatures carry."""
    profile: str = ""
    """Of the files of AWS's tools; empty: the first that is found in the environment, the files, the container, the machine."""
    access_key_id: str = ""
    """These three are references."""
    secret_access_key: str = ""
    session_token: str = ""


class GoogleIdentity(Struct, frozen=True, kw_only=True):
    """An account of Google's, whose access tokens last an hour."""

    file: str = ""
    """Path of its JSON; empty: application default credentials."""
    scope: str = "https://www.googleapis.com/auth/cloud-platform"


class EntraIdentity(Struct, frozen=True, kw_only=True):
    """An identity of Microsoft Entra."""

    tenant: str = ""
    client_id: str = ""
    client_secret: str = ""
    """A reference; empty: the workload's federated token, else the machine's managed identity."""
    authority: str = "https://login.microsoftonline.com"
    scope: str = "https://cognitiveservices.azure.com/.default"


Identity = AwsIdentity | GoogleIdentity | EntraIdentity


def identity_of(provider: Provider, endpoint: Endpoint) -> Identity | None:
    """Who requests of an endpoint come from, by its provider's method `identity`; None where its `api_key` says all."""
    own = getattr(provider, "identity", None)
    return None if own is None else cast("Identity | None", own(endpoint))


def check_references(**references: str) -> None:
    """Refuse secrets that are written out, without repeating them.

    Raises:
        ConfigError: with the name of the option.
    """
    for name, reference in references.items():
        if reference and not _REFERENCE.fullmatch(reference):
            raise ConfigError(f"options.{name}", "expected env:NAME or file:/path; a secret is not written here")
