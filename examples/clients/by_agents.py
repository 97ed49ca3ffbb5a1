# /// script
# requires-python = ">=3.11"
# dependencies = ["openai-agents>=0.24"]
# ///
"""OpenAI's Agents SDK at the doors of chat completions and of responses."""

from __future__ import annotations

import openai
from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from pydantic import BaseModel
from tried import BROKEN, KEY, MODEL, QUESTION, URL, report

set_tracing_disabled(True)
MODELS = {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}


class Forecast(BaseModel):
    """Tomorrow's weather."""

    city: str
    degrees: int


@function_tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


def tries(door):
    def agent(model=MODEL, **fields):
        client = openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0)
        return Agent(name="a", model=MODELS[door](model=model, openai_client=client), **fields)

    async def whole():
        return (await Runner.run(agent(), QUESTION)).final_output

    async def tool():
        result = await Runner.run(agent(tools=[weather]), QUESTION)
        kinds = [item.type for item in result.new_items]
        assert "tool_call_output_item" in kinds, kinds
        return kinds

    async def tool_streamed():
        result = Runner.run_streamed(agent(tools=[weather]), QUESTION)
        kinds = [event.type async for event in result.stream_events()]
        assert "run_item_stream_event" in kinds, kinds
        return result.final_output

    async def structured():
        return (await Runner.run(agent(output_type=Forecast), QUESTION)).final_output.degrees

    async def error():
        try:
            await Runner.run(agent(BROKEN), QUESTION)
        except openai.BadRequestError as failed:
            return failed.message
        raise AssertionError("no error")

    for one in (whole, tool, tool_streamed, structured, error):
        one.__name__ = f"{door} {one.__name__}"
        yield one


report("openai-agents", *(one for door in MODELS for one in tries(door)))
