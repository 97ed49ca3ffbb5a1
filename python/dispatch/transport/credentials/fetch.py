"""One small HTTP request for a credential, off every path: by aiohttp, which is loaded when the first is made."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from dispatch.policy.mask import masked

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CredentialError", "fetch", "fetch_json"]

_ANSWER_MOST = 256 * 1024
_SAID_MOST = 300


class CredentialError(Exception):
    """There is no credential. The text says why, without any."""


async def fetch(
    url: str,
    timeout_s: float,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | bytes | None = None,
) -> bytes:
    """Return the body of a good answer.

    Args:
        url: https, or http on this machine and its link.
        timeout_s: for all of it.
        method: of HTTP.
        headers: beside those of every request.
        form: sent as `application/x-www-form-urlencoded`; bytes as they are.

    Raises:
        CredentialError: there is none.
    """
    import aiohttp  # noqa: PLC0415  # takes a tenth of a second, and most have keys

    near = _is_near(host := urlsplit(url).hostname or "")
    if not url.startswith("https://") and not near:
        raise CredentialError(f"{host}: a credential is asked for over https only")
    limit = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, trust_env=not near) as session,
            session.request(method, url, headers=headers, data=form, allow_redirects=False) as answer,
        ):
            body = await answer.content.read(_ANSWER_MOST)
            if answer.status != 200:
                raise CredentialError(f"{host}: status {answer.status}{_said(body)}")
            return body
    except TimeoutError:
        raise CredentialError(f"{host}: no answer within {timeout_s:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # Without its cause: what failed may hold what was sent.
        raise CredentialError(f"{host}: {type(error).__name__}") from None


async def fetch_json(url: str, timeout_s: float, **rest: Any) -> dict[str, Any]:
    """Return the object that a good answer holds.

    Raises:
        CredentialError: there is none.
    """
    body = await fetch(url, timeout_s, **rest)
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        tree = None
    if not isinstance(tree, dict):
        raise CredentialError(f"{urlsplit(url).hostname}: the answer is no JSON object")
    return tree


def _is_near(host: str) -> bool:
    """This machine, or its link: metadata services speak plain HTTP."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in {"localhost", "metadata.google.internal"}
    # AWS's metadata and container services have these addresses in IPv6.
    return address.is_loopback or address.is_link_local or host in {"fd00:ec2::254", "fd00:ec2::23"}


def _said(body: bytes) -> str:
    """What an error says: OAuth's words, AWS's, or nothing."""
    try:
        tree = msgspec.json.decode(masked(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    if not isinstance(tree, dict):
        return ""
    inside = tree.get("Error") or tree.get("error")
    inside = inside if isinstance(inside, dict) else tree
    found = (inside.get(name) for name in ("error", "code", "Code", "error_description", "message", "Message"))
    words = ": ".join(one for one in found if isinstance(one, str))
    return f", {words[:_SAID_MOST]}" if words else ""
