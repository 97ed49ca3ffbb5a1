"""Limits as providers enforce them, in the three ways seen in the wild; which one is named in the scenario.

- `bucket`: refills evenly, holds `burst_s` seconds' worth.
- `sliding_60s`: what was admitted in any trailing 60 s counts.
- `per_second`: the minute's limit cut into seconds, each a window of its own (OpenAI documents such a quantisation).

The clock is an argument. A refusal is a value that says when to come back.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, Final, Literal, Protocol

from msgspec import Meta, Struct

__all__ = ["Limiter", "Limits", "Refusal"]

_MINUTE_S: Final = 60.0

Enforce = Literal["bucket", "sliding_60s", "per_second"]
Count = Annotated[int, Meta(ge=0)]


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of one key; 0 is no limit."""

    requests_per_min: Count = 0
    tokens_per_min: Count = 0
    """Counted at admission: prompt plus `max_tokens`, or plus the length that the answer will have."""
    concurrency: Count = 0
    enforce: Enforce = "bucket"
    burst_s: Annotated[float, Meta(gt=0)] = 60.0
    """What a full bucket holds, in seconds of its rate."""
    scope: Literal["key", "model", "all"] = "key"
    """Who shares one state: the key, the key and model, or everybody."""
    headers: bool = True
    """Tell `x-ratelimit-*` with every answer."""
    retry_after: bool = True
    """Tell `Retry-After` with a 429."""


class Refusal(Struct, frozen=True):
    """Why not now.

    Attributes:
        what: `requests`, `tokens` or `concurrency`.
        retry_after_s: when it would be admitted; None if never (larger than the limit) or unknown.
    """

    what: str
    retry_after_s: float | None


class _Meter(Protocol):
    limit: int

    def wait_s(self, cost: int, now_s: float, /) -> float | None: ...
    def take(self, cost: int, now_s: float, /) -> None: ...
    def left(self, now_s: float, /) -> int: ...
    def reset_s(self, now_s: float, /) -> float: ...


class _Bucket:
    __slots__ = ("_at_s", "_level", "_rate", "_size", "limit")

    def __init__(self, limit: int, burst_s: float, now_s: float) -> None:
        self.limit = limit
        self._rate = limit / _MINUTE_S
        self._size = max(1.0, self._rate * burst_s)
        self._level = self._size
        self._at_s = now_s

    def _refill(self, now_s: float) -> None:
        self._level = min(self._size, self._level + (now_s - self._at_s) * self._rate)
        self._at_s = now_s

    def wait_s(self, cost: int, now_s: float) -> float | None:
        self._refill(now_s)
        if cost > self._size:
            return None
        return max(0.0, (cost - self._level) / self._rate)

    def take(self, cost: int, _now_s: float) -> None:
        self._level -= cost

    def left(self, now_s: float) -> int:
        self._refill(now_s)
        return max(0, int(self._level))

    def reset_s(self, _now_s: float) -> float:
        return (self._size - self._level) / self._rate


class _Sliding:
    __slots__ = ("_events", "_used", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._events: deque[tuple[float, int]] = deque()
        self._used = 0

    def _expire(self, now_s: float) -> None:
        while self._events and self._events[0][0] <= now_s - _MINUTE_S:
            self._used -= self._events.popleft()[1]

    def wait_s(self, cost: int, now_s: float) -> float | None:
        self._expire(now_s)
        if cost > self.limit:
            return None
        free = self.limit - self._used
        for at_s, past in self._events:
            if free >= cost:
                break
            free += past
            if free >= cost:
                return at_s + _MINUTE_S - now_s
        return 0.0

    def take(self, cost: int, now_s: float) -> None:
        self._events.append((now_s, cost))
        self._used += cost

    def left(self, now_s: float) -> int:
        self._expire(now_s)
        return self.limit - self._used

    def reset_s(self, now_s: float) -> float:
        return self._events[-1][0] + _MINUTE_S - now_s if self._events else 0.0


class _PerSecond:
    __slots__ = ("_second", "_share", "_used", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._share = max(1, round(limit / _MINUTE_S))
        self._second = -1
        self._used = 0

    def _turn(self, now_s: float) -> None:
        if int(now_s) != self._second:
            self._second, self._used = int(now_s), 0

    def wait_s(self, cost: int, now_s: float) -> float | None:
        self._turn(now_s)
        if cost > self._share:
            return None
        return 0.0 if self._used + cost <= self._share else self._second + 1 - now_s

    def take(self, cost: int, _now_s: float) -> None:
        self._used += cost

    def left(self, now_s: float) -> int:
        self._turn(now_s)
        return self._share - self._used

    def reset_s(self, now_s: float) -> float:
        return self._second + 1 - now_s


class Limiter:
    """The state of one set of limits."""

    __slots__ = ("_limits", "_meters", "in_flight")

    def __init__(self, limits: Limits, now_s: float) -> None:
        self._limits = limits
        self._meters: dict[str, _Meter] = {}
        self.in_flight = 0
        """Counted up by `admit`, counted down by the caller when the answer is over."""
        for what, limit in (("requests", limits.requests_per_min), ("tokens", limits.tokens_per_min)):
            if limit:
                self._meters[what] = _meter(limits, limit, now_s)

    def admit(self, tokens: int, now_s: float) -> Refusal | None:
        """Take one request of `tokens`, or say why not; all or nothing."""
        if self._limits.concurrency and self.in_flight >= self._limits.concurrency:
            return Refusal("concurrency", None)
        for what, meter in self._meters.items():
            wait_s = meter.wait_s(1 if what == "requests" else tokens, now_s)
            if wait_s is None or wait_s > 0:
                return Refusal(what, wait_s)
        for what, meter in self._meters.items():
            meter.take(1 if what == "requests" else tokens, now_s)
        self.in_flight += 1
        return None

    def head(self, now_s: float) -> bytes:
        """Write the `x-ratelimit-*` header lines, as OpenAI does."""
        if not self._limits.headers:
            return b""
        lines = []
        for what, meter in self._meters.items():
            left, reset = meter.left(now_s), _duration(meter.reset_s(now_s))
            lines.append(
                f"x-ratelimit-limit-{what}: {meter.limit}\r\nx-ratelimit-remaining-{what}: {left}\r\nx-ratelimit-reset-{what}: {reset}\r\n"
            )
        return "".join(lines).encode()


def _meter(limits: Limits, limit: int, now_s: float) -> _Meter:
    if limits.enforce == "sliding_60s":
        return _Sliding(limit)
    if limits.enforce == "per_second":
        return _PerSecond(limit)
    return _Bucket(limit, limits.burst_s, now_s)


def _duration(seconds: float) -> str:
    """Write a duration the way OpenAI's headers do: `12ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms" if seconds > 0 else "0s"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:.3g}s" if minutes else f"{rest:.4g}s"
