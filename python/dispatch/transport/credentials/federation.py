"""Google's workload identity federation: a token of somebody else's for one of Google's (https://google.aip.dev/auth/4117, RFC 8693).

The token lies in a file (Kubernetes, GitHub) or is asked of a URL (Azure's metadata service); it is read anew each time. What Google
gives for it is used itself, or to act for a service account. AWS's signed requests and programs as sources are not spoken.
"""

from __future__ import annotations

import os
from base64 import b64encode
from datetime import datetime
from time import time
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.transport.credentials.fetch import CredentialError, fetch, fetch_json
from dispatch.transport.credentials.keeper import Issued
from dispatch.transport.credentials.references import bearer, read

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["federated"]

_TOKEN_URL = "https://sts.googleapis.com/v1/token"  # noqa: S105  # an address
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LIFE_S = 3600


async def federated(account: Mapping[str, Any], scope: str, timeout_s: float) -> Issued:
    """Have a token issued for an account of the type `external_account`.

    Raises:
        CredentialError: there is none.
    """
    url = account.get("service_account_impersonation_url")
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "audience": str(account.get("audience") or ""),
        "subject_token_type": str(account.get("subject_token_type") or ""),
        "subject_token": await _subject(account.get("credential_source"), timeout_s),
        # Acting for somebody is a right of its own; what for, is said there.
        "scope": _SCOPE if url else scope,
    }
    fields: dict[str, str] = {}
    if account.get("client_id"):
        pair = f"{account['client_id']}:{account.get('client_secret') or ''}"
        fields["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    target = str(account.get("token_url") or _TOKEN_URL)
    answer = await fetch_json(target, timeout_s, method="POST", form=form, headers=fields or None)
    line = bearer(answer.get("access_token"))
    if url:
        return await _acting(str(url), line, account, scope, timeout_s)
    left_s = answer.get("expires_in")
    return Issued(line, time() + (left_s if isinstance(left_s, int | float) else _LIFE_S))


async def _acting(url: str, line: bytes, account: Mapping[str, Any], scope: str, timeout_s: float) -> Issued:
    """A token of the service account for which the federated identity may act."""
    wanted = (account.get("service_account_impersonation") or {}).get("token_lifetime_seconds") or _LIFE_S
    body = msgspec.json.encode({"scope": [scope], "lifetime": f"{int(wanted)}s"})
    fields = {"authorization": line.decode().partition(": ")[2].strip(), "content-type": "application/json"}
    answer = await fetch_json(url, timeout_s, method="POST", form=body, headers=fields)
    try:
        ends_s = datetime.fromisoformat(answer["expireTime"]).timestamp()
    except (KeyError, TypeError, ValueError):
        raise CredentialError("the answer does not say when the token ends") from None
    return Issued(bearer(answer.get("accessToken")), ends_s)


async def _subject(source: object, timeout_s: float) -> str:
    """The token of somebody else's."""
    found = source if isinstance(source, dict) else {}
    form = found.get("format") or {}
    if found.get("file"):
        text = read(f"file:{found['file']}", os.environ)
    elif found.get("url"):
        fields = {str(name): str(value) for name, value in (found.get("headers") or {}).items()}
        text = (await fetch(str(found["url"]), timeout_s, headers=fields or None)).decode("utf-8", "replace").strip()
    else:
        raise CredentialError("credential_source: `file` and `url` are spoken; AWS and programs are not")
    if form.get("type") != "json":
        return text
    try:
        token = msgspec.json.decode(text)[form.get("subject_token_field_name")]
    except (msgspec.DecodeError, KeyError, TypeError):
        token = None
    if not isinstance(token, str) or not token:
        raise CredentialError("credential_source: the token's field is not in the JSON")
    return token
