"""OpenAI's own SDK at the doors of images, sound, moderations and text completions, and a client of the rerank door."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import openai
import pytest

from tests.contract.inside import sidecar
from tests.contract.recordings import Player, head_and_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
SOUND = b"RIFF\r\n--not-the-boundary\r\n" + bytes(range(256)) * 400


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


def configuration(player: Player, **more: Any) -> dict[str, Any]:
    endpoint = {"name": "e", "provider": "openai_compatible", "base_url": f"http://127.0.0.1:{player.port}/v1", "model": "upstream-5"}
    return {"endpoints": [endpoint | more], "models": {"m": {"endpoints": ["e"], "retry": {"attempts": 2, "base_s": 0.01}}}}


@asynccontextmanager
async def at_the_door(folder: Path, **more: Any) -> AsyncIterator[tuple[Player, openai.AsyncOpenAI]]:
    async with (
        Player() as player,
        sidecar(folder, configuration(player, **more)) as port,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client,
    ):
        yield player, client


def whole(body: bytes, kind: str) -> list[bytes]:
    return [f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body]


def events(*trees: dict[str, Any]) -> list[bytes]:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    return [head, *(f"event: {tree['type']}\ndata: {json.dumps(tree)}\n\n".encode() for tree in trees)]


async def test_images_are_made_whole_and_in_parts_of_any_size(tmp_path: Path) -> None:
    big = base64.b64encode(PNG * 200).decode()
    assert len(big) > 2 << 20
    async with at_the_door(tmp_path) as (player, client):
        player.play([head_and_body(json.dumps({"created": 1, "data": [{"b64_json": "aGk="}]}).encode())])
        made = await client.images.generate(model="m", prompt="a cat")
        asked = json.loads(player.received[-1][1])
        usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "input_tokens_details": {"image_tokens": 0, "text_tokens": 1}}
        place = {"b64_json": big, "size": "1024x1024", "quality": "low", "background": "opaque", "output_format": "png", "created_at": 1}
        partial = {"type": "image_generation.partial_image", "partial_image_index": 0, **place}
        player.play(events(partial, {"type": "image_generation.completed", "usage": usage, **place}))
        found = [event async for event in await client.images.generate(model="m", prompt="a cat", stream=True, partial_images=1)]

    assert made.data is not None
    assert made.data[0].b64_json == "aGk="
    assert asked == {"model": "upstream-5", "prompt": "a cat"}
    assert [event.type for event in found] == ["image_generation.partial_image", "image_generation.completed"]
    assert all(event.b64_json == big for event in found)


async def test_a_form_is_sent_on_as_it_is_but_for_the_models_name(tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        player.play([head_and_body(b'{"created":1,"data":[{"b64_json":"aGk="}]}')])
        await client.images.edit(model="m", prompt="m", image=[("a.png", PNG), ("model.png", PNG)])
        head, body = player.received[-1]

    assert head.startswith(b"post /v1/images/edits http/1.1")
    assert b'name="model"\r\n\r\nupstream-5\r\n' in body
    assert b'name="prompt"\r\n\r\nm\r\n' in body
    assert body.count(PNG) == 2
    assert b"content-type: multipart/form-data; boundary=" in head


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@pytest.mark.parametrize("form", ["json", "text", "srt"])
async def test_sound_becomes_text_in_the_form_that_is_asked_for(form: Any, tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        player.play([head_and_body(b'{"text":"hello"}')] if form == "json" else whole(b"1\nhello\n", "text/plain; charset=utf-8"))
        told = await client.audio.transcriptions.create(model="m", file=("a.wav", SOUND), response_format=form)
        assert SOUND in player.received[-1][1]
        player.play([head_and_body(b'{"text":"hello"}')] if form == "json" else whole(b"1\nhello\n", "text/plain; charset=utf-8"))
        translated: Any = await client.audio.translations.create(model="m", file=("a.wav", SOUND), response_format=form)

    assert (told if isinstance(told, str) else told.text) == (translated if isinstance(translated, str) else translated.text)
    assert "hello" in (told if isinstance(told, str) else told.text)


async def test_a_transcript_streams(tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        deltas = [{"type": "transcript.text.delta", "delta": piece} for piece in ("hel", "lo")]
        player.play(events(*deltas, {"type": "transcript.text.done", "text": "hello"}))
        found = [event async for event in await client.audio.transcriptions.create(model="m", file=("a.wav", SOUND), stream=True)]

    assert [event.type for event in found] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]


async def test_a_transcript_that_breaks_off_is_told(tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        player.play(events({"type": "transcript.text.delta", "delta": "hel"}))
        with pytest.raises((openai.APIError, httpx.RemoteProtocolError)):  # as an event, or as a broken body
            async for _ in await client.audio.transcriptions.create(model="m", file=("a.wav", SOUND), stream=True):
                pass


async def test_speech_comes_as_sound_and_as_events(tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        player.play(whole(SOUND, "audio/mpeg"))
        sound = await client.audio.speech.create(model="m", voice="alloy", input="hello")
        deltas = [{"type": "speech.audio.delta", "audio": "aGk="}] * 2
        player.play(events(*deltas, {"type": "speech.audio.done", "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}}))
        async with client.audio.speech.with_streaming_response.create(model="m", voice="alloy", input="x", stream_format="sse") as told:
            lines = [line async for line in told.iter_lines() if line.startswith("data:")]

    assert sound.content == SOUND
    assert len(lines) == 3


async def test_a_failure_is_tried_again_with_the_whole_form(tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        player.play([b"HTTP/1.1 503 No\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"])
        with pytest.raises(openai.InternalServerError):
            await client.audio.transcriptions.create(model="m", file=("a.wav", SOUND))

        assert len(player.received) == 2
        assert player.received[0][1] == player.received[1][1]


async def test_moderations_pass(tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        player.play([head_and_body(b'{"id":"1","model":"x","results":[{"flagged":false,"categories":{},"category_scores":{}}]}')])
        found = await client.moderations.create(model="m", input="x")

    assert not found.results[0].flagged


async def test_rerank_passes(tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client), aiohttp.ClientSession() as session:
        player.play([head_and_body(b'{"results":[{"index":1,"relevance_score":0.9}]}')])
        async with session.post(f"{client.base_url}rerank", json={"model": "m", "query": "q", "documents": ["a", "b"]}) as answer:
            found = await answer.json()

    assert found["results"][0]["index"] == 1


B = "----x"
PART = 'Content-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'


def form(*parts: tuple[str, str]) -> bytes:
    return ("".join(f"--{B}\r\n" + PART.format(*part) for part in parts) + f"--{B}--\r\n").encode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (form(("file", "x")), "missing_parameter"),
        (form(("model", "m"), ("model", "dear")), "duplicate_parameter"),
        (form(("model", "m" * 2000)), "invalid_request"),
        (form(("model", "m"))[:-8], "invalid_request"),
        (form(('x"; filename="; name=model', "m")), "missing_parameter"),
        (b"--other\r\n\r\n", "invalid_request"),
        (b"", "invalid_request"),
        (form(("model", "nobody")), "model_not_found"),
        (f"--{B}\r\nContent-Disposition: form-data; name=model; name=file\r\n\r\nm\r\n--{B}--".encode(), "invalid_request"),
        (f"--{B}\r\nContent-Disposition: form-data;\r\n name=model\r\n\r\nm\r\n--{B}--".encode(), "invalid_request"),
        (form(*((f"f{at}", "x") for at in range(300)), ("model", "m")), "invalid_request"),
    ],
)
async def test_a_form_that_cannot_be_understood_is_refused(body: bytes, code: str, tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client), aiohttp.ClientSession() as session:
        headers = {"content-type": f"multipart/form-data; boundary={B}"}
        async with session.post(f"{client.base_url}audio/transcriptions", data=body, headers=headers) as answer:
            found = await answer.json()

    assert (answer.status, found["error"]["code"]) == (404 if code == "model_not_found" else 400, code)
    assert not player.received


async def test_json_is_not_a_form(tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (_, client), aiohttp.ClientSession() as session:
        async with session.post(f"{client.base_url}audio/transcriptions", json={"model": "m"}) as answer:
            assert answer.status == 415
        async with session.post(f"{client.base_url}chat/completions", data=aiohttp.FormData({"model": "m"})()) as answer:
            assert answer.status == 415
