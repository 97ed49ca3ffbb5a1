"""Recorded exchanges at doors of their own, where what was sent is sent and what came comes through; recorded vectors at others' doors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.exchanges import configuration
from tests.contract.inside import sidecar
from tests.contract.natives import natives, unchanged
from tests.contract.recordings import Player
from tests.contract.vectors import embeddings, translated

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


@pytest.mark.timeout(120)
async def test_vectors_are_the_same_at_other_doors(tmp_path: Path) -> None:
    async with Player() as player, sidecar(tmp_path, configuration(player)) as port:
        wrong = [f"{one.name}: {why}" for one in embeddings() if (why := await translated(port, player, one))]

    assert not wrong
