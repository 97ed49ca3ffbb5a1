"""What is simulated: a file that people write. Everything has a default but the endpoints and the arrivals.

```yaml
title: One of 16 replicas works five times as slowly for a minute
seconds: 180
arrivals: {rate_per_s: 150}
endpoints: [{count: 16}]
faults: [{endpoint: 0, what: slow, amount: 5, from_s: 60, to_s: 120}]
```
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = [
    "Arrivals",
    "Client",
    "Endpoint",
    "Fault",
    "Hosted",
    "Limits",
    "Price",
    "Quota",
    "Replica",
    "Requests",
    "Scenario",
    "Servers",
    "Tenant",
]

Count = Annotated[int, Meta(ge=0, le=2**40)]
Whole = Annotated[int, Meta(ge=1, le=2**31)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]


class Arrivals(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When requests come: a Poisson process, whose rate may change."""

    rate_per_s: Seconds = 0.0
    """In calm times."""
    load: Seconds = 0.0
    """Instead: the rate as a share of what the endpoints can do."""
    burst: Positive = 1.0
    """Times the rate in a burst."""
    burst_s: Seconds = 0.0
    """Length of a burst; 0: there are none."""
    calm_s: Seconds = 0.0
    """Time between two bursts."""
    modulated: bool = False
    """Draw both lengths from an exponential distribution of that mean (a Markov-modulated Poisson process)."""
    ramp: Positive = 1.0
    """Rate at the end, as a multiple of that at the beginning."""
    together: Count = 0
    """Requests that come at once at the beginning, besides."""


class Requests(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for. A distribution is written as for `dispatch mock`: `lognormal:MEDIAN,SIGMA`."""

    prompt: str = "lognormal:697.5,1"
    """Prompt tokens behind the shared prefix; the default has a mean of 1,150."""
    output: str = "lognormal:127.4,1"
    """Answer tokens; the default has a mean of 210."""
    estimate_sigma: Seconds = 0.2
    """How wrong dispatch is about a prompt: sigma of the logarithm of estimate over truth."""
    output_estimate: Count = 210
    """Answer tokens that dispatch expects; 0: it knows."""
    prefixes: Count = 0
    """Different prefixes that requests share."""
    zipf: Seconds = 0.0
    """The k-th of them has a popularity of `k^-zipf`."""
    prefix_tokens: Count = 0
    turns: Whole = 1
    """Turns of a conversation. Each turn's prompt holds all turns before it."""
    sessions: Count = 0
    """Conversations at once; 0: single requests."""
    affinity: Literal["none", "prefix", "session"] = "none"
    """What a request's `prompt_cache_key` names."""


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits as in a configuration of dispatch; 0 is none."""

    requests_per_min: Count = 0
    tokens_per_min: Count = 0
    concurrency: Count = 0
    burst_s: Positive = 1.0


class Tenant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key, and how much of the traffic is its."""

    share: Positive = 1.0
    limits: Limits = Limits()


class Replica(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="replica", tag_field="kind"):
    """A model server with continuous batching: step = (step_ms + prefill_ms * prompt tokens + decode_ms * running) / speed."""

    speed: Positive = 1.0
    step_ms: Positive = 8.0
    prefill_ms: Positive = 0.04
    decode_ms: Positive = 0.05
    chunk: Whole = 2048
    """Most prompt tokens in a step."""
    sequences: Whole = 128
    """Most sequences at once."""
    memory_tokens: Count = 0
    """Most tokens of all sequences at once; 0: no limit."""
    cache_tokens: Count = 0
    """Tokens of prefixes that it keeps."""


class Quota(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a provider enforces; 0 is nothing. It counts prompt and answer when the request comes."""

    requests_per_min: Count = 0
    tokens_per_min: Count = 0
    enforce: Literal["bucket", "sliding_60s", "per_second"] = "sliding_60s"
    burst_s: Positive = 60.0
    """What a full `bucket` holds, in seconds of its rate."""


class Hosted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="hosted", tag_field="kind"):
    """A hosted provider: no queue, but a quota; 429 comes with Retry-After."""

    first_token_s: str = "lognormal:0.35,0.5"  # noqa: S105  # no secret, a distribution
    tokens_per_s: Positive = 80.0
    quota: Quota = Quota()


class Servers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="servers", tag_field="kind"):
    """Servers with one line, as in textbooks."""

    servers: Whole = 1
    service_s: str = "exponential:1"


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dollars per million tokens."""

    input: Seconds = 0.0
    output: Seconds = 0.0
    cached: Seconds | None = None
    """Of a prompt's tokens that the provider has cached; left out: as `input`."""


class Endpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some endpoints that are alike."""

    count: Whole = 1
    weight: Count = 1
    limits: Limits = Limits()
    """What dispatch is told of it."""
    price: Price = Price()
    """What it takes, for policies with `+lowest_cost` or `+affinity`."""
    tier: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """Its tier under `+priority`: the lowest that is there is asked."""
    server: Replica | Hosted | Servers = Replica()
    """What it is."""


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that goes wrong at an endpoint for a while."""

    endpoint: Count = 0
    """Its place, counted from 0."""
    what: Literal["hang", "sinkhole", "slow", "outage", "deploy"]
    """`hang`: takes requests and says nothing; `sinkhole`: a fast 500; `slow`; `outage`: gone, with what it had; `deploy`: refuses new
    requests, finishes old ones, comes back with an empty cache."""
    amount: Seconds = 5.0
    """`slow`: times as slow; `sinkhole`: ms until it fails."""
    from_s: Seconds
    to_s: Seconds
    count: Whole = 1
    """So many endpoints in a row, one after the other:"""
    every_s: Seconds = 0.0
    """each so much later."""


class Client(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What dispatch does; the defaults are those of a configuration."""

    attempts: Annotated[int, Meta(ge=1, le=16)] = 3
    base_s: Seconds = 0.25
    cap_s: Seconds = 8.0
    retry_percent: Annotated[int, Meta(ge=0, le=100)] = 20
    retry_per_s: Annotated[int, Meta(ge=0, le=1_000_000)] = 10
    first_token_s: Positive = 60.0
    deadline_s: Positive = 600.0
    queue_s: Seconds = 0.0
    """Longest wait for a place; 0: refused at once."""
    fair: bool = False
    """Who waits is served by turns of the tenants."""


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    title: str
    about: str = ""
    """What it shows."""
    seconds: Annotated[float, Meta(gt=0, le=1e7)] = 180.0
    """How long requests arrive."""
    warmup_s: Seconds = 20.0
    """Requests before this are not measured."""
    workers: tuple[Annotated[int, Meta(ge=1, le=16)], ...] = (1,)
    views: Annotated[tuple[Literal["shared", "private"], ...], Meta(min_length=1)] = ("shared",)
    """Whether workers share one board or have one each."""
    strategies: Annotated[tuple[str, ...], Meta(min_length=1)] = ("p2c", "least_work")
    """`NAME`, `NAME:CHOICES` or `NAME@BOUND`."""
    arrivals: Arrivals
    requests: Requests = Requests()
    tenants: Annotated[tuple[Tenant, ...], Meta(min_length=1)] = (Tenant(),)
    endpoints: Annotated[tuple[Endpoint, ...], Meta(min_length=1)]
    faults: tuple[Fault, ...] = ()
    client: Client = Client()
