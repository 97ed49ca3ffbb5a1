"""Prometheus text of what the board says (https://prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4).

Whichever worker is asked, the numbers are those of all workers, because all count on one board. Series are left out while they are zero,
where there would be many: a model times an endpoint that it never used, a failure that never was. Keys are never crossed with endpoints:
their product would be what brings a Prometheus server down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dispatch.routing import DURATION_BOUNDS_S, FAILURES, FIRST_TOKEN_BOUNDS_S, HEDGES, OVERHEAD_BOUNDS_S, SHARED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dispatch.routing import Histogram, Snapshot

__all__ = ["CONTENT_TYPE", "exposition", "taught"]

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

BREAKER_STATES = {"closed": 0, "half_open": 1, "open": 2}

_TOKEN_KINDS = ("input", "output", "cached")
_OUTCOMES = ("ok", *FAILURES[1:], "refused")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_NS_PER_S = 1e9

_Labels = tuple[tuple[str, str], ...]
_Sample = tuple[_Labels, float]


def exposition(snapshot: Snapshot) -> bytes:
    """Return the text for one scrape."""
    parts = (_counters, _checks, _hedges, _shared, _gauges, _histograms)
    return "".join(line for part in parts for family in part(snapshot) for line in family).encode()


class Taught(Protocol):
    """A route that feedback and a budget teach."""

    @property
    def taught(self) -> tuple[dict[str, float], dict[str, float], float] | None:
        """Drift and weight of the feedback by candidate, and the price of cost; None for a route that is not taught."""


def taught(routes: Mapping[str, Taught]) -> bytes:
    """Return the lines about learned routes, as this worker knows them: each has had its own feedback."""
    found = [(name, route.taught) for name, route in routes.items()]
    told = [(name.partition(" "), state) for name, state in found if state is not None]
    families = (
        ("dispatch_route_drift", "How far observed scores lie above what the router expects, by feedback to this worker.", 0),
        ("dispatch_route_feedback", "Weight of that feedback; old scores fade.", 1),
    )
    lines = [
        line
        for name, text, at in families
        for line in _family(
            name,
            "gauge",
            text,
            (
                ((("model", model), ("route", path), ("candidate", one)), value)
                for (model, _, path), state in told
                for one, value in state[at].items()  # type: ignore[union-attr]  # the first two are mappings
            ),
        )
    ]
    prices = (((("model", model), ("route", path)), state[2]) for (model, _, path), state in told)
    lines += _family(
        "dispatch_route_price", "gauge", "What the cost of the dearest candidate counts for, in quality, in this worker.", prices
    )
    return "".join(lines).encode() if told else b""


def _counters(snapshot: Snapshot) -> Iterator[Iterator[str]]:
    models, endpoints, keys = snapshot.models.items(), snapshot.endpoints.items(), snapshot.keys.items()
    yield _family(
        "dispatch_requests_total",
        "counter",
        "Requests that ended, by how; refused: by a limit of the key or the model, before any attempt.",
        (
            ((("model", name), ("outcome", outcome)), count)
            for name, row in models
            for outcome, count in zip(_OUTCOMES, row.outcomes, strict=True)
            if count or outcome == "ok"
        ),
    )
    yield _family(
        "dispatch_attempts_total",
        "counter",
        "Attempts that ended, by failure; none: a whole answer.",
        (
            ((("endpoint", name), ("failure", failure)), count)
            for name, row in endpoints
            for failure, count in zip(("none", *FAILURES[1:]), row.attempts, strict=True)
            if count or failure == "none"
        ),
    )
    retries = (((("endpoint", name),), row.retries) for name, row in endpoints)
    yield _family("dispatch_retries_total", "counter", "Attempts that followed another one of the same request.", retries)
    yield _family(
        "dispatch_tokens_total",
        "counter",
        "Tokens used; cached ones are input as well.",
        (
            ((("endpoint", name), ("kind", kind)), count)
            for name, row in endpoints
            for kind, count in zip(_TOKEN_KINDS, row.tokens, strict=True)
        ),
    )
    trips = (((("endpoint", name),), row.trips) for name, row in endpoints)
    yield _family("dispatch_breaker_trips_total", "counter", "Times that the circuit breaker opened.", trips)
    panics = (((("endpoint", name),), row.panics) for name, row in endpoints)
    yield _family("dispatch_panics_total", "counter", "Attempts that an endpoint got in spite of its open breaker.", panics)
    dropped = (((("endpoint", name),), row.dropped) for name, row in endpoints)
    yield _family("dispatch_stream_events_dropped_total", "counter", "Malformed events of streams that were left out.", dropped)
    requests = (((("key", name),), row.requests) for name, row in keys)
    yield _family("dispatch_key_requests_total", "counter", "Requests of a key that were let in and have ended.", requests)
    overflows = (((("key", name),), row.overflows) for name, row in keys)
    yield _family("dispatch_key_user_overflows_total", "counter", "Requests of users that were too many to be told apart.", overflows)
    yield _family(
        "dispatch_key_tokens_total",
        "counter",
        "Tokens delivered to a key; cached ones are input as well.",
        (((("key", name), ("kind", kind)), count) for name, row in keys for kind, count in zip(_TOKEN_KINDS, row.tokens, strict=True)),
    )


def _checks(snapshot: Snapshot) -> Iterator[Iterator[str]]:
    """Only where endpoints are checked."""
    samples = [
        ((("endpoint", name), ("outcome", outcome)), count)
        for name, row in snapshot.endpoints.items()
        if any(row.checks)
        for outcome, count in zip(("passed", "failed"), row.checks, strict=True)
    ]
    if samples:
        yield _family("dispatch_checks_total", "counter", "Checks of endpoints without a request.", samples)


def _hedges(snapshot: Snapshot) -> Iterator[Iterator[str]]:
    """Only where there were some: most configurations have none."""
    rows = [(name, row) for name, row in snapshot.hedges.items() if any(row)]
    if rows:
        yield _family(
            "dispatch_hedges_total",
            "counter",
            "Second sends of late requests, by what became of them; capped, no_place: not sent.",
            (
                ((("model", name), ("outcome", outcome)), count)
                for name, row in rows
                for outcome, count in zip(HEDGES, row, strict=True)
                if count
            ),
        )


def _shared(snapshot: Snapshot) -> Iterator[Iterator[str]]:
    """Only where answers are shared."""
    rows = [(name, dict(zip(SHARED, row.shared, strict=True))) for name, row in snapshot.models.items()]
    families = (
        ("dispatch_coalesced_total", ("joined", "dropped"), "Requests that joined an identical one; dropped: read too slowly to go on."),
        ("dispatch_cache_total", ("hit", "miss", "bypass"), "Requests for kept answers; bypass: not looked up, not kept."),
    )
    for family, outcomes, text in families:
        samples = [((("model", name), ("outcome", at)), row[at]) for name, row in rows for at in outcomes if row[at]]
        if samples:
            yield _family(family, "counter", text, samples)


def _gauges(snapshot: Snapshot) -> Iterator[Iterator[str]]:
    in_flight = (((("endpoint", name),), row.in_flight) for name, row in snapshot.endpoints.items())
    yield _family("dispatch_in_flight", "gauge", "Attempts under way.", in_flight)
    queued = (((("model", name),), row.queued) for name, row in snapshot.models.items())
    yield _family("dispatch_queue_depth", "gauge", "Requests that wait for a place.", queued)
    yield _family(
        "dispatch_limit_remaining",
        "gauge",
        "Units of a limit that fit at once: requests, tokens, or places.",
        (((("endpoint", name), ("limit", limit)), left) for name, gauge in snapshot.gauges.items() for limit, left in gauge.remaining),
    )
    shares = (((("endpoint", name),), gauge.found_share) for name, gauge in snapshot.gauges.items() if gauge.found_share is not None)
    yield _family(
        "dispatch_found_rate_ratio", "gauge", "Share of the configured rates that an endpoint was found to bear, if less.", shares
    )
    places = (((("endpoint", name),), gauge.found_places) for name, gauge in snapshot.gauges.items() if gauge.found_places is not None)
    yield _family("dispatch_found_concurrency", "gauge", "Requests at once that an account was found to bear, if bounded.", places)
    breakers = (((("endpoint", name),), BREAKER_STATES[gauge.breaker]) for name, gauge in snapshot.gauges.items())
    yield _family("dispatch_breaker_state", "gauge", "Circuit breaker: 0 closed, 1 half open, 2 open.", breakers)


def _histograms(snapshot: Snapshot) -> Iterator[Iterator[str]]:
    pairs = [((("model", model), ("endpoint", endpoint)), row) for (model, endpoint), row in snapshot.pairs.items()]
    yield _histogram_family(
        "dispatch_time_to_first_token_seconds",
        "From the choice of the endpoint to the first token.",
        FIRST_TOKEN_BOUNDS_S,
        ((labels, row.first_token) for labels, row in pairs),
    )
    yield _histogram_family(
        "dispatch_request_duration_seconds",
        "From the choice of the endpoint to the end of a whole answer.",
        DURATION_BOUNDS_S,
        ((labels, row.duration) for labels, row in pairs),
    )
    yield _histogram_family(
        "dispatch_queue_wait_seconds",
        "Wait for a place, of the requests that found none when they came and got one.",
        FIRST_TOKEN_BOUNDS_S,
        (((("model", name),), row.waits) for name, row in snapshot.models.items()),
    )
    overhead: list[tuple[_Labels, Histogram]] = [((), snapshot.overhead)]
    help_text = "Time spent in dispatch itself per request, waiting not counted."
    yield _histogram_family("dispatch_overhead_seconds", help_text, OVERHEAD_BOUNDS_S, overhead)


def _family(name: str, kind: str, help_text: str, samples: Iterable[_Sample]) -> Iterator[str]:
    yield f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n"
    for labels, value in samples:
        yield f"{name}{_labelled(labels)} {value}\n"


def _histogram_family(name: str, help_text: str, bounds_s: Sequence[float], rows: Iterable[tuple[_Labels, Histogram]]) -> Iterator[str]:
    yield f"# HELP {name} {help_text}\n# TYPE {name} histogram\n"
    for labels, row in rows:
        total = 0
        if labels and not any(row.counts):
            continue
        # Counted once and added up here: a count that grows between two reads would break the rule that buckets never fall.
        for bound, count in zip((*bounds_s, "+Inf"), row.counts, strict=True):
            total += count
            yield f"{name}_bucket{_labelled((*labels, ('le', str(bound))))} {total}\n"
        yield f"{name}_sum{_labelled(labels)} {row.sum_ns / _NS_PER_S}\n{name}_count{_labelled(labels)} {total}\n"


def _labelled(labels: _Labels) -> str:
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels) + "}" if labels else ""
