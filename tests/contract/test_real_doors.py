"""An inference server that nobody here wrote, at temperature 0: whichever door asks, whole or streamed, the model says the same.

Beside OpenAI's API llama.cpp's server speaks Anthropic's itself; so each door is also translated the other way, to that one. See
`docs/real-servers.md`.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import anthropic
import google.genai
import openai
import pytest
from google.genai.types import GenerateContentConfig

from tests.contract.test_real_server import ASK, TURN, anyio_backend, base_url
from tests.contract.test_real_server import pytestmark as needs_a_server
from tests.integration.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

__all__ = ["anyio_backend", "base_url"]

pytestmark = [*needs_a_server, pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")]  # Google's own business

MODELS = ["by-openai", "by-anthropic"]
GREEDY = {name: value for name, value in ASK.items() if name != "seed"}
WORDS = TURN[0]["content"]


class Said(NamedTuple):
    """What a client read."""

    text: str
    finish: str
    tokens: int


@pytest.fixture(scope="module")
async def server(base_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sidecar]:
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none") as sdk:
        model = os.environ.get("DISPATCH_REAL_MODEL") or (await sdk.models.list()).data[0].id
    ends = [("by-openai", "openai_compatible", base_url), ("by-anthropic", "anthropic", base_url.removesuffix("/v1"))]
    endpoints = [
        {"name": f"at-{name}", "provider": provider, "base_url": url, "model": model, "api_key": "env:REAL_KEY"}
        for name, provider, url in ends
    ]
    models = {name: {"endpoints": [f"at-{name}"], "retry": {"unknown": True}} for name, _, _ in ends}
    folder: Path = tmp_path_factory.mktemp("doors")
    async with Sidecar(folder, {"endpoints": endpoints, "models": models}, "--workers", "1", environ={"REAL_KEY": "none"}) as sidecar:
        yield sidecar


async def by_openai(root: str, model: str, *, stream: bool) -> Said:
    async with openai.AsyncOpenAI(base_url=f"{root}/v1", api_key="none", max_retries=0) as sdk:
        if not stream:
            whole: Any = await sdk.chat.completions.create(model=model, **GREEDY)
            return Said(whole.choices[0].message.content, whole.choices[0].finish_reason, whole.usage.completion_tokens)
        asked: Any = await sdk.chat.completions.create(model=model, stream=True, stream_options={"include_usage": True}, **GREEDY)
        chunks = [chunk async for chunk in asked]
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    text = "".join(choice.delta.content or "" for choice in choices)
    return Said(text, next(one.finish_reason for one in choices if one.finish_reason), chunks[-1].usage.completion_tokens)


async def by_anthropic(root: str, model: str, *, stream: bool) -> Said:
    asked: Any = {"model": model, "messages": TURN, "max_tokens": ASK["max_tokens"], "extra_body": {"temperature": 0}}
    async with anthropic.AsyncAnthropic(base_url=root, api_key="none", max_retries=0) as sdk:
        if stream:
            async with sdk.messages.stream(**asked) as events:
                whole: Any = await events.get_final_message()
        else:
            whole = await sdk.messages.create(**asked)
    text = "".join(block.text for block in whole.content)
    return Said(text, {"max_tokens": "length", "end_turn": "stop"}[whole.stop_reason], whole.usage.output_tokens)


async def by_google(root: str, model: str, *, stream: bool) -> Said:
    sdk = google.genai.Client(api_key="none", http_options={"base_url": root}).aio.models
    config = GenerateContentConfig(temperature=0, max_output_tokens=ASK["max_tokens"])
    if stream:
        chunks = [one async for one in await sdk.generate_content_stream(model=model, contents=WORDS, config=config)]
    else:
        chunks = [await sdk.generate_content(model=model, contents=WORDS, config=config)]
    last: Any = chunks[-1]
    finish = {"MAX_TOKENS": "length", "STOP": "stop"}[last.candidates[0].finish_reason.value]
    return Said("".join(one.text or "" for one in chunks), finish, last.usage_metadata.candidates_token_count)


DOORS: list[Callable[..., Awaitable[Said]]] = [by_openai, by_anthropic, by_google]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", MODELS)
async def test_every_door_says_the_same(server: Sidecar, base_url: str, model: str, stream: bool) -> None:
    root, own = server.base_url.removesuffix("/v1"), base_url.removesuffix("/v1")
    name = json.loads(server.path.read_text())["endpoints"][0]["model"]
    if model == "by-anthropic":
        try:
            await by_anthropic(own, name, stream=False)
        except anthropic.NotFoundError:
            pytest.skip("this server speaks OpenAI's dialect alone")
    straight = await by_openai(own, name, stream=False)
    said = [await door(root, model, stream=stream) for door in DOORS]

    assert straight.text
    assert said == [straight] * len(DOORS)
