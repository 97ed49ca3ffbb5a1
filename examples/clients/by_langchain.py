# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain>=1.4", "langchain-openai>=1.7", "langchain-anthropic>=1.7"]
# ///
"""LangChain at three doors: chat completions, responses and messages."""

from __future__ import annotations

from functools import partial

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel
from tried import BROKEN, KEY, MODEL, PNG_URL, QUESTION, ROOT, URL, report

CHAT = partial(ChatOpenAI, base_url=URL, api_key=KEY)
RESPONSES = partial(ChatOpenAI, base_url=URL, api_key=KEY, use_responses_api=True)
MESSAGES = partial(ChatAnthropic, base_url=ROOT, api_key=KEY)


class Forecast(BaseModel):
    """Tomorrow's weather."""

    city: str
    degrees: int


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


def tries(make, door):  # noqa: C901  # one function for each try
    def whole():
        reply = make(model=MODEL).invoke(QUESTION)
        assert reply.text, reply
        assert reply.usage_metadata["output_tokens"] > 0
        return reply.text

    def stream():
        pieces = [piece.text for piece in make(model=MODEL).stream(QUESTION)]
        assert len([piece for piece in pieces if piece]) > 1, pieces
        return "".join(pieces)

    def agent():
        result = create_agent(make(model=MODEL), [weather]).invoke({"messages": [{"role": "user", "content": QUESTION}]})
        kinds = [message.type for message in result["messages"]]
        assert kinds == ["human", "ai", "tool", "ai"], kinds
        return result["messages"][2].content

    def agent_streamed():
        steps = [
            token.type
            for token, _ in create_agent(make(model=MODEL), [weather]).stream(
                {"messages": [{"role": "user", "content": QUESTION}]}, stream_mode="messages"
            )
        ]
        assert "tool" in steps, steps
        return len(steps)

    def structured():
        return make(model=MODEL).with_structured_output(Forecast, method="json_schema").invoke(QUESTION).degrees

    def structured_by_tool():
        return make(model=MODEL).with_structured_output(Forecast, method="function_calling").invoke(QUESTION).degrees

    def image():
        content = [{"type": "text", "text": QUESTION}, {"type": "image", "base64": PNG_URL.partition(",")[2], "mime_type": "image/png"}]
        return make(model=MODEL).invoke([HumanMessage(content=content)]).text

    def error():
        try:
            make(model=BROKEN).invoke(QUESTION)
        except Exception as failed:
            assert failed.status_code == 400, failed
            return f"{type(failed).__name__}: {failed}"
        raise AssertionError("no error")

    for one in (whole, stream, agent, agent_streamed, structured, structured_by_tool, image, error):
        one.__name__ = f"{door} {one.__name__}"
        yield one


def embeddings():
    found = OpenAIEmbeddings(base_url=URL, api_key=KEY, model="vectors", check_embedding_ctx_length=False).embed_documents(["a", "b"])
    assert len(found) == 2
    return len(found[0])


report("langchain", *tries(CHAT, "chat"), *tries(RESPONSES, "responses"), *tries(MESSAGES, "messages"), embeddings)
