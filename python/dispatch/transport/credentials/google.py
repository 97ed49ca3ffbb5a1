"""Access tokens of Google: by a service account's key, by what `gcloud auth application-default login` has left, by the machine's account.

https://developers.google.com/identity/protocols/oauth2/service-account, https://google.aip.dev/auth/4110.
"""

from __future__ import annotations

import binascii
import os
from base64 import b64decode, urlsafe_b64encode
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch._core import sign_rs256
from dispatch.transport.credentials.federation import federated
from dispatch.transport.credentials.fetch import CredentialError, fetch_json
from dispatch.transport.credentials.keeper import Issued
from dispatch.transport.credentials.references import bearer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.providers.identity import GoogleIdentity

__all__ = ["GoogleSource", "assertion"]

_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105  # an address
_LIFE_S = 3600


class GoogleSource:
    """See the module."""

    def __init__(self, identity: GoogleIdentity, environ: Mapping[str, str] = os.environ) -> None:
        self._identity = identity
        self._environ = environ
        self.name = f"Google ({identity.file or 'application default'})"

    async def issue(self, timeout_s: float) -> Issued:
        """Have a token issued."""
        path = self._path()
        if path is None:
            return await self._machine(timeout_s)
        account = _account(path)
        kind = account.get("type")
        if kind == "external_account":
            return await federated(account, self._identity.scope, timeout_s)
        if kind == "service_account":
            form = {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "assertion": assertion(account, self._identity.scope, time()),
            }
        elif kind == "authorized_user":
            form = {
                "grant_type": "refresh_token",
                **{name: str(account.get(name) or "") for name in ("client_id", "client_secret", "refresh_token")},
            }
        else:
            raise CredentialError(
                f"{path}: accounts of the type {kind!r} are not spoken; service_account, external_account and authorized_user are"
            )
        answer = await fetch_json(str(account.get("token_uri") or _TOKEN_URI), timeout_s, method="POST", form=form)
        return _issued(answer)

    def _path(self) -> Path | None:
        given = self._identity.file or self._environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        if given:
            return Path(given)
        folder = self._environ.get("CLOUDSDK_CONFIG") or f"{self._environ.get('HOME') or ''}/.config/gcloud"
        left = Path(folder) / "application_default_credentials.json"
        return left if left.exists() else None

    async def _machine(self, timeout_s: float) -> Issued:
        host = self._environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
        url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
        try:
            return _issued(await fetch_json(url, timeout_s, headers={"metadata-flavor": "Google"}))
        except CredentialError as error:
            raise CredentialError(f"neither a file nor an account of this machine: {error}") from None


def _account(path: Path) -> dict[str, Any]:
    try:
        tree = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise CredentialError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        tree = None
    if not isinstance(tree, dict):
        raise CredentialError(f"{path} is no account in JSON")
    return tree


def assertion(account: Mapping[str, Any], scope: str, now_s: float) -> str:
    """A service account's word for who it is (RFC 7523).

    Raises:
        CredentialError: its key is none.
    """
    mail, pem = account.get("client_email"), account.get("private_key")
    if not isinstance(mail, str) or not isinstance(pem, str):
        raise CredentialError("the account has no client_email or private_key")
    audience = account.get("token_uri") or _TOKEN_URI
    claims = {"iss": mail, "scope": scope, "aud": audience, "iat": int(now_s), "exp": int(now_s) + _LIFE_S}
    header = {"alg": "RS256", "typ": "JWT", "kid": str(account.get("private_key_id") or "")}
    text = b".".join(_written(msgspec.json.encode(part)) for part in (header, claims))
    try:
        key = b64decode("".join(line for line in pem.split("\n") if not line.startswith("-----")), validate=False)
        signature = sign_rs256(key, text)
    except (ValueError, binascii.Error):
        # Without its text: a broken key may be most of a key.
        raise CredentialError("the account's private_key is no RSA key of 2,048 bits or more") from None
    return b".".join((text, _written(signature))).decode()


def _written(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _issued(answer: Mapping[str, Any]) -> Issued:
    left_s = answer.get("expires_in")
    return Issued(bearer(answer.get("access_token")), time() + (left_s if isinstance(left_s, int | float) else _LIFE_S))
