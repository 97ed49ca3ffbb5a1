"""Programs that tests put in a model's place (`provider: function`)."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from dispatch.providers.function import Ask, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

RELEASE = threading.Event()
"""Lets `hang` return."""
STARTED = threading.Event()
"""It runs."""
SEEN: list[tuple[str, str]] = []
"""Threads that ran a plain function, and what they were asked."""


def add(ask: Ask) -> str:
    """A calculator."""
    SEEN.append((threading.current_thread().name, ask.text))
    return str(sum(int(word) for word in ask.text.split("+")))


async def shout(ask: Ask) -> str:
    await asyncio.sleep(0)
    return ask.text.upper()


def count(ask: Ask) -> Iterator[str]:
    for number in range(int(ask.text)):
        yield f"{number} "


async def spell(ask: Ask) -> AsyncIterator[str]:
    for letter in ask.text:
        yield letter


def call(ask: Ask) -> dict[str, Any]:
    return {"content": "let me see", "tool_calls": [{"name": "weather", "arguments": {"city": ask.text}}]}


def table(ask: Ask) -> dict[str, Any]:
    return {"asked": ask.text, "fields": sorted(ask.body)}


def refuse(ask: Ask) -> str:
    raise Fault(400, f"cannot read {ask.text!r}")


def fail(ask: Ask) -> str:
    raise ZeroDivisionError(ask.text)


def fail_late(ask: Ask) -> Iterator[str]:
    yield ask.text
    raise ZeroDivisionError("late")


def hang(ask: Ask) -> str:
    STARTED.set()
    RELEASE.wait(20)
    return ask.text


async def sleep(ask: Ask) -> str:
    await asyncio.sleep(20)
    return ask.text


def endless(ask: Ask) -> Iterator[str]:
    while True:
        yield ask.text
