"""What the whole suite shares: the loops it runs on, and how long hypothesis looks."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# `slow` is for a night, or for `make fuzz`: HYPOTHESIS_PROFILE=slow make test
settings.register_profile("fast", max_examples=60, deadline=None)
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
