# /// script
# requires-python = ">=3.11"
# dependencies = ["llama-index-core>=0.14", "llama-index-llms-openai-like>=0.8"]
# ///
"""LlamaIndex at the door of chat completions."""

from __future__ import annotations

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from tried import BROKEN, KEY, MODEL, PNG, QUESTION, URL, report


class Forecast(BaseModel):
    """Tomorrow's weather."""

    city: str
    degrees: int


def llm(model=MODEL):
    return OpenAILike(model=model, api_base=URL, api_key=KEY, is_chat_model=True, is_function_calling_model=True, max_retries=0)


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


def whole():
    return llm().chat([ChatMessage(role="user", content=QUESTION)]).message.content


def completion():
    return llm().complete(QUESTION).text


def stream():
    pieces = [piece.delta for piece in llm().stream_chat([ChatMessage(role="user", content=QUESTION)])]
    assert len(pieces) > 1
    return "".join(pieces)


async def agent():
    result = await FunctionAgent(tools=[weather], llm=llm()).run(QUESTION)
    assert [call.tool_name for call in result.tool_calls] == ["weather"], result.tool_calls
    return result.tool_calls[0].tool_output


def structured():
    return llm().as_structured_llm(Forecast).complete(QUESTION).raw.degrees


def image():
    blocks = [TextBlock(text=QUESTION), ImageBlock(image=PNG, image_mimetype="image/png")]
    return llm().chat([ChatMessage(role="user", blocks=blocks)]).message.content


def error():
    try:
        llm(BROKEN).complete(QUESTION)
    except Exception as failed:
        assert failed.status_code == 400, failed
        return f"{type(failed).__name__}: {failed}"
    raise AssertionError("no error")


report("llama-index-core", whole, completion, stream, agent, structured, image, error)
