"""The keeper of a credential: when it asks for the next one, and what it does when there is none."""

from __future__ import annotations

import asyncio

import pytest
from dispatch.transport.credentials.fetch import CredentialError
from dispatch.transport.credentials.keeper import Issued, Keeper

pytestmark = pytest.mark.anyio

NOW_S = 1_793_000_000.0


class Scripted:
    """A source whose issues are given."""

    name = "script"

    def __init__(self, *script: Issued | Exception) -> None:
        self.script = [*script]
        self.asked = 0

    async def issue(self, timeout_s: float) -> Issued:
        del timeout_s
        self.asked += 1
        one = self.script.pop(0)
        if isinstance(one, Exception):
            raise one
        return one


class Clock:
    def __init__(self) -> None:
        self.now = NOW_S

    def __call__(self) -> float:
        return self.now


async def settled(keeper: Keeper, clock: Clock, now: float) -> None:
    """Let the coarse timer come at `now`, and what it starts end."""
    clock.now = now
    keeper.sweep()
    while keeper._task is not None:
        await keeper.wait_closed()
        await asyncio.sleep(0)


async def test_a_credential_is_renewed_before_its_end_and_not_earlier() -> None:
    clock = Clock()
    source = Scripted(Issued("one", NOW_S + 3600), Issued("two", NOW_S + 7200))
    keeper = Keeper(source, 5, now=clock, steady=clock)
    keeper.users = 0
    await settled(keeper, clock, NOW_S)
    assert keeper.value == "one"
    await settled(keeper, clock, NOW_S + 3299)
    assert source.asked == 1
    await settled(keeper, clock, NOW_S + 3301)

    assert (source.asked, keeper.value) == (2, "two")


async def test_a_failed_renewal_is_tried_again_and_the_credential_is_used_to_its_end() -> None:
    clock = Clock()
    source = Scripted(Issued("one", NOW_S + 100), *[CredentialError("down")] * 3, Issued("two", NOW_S + 4000))
    keeper = Keeper(source, 5, now=clock, steady=clock)
    await settled(keeper, clock, NOW_S)
    for after_s, asked in ((81, 2), (81.5, 2), (82.5, 3), (83, 3), (85, 4)):
        await settled(keeper, clock, NOW_S + after_s)
        assert (keeper.value, source.asked) == ("one", asked)
    clock.now = NOW_S + 90.5
    keeper.sweep()
    assert keeper.value is None
    assert "down" in repr(keeper)
    await settled(keeper, clock, NOW_S + 90.5)

    assert keeper.value == "two"


async def test_a_credential_that_was_refused_is_asked_for_anew_but_not_at_each_refusal() -> None:
    clock = Clock()
    source = Scripted(Issued("one"), Issued("two"))
    keeper = Keeper(source, 5, now=clock, steady=clock)
    await settled(keeper, clock, NOW_S)
    keeper.doubt()
    await settled(keeper, clock, NOW_S + 10)
    assert source.asked == 1
    keeper.doubt()
    await settled(keeper, clock, NOW_S + 31)
    assert source.asked == 1
    keeper.doubt()
    await settled(keeper, clock, NOW_S + 32)

    assert keeper.value == "two"
