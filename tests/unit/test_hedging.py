"""When a request counts as late: a percentile of the latest answers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from dispatch.policy.hedging import MIN_SAMPLES, WINDOW_NS, Lateness, percentile
from hypothesis import given
from hypothesis import strategies as st

BOUNDS_S = [0.1, 0.2, 0.4, 0.8]


def test_values_are_taken_as_spread_evenly_in_their_bucket() -> None:
    assert percentile([0, 100, 0, 0, 0], BOUNDS_S, 0.95) == pytest.approx(0.195)
    assert percentile([90, 0, 10, 0, 0], BOUNDS_S, 0.95) == pytest.approx(0.3)
    assert percentile([100, 0, 0, 0, 0], BOUNDS_S, 0.5) == pytest.approx(0.05)


def test_beyond_the_last_bound_nothing_is_known() -> None:
    assert percentile([0, 0, 0, 0, 5], BOUNDS_S, 0.95) is None
    assert percentile([0, 0, 0, 0, 0], BOUNDS_S, 0.95) is None


@given(st.lists(st.integers(0, 1000), min_size=5, max_size=5), st.floats(0.01, 0.99))
def test_a_percentile_has_its_share_below_it(counts: list[int], share: float) -> None:
    found = percentile(counts, BOUNDS_S, share)
    if found is None:
        assert sum(counts[:-1]) < share * sum(counts) or not sum(counts)
        return
    at = next(place for place, bound in enumerate(BOUNDS_S) if found <= bound + 1e-9)
    assert sum(counts[:at]) <= share * sum(counts) + 1e-6
    assert sum(counts[: at + 1]) >= share * sum(counts) - 1e-6


@given(st.lists(st.integers(0, 1000), min_size=5, max_size=5).filter(any))
def test_a_greater_share_is_no_earlier(counts: list[int]) -> None:
    found = [percentile(counts, BOUNDS_S, share / 20) for share in range(1, 20)]
    known = [value for value in found if value is not None]

    assert found == known + [None] * (len(found) - len(known))
    assert all(one <= other for one, other in pairwise(known))


def test_before_there_is_enough_nothing_is_known() -> None:
    lateness = Lateness(BOUNDS_S)

    assert lateness.learn([MIN_SAMPLES - 1, 0, 0, 0, 0], 1) is None
    assert lateness.learn([MIN_SAMPLES, 0, 0, 0, 0], 2) is not None


def test_what_was_long_ago_is_forgotten() -> None:
    lateness = Lateness(BOUNDS_S)
    fast = [10_000, 0, 0, 0, 0]
    assert lateness.learn(fast, 1) == pytest.approx(0.095)

    learned = [lateness.learn([10_000, 0, 0, turn * MIN_SAMPLES, 0], 1 + turn * WINDOW_NS) for turn in range(1, 4)]

    assert learned[0] == pytest.approx(0.096, abs=1e-3)
    assert learned[-1] == pytest.approx(0.78)


def test_a_quiet_model_keeps_what_it_learned() -> None:
    lateness = Lateness(BOUNDS_S)
    counts = [MIN_SAMPLES, 0, 0, 0, 0]

    assert None not in [lateness.learn(counts, 1 + minute * WINDOW_NS) for minute in range(10)]
