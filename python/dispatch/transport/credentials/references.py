"""Secrets by reference, read when they are needed: what was rotated where it lies is taken the next time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dispatch.transport.credentials.fetch import CredentialError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["bearer", "read"]


def read(reference: str, environ: Mapping[str, str]) -> str:
    """Read `env:NAME` or `file:/path`.

    Raises:
        CredentialError: there is nothing.
    """
    kind, _, place = reference.partition(":")
    if kind == "env":
        value = environ.get(place, "")
    else:
        try:
            value = Path(place).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialError(f"cannot read {place}: {getattr(error, 'strerror', None) or 'not text'}") from None
    value = value.strip()
    if not value:
        raise CredentialError(f"{reference} is empty")
    return value


def bearer(token: object) -> bytes:
    """The header line of a token.

    Raises:
        CredentialError: it could not stand in a line.
    """
    if not isinstance(token, str) or not token or not all("!" <= sign <= "~" for sign in token):
        raise CredentialError("the answer has no token")
    return f"authorization: Bearer {token}\r\n".encode()
