"""What a 429 says is said for an account: its other endpoints are not asked, and those of other accounts are, until one has quota."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import Peer, Reply, chat
from tests.integration.upstream import GOOD, Upstream, answer, once

if TYPE_CHECKING:
    from tests.integration.upstream import Script

pytestmark = pytest.mark.anyio


def refusing(code: str = "rate_limit_exceeded", kind: str = "requests", after_s: int = 30) -> Script:
    body = {"error": {"message": "no more", "type": kind, "param": None, "code": code}}
    return once(answer(json.dumps(body).encode(), 429, f"retry-after: {after_s}"))


LIMITED = refusing()
EMPTY = refusing("insufficient_quota", "insufficient_quota")


async def play(scripts: list[Script], accounts: str, clients: int = 1, **model: Any) -> tuple[list[Reply], list[int]]:
    """Ask a pool of such endpoints in order; `accounts` has a letter for each. Returns the answers and who was asked how often."""
    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(Upstream(script)) for script in scripts]
        config = pool(*(one.base_url for one in upstreams), **model)
        for endpoint, account in zip(config["endpoints"], accounts, strict=True):
            endpoint["account"] = account
        async with Hosted(config) as hosted:
            peer: Peer = await hosted.peer()
            replies = [await peer.ask(chat()) for _ in range(clients)]
            return replies, [len(one.requests) for one in upstreams]


@pytest.mark.parametrize("said", [LIMITED, EMPTY], ids=["rate limit", "quota"])
async def test_a_retry_avoids_the_account_that_said_429(said: Script) -> None:
    [reply], asked = await play([said, GOOD, GOOD], "xxy")

    assert reply.status == 200
    assert asked == [1, 0, 1]


async def test_the_next_request_avoids_it_too() -> None:
    replies, asked = await play([LIMITED, GOOD, GOOD], "xxy", clients=4)

    assert [reply.status for reply in replies] == [200] * 4
    assert asked == [1, 0, 4]


async def test_no_client_gets_a_429_while_another_account_has_quota() -> None:
    """However many have none: a refusal costs nothing and is no failed try."""
    [reply], asked = await play([LIMITED] * 5 + [GOOD], "abcdef", retry={"attempts": 3})

    assert reply.status == 200
    assert asked == [1] * 6


async def test_where_nobody_has_quota_each_account_is_asked_once_and_the_client_is_told_when_to_come_back() -> None:
    [reply], asked = await play([LIMITED] * 5, "abcde", retry={"attempts": 3})

    assert reply.status == 429
    assert asked == [1] * 5


async def test_an_account_that_is_asked_again_was_asked_before() -> None:
    """The last of the tries goes where one went before, for want of others; what it meets there is no reason to search those once more."""
    hasty = refusing(after_s=0)
    [reply], asked = await play([hasty, hasty], "ab", retry={"attempts": 3, "base_s": 0.001})

    assert reply.status == 429
    assert sum(asked) == 3


async def test_who_wants_one_try_gets_one() -> None:
    [reply], asked = await play([LIMITED, GOOD], "ab", retry={"attempts": 1})

    assert (reply.status, asked) == (429, [1, 0])


async def test_failures_that_are_no_429_are_bounded_by_their_number() -> None:
    broken = once(answer({"error": {"message": "broken"}}, 500))
    [reply], asked = await play([broken] * 5 + [GOOD], "abcdef", retry={"attempts": 3, "base_s": 0.001})

    assert (reply.status, sum(asked)) == (500, 3)
