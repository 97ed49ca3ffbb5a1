# /// script
# requires-python = ">=3.11"
# dependencies = ["litellm>=1.100", "mcp"]
# ///
"""LiteLLM's client (not its proxy) at three doors."""

from __future__ import annotations

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the table of prices is fetched when it is imported

import litellm
from tried import BROKEN, KEY, MODEL, PNG_URL, QUESTION, ROOT, URL, report

litellm.telemetry = False
TURN = [{"role": "user", "content": QUESTION}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
KINDS = {
    "openai": {"api_base": URL},
    "anthropic": {"api_base": ROOT},
    "ollama_chat": {"api_base": ROOT},
}


def tries(kind):
    def ask(model=MODEL, **fields):
        return litellm.completion(
            f"{kind}/{model}", messages=fields.pop("messages", TURN), api_key=KEY, num_retries=0, **KINDS[kind], **fields
        )

    def whole():
        reply = ask()
        assert reply.usage.completion_tokens > 0
        return reply.choices[0].message.content

    def stream():
        pieces = [chunk.choices[0].delta.content or "" for chunk in ask(stream=True)]
        assert len([piece for piece in pieces if piece]) > 1
        return "".join(pieces)

    def tool():
        first = ask(tools=[TOOL]).choices[0].message
        call = first.tool_calls[0]
        said = {"role": "tool", "tool_call_id": call.id, "name": "weather", "content": "sunny"}
        return call.function.arguments, ask(tools=[TOOL], messages=[*TURN, first.model_dump(), said]).choices[0].message.content

    def image():
        content = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": PNG_URL}}]
        return ask(messages=[{"role": "user", "content": content}]).choices[0].message.content

    def error():
        try:
            ask(BROKEN)
        except litellm.exceptions.BadRequestError as failed:
            return str(failed)
        raise AssertionError("no error")

    for one in (whole, stream, tool, image, error):
        one.__name__ = f"{kind} {one.__name__}"
        yield one


report("litellm", *(one for kind in KINDS for one in tries(kind)))
