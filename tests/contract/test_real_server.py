"""An inference server that nobody here wrote, behind a sidecar: `make real`, or `DISPATCH_REAL_SERVER=http://HOST:PORT/v1`.

What was seen with which server stands in `docs/real-servers.md`. The questions are put at temperature 0, to the server itself and
through the sidecar: both must say the same.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import openai
import pytest

from tests.contract.between import Between
from tests.integration.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SCRIPT = Path(__file__).parents[1] / "real" / "llama_server.py"
SERVER = os.environ.get("DISPATCH_REAL_SERVER", "")
PYTHON = os.environ.get("DISPATCH_REAL_PYTHON", "")

pytestmark = [
    pytest.mark.skipif(not SERVER and not PYTHON, reason="no real server: `make real`"),
    # It may run on a processor that compiles kernels at the first request.
    pytest.mark.timeout(120),
]

TURN: Any = [{"role": "user", "content": "Sag na\u00efve \U0001f600"}]
ASK: Any = {"messages": TURN, "temperature": 0, "seed": 1, "max_tokens": 24}


class Way(NamedTuple):
    """An SDK, and what the model is called at its other end."""

    sdk: openai.AsyncOpenAI
    model: str

    async def chat(self, **more: Any) -> Any:
        return await self.sdk.chat.completions.create(model=self.model, **(ASK | more))

    async def read(self, **more: Any) -> list[Any]:
        return [chunk async for chunk in await self.chat(stream=True, **more)]


class Ways(NamedTuple):
    """The same server, straight and through the sidecar."""

    straight: Way
    through: Way
    sidecar: Sidecar


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def base_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    if SERVER:
        yield SERVER
        return
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(PYTHON, str(SCRIPT), str(tmp_path_factory.mktemp("model")), stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    yield (await process.stdout.readline()).decode().strip() + "/v1"
    process.kill()
    await process.wait()


@pytest.fixture(scope="module")
async def ways(base_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ways]:
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as straight:
        model = os.environ.get("DISPATCH_REAL_MODEL") or (await straight.models.list()).data[0].id
        endpoint = {"name": "at-real", "provider": "openai_compatible", "base_url": base_url, "model": model}
        # A server of one's own bills nobody: what it may have run already is sent again. docs/real-servers.md tells why that matters here.
        config = {"endpoints": [endpoint], "models": {"real": {"endpoints": ["at-real"], "retry": {"unknown": True}}}}
        async with (
            Sidecar(tmp_path_factory.mktemp("real"), config, "--workers", "1") as sidecar,
            openai.AsyncOpenAI(base_url=sidecar.base_url, api_key="none", max_retries=0) as through,
        ):
            yield Ways(Way(straight, model), Way(through, "real"), sidecar)


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def test_a_chat_says_the_same_straight_through_whole_and_streamed(ways: Ways) -> None:
    straight = await ways.straight.chat()
    through = await ways.through.chat()
    chunks = await ways.through.read()

    assert straight.usage is not None
    assert through.usage is not None
    assert through.choices[0].message == straight.choices[0].message
    assert through.usage.completion_tokens == straight.usage.completion_tokens
    assert text_of(chunks) == straight.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == straight.choices[0].finish_reason


async def test_a_stream_has_the_servers_own_events_and_usage_for_those_who_ask(ways: Ways) -> None:
    asked = {"stream_options": {"include_usage": True}}
    straight, through = await ways.straight.read(), await ways.through.read()
    straight_told, told = await ways.straight.read(**asked), await ways.through.read(**asked)

    assert text_of(through) == text_of(straight)
    assert len(through) == len(straight)
    assert all(chunk.choices for chunk in through)
    # transformers tells it beside the last choice, asked or not.
    assert [chunk.usage is None for chunk in through] == [chunk.usage is None for chunk in straight]
    assert len(told) == len(straight_told)
    assert told[-1].usage.completion_tokens == straight_told[-1].usage.completion_tokens > 0


async def test_the_tokens_that_the_server_counts_are_those_that_are_booked(ways: Ways) -> None:
    labels = {"endpoint": "at-real", "kind": "output"}
    before = await ways.sidecar.metric("dispatch_tokens_total", **labels)
    whole = await ways.through.chat()
    await ways.through.read()

    assert whole.usage is not None
    await ways.sidecar.until_metric("dispatch_tokens_total", before + 2 * whole.usage.completion_tokens, 5.0, **labels)


async def test_completions_pass(ways: Ways) -> None:
    prompt: Any = {"prompt": "Once", "temperature": 0, "max_tokens": 8}
    texts = [(await way.sdk.completions.create(model=way.model, **prompt)).choices[0].text for way in ways[:2]]
    assert texts[0] == texts[1]


async def test_responses_pass(ways: Ways) -> None:
    question: Any = {"input": "Once", "temperature": 0, "max_output_tokens": 8}
    # Said, not left out: transformers streams unless it is told not to.
    whole: list[Any] = [await way.sdk.responses.create(model=way.model, stream=False, **question) for way in ways[:2]]
    streams: list[list[Any]] = [
        [event async for event in await way.sdk.responses.create(model=way.model, **question, stream=True)] for way in ways[:2]
    ]
    kinds = [[event.type for event in events] for events in streams]
    texts = ["".join(event.delta for event in events if event.type == "response.output_text.delta") for events in streams]
    assert whole[0].output_text == whole[1].output_text
    assert texts[0] == texts[1]
    assert kinds[0] == kinds[1]
    assert kinds[1][-1] in {"response.completed", "response.incomplete"}


async def test_a_prompt_that_is_too_long_is_refused_in_the_servers_words(ways: Ways) -> None:
    long: Any = {"messages": [{"role": "user", "content": "long " * 4_000}]}
    try:
        await ways.straight.chat(**long)
    except openai.BadRequestError as refused:
        straight = refused
    else:
        pytest.skip("this server takes any prompt")
    with pytest.raises(openai.BadRequestError) as through:
        await ways.through.chat(**long)

    assert through.value.body == straight.body


async def test_streams_side_by_side_are_all_whole(ways: Ways) -> None:
    alone = text_of(await ways.through.read())
    texts = [text_of(chunks) for chunks in await asyncio.gather(*(ways.through.read() for _ in range(16)))]

    # Batching may change a last digit and so a token: of a server on a processor most are equal, all have the length.
    assert all(texts)
    assert alone in texts


async def test_streams_that_are_left_free_their_places_at_the_server(ways: Ways) -> None:
    for _ in range(12):
        stream: Any = await ways.through.chat(stream=True, max_tokens=900)
        await anext(aiter(stream))
        await stream.close()

    async with asyncio.timeout(20):
        assert (await ways.through.chat()).choices


ROUNDS = 30
PLAIN: Any = {"extra_body": {"grammar": "root ::= [a-z]+"}}
"""llama.cpp's own field: a model of random bytes says whole characters, so that any part of an answer can be told to it again."""


@pytest.mark.parametrize("kind", ["assistant", "continue_final_message"])
async def test_a_stream_that_is_cut_is_gone_on_with_where_it_stopped(ways: Ways, base_url: str, kind: str, tmp_path: Path) -> None:
    try:
        alone = await ways.straight.read(**PLAIN)
    except openai.UnprocessableEntityError:
        pytest.skip("this server takes no grammar, and says what cannot be told again")
    port = int(base_url.rpartition(":")[2].partition("/")[0])
    for cut_after in (2, 9, 17):
        async with Between(port, cut_after=cut_after) as broken, Between(port) as whole:
            ends = [("broken", broken.port, {}), ("whole", whole.port, {"capabilities": {"prefill": kind}})]
            endpoints = [
                {
                    "name": name,
                    "provider": "openai_compatible",
                    "base_url": f"http://127.0.0.1:{at}/v1",
                    "model": ways.straight.model,
                    **more,
                }
                for name, at, more in ends
            ]
            model = {"endpoints": ["broken", "whole"], "strategy": "round_robin", "recover": ["continue"]}
            async with (
                Sidecar(tmp_path, {"endpoints": endpoints, "models": {"real": model}}, "--workers", "1") as sidecar,
                openai.AsyncOpenAI(base_url=sidecar.base_url, api_key="none", max_retries=0) as sdk,
            ):
                chunks = await Way(sdk, "real").read(**PLAIN)

        last = whole.asked[-1]["messages"][-1]
        assert text_of(chunks) == text_of(alone)
        assert (last["role"], text_of(alone).startswith(last["content"]), bool(last["content"])) == ("assistant", True, True)
        assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == alone[-1].choices[0].finish_reason
        assert len({chunk.id for chunk in chunks}) == 1


async def test_bursts_over_kept_connections_are_all_answered(base_url: str, ways: Ways, tmp_path: Path) -> None:
    """By default nothing is sent again that may have run: what the server closes in the moment of a request would be a 502."""
    endpoint = {"name": "at-real", "provider": "openai_compatible", "base_url": base_url, "model": ways.straight.model}
    config = {"endpoints": [endpoint], "models": {"real": {"endpoints": ["at-real"]}}}
    failed = 0
    async with (
        Sidecar(tmp_path, config, "--workers", "1") as sidecar,
        openai.AsyncOpenAI(base_url=sidecar.base_url, api_key="none", max_retries=0) as sdk,
    ):
        for _ in range(ROUNDS):
            answers = await asyncio.gather(*(Way(sdk, "real").chat(max_tokens=2) for _ in range(16)), return_exceptions=True)
            failed += sum(isinstance(one, BaseException) for one in answers)

    # One may be the first by which the server is found out.
    assert failed <= 1, f"{failed} of {ROUNDS * 16}"
