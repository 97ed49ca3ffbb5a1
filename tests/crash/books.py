"""The books: what clients saw, what the ledger says, what the providers' journals say, request by request."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.crash.client import Outcome
    from tests.crash.play import Result

__all__ = ["Books", "audit"]

_SHOWN: Final = 10


class Books(Struct, kw_only=True):
    """What an audit found."""

    requests: int = 0
    entries: dict[str, int] = {}
    """Of the ledger, by outcome."""
    received: int = 0
    """Requests in the journals."""
    double_charges: int = 0
    """Requests with more than one `delivered`."""
    disagreeing: int = 0
    """Requests of which the three say what cannot be true together."""
    disagreements: list[str] = []
    """The first of them, in words."""


def audit(results: Iterable[Result], ledgers: Iterable[Path], journals: list[Path]) -> Books:
    """Compare the three, entry by entry.

    Args:
        results: runs in which no worker was killed.
        ledgers: of all workers.
        journals: by the number of the mock, which is the last part of its endpoints' names.
    """
    books = Books()
    clients = {one.request_id: (one, result.run.case.door) for result in results for one in result.outcomes if one.request_id}
    booked = _booked(ledgers, clients)
    received = _received(journals)
    books.entries = dict(Counter(entry["outcome"] for entries in booked.values() for entry in entries))
    for request_id, (outcome, door) in clients.items():
        books.requests += 1
        entries = booked.get(request_id, [])
        arrived = received.get(outcome.digest, {})
        books.received += sum(len(some) for some in arrived.values())
        delivered = sum(1 for entry in entries if entry["outcome"] == "delivered")
        books.double_charges += delivered > 1
        wrong = _compare(outcome, entries, delivered) or _match(entries, arrived, has_journals=not door)
        if wrong:
            books.disagreeing += 1
        if wrong and len(books.disagreements) < _SHOWN:
            books.disagreements.append(f"{request_id}: {wrong}; ledger: {entries}; journals: {dict(arrived)}; client: {outcome}")
    return books


def _booked(ledgers: Iterable[Path], clients: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    booked: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in ledgers:
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if entry.get("id") in clients:
                booked[entry["id"]].append(entry)
    return booked


def _received(journals: list[Path]) -> dict[str, dict[int, list[dict[str, Any]]]]:
    received: dict[str, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for number, path in enumerate(journals):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            received[entry["digest"]][number].append(entry)
    return received


def _compare(outcome: Outcome, entries: list[dict[str, Any]], delivered: int) -> str:
    """The client's side and the ledger's."""
    if outcome.verdict == "whole" and delivered != 1:
        return f"its client has a whole answer, the ledger {delivered} that are delivered"
    if outcome.verdict == "error" and delivered:
        return "its client has an error, the ledger a delivered attempt"
    if outcome.verdict == "whole" and outcome.attempts > len(entries):
        return f"{outcome.attempts} attempts were told, {len(entries)} are booked"
    return ""


def _match(entries: list[dict[str, Any]], arrived: dict[int, list[dict[str, Any]]], *, has_journals: bool) -> str:
    """The ledger's side and the providers'; what is unknown may have arrived or not."""
    by_mock: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        if entry.get("sent", True):
            by_mock[int(entry["endpoint"].rpartition("-")[2])].append(entry)
    for number in {*by_mock, *arrived}:
        ours, theirs = by_mock[number], arrived.get(number, [])
        sure = sum(1 for entry in ours if entry["outcome"] != "unknown")
        if len(theirs) > len(ours):
            return f"provider {number} received {len(theirs)}, {len(ours)} are booked"
        if has_journals and len(theirs) < sure:
            return f"provider {number} received {len(theirs)}, {sure} are booked as surely sent"
        whole = sum(1 for entry in theirs if entry["whole"])
        if any(entry["outcome"] == "delivered" for entry in ours) and not whole:
            return f"booked as delivered, but provider {number} gave no whole answer"
    return ""
