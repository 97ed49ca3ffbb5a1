"""What happens to the sidecar and its providers themselves, under load: killed, reloaded, restarted, asked twice as much."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from tests.crash.cases import DEADLINE_S
from tests.crash.client import Outcome, ask
from tests.crash.play import WORDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.crash.fleet import Fleet

__all__ = ["SCENES", "Scene", "play_scenes"]

SCENE_S: Final = 5.0
MODEL: Final = "none-all"


class Scene(Struct, kw_only=True):
    """What one scene showed.

    Attributes:
        may_cut: a worker was killed, so the connections that it held may end without a word; never as if an answer were whole.
    """

    name: str
    kind: str
    may_cut: bool = False
    outcomes: list[Outcome] = []

    @property
    def counts(self) -> Counter[str]:
        """Requests by verdict."""
        return Counter("late" if one.is_late else one.verdict for one in self.outcomes)

    @property
    def breaches(self) -> list[str]:
        """What broke a law."""
        allowed = {"whole", "error"} | ({"cut", "refused"} if self.may_cut else set())
        bad = [one for one in self.outcomes if one.is_late or one.verdict not in allowed]
        return [f"{self.name}, {self.kind}: {one.verdict}{', late' if one.is_late else ''}: {one.seen[:200]}" for one in bad[:3]]


async def _kill(fleet: Fleet) -> None:
    for _ in range(3):
        await asyncio.sleep(SCENE_S / 5)
        fleet.kill(max(fleet.worker_pids()))


async def _reload(fleet: Fleet) -> None:
    for number in range(3):
        await asyncio.sleep(SCENE_S / 5)
        fleet.write_config(**{f"fresh{number}": {"endpoints": [f"{MODEL}-stream-0"]}})
        fleet.sidecar.send(signal.SIGHUP)


async def _restart(fleet: Fleet) -> None:
    for number in (0, 1):
        await asyncio.sleep(SCENE_S / 6)
        await fleet.mocks[number].stop(signal.SIGKILL)
        await asyncio.sleep(SCENE_S / 10)
        await fleet.mocks[number].start()


async def _nothing(fleet: Fleet) -> None:
    del fleet


SCENES: Final[dict[str, Callable[[Fleet], Awaitable[None]]]] = {
    "load": _nothing,
    "twice the load": _nothing,
    "reload under load, three times": _reload,
    "two of four providers killed and restarted": _restart,
    "a worker killed by SIGKILL, three times": _kill,
}


async def play_scenes(fleet: Fleet, clients: int) -> list[Scene]:
    """Play all scenes, one after the other."""
    scenes = []
    for name, act in SCENES.items():
        for kind in ("stream", "whole"):
            scene = Scene(name=name, kind=kind, may_cut=act is _kill)
            count = clients * 2 if name == "twice the load" else clients
            await _play(fleet, scene, act, count)
            await fleet.until_workers(2)
            scenes.append(scene)
    return scenes


async def _play(fleet: Fleet, scene: Scene, act: Callable[[Fleet], Awaitable[None]], count: int) -> None:
    end_s = monotonic() + SCENE_S

    async def client(number: int) -> None:
        turn = 0
        while monotonic() < end_s:
            text = f"{scene.name} {scene.kind} {number} {turn} {WORDS}"
            turn += 1
            is_stream = scene.kind == "stream"
            outcome = await ask(fleet.port, f"{MODEL}-{scene.kind}", text, stream=is_stream, deadline_s=DEADLINE_S, strain=fleet.strain)
            scene.outcomes.append(outcome)
            if outcome.verdict == "refused":
                await asyncio.sleep(0.1)

    await asyncio.gather(act(fleet), *(client(number) for number in range(count)))
