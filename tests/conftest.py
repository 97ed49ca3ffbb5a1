"""What the whole suite shares: the loops it runs on, and how long hypothesis looks."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

# `fast` looks at the same examples each time, so that what fails can be run again and what passes passes elsewhere too. What explains a
# failure by tracing every line is left out: it makes shrinking take minutes, which a test does not have.
# `slow` looks for new ones, for a night: HYPOTHESIS_PROFILE=slow make test
phases = [phase for phase in Phase if phase is not Phase.explain]
settings.register_profile("fast", max_examples=60, deadline=None, derandomize=True, phases=phases)
settings.register_profile("slow", max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Run every `async def test_*` on both loops: the product runs on uvloop, a caller's loop may be either."""
    backend: tuple[str, dict[str, bool]] = request.param
    return backend
