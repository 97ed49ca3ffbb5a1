"""A part of `make crashtest`: some faults of each kind, with few clients; every law holds and the books agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.books import audit
from tests.crash.cases import CASES, runs_of
from tests.crash.fleet import Fleet
from tests.crash.play import play_all
from tests.crash.report import broken

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

FAULTS = (
    "none",
    "rate_limit",
    "server_error",
    "refused",
    "close_before_head",
    "hang_before_head",
    "cut_rst",
    "end_early",
    "malformed_event",
)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough: what is tested runs in other processes."""
    return "asyncio", {"use_uvloop": True}


async def test_every_client_gets_one_whole_answer_or_a_clear_error_and_the_books_agree(tmp_path: Path) -> None:
    cases = tuple(case for case in CASES if case.name in FAULTS)
    async with Fleet(tmp_path, cases) as fleet:
        results = await play_all(fleet, runs_of(cases), clients=10, at_once=3)
    books = audit(results, [tmp_path / f"ledger.{worker}" for worker in range(2)], fleet.journals)

    assert broken(results) == []
    assert (books.double_charges, books.disagreements) == (0, [])
    assert books.requests == sum(len(result.outcomes) for result in results)
    assert fleet.complaints == ""
