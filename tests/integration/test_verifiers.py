"""Functions that judge answers: none holds up the worker, and no request waits for one beyond its time."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.combine.aside import PLACES, Aside

from tests.integration.hosted import Hosted, until
from tests.integration.models import Model, config
from tests.integration.peer import chat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.peer import Reply

RELEASE = threading.Event()
CANCELLED: list[str] = []


@pytest.fixture(autouse=True)
def _released() -> Iterator[None]:
    RELEASE.clear()
    CANCELLED.clear()
    yield
    RELEASE.set()


def hang(question: str, answer: str) -> bool:
    """Return when the test is over, and not before."""
    del question, answer
    RELEASE.wait()
    return True


async def hang_async(question: str, answer: str) -> bool:
    del question
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        CANCELLED.append(answer)
        raise
    return True


async def accept_async(question: str, answer: str) -> bool:
    await asyncio.sleep(0)
    return (question, answer) == ("user: hi", "small")


def stumble(question: str, answer: str) -> bool:
    raise ValueError(f"cannot judge {question!r} and {answer!r}")


def cascade(function: str, **more: Any) -> dict[str, Any]:
    verify = {"function": f"tests.integration.test_verifiers:{function}", **more}
    return {"cascade": {"steps": ["a", "b"], "escalate_if": {"verify": verify}}}


async def ask(plan: dict[str, Any], **settings: Any) -> tuple[Reply, Hosted]:
    async with Model("small") as small, Model("large") as large, Hosted(config(plan, small, large, **settings)) as hosted:
        reply = await asyncio.wait_for((await hosted.peer()).ask(chat()), 20)
        assert reply.is_whole
    return reply, hosted


def mishaps(hosted: Hosted) -> dict[tuple[str, str, str], int]:
    generation = hosted.dispatcher.generation
    assert generation is not None
    return dict(generation.mishaps)


@pytest.mark.parametrize("function", ["hang", "hang_async"])
async def test_a_verifier_that_hangs_is_left_and_the_answer_is_in_doubt(function: str) -> None:
    reply, hosted = await ask(cascade(function, timeout_s=0.05))

    assert reply.headers["x-dispatch-endpoint"] == "b"
    assert reply.headers["x-dispatch-fallback"] == "verifier_late"
    assert mishaps(hosted) == {("m", "cascade", "verifier_late"): 1}
    assert len(CANCELLED) == (function == "hang_async")


async def test_a_verifier_never_outlasts_the_request() -> None:
    """It may take a minute, the request half a second: the client hears of it then, by an answer or by an error, as the race may end."""
    reply, _ = await ask(cascade("hang", timeout_s=60), deadline_s=0.5)

    assert reply.status in (200, 504)


async def test_a_verifier_that_fails_accepts_nothing_and_the_record_says_why() -> None:
    async with Model("small") as small, Model("large") as large, Hosted(config(cascade("stumble"), small, large, decisions=True)) as hosted:
        reply = await (await hosted.peer()).ask(chat())
        decision = hosted.dispatcher.decisions.find(reply.headers["x-dispatch-decision"])

        assert reply.headers["x-dispatch-endpoint"] == "b"
        assert reply.headers["x-dispatch-fallback"] == "verifier_failed"
        assert decision is not None
        assert "ValueError: cannot judge 'user: hi' and 'small'; verifier_failed" in decision.steps[0].why


async def test_a_coroutine_may_judge() -> None:
    reply, _ = await ask(cascade("accept_async"))

    assert reply.headers["x-dispatch-endpoint"] == "a"
    assert "x-dispatch-fallback" not in reply.headers


async def test_functions_that_hang_take_so_many_threads_and_no_more() -> None:
    started = threading.Semaphore(0)

    def wait() -> bool:
        started.release()
        RELEASE.wait()
        return True

    aside = Aside(wait, "hanging")
    late = await asyncio.gather(*(aside.call(0.05) for _ in range(PLACES + 5)), return_exceptions=True)

    assert [type(one) for one in late] == [TimeoutError] * (PLACES + 5)
    assert sum(thread.name == "hanging" for thread in threading.enumerate()) == PLACES
    RELEASE.set()
    await until(lambda: not any(thread.name == "hanging" for thread in threading.enumerate()))
    assert await aside.call(5) is True
