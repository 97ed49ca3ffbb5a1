"""Recorded answers of one dialect at the door of another: the official SDK of the client's dialect reads what the provider said."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.exchanges import CLIENTS, Exchange, Unequal, answered, configuration, cuts, exchanges, replayed
from tests.contract.inside import sidecar
from tests.contract.recordings import Player

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for all, the product's own: cuts are the same on both."""
    return "asyncio", {"use_uvloop": True}


def groups() -> dict[tuple[str, str, str, bool], list[Exchange]]:
    found: dict[tuple[str, str, str, bool], list[Exchange]] = {}
    for one in exchanges():
        for client in CLIENTS:
            if client != one.dialect and one.said is not None:
                found.setdefault((client, one.provider, one.dialect, one.recording.stream), []).append(one)
    return found


GROUPS = groups()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{group[0]}-{group[1]}-{group[2]}-{'stream' if group[3] else 'whole'}")
async def test_an_answer_says_the_same_in_the_clients_dialect(group: tuple[str, str, str, bool], tmp_path: Path) -> None:
    wrong: list[str] = []
    async with Player() as player, sidecar(tmp_path, configuration(player)) as port:
        for one in GROUPS[group]:
            for how, pieces in cuts(one, random.Random(one.name)):
                try:
                    answered(one, group[0], await replayed(port, player, one, group[0], pieces))
                except Unequal as error:
                    wrong.append(f"{one.name} ({how}): {error}")

    assert not wrong, "\n".join(wrong[:10])


@pytest.mark.parametrize("client", CLIENTS)
async def test_an_error_keeps_its_status_and_text_in_the_clients_dialect(client: str, tmp_path: Path) -> None:
    wrong: list[Any] = []
    failed = [one for one in exchanges() if one.recording.status >= 400 and one.dialect != client]
    async with Player() as player:
        for one in failed:
            # A sidecar of its own for each: failures one after another would open the breaker.
            async with sidecar(tmp_path, configuration(player)) as port:
                answer = await replayed(port, player, one, client, cuts(one, random.Random(1))[0][1])
            # What we sent of our own, the credential and the name of the model, is not the fault of the client.
            own = one.recording.status in {401, 402, 403} or b"model_" in one.recording.body or b"model identifier" in one.recording.body
            expected = (424 if client == "converse" else 502) if own else one.recording.status
            told = json.loads(answer.body)
            # A provider of the client's own form is passed on in its own words.
            has = told.get("type") == "error" if client == "messages" else "message" in told.get("error", told)
            if answer.status != expected or not has or answer.headers["x-should-retry"] != "false":
                wrong.append((one.name, answer.status, answer.headers, answer.body[:200]))

    assert not wrong, wrong[:5]
