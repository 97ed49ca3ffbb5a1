# /// script
# requires-python = ">=3.11"
# dependencies = ["instructor>=1.17", "anthropic"]
# ///
"""instructor at the doors of chat completions and of messages."""

from __future__ import annotations

import anthropic
import instructor
import openai
from pydantic import BaseModel
from tried import BROKEN, KEY, MODEL, QUESTION, ROOT, URL, report

TURN = [{"role": "user", "content": QUESTION}]


class Forecast(BaseModel):
    """Tomorrow's weather."""

    city: str
    degrees: int


def by_openai(mode):
    return instructor.from_openai(openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0), mode=mode)


def by_anthropic(mode):
    return instructor.from_anthropic(anthropic.Anthropic(base_url=ROOT, api_key=KEY, max_retries=0), mode=mode)


def tools():
    return by_openai(instructor.Mode.TOOLS).chat.completions.create(model=MODEL, response_model=Forecast, messages=TURN).degrees


def json_schema():
    return by_openai(instructor.Mode.JSON_SCHEMA).chat.completions.create(model=MODEL, response_model=Forecast, messages=TURN).degrees


def partial_stream():
    found = list(by_openai(instructor.Mode.TOOLS).chat.completions.create_partial(model=MODEL, response_model=Forecast, messages=TURN))
    assert len(found) > 1
    return found[-1]


def responses_tools():
    client = by_openai(instructor.Mode.RESPONSES_TOOLS)
    return client.responses.create(model=MODEL, response_model=Forecast, input=QUESTION).degrees


def messages_tools():
    client = by_anthropic(instructor.Mode.ANTHROPIC_TOOLS)
    return client.messages.create(model=MODEL, max_tokens=200, response_model=Forecast, messages=TURN).degrees


def error():
    try:
        by_openai(instructor.Mode.TOOLS).chat.completions.create(model=BROKEN, response_model=Forecast, messages=TURN, max_retries=0)
    except Exception as failed:
        return f"{type(failed).__name__}: {failed}"
    raise AssertionError("no error")


report("instructor", tools, json_schema, partial_stream, responses_tools, messages_tools, error)
