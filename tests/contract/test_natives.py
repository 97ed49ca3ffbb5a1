"""Recorded exchanges of Ollama and Cohere at their own doors: what was sent is sent, what came comes through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.exchanges import configuration
from tests.contract.inside import sidecar
from tests.contract.natives import natives, unchanged
from tests.contract.recordings import Player

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(300)
async def test_what_is_passed_on_is_unchanged(tmp_path: Path) -> None:
    wrong: list[str] = []
    async with Player() as player:
        for one in natives():
            # A sidecar of its own for each: failures one after another would open the breaker.
            async with sidecar(tmp_path, configuration(player)) as port:
                if why := await unchanged(port, player, one):
                    wrong.append(f"{one.name}: {why}")

    assert not wrong
