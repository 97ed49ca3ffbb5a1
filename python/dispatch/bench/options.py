"""What a run is asked to do, checked."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from dispatch.errors import ConfigError

__all__ = ["DOORS", "Options", "Target"]

DOORS = {"chat": "/chat/completions", "completions": "/completions", "embeddings": "/embeddings", "responses": "/responses"}
"""Path of each door behind the base URL."""

Positive = Annotated[float, Meta(gt=0)]


class Target(Struct, frozen=True, kw_only=True):
    """Where requests go."""

    host: str
    port: int
    path: str
    """Base path, without a slash at its end."""
    tls: bool = False
    unix: str = ""
    """Path of a Unix socket, instead of host and port."""

    @classmethod
    def parse(cls, url: str, unix: str = "") -> Target:
        """Read a base URL as SDKs take it; without a path `/v1` is meant.

        Raises:
            ConfigError: not an http or https URL.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise ConfigError("--url", str(error)) from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("--url", f"expected http://HOST:PORT or https://HOST, got {url!r}")
        tls = parts.scheme == "https"
        return cls(host=parts.hostname, port=port or (443 if tls else 80), path=parts.path.rstrip("/") or "/v1", tls=tls, unix=unix)

    @property
    def host_header(self) -> str:
        """Host, with the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Options(Struct, frozen=True, kw_only=True):
    """One run."""

    target: Target
    door: str = "chat"
    model: str = "mock"
    key: str = ""
    stream: bool = False
    rate: Positive | None = None
    """Requests per second, open loop; None: closed loop with `concurrency`."""
    arrivals: Literal["poisson", "constant"] = "poisson"
    concurrency: Annotated[int, Meta(gt=0)] | None = None
    """Closed loop: requests in flight. Open loop: most connections."""
    duration_s: Positive | None = None
    requests: Annotated[int, Meta(gt=0)] | None = None
    """Stop after this many, warm-up not counted."""
    warmup_s: Annotated[float, Meta(ge=0)] = 0.0
    timeout_s: Positive = 60.0
    """Longest wait for one answer, from its sending."""
    insecure: bool = False
    """Accept any certificate."""
    seed: int = 0
