"""The audit of the crash test finds what it is there for: each test takes one true set of books and falsifies one entry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.crash.books import Books, audit
from tests.crash.cases import CASES, Run
from tests.crash.client import Outcome
from tests.crash.play import Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Entries = list[dict[str, Any]]


def entry(request_id: str, endpoint: int, outcome: str, failure: str = "none", **fields: Any) -> dict[str, Any]:
    return {"id": request_id, "endpoint": f"m-{endpoint}", "outcome": outcome, "failure": failure, **fields}


def received(digest: str, *, whole: bool) -> dict[str, Any]:
    return {"digest": digest, "whole": whole}


def true_books() -> tuple[list[Outcome], Entries, list[Entries]]:
    """One request that was retried, one that failed, one whose first try never left, one that was given up for its silence."""
    outcomes = [
        Outcome(digest="retried", request_id="a", verdict="whole", attempts=2),
        Outcome(digest="failed", request_id="b", verdict="error", attempts=1),
        Outcome(digest="unsent", request_id="c", verdict="whole", attempts=2),
        Outcome(digest="silent", request_id="d", verdict="error", attempts=1),
    ]
    ledger = [
        entry("a", 0, "wasted", "server"),
        entry("a", 1, "delivered"),
        entry("b", 0, "wasted", "server"),
        entry("c", 0, "wasted", "deadline", sent=False),
        entry("c", 1, "delivered"),
        entry("d", 0, "unknown", "deadline"),
    ]
    journals = [
        [received("retried", whole=False), received("failed", whole=False)],
        [received("retried", whole=True), received("unsent", whole=True)],
    ]
    return outcomes, ledger, journals


def checked(folder: Path, outcomes: list[Outcome], ledger: Entries, journals: list[Entries]) -> Books:
    files = [folder / "ledger.0", *(folder / f"journal-{number}" for number in range(len(journals)))]
    for file, entries in zip(files, (ledger, *journals), strict=True):
        file.write_text("".join(json.dumps(one) + "\n" for one in entries))
    result = Result(run=Run(CASES[0], "one", "whole"), outcomes=outcomes, took_s=1)
    return audit([result], files[:1], files[1:])


@pytest.mark.parametrize("has_arrived", [False, True])
def test_true_books_agree_whether_what_is_unknown_has_arrived_or_not(tmp_path: Path, has_arrived: bool) -> None:
    outcomes, ledger, journals = true_books()
    if has_arrived:
        journals[0].append(received("silent", whole=True))

    books = checked(tmp_path, outcomes, ledger, journals)

    assert (books.disagreements, books.double_charges, books.requests) == ([], 0, 4)


def _drop(entries: Entries, at: int) -> None:
    del entries[at]


FALSE: dict[str, tuple[Callable[[Entries, list[Entries]], object], str]] = {
    "charged twice": (lambda ledger, _: ledger.append(entry("a", 1, "delivered")), "2 that are delivered"),
    "charged for an error": (lambda ledger, _: ledger.append(entry("b", 0, "delivered")), "a delivered attempt"),
    "never charged": (lambda ledger, _: _drop(ledger, 1), "0 that are delivered"),
    "an entry of a failed try is lost": (lambda ledger, _: _drop(ledger, 2), "received 1, 0 are booked"),
    "sent twice, booked once": (lambda _, journals: journals[0].append(received("failed", whole=False)), "received 2, 1 are booked"),
    "arrived, though booked as not sent": (lambda _, journals: journals[0].append(received("unsent", whole=False)), "received 1, 0 are"),
    "booked as sent, but never arrived": (lambda _, journals: _drop(journals[0], 1), "1 are booked as surely sent"),
    "delivered of half an answer": (lambda _, journals: journals[1][0].update(whole=False), "no whole answer"),
}


@pytest.mark.parametrize("name", FALSE)
def test_false_books_are_found(tmp_path: Path, name: str) -> None:
    falsify, complaint = FALSE[name]
    outcomes, ledger, journals = true_books()
    falsify(ledger, journals)

    books = checked(tmp_path, outcomes, ledger, journals)

    assert books.disagreeing == 1
    assert complaint in books.disagreements[0]
    assert books.double_charges == (name == "charged twice")
