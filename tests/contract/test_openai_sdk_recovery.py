"""OpenAI's own SDK reads a stream that two endpoints gave as one: the same final answer as of an undisturbed stream, or an exception."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.integration.hosted import Hosted, pool
from tests.integration.recovering import DONE, END, TEXT, broken, continuing, last_message, recovering, stream, tools, usage, words
from tests.integration.upstream import Upstream, once, stream_head

pytestmark = pytest.mark.anyio

TURN: Any = [{"role": "user", "content": "hi"}]
TOOLS: Any = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("f", "g")]


def sdk(hosted: Hosted) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{hosted.port}/v1", api_key="none", max_retries=0)


async def final(hosted: Hosted, **fields: Any) -> Any:
    """The answer that the SDK's helper puts together from a stream."""
    async with sdk(hosted) as client, client.chat.completions.stream(model="m", messages=TURN, **fields) as events:
        return await events.get_final_completion()


@pytest.mark.parametrize("events", range(1, len(words("a", TEXT)) + 1))
@pytest.mark.parametrize("way", ["restart", "continue"])
async def test_the_final_answer_is_that_of_an_undisturbed_stream(way: str, events: int) -> None:
    rest = continuing(last_message, []) if way == "continue" and 2 <= events <= len(words("a", TEXT)) - 1 else once(stream("b"))
    async with (
        Upstream(once(broken("a", events), then="fin")) as first,
        Upstream(rest) as second,
        Hosted(recovering(first.base_url, second.base_url, prefill="prefix", recover=(way,))) as hosted,
    ):
        choice = (await final(hosted)).choices[0]

        assert choice.message.content == TEXT
        assert choice.message.role == "assistant"
        assert choice.finish_reason == "stop"


@pytest.mark.parametrize("events", range(1, len(tools("a"))))
async def test_tool_calls_are_put_together_whole(events: int) -> None:
    half = stream_head() + b"".join(tools("a")[:events])
    whole = stream_head() + b"".join(tools("b")) + DONE + END
    async with (
        Upstream(once(half, then="fin")) as first,
        Upstream(once(whole)) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        choice = (await final(hosted, tools=TOOLS)).choices[0]

        calls = choice.message.tool_calls
        assert [call.function.name for call in calls] == ["f", "g"]
        assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Zürich"}, {"n": 1}]
        assert all(call.id in {"call-a-0", "call-b-0", "call-a-1", "call-b-1"} for call in calls)
        assert choice.finish_reason == "tool_calls"


async def test_a_report_of_usage_is_there_once() -> None:
    whole = once(stream_head() + b"".join(words("b", TEXT)) + usage("b", 10, 6) + DONE + END)
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(whole) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
        sdk(hosted) as client,
    ):
        chunks = [
            one
            async for one in await client.chat.completions.create(
                model="m", messages=TURN, stream=True, stream_options={"include_usage": True}
            )
        ]

        [report] = [one.usage for one in chunks if one.usage is not None]
        assert report.completion_tokens > 6
        assert report.total_tokens == report.prompt_tokens + report.completion_tokens
        assert len({one.id for one in chunks}) == 1


async def test_an_answer_that_cannot_be_taken_over_is_an_exception() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b", "another"))) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        with pytest.raises(openai.APIError):
            await final(hosted)


async def test_a_held_stream_that_breaks_is_an_error_with_a_status() -> None:
    async with Upstream(once(broken(), then="fin")) as first, Hosted(pool(first.base_url, commit="whole", retry={"attempts": 1})) as hosted:
        with pytest.raises(openai.InternalServerError):
            await final(hosted)
