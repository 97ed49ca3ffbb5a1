# /// script
# requires-python = ">=3.11"
# dependencies = ["pydantic-ai-slim[openai,anthropic,google]>=2.60"]
# ///
"""pydantic-ai at four doors: chat completions, responses, messages and generateContent."""

from __future__ import annotations

import base64

from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider
from tried import BROKEN, KEY, MODEL, PNG, QUESTION, ROOT, URL, report

MAKERS = {
    "chat": lambda name: OpenAIChatModel(name, provider=OpenAIProvider(base_url=URL, api_key=KEY)),
    "responses": lambda name: OpenAIResponsesModel(name, provider=OpenAIProvider(base_url=URL, api_key=KEY)),
    "messages": lambda name: AnthropicModel(name, provider=AnthropicProvider(base_url=ROOT, api_key=KEY)),
    "generate": lambda name: GoogleModel(name, provider=GoogleProvider(base_url=ROOT, api_key=KEY)),
}


class Forecast(BaseModel):
    """Tomorrow's weather."""

    city: str
    degrees: int


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


def tries(door):
    make = MAKERS[door]

    async def whole():
        result = await Agent(make(MODEL)).run(QUESTION)
        assert result.usage.output_tokens > 0, result.usage
        return result.output

    async def stream():
        async with Agent(make(MODEL)).run_stream(QUESTION) as result:
            pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        assert len(pieces) > 1, pieces
        return "".join(pieces)

    async def agent():
        result = await Agent(make(MODEL), tools=[weather]).run(QUESTION)
        shown = str(result.all_messages())
        assert "sunny in" in shown, shown
        return result.output

    async def structured_by_tool():
        return (await Agent(make(MODEL), output_type=Forecast).run(QUESTION)).output.degrees

    async def structured():
        # It knows by the name which of Anthropic's models have this.
        name = "claude-sonnet-4-5" if door == "messages" else MODEL
        return (await Agent(make(name), output_type=NativeOutput(Forecast)).run(QUESTION)).output.degrees

    async def image():
        picture = BinaryContent(data=base64.b64decode(PNG), media_type="image/png")
        return (await Agent(make(MODEL)).run([QUESTION, picture])).output

    async def error():
        try:
            await Agent(make(BROKEN)).run(QUESTION)
        except ModelHTTPError as failed:
            assert failed.status_code == 400, failed
            return failed
        raise AssertionError("no error")

    for one in (whole, stream, agent, structured_by_tool, structured, image, error):
        one.__name__ = f"{door} {one.__name__}"
        yield one


report("pydantic-ai-slim", *(one for door in MAKERS for one in tries(door)))
