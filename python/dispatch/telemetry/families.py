"""Every metric: its name, labels, unit and meaning, and how it is read off the board. `/metrics` and docs/metrics.md are made of it.

Series are left out while they are zero, where there would be many: a model times an endpoint that it never used, a failure that never was.
Keys are never crossed with endpoints: their product would be what brings a Prometheus server down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from dispatch.routing import (
    BOOKINGS,
    DURATION_BOUNDS_S,
    FAILURES,
    FIRST_TOKEN_BOUNDS_S,
    HEDGES,
    LEFT_OUT,
    OVERHEAD_BOUNDS_S,
    SHARED,
    Snapshot,
)

if TYPE_CHECKING:
    from dispatch.routing import Histogram

__all__ = ["METRICS", "OUTCOMES", "Metric", "Samples"]

OUTCOMES = ("ok", *FAILURES[1:], "refused")
"""How requests end, by the numbers of the board."""
BREAKER_STATES = {"closed": 0, "half_open": 1, "open": 2}
_TOKEN_KINDS = ("input", "output", "cached")
_PICO = 1e12

Samples = Iterator[tuple[tuple[str, ...], Any]]
"""Values of the labels, and the value: a number, or a `Histogram`."""


class Metric(Struct, frozen=True, kw_only=True):
    """One metric.

    Attributes:
        name: with the suffix that its kind wants.
        labels: their names, in order.
        unit: of its values.
        about: what it says, in one sentence.
        read: gives its samples: of a `Snapshot`, or of what else it is about.
        bounds_s: of a histogram's buckets.
        only: where it stands at all, if not everywhere.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"] = "counter"
    labels: tuple[str, ...] = ()
    unit: str
    about: str
    read: Callable[[Any], Samples]
    bounds_s: Sequence[float] = ()
    only: str = ""


def _by(section: str, field: str) -> Callable[[Snapshot], Samples]:
    """One number of each row of a section."""
    return lambda snapshot: (((name,), getattr(row, field)) for name, row in getattr(snapshot, section).items())


def _each(section: str, field: str, kinds: Iterable[str], *, always: Sequence[str] = (), unit: float = 1) -> Callable[[Snapshot], Samples]:
    """The numbers of each row, by kind; zeros only of those that are `always` there."""
    names = tuple(kinds)
    shown = frozenset(always)

    def read(snapshot: Snapshot) -> Samples:
        for name, row in getattr(snapshot, section).items():
            counts = row if isinstance(row, list) else getattr(row, field)
            for kind, count in zip(names, counts, strict=True):
                if count or kind in shown:
                    yield (name, kind), count if unit == 1 else count / unit

    return read


def _shared(*outcomes: str) -> Callable[[Snapshot], Samples]:
    """Some of what becomes of answers that may be shared."""
    read = _each("models", "shared", SHARED)
    return lambda snapshot: (sample for sample in read(snapshot) if sample[0][1] in outcomes)


def _checks(snapshot: Snapshot) -> Samples:
    for name, row in snapshot.endpoints.items():
        if any(row.checks):
            yield from (((name, outcome), count) for outcome, count in zip(("passed", "failed"), row.checks, strict=True))


def _renewals(snapshot: Snapshot) -> Samples:
    for name, row in snapshot.endpoints.items():
        if any(row.renewals):
            yield from (((name, outcome), count) for outcome, count in zip(("issued", "failed"), row.renewals, strict=True))


def _key_cost(snapshot: Snapshot) -> Samples:
    return (((name,), row.cost / _PICO) for name, row in snapshot.keys.items() if row.cost)


def _remaining(snapshot: Snapshot) -> Samples:
    return (((name, limit), left) for name, gauge in snapshot.gauges.items() for limit, left in gauge.remaining)


def _found(field: str) -> Callable[[Snapshot], Samples]:
    read = _by("gauges", field)
    return lambda snapshot: (sample for sample in read(snapshot) if sample[1] is not None)


def _breakers(snapshot: Snapshot) -> Samples:
    return (((name,), BREAKER_STATES[gauge.breaker]) for name, gauge in snapshot.gauges.items())


def _pairs(field: str) -> Callable[[Snapshot], Samples]:
    return lambda snapshot: ((pair, getattr(row, field)) for pair, row in snapshot.pairs.items())


def _overhead(snapshot: Snapshot) -> Iterator[tuple[tuple[str, ...], Histogram]]:
    yield (), snapshot.overhead


_REQUESTS = (
    Metric(
        name="dispatch_requests_total",
        labels=("model", "outcome"),
        unit="requests",
        about="Requests that ended, by how; refused: by a limit of the key or the model, before any attempt.",
        read=_each("models", "outcomes", OUTCOMES, always=("ok",)),
    ),
    Metric(
        name="dispatch_attempts_total",
        labels=("endpoint", "failure"),
        unit="attempts",
        about="Attempts that ended, by failure; none: a whole answer.",
        read=_each("endpoints", "attempts", ("none", *FAILURES[1:]), always=("none",)),
    ),
    Metric(
        name="dispatch_retries_total",
        labels=("endpoint",),
        unit="attempts",
        about="Attempts that followed another one of the same request.",
        read=_by("endpoints", "retries"),
    ),
    Metric(
        name="dispatch_tokens_total",
        labels=("endpoint", "kind"),
        unit="tokens",
        about="Tokens used; cached ones are input as well.",
        read=_each("endpoints", "tokens", _TOKEN_KINDS, always=_TOKEN_KINDS),
    ),
    Metric(
        name="dispatch_breaker_trips_total",
        labels=("endpoint",),
        unit="times",
        about="Times that the circuit breaker opened.",
        read=_by("endpoints", "trips"),
    ),
    Metric(
        name="dispatch_panics_total",
        labels=("endpoint",),
        unit="attempts",
        about="Attempts that an endpoint got in spite of its open breaker.",
        read=_by("endpoints", "panics"),
    ),
    Metric(
        name="dispatch_stream_events_dropped_total",
        labels=("endpoint",),
        unit="events",
        about="Malformed events of streams that were left out.",
        read=_by("endpoints", "dropped"),
    ),
    Metric(
        name="dispatch_key_requests_total",
        labels=("key",),
        unit="requests",
        about="Requests of a key that were let in and have ended.",
        read=_by("keys", "requests"),
    ),
    Metric(
        name="dispatch_key_user_overflows_total",
        labels=("key",),
        unit="requests",
        about="Requests of users that were too many to be told apart.",
        read=_by("keys", "overflows"),
    ),
    Metric(
        name="dispatch_key_tokens_total",
        labels=("key", "kind"),
        unit="tokens",
        about="Tokens delivered to a key; cached ones are input as well.",
        read=_each("keys", "tokens", _TOKEN_KINDS, always=_TOKEN_KINDS),
    ),
)

_LEDGER = (
    Metric(
        name="dispatch_ledger_attempts_total",
        labels=("endpoint", "outcome"),
        unit="attempts",
        about="Attempts in the ledger; unknown: sent, and perhaps executed and billed.",
        read=_each("endpoints", "booked", BOOKINGS),
        only="a ledger is kept",
    ),
    Metric(
        name="dispatch_ledger_cost_dollars_total",
        labels=("endpoint", "outcome"),
        unit="dollars",
        about="What those attempts cost, by the endpoint's price; of unknown ones the prompt.",
        read=_each("endpoints", "cost", BOOKINGS, unit=_PICO),
        only="a ledger is kept",
    ),
    Metric(
        name="dispatch_model_cost_dollars_total",
        labels=("model", "outcome"),
        unit="dollars",
        about="The same by the model that was asked for.",
        read=_each("models", "cost", BOOKINGS, unit=_PICO),
        only="a ledger is kept",
    ),
    Metric(
        name="dispatch_key_cost_dollars_total",
        labels=("key",),
        unit="dollars",
        about="What a key pays: attempts that were delivered to it.",
        read=_key_cost,
        only="a ledger is kept",
    ),
)

_EXTRAS = (
    Metric(
        name="dispatch_translation_left_out_total",
        labels=("endpoint", "where"),
        unit="fields, parts or events",
        about="What translations could not say; refused: requests that were turned away for it; stream: kinds of events, once a stream.",
        read=_each("endpoints", "left_out", LEFT_OUT),
        only="requests are translated",
    ),
    Metric(
        name="dispatch_checks_total",
        labels=("endpoint", "outcome"),
        unit="checks",
        about="Checks of endpoints without a request.",
        read=_checks,
        only="endpoints are checked",
    ),
    Metric(
        name="dispatch_credential_renewals_total",
        labels=("endpoint", "outcome"),
        unit="renewals",
        about="Credentials that were asked for, by each worker: issued, or failed.",
        read=_renewals,
        only="credentials are renewed",
    ),
    Metric(
        name="dispatch_hedges_total",
        labels=("model", "outcome"),
        unit="hedges",
        about="Second sends of late requests, by what became of them; capped, no_place: not sent.",
        read=_each("hedges", "", HEDGES),
        only="late requests are sent twice",
    ),
    Metric(
        name="dispatch_coalesced_total",
        labels=("model", "outcome"),
        unit="requests",
        about="Requests that joined an identical one; dropped: read too slowly to go on.",
        read=_shared("joined", "dropped"),
        only="identical requests are joined",
    ),
    Metric(
        name="dispatch_cache_total",
        labels=("model", "outcome"),
        unit="requests",
        about="Requests for kept answers; bypass: not looked up, not kept.",
        read=_shared("hit", "miss", "bypass"),
        only="answers are kept",
    ),
)

_GAUGES = (
    Metric(
        name="dispatch_in_flight",
        kind="gauge",
        labels=("endpoint",),
        unit="attempts",
        about="Attempts under way.",
        read=_by("endpoints", "in_flight"),
    ),
    Metric(
        name="dispatch_queue_depth",
        kind="gauge",
        labels=("model",),
        unit="requests",
        about="Requests that wait for a place.",
        read=_by("models", "queued"),
    ),
    Metric(
        name="dispatch_limit_remaining",
        kind="gauge",
        labels=("endpoint", "limit"),
        unit="requests, tokens or places",
        about="Units of a limit that fit at once: requests, tokens, or places.",
        read=_remaining,
    ),
    Metric(
        name="dispatch_found_rate_ratio",
        kind="gauge",
        labels=("endpoint",),
        unit="0 to 1",
        about="Share of the configured rates that an endpoint was found to bear, if less.",
        read=_found("found_share"),
    ),
    Metric(
        name="dispatch_found_concurrency",
        kind="gauge",
        labels=("endpoint",),
        unit="requests",
        about="Requests at once that an account was found to bear, if bounded.",
        read=_found("found_places"),
    ),
    Metric(
        name="dispatch_breaker_state",
        kind="gauge",
        labels=("endpoint",),
        unit="0, 1 or 2",
        about="Circuit breaker: 0 closed, 1 half open, 2 open.",
        read=_breakers,
    ),
)

_HISTOGRAMS = (
    Metric(
        name="dispatch_time_to_first_token_seconds",
        kind="histogram",
        labels=("model", "endpoint"),
        unit="seconds",
        about="From the choice of the endpoint to the first token.",
        read=_pairs("first_token"),
        bounds_s=FIRST_TOKEN_BOUNDS_S,
    ),
    Metric(
        name="dispatch_request_duration_seconds",
        kind="histogram",
        labels=("model", "endpoint"),
        unit="seconds",
        about="From the choice of the endpoint to the end of a whole answer.",
        read=_pairs("duration"),
        bounds_s=DURATION_BOUNDS_S,
    ),
    Metric(
        name="dispatch_queue_wait_seconds",
        kind="histogram",
        labels=("model",),
        unit="seconds",
        about="Wait for a place, of the requests that found none when they came and got one.",
        read=_by("models", "waits"),
        bounds_s=FIRST_TOKEN_BOUNDS_S,
    ),
    Metric(
        name="dispatch_overhead_seconds",
        kind="histogram",
        unit="seconds",
        about="Time spent in dispatch itself per request, waiting not counted.",
        read=_overhead,
        bounds_s=OVERHEAD_BOUNDS_S,
    ),
)

METRICS = (*_REQUESTS, *_LEDGER, *_EXTRAS, *_GAUGES, *_HISTOGRAMS)
"""All of them, in the order in which they are told."""
