"""OpenAI's own SDK and what lies at a provider under an id: files, batches, stored responses, conversations."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import openai
import pytest
from yarl import URL

from tests.contract.inside import sidecar
from tests.contract.recordings import Player, head_and_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FILE = {"id": "file-1", "object": "file", "bytes": 3, "created_at": 1, "filename": "a.jsonl", "purpose": "batch", "status": "processed"}
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "model": "x", "status": "completed", "output": []}


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@asynccontextmanager
async def at_the_door(folder: Path, **server: Any) -> AsyncIterator[tuple[Player, openai.AsyncOpenAI]]:
    async with Player() as player:
        root = f"http://127.0.0.1:{player.port}/v1"
        kept = {"name": "e", "provider": "openai", "base_url": root, "model": "gpt", "api_key": "env:THEIRS"}
        plain = {"name": "p", "provider": "openai_compatible", "base_url": root, "model": "x", "doors": ["chat"]}
        models = {"m": {"endpoints": ["p", "e"]}, "keeper": {"endpoints": ["e"]}, "plain": {"endpoints": ["p"]}}
        config = {"endpoints": [kept, plain], "models": models, "server": server}
        async with (
            sidecar(folder, config, {"THEIRS": "sk-theirs"}) as port,
            openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="sk-ours", max_retries=0) as client,
        ):
            yield player, client


def told(player: Player) -> str:
    head = player.received[-1][0].decode()
    assert "authorization: bearer sk-theirs\r\n" in head
    assert "sk-ours" not in head
    return head.split("\r\n")[0]


async def test_files_are_sent_listed_read_and_deleted(tmp_path: Path) -> None:
    async with at_the_door(tmp_path, stored="keeper") as (player, client):
        player.play([head_and_body(json.dumps(FILE).encode())])
        made = await client.files.create(file=("a.jsonl", b'{"a":1}\n'), purpose="batch")
        assert told(player) == "post /v1/files http/1.1"
        assert b'{"a":1}\n' in player.received[-1][1]
        await client.files.retrieve(made.id)
        assert told(player) == "get /v1/files/file-1 http/1.1"
        player.play([head_and_body(json.dumps({"object": "list", "data": [FILE], "has_more": False}).encode())])
        assert [one.id async for one in client.files.list(purpose="batch", limit=2)] == ["file-1"]
        assert told(player).startswith("get /v1/files?")
        player.play([b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 4\r\n\r\n\x00\x01\n{"])
        assert (await client.files.content(made.id)).content == b"\x00\x01\n{"
        player.play([head_and_body(b'{"id":"file-1","object":"file","deleted":true}')])
        assert (await client.files.delete(made.id)).deleted
        assert told(player) == "delete /v1/files/file-1 http/1.1"


async def test_batches_are_made_and_cancelled(tmp_path: Path) -> None:
    batch = {"id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "file-1", "status": "validating"}
    async with at_the_door(tmp_path, stored="keeper") as (player, client):
        player.play([head_and_body(json.dumps(batch | {"completion_window": "24h", "created_at": 1}).encode())])
        made = await client.batches.create(input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h")
        await client.batches.cancel(made.id)

        assert told(player) == "post /v1/batches/batch_1/cancel http/1.1"


async def test_stored_responses_are_gone_on_with_read_and_deleted(tmp_path: Path) -> None:
    async with at_the_door(tmp_path, stored="keeper") as (player, client):
        player.play([head_and_body(json.dumps(RESPONSE).encode())])
        for _ in range(20):
            # Never at the endpoint that has only chat, whatever is drawn.
            await client.responses.create(model="m", input="x", previous_response_id="resp_0")
            assert told(player) == "post /v1/responses http/1.1"
        assert json.loads(player.received[-1][1]) == {"model": "gpt", "input": "x", "previous_response_id": "resp_0"}
        await client.responses.retrieve("resp_1")
        assert told(player) == "get /v1/responses/resp_1 http/1.1"
        await client.responses.cancel("resp_1")
        assert told(player) == "post /v1/responses/resp_1/cancel http/1.1"
        player.play([head_and_body(b'{"object":"list","data":[],"has_more":false}')])
        assert [one async for one in client.responses.input_items.list("resp_1")] == []
        player.play([head_and_body(b'{"id":"conv_1","object":"conversation","created_at":1,"metadata":{}}')])
        assert (await client.conversations.create()).id == "conv_1"


async def test_a_stored_response_that_nobody_keeps_is_refused_by_its_field(tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="plain", input="x", previous_response_id="resp_0")
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve("file-1")

    assert refused.value.param == "previous_response_id"
    assert not player.received


async def test_the_providers_refusal_is_told(tmp_path: Path) -> None:
    async with at_the_door(tmp_path, stored="keeper") as (player, client):
        body = b'{"error":{"message":"No such File object: file-2","type":"invalid_request_error","param":"id","code":null}}'
        player.play([b"HTTP/1.1 404 No\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)])
        with pytest.raises(openai.APIStatusError, match="No such File"):
            await client.files.retrieve("file-2")


@pytest.mark.parametrize("path", ["files/../models", "files/..%2fmodels", "filesystem", "responses", "files/a%20b", "organization"])
async def test_no_other_path_is_passed_on(path: str, tmp_path: Path) -> None:
    async with at_the_door(tmp_path, stored="keeper") as (player, client), aiohttp.ClientSession() as session:
        url = URL(f"{client.base_url}{path}", encoded=True)
        async with session.get(url) as answer:
            assert answer.status in {400, 404, 405}

    assert not player.received
