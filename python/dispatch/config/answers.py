"""Settings of models that ask twice, or once for many: hedging, coalescing, the cache of answers. See `structs`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["Cache", "Coalesce", "Hedge"]


class Hedge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A late request is sent a second time, to another endpoint of its pool.

    The first that answers is taken, the other is cancelled. It costs a second prompt, so it has two caps, which all workers keep together.
    """

    after: Literal["p95"] | Annotated[float, Meta(gt=0, le=86_400 * 7)] = "p95"
    """How long the first endpoint is waited for: seconds, or `p95`, the time within which 95 % of the pool's latest answers began (of
    answers that are not streamed: ended). Until a hundred are known, nothing is hedged."""
    max_share: Annotated[float, Meta(gt=0, le=1)] = 0.02
    """Most hedges, as a share of the requests that the pool is asked."""
    max_cost_share: Annotated[float, Meta(gt=0, le=1)] = 0.02
    """Most that hedges may cost, as a share of what the pool's answers cost, both by estimate; in tokens where no endpoint has a price."""


class Coalesce(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Identical requests that are under way at the same time, in one worker, are asked once.

    Identical are requests with the same body, to the last byte, and the same headers that go upstream, but for those that name the request
    or its sender (`user-agent`, `idempotency-key`, `traceparent`, `x-request-id`). Each keeps its deadline; what the answer costs is
    divided among them.
    """

    when: Literal["repeatable", "always"] = "repeatable"
    """`repeatable`: at `temperature` 0, and for embeddings, unless the provider is asked to store the answer. `always`: whatever the body
    says, so that clients who ask twice to draw two answers get one."""
    across_keys: bool = False
    """Also join requests of different keys."""
    replay_bytes: Annotated[int, Meta(ge=1)] = 1024 * 1024
    """Kept of a stream for those who join late or read slowly. Beyond it nobody joins, and who is further behind gets an error."""


class Cache(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whole good answers are kept and given again to identical requests, streams as streams.

    Identical and repeatable are requests as for `coalesce`. A request with `Cache-Control: no-cache` is asked anew, the answer to one with
    `no-store` is not kept either. A kept answer costs its key a request, and no tokens.
    """

    ttl_s: Annotated[float, Meta(gt=0, le=86_400 * 30)] = 3600.0
    """For how long an answer is kept."""
    max_bytes: Annotated[int, Meta(ge=4096)] = 64 * 1024 * 1024
    """Memory of one worker for kept answers; the one unused for longest goes first. An answer longer than an eighth of it is not kept."""
    scope: Literal["key", "all"] = "key"
    """Who is given an answer that was kept: requests of the same key, or all."""
    when: Literal["repeatable", "always"] = "repeatable"
    """As of `coalesce`."""
    redis: str = ""
    """Also keep answers in a Redis that several sidecars share (`dispatch-llm[redis]`): its URL, as `env:NAME` or `file:/path`."""
