"""Models as each SDK lists them, and Gemini's streams as one JSON array."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests.contract.exchanges import configuration
from tests.contract.inside import sidecar
from tests.contract.recordings import Player
from tests.contract.test_openai_responses import STREAMS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_each_sdk_lists_models_and_finds_one(tmp_path: Path) -> None:
    async with Player() as player, sidecar(tmp_path, configuration(player)) as port:
        root = f"http://127.0.0.1:{port}"
        async with openai.AsyncOpenAI(base_url=f"{root}/v1", api_key="none") as client:
            names = [model.id async for model in client.models.list()]
            assert (await client.models.retrieve(names[0])).id == names[0]
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("nobody")
        async with anthropic.AsyncAnthropic(base_url=root, api_key="none") as claude:
            assert [model.id async for model in claude.models.list()] == names
            assert (await claude.models.retrieve(names[0])).type == "model"
        google = genai.Client(api_key="none", http_options=types.HttpOptions(base_url=root))
        assert [model.name async for model in await google.aio.models.list()] == [f"models/{name}" for name in names]
        found = await google.aio.models.get(model=names[0])

    assert found.supported_actions is not None
    assert "generateContent" in found.supported_actions


@pytest.mark.parametrize("header", ["x-api-key", "x-goog-api-key", "authorization"])
async def test_the_clients_way_to_show_its_key_says_which_form_it_reads(header: str, tmp_path: Path) -> None:
    member = {"x-api-key": "has_more", "x-goog-api-key": "models", "authorization": "object"}[header]
    async with (
        Player() as player,
        sidecar(tmp_path, configuration(player)) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/v1/models", headers={header: "Bearer x"}) as answer,
    ):
        assert member in await answer.json()


ASK: Any = {"contents": [{"parts": [{"text": "The weather?"}]}]}


@pytest.mark.parametrize("upstream", STREAMS)
async def test_a_stream_without_alt_is_one_array(upstream: str, tmp_path: Path) -> None:
    async with Player() as player, sidecar(tmp_path, configuration(player)) as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/v1beta/models/{upstream}:streamGenerateContent"
        player.play(STREAMS[upstream]())
        async with session.post(url, json=ASK) as answer:
            kind = answer.content_type
            chunks = json.loads(await answer.read())
        player.play(STREAMS[upstream]())
        async with session.post(f"{url}?alt=sse", json=ASK) as answer:
            raw = (await answer.read()).decode().replace("\r\n", "\n")

    assert kind == "application/json"
    assert chunks == [json.loads(event.removeprefix("data: ")) for event in raw.split("\n\n") if event.startswith("data: ")]
    texts = [part["text"] for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"] if "text" in part]
    assert "".join(text for text in texts if text != "Two") == "Looking."


def impatient(player: Player) -> dict[str, Any]:
    """Silence inside an answer is a fault at once, not after half a minute."""
    config = configuration(player)
    config["models"]["generate"]["stall_s"] = 0.2
    return config


async def test_an_array_that_breaks_off_ends_in_an_error_and_not_cleanly(tmp_path: Path) -> None:
    async with Player() as player, sidecar(tmp_path, impatient(player)) as port, aiohttp.ClientSession() as session:
        player.play(STREAMS["generate"]()[:4])
        data = b""
        async with session.post(f"http://127.0.0.1:{port}/v1beta/models/generate:streamGenerateContent", json=ASK) as answer:
            try:
                async for piece in answer.content.iter_any():
                    data += piece
                pytest.fail("a clean end")
            except aiohttp.ClientPayloadError:
                pass

    assert list(json.loads(data)[-1]) == ["error"]


ERROR = b'{"error":{"code":400,"message":"x","status":"A_B"}}'


async def test_an_error_before_the_array_is_an_error(tmp_path: Path) -> None:
    async with Player() as player, sidecar(tmp_path, configuration(player)) as port, aiohttp.ClientSession() as session:
        player.play([b"HTTP/1.1 400 No\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ERROR), ERROR)])
        async with session.post(f"http://127.0.0.1:{port}/v1beta/models/generate:streamGenerateContent", json=ASK) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"]["code"] == 400
        async with session.post(f"http://127.0.0.1:{port}/v1beta/models/generate:streamGenerateContent?alt=proto", json=ASK) as answer:
            assert answer.status == 400
