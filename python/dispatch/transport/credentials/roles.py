"""AWS's token service: temporary keys of a role, for keys that may assume it or for a token of somebody else's.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, in JSON, which the service speaks when asked.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from dispatch.transport.credentials.fetch import fetch_json
from dispatch.transport.credentials.sigv4 import AwsKeys, sign

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["assume", "assume_by_token", "sts_url"]

_KIND = "application/x-www-form-urlencoded"


def sts_url(region: str, environ: Mapping[str, str]) -> str:
    """Where the token service of a region is."""
    return environ.get("AWS_ENDPOINT_URL_STS") or f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


async def assume(keys: AwsKeys, profile: Mapping[str, str], region: str, url: str, timeout_s: float) -> dict[str, Any]:
    """Return the credentials of a profile's `role_arn`, in AWS's words, for keys that may assume it.

    Raises:
        CredentialError: there are none.
    """
    form = {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": profile["role_arn"],
        "RoleSessionName": profile.get("role_session_name") or "dispatch",
    }
    for name, field in (("external_id", "ExternalId"), ("duration_seconds", "DurationSeconds")):
        if profile.get(name):
            form[field] = profile[name]
    body = urlencode(form).encode()
    target = urlsplit(url)
    plain = f"POST {target.path or '/'} HTTP/1.1\r\nhost: {target.netloc}\r\ncontent-type: {_KIND}\r\n\r\n".encode() + body
    head = sign(plain, keys, region, "sts", time()).partition(b"\r\n\r\n")[0].decode()
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    answer = await fetch_json(url, timeout_s, method="POST", form=body, headers=fields | {"accept": "application/json"})
    return _credentials(answer, "AssumeRole")


async def assume_by_token(role: str, name: str, token: str, url: str, timeout_s: float) -> dict[str, Any]:
    """The same for a token of an identity provider (EKS): nothing is signed.

    Raises:
        CredentialError: there are none.
    """
    action = "AssumeRoleWithWebIdentity"
    form = {"Action": action, "Version": "2011-06-15", "RoleArn": role, "RoleSessionName": name or "dispatch", "WebIdentityToken": token}
    return _credentials(await fetch_json(url, timeout_s, method="POST", form=form, headers={"accept": "application/json"}), action)


def _credentials(answer: dict[str, Any], action: str) -> dict[str, Any]:
    return ((answer.get(f"{action}Response") or {}).get(f"{action}Result") or {}).get("Credentials") or {}
