"""Clients of each dialect by their own SDKs, and a provider that speaks all of them: what plans over several models stand between."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

import anthropic
import google.genai
import ollama
import openai
from aiohttp import web
from dispatch.combine.reply import events_of
from dispatch.dialects.form import Answer, Choice, Text, Usage
from dispatch.dialects.table import DIALECTS
from dispatch.dialects.target import Losses
from dispatch.server.frames import event_frame

from tests.contract.boto import made

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["SPEAKERS", "Native"]

WORDS = "Count them.\n\none\ntwo"


class Native:
    """A provider that speaks every dialect; its models say what `says` returns for the body, which each is remembered with its path.

    Attributes:
        asked: path and body of each request.
    """

    def __init__(self, says: Callable[[str, dict[str, Any]], str]) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._says = says

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.root = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        path, body = request.path, await request.json()
        self.asked.append((path, body))
        door = next(name for end, name in _ENDS.items() if path.endswith(end))
        model = (
            path.rpartition("/")[2].partition(":")[0]
            if door == "generate"
            else path.split("/")[-2]
            if door == "converse"
            else body["model"]
        )
        choice = Choice(parts=[Text(text=self._says(model, body))], finish="stop")
        form = Answer(id="r1", model=model, choices=[choice], usage=Usage(input=100, output=10))
        is_stream = ":stream" in path or path.endswith("-stream") or (body.get("stream", door.startswith("ollama")) is True)
        dialect = DIALECTS[door]
        if not is_stream:
            return web.Response(body=dialect.write_answer(form, 1, Losses(drops=True)), content_type="application/json")
        writer = dialect.writer(1, wants_usage=True)
        if door == "converse":
            told = (json.loads(line[6:]) for line in (writer.write(events_of(form)) + writer.end()).splitlines() if line[:6] == b"data: ")
            frames = [event_frame(name.encode(), json.dumps(value).encode()) for event in told for name, value in event.items()]
            return web.Response(body=b"".join(frames), content_type="application/vnd.amazon.eventstream")
        kind = "application/x-ndjson" if dialect.is_lines else "text/event-stream"
        return web.Response(body=writer.write(events_of(form)) + writer.end(), content_type=kind)


_ENDS = {
    "/chat/completions": "chat",
    "/v1/completions": "completions",
    "/responses": "responses",
    "/v1/messages": "messages",
    ":generateContent": "generate",
    ":streamGenerateContent": "generate",
    "/converse": "converse",
    "/converse-stream": "converse",
    "/api/chat": "ollama",
    "/api/generate": "ollama_generate",
}


async def _chat(root: str, models: Sequence[str], stream: bool) -> list[str]:
    async def one(model: str) -> str:
        asked: Any = {"model": model, "messages": [{"role": "user", "content": WORDS}]}
        found: Any = await sdk.chat.completions.create(stream=stream, **asked)
        if not stream:
            return str(found.choices[0].message.content)
        return "".join([choice.delta.content or "" async for chunk in found for choice in chunk.choices])

    async with openai.AsyncOpenAI(base_url=f"{root}/v1", api_key="none", max_retries=0) as sdk:
        return [await one(model) for model in models]


async def _responses(root: str, models: Sequence[str], stream: bool) -> list[str]:
    async def one(model: str) -> str:
        if not stream:
            return (await sdk.responses.create(model=model, input=WORDS)).output_text
        async with sdk.responses.stream(model=model, input=WORDS) as events:
            return (await events.get_final_response()).output_text

    async with openai.AsyncOpenAI(base_url=f"{root}/v1", api_key="none", max_retries=0) as sdk:
        return [await one(model) for model in models]


async def _messages(root: str, models: Sequence[str], stream: bool) -> list[str]:
    async def one(model: str) -> str:
        asked: Any = {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": WORDS}]}
        if stream:
            async with sdk.messages.stream(**asked) as events:
                return await events.get_final_text()
        return str((await sdk.messages.create(**asked)).content[0].text)

    async with anthropic.AsyncAnthropic(base_url=root, api_key="none", max_retries=0) as sdk:
        return [await one(model) for model in models]


async def _generate(root: str, models: Sequence[str], stream: bool) -> list[str]:
    async def one(model: str) -> str:
        if not stream:
            return (await sdk.aio.models.generate_content(model=model, contents=WORDS)).text or ""
        chunks = await sdk.aio.models.generate_content_stream(model=model, contents=WORDS)
        return "".join([chunk.text or "" async for chunk in chunks])

    sdk = google.genai.Client(api_key="none", http_options={"base_url": root})
    try:
        return [await one(model) for model in models]
    finally:
        await sdk.aio.aclose()


async def _ollama(root: str, models: Sequence[str], stream: bool) -> list[str]:
    async def one(model: str) -> str:
        turns = [{"role": "user", "content": WORDS}]
        if not stream:
            return (await sdk.chat(model, turns)).message.content or ""
        return "".join([chunk.message.content or "" async for chunk in await sdk.chat(model, turns, stream=True)])

    sdk = ollama.AsyncClient(root)
    try:
        return [await one(model) for model in models]
    finally:
        await sdk._client.aclose()


async def _completions(root: str, models: Sequence[str], stream: bool) -> list[str]:
    async def one(model: str) -> str:
        asked: Any = {"model": model, "prompt": WORDS}
        found: Any = await sdk.completions.create(stream=stream, **asked)
        if not stream:
            return str(found.choices[0].text)
        return "".join([choice.text async for chunk in found for choice in chunk.choices])

    async with openai.AsyncOpenAI(base_url=f"{root}/v1", api_key="none", max_retries=0) as sdk:
        return [await one(model) for model in models]


async def _ollama_generate(root: str, models: Sequence[str], stream: bool) -> list[str]:
    async def one(model: str) -> str:
        if not stream:
            return (await sdk.generate(model, WORDS)).response or ""
        return "".join([chunk.response or "" async for chunk in await sdk.generate(model, WORDS, stream=True)])

    sdk = ollama.AsyncClient(root)
    try:
        return [await one(model) for model in models]
    finally:
        await sdk._client.aclose()


async def _converse(root: str, models: Sequence[str], stream: bool) -> list[str]:
    def one(model: str) -> str:
        turns = [{"role": "user", "content": [{"text": WORDS}]}]
        if not stream:
            said = made(root, lambda sdk: sdk.converse(modelId=model, messages=turns))
            return str(said["output"]["message"]["content"][0]["text"])
        events = made(root, lambda sdk: [*sdk.converse_stream(modelId=model, messages=turns)["stream"]])
        deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
        return "".join(delta.get("text", "") for delta in deltas)

    return [await asyncio.to_thread(one, model) for model in models]


SPEAKERS: dict[str, Callable[[str, Sequence[str], bool], Awaitable[list[str]]]] = {
    "chat": _chat,
    "responses": _responses,
    "messages": _messages,
    "generate": _generate,
    "ollama": _ollama,
    "completions": _completions,
    "ollama_generate": _ollama_generate,
    "converse": _converse,
}
"""By dialect: asks models `WORDS`, whole or as streams, and returns the texts of their answers."""
