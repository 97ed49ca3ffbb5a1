"""Ids of stored responses, files and batches go back to the account that gave them, whichever worker is asked."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.integration.fleet import TWO
from tests.integration.hosted import Hosted
from tests.integration.keepers import AT_LENGTH, Keeper
from tests.integration.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


KEYS = {"KEY_A": "sk-a", "KEY_B": "sk-b", "KEY_C": "sk-c"}
OFTEN = 12
"""Times that something is asked for, so that luck does not find the right one of two each time."""


def config(*keepers: Keeper, server: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    endpoints = [
        {"name": one.name, "provider": "openai", "model": "gpt", "base_url": one.base_url, "api_key": f"env:KEY_{one.name.upper()}"}
        for one in keepers
    ]
    plan = {"endpoints": [one.name for one in keepers], "strategy": "round_robin", **model}
    return {"server": {"stored": "m", **(server or {})}, "endpoints": endpoints, "models": {"m": plan}}


@asynccontextmanager
async def two() -> AsyncIterator[tuple[Keeper, Keeper]]:
    async with Keeper("a") as a, Keeper("b") as b:
        yield a, b


def client(port: int) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="sk", max_retries=0)


async def ask(port: int, **more: Any) -> Any:
    """A response, over a connection of its own: whichever worker takes it."""
    async with client(port) as one:
        if not more.get("stream"):
            return await one.responses.create(model="m", input="x", **more)
        events = [event async for event in await one.responses.create(model="m", input="x", **more)]
        assert events[-1].type == "response.completed"
        return events[-1].response


async def test_responses_are_gone_on_with_over_two_workers_and_a_restart(tmp_path: Path) -> None:
    async with two() as (a, b):
        settings = config(a, b, server={"stored_ids": str(tmp_path / "ids")})
        async with Sidecar(tmp_path, settings, *TWO, environ=KEYS) as sidecar:
            await sidecar.workers(2)
            first = [await ask(sidecar.port, stream=bool(turn % 2)) for turn in range(OFTEN)]
            second = [await ask(sidecar.port, previous_response_id=one.id, stream=bool(turn % 3)) for turn, one in enumerate(first)]
            logged = json.dumps(sidecar.log) + "".join(sidecar.noise)
        async with Sidecar(tmp_path, settings, *TWO, environ=KEYS) as sidecar:
            third = [await ask(sidecar.port, previous_response_id=one.id) for one in second]
            async with client(sidecar.port) as one:
                assert [(await one.responses.retrieve(made.id)).id for made in third] == [made.id for made in third]
                for made in first:
                    await one.responses.delete(made.id)

    assert {one.output_text for one in first} == {"a", "b"}
    assert [one.output_text for one in first] == [one.output_text for one in second] == [one.output_text for one in third]
    assert not a.missed + b.missed
    assert not any(made.id in logged for made in first + second)
    assert not any(made.id.encode() in (tmp_path / "ids").read_bytes() for made in first + third)


async def test_files_and_what_is_made_of_them_stay_at_one_account() -> None:
    async with two() as (a, b), Hosted(config(a, b), KEYS) as hosted, client(hosted.port) as one:
        for _ in range(OFTEN // 2):
            made = await one.files.create(file=("a.jsonl", b"{}\n"), purpose="batch")
            batch = await one.batches.create(input_file_id=made.id, endpoint="/v1/responses", completion_window="24h")
            assert batch.output_file_id is not None
            assert (await one.files.retrieve(batch.output_file_id)).id == batch.output_file_id
            content: Any = [{"type": "file", "file": {"file_id": made.id}}]
            chat = await one.chat.completions.create(model="m", messages=[{"role": "user", "content": content}])
            part: Any = [{"role": "user", "content": [{"type": "input_file", "file_id": made.id}]}]
            response = await one.responses.create(model="m", input=part)
            assert chat.choices[0].message.content == response.output_text == made.id[5]
            assert (await one.files.delete(made.id)).deleted

    assert a.asked["POST /files"] == b.asked["POST /files"] == OFTEN // 4
    assert not a.missed + b.missed


async def test_conversations_and_items_that_are_referred_to_pin_as_well() -> None:
    async with two() as (a, b), Hosted(config(a, b), KEYS) as hosted, client(hosted.port) as one:
        for _ in range(OFTEN // 2):
            conversation = await one.conversations.create()
            response = await one.responses.create(model="m", input="x", conversation=conversation.id)
            reference: Any = [{"type": "item_reference", "id": response.output[0].id}, {"role": "user", "content": "y"}]
            after = await one.responses.create(model="m", input=reference)
            assert response.output_text == after.output_text == conversation.id[5]

    assert not a.missed + b.missed


async def test_an_id_of_an_endpoint_that_is_gone_has_openais_own_error() -> None:
    async with two() as (a, b), Hosted(config(a, b), KEYS) as hosted, client(hosted.port) as one:
        made = {}
        for _ in range(2):
            response = await one.responses.create(model="m", input="x")
            made[response.output_text] = response.id
        async with Keeper("c") as c:
            hosted.reload(config(a, c))
            with pytest.raises(openai.BadRequestError) as refused:
                await one.responses.create(model="m", input="x", previous_response_id=made["b"])
            with pytest.raises(openai.NotFoundError):
                await one.responses.retrieve(made["b"])
            assert (await one.responses.retrieve(made["a"])).id == made["a"]
            # Its rows are back for the count at the end.
            hosted.reload(config(a, b))

    assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")
    assert not a.missed + b.missed + c.missed


async def test_a_fallback_goes_on_to_the_account_that_knows_the_id() -> None:
    async with two() as (a, b):
        settings = config(a, b, server={"stored": None})
        settings["models"]["m"] = {"fallback": ["a", "b"]}
        async with Hosted(settings, KEYS) as hosted, client(hosted.port) as one:
            assert hosted.dispatcher.generation is not None
            hosted.dispatcher.generation.homes.remember(["resp_b7"], "b")
            b.know("resp_b7")
            response = await one.responses.create(model="m", input="x", previous_response_id="resp_b7")

    assert response.output_text == "b"
    assert not a.missed


async def test_what_a_picture_needs_does_not_outweigh_where_the_id_is_known() -> None:
    """The endpoint that is known not to take images is asked: the id is known to no other, and its refusal says why."""
    async with two() as (a, b):
        settings = config(a, b)
        settings["endpoints"][0]["capabilities"] = {"reads": []}
        async with Hosted(settings, KEYS) as hosted, client(hosted.port) as one:
            assert hosted.dispatcher.generation is not None
            hosted.dispatcher.generation.homes.remember(["resp_a7"], "a")
            a.know("resp_a7")
            picture: Any = [
                {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}]}
            ]
            response = await one.responses.create(model="m", input=picture, previous_response_id="resp_a7")

    assert response.output_text == "a"


async def test_ids_of_two_accounts_in_one_request_are_refused() -> None:
    async with two() as (a, b), Hosted(config(a, b), KEYS) as hosted, client(hosted.port) as one:
        files = [await one.files.create(file=("a", b"x"), purpose="user_data") for _ in range(2)]
        content: Any = [{"role": "user", "content": [{"type": "input_file", "file_id": file.id} for file in files]}]
        with pytest.raises(openai.BadRequestError, match="another account"):
            await one.responses.create(model="m", input=content)

    assert not a.missed + b.missed


async def test_an_unknown_id_goes_anywhere_and_its_refusal_is_told() -> None:
    async with two() as (a, b), Hosted(config(a, b), KEYS) as hosted, client(hosted.port) as one:
        with pytest.raises(openai.NotFoundError, match="No such id"):
            await one.responses.create(model="m", input="x", previous_response_id="resp_elsewhere")

    assert len(a.missed + b.missed) == 1


async def test_what_is_not_stored_is_not_remembered() -> None:
    async with two() as (a, b), Hosted(config(a, b), KEYS) as hosted, client(hosted.port) as one:
        response = await one.responses.create(model="m", input="x", store=False)
        assert hosted.dispatcher.generation is not None
        ids = hosted.dispatcher.generation.homes.ids
        assert ids is not None
        assert ids.endpoints([response.id]) == {}


async def test_an_answer_as_long_as_a_picture_is_gone_on_with() -> None:
    async with two() as (a, b), Hosted(config(a, b), KEYS) as hosted, client(hosted.port) as one:
        response = await one.responses.create(model="m", input=AT_LENGTH)
        for _ in range(OFTEN):
            await one.responses.create(model="m", input="x", previous_response_id=response.id)

    assert not a.missed + b.missed


async def test_two_endpoints_of_one_account_stay_on_the_lane() -> None:
    async with two() as (a, _):
        settings = config(a, server={})
        settings["endpoints"].append(settings["endpoints"][0] | {"name": "second", "model": "gpt-2"})
        settings["models"]["m"]["endpoints"] = ["a", "second"]
        async with Hosted(settings, KEYS) as hosted, client(hosted.port) as one:
            first = await one.responses.create(model="m", input="x")
            await one.responses.create(model="m", input="x", previous_response_id=first.id)
            assert hosted.dispatcher.generation is not None
            assert hosted.dispatcher.generation.homes.ids is None

    assert not a.missed


async def test_a_file_that_is_something_else_stops_the_start(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("what somebody has written, which is not to be lost")
    async with two() as (a, b):
        with pytest.raises(Exception, match=r"server\.stored_ids: found .*expected a file of ids"):
            async with Hosted(config(a, b, server={"stored_ids": str(other)}), KEYS):
                pass

    assert other.read_text().startswith("what somebody")
