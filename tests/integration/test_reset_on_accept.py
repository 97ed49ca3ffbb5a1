"""A provider that resets connections as soon as it has accepted them, under load: no worker dies of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.cases import CASES, runs_of
from tests.crash.fleet import Fleet
from tests.crash.play import play_all

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough: what is tested runs in other processes."""
    return "asyncio", {"use_uvloop": True}


async def test_a_descriptor_that_is_lost_while_a_connection_is_made_is_closed_once(tmp_path: Path) -> None:
    """Without `transport.handover` libuv aborts a worker now and then: a second close hits the number of a new connection."""
    cases = tuple(case for case in CASES if case.name in ("none", "refused", "reset_on_accept"))
    runs = runs_of(cases)
    async with Fleet(tmp_path, cases, ledger=False) as fleet:
        for _ in range(2):
            results = await play_all(fleet, runs, clients=200, at_once=6)
            assert not any(result.deaths for result in results)
            assert all(set(result.counts) <= {"whole", "error"} for result in results)
    assert fleet.complaints == ""
