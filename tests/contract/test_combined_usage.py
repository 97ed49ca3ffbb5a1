"""The usage that an answer of several models tells is the sum of theirs, at every door, whole and streamed: see ADR 0031."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.speakers import Native
from tests.contract.test_combined_doors import PROVIDERS, config, says
from tests.integration.hosted import Hosted
from tests.integration.peer import chat, events_of
from tests.integration.test_logprobs import DOORS, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

NAMES = {
    "chat": ("prompt_tokens", "completion_tokens"),
    "completions": ("prompt_tokens", "completion_tokens"),
    "responses": ("input_tokens", "output_tokens"),
    "messages": ("input_tokens", "output_tokens"),
    "generate": ("promptTokenCount", "candidatesTokenCount"),
    "converse": ("inputTokens", "outputTokens"),
    "ollama": ("prompt_eval_count", "eval_count"),
    "ollama_generate": ("prompt_eval_count", "eval_count"),
}
ASKED = {"fused": 3, "corrected": 2, "voted": 3, "judged": 4, "chained": 2, "single": 1}
"""How many answers go into the one: each used 100 and 10 tokens."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """What is asked here has nothing to do with the kind of loop."""
    return "asyncio"


@pytest.fixture
async def native() -> AsyncIterator[Native]:
    async with Native(says) as provider:
        yield provider


def settings(provider: str, native: Native) -> dict[str, Any]:
    found = config(provider, native)
    for endpoint in found["endpoints"]:
        # The one that these tests' host has.
        endpoint["api_key"] = "env:UP_KEY"
    found["models"]["single"] = {"cascade": {"steps": ["a", "b"]}, "retry": {"attempts": 1}}
    return found


def told(door: str, body: bytes) -> tuple[int, int]:
    """The last numbers that a body, or the events of a stream, tell."""
    read, written = ([int(found) for found in re.findall(b'"%b": ?(\\d+)' % name.encode(), body)] for name in NAMES[door])
    return read[-1], written[-1]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("is_native", [False, True], ids=["translated", "native"])
@pytest.mark.parametrize("door", DOORS)
async def test_the_usage_of_a_combined_answer_is_the_sum(door: str, is_native: bool, stream: bool, native: Native) -> None:
    provider = PROVIDERS[door] if is_native else "anthropic" if door == "chat" else "openai_compatible"
    wants = {"stream_options": {"include_usage": True}} if stream and door in ("chat", "completions") else {}
    async with Hosted(settings(provider, native)) as hosted:
        peer = await hosted.peer()
        found = {}
        for plan, count in ASKED.items():
            before = len(native.asked)
            reply = await peer.ask(request(door, plan, stream=stream, **wants))
            assert reply.is_whole
            found[plan] = told(door, reply.body)
            assert len(native.asked) - before == count, plan

    assert found == {plan: (100 * count, 10 * count) for plan, count in ASKED.items()}
    assert [call.usage[:2] for call, _, _ in hosted.reports] == [*found.values()]


async def test_a_plan_in_a_plan_is_added_once(native: Native) -> None:
    found = settings("openai_compatible", native)
    fused = found["models"]["fused"]
    fused.pop("retry")
    found["models"] = {"m": {"ensemble": {"of": ["a", fused], "by": "fuse", "model": "b"}, "retry": {"attempts": 1}}}
    async with Hosted(found) as hosted:
        peer = await hosted.peer()
        whole = await peer.ask(chat())
        streamed = await peer.ask(chat(stream=True, stream_options={"include_usage": True}))

    assert json.loads(whole.body)["usage"] == {"prompt_tokens": 500, "completion_tokens": 50, "total_tokens": 550} | {
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    last = [event for event in events_of(streamed.body) if event != "[DONE]"][-1]
    assert (last["choices"], last["usage"]["prompt_tokens"], last["usage"]["total_tokens"]) == ([], 500, 550)


async def test_a_stream_whose_client_asked_for_no_usage_tells_none(native: Native) -> None:
    async with Hosted(settings("openai_compatible", native)) as hosted:
        reply = await (await hosted.peer()).ask(chat("fused", stream=True))

    assert b'"usage":{' not in reply.body
