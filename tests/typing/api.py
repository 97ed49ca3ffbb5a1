"""What users write, as mypy sees it under `--strict`. It is checked and never run."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any, assert_type

from dispatch import Client, Delta, Request, Response, errors
from dispatch.schema import ToolCall, Usage


async def in_process() -> None:
    async with Client("dispatch.yaml", key="team") as client:
        assert_type(client, Client)
        reply = await client.chat("chat", "Say hi", temperature=0.2, deadline_s=3)
        assert_type(reply, Response)
        assert_type(reply.text, str)
        assert_type(reply.usage, Usage)
        assert_type(reply.tool_calls, tuple[ToolCall, ...])


async def in_pieces(client: Client) -> None:
    async for delta in client.stream("chat", [{"role": "user", "content": "Tell me a story"}], max_tokens=9):
        assert_type(delta, Delta)
        assert_type(delta.usage, Usage | None)
    async with aclosing(client.stream("chat", "Tell me a story")) as deltas:
        assert_type(await anext(deltas), Delta)


async def other_doors(client: Client) -> None:
    request = Request(model="chat", messages=({"role": "user", "content": "Say hi"},))
    assert_type(await client.chat(request, deadline_s=1.5), Response)
    assert_type(await client.embed("vectors", ["a", "b"], dimensions=8), list[list[float]])
    assert_type(await client.models(), list[str])
    assert_type((await client.request("responses", {"model": "chat", "input": "Say hi"}))["output"], Any)


async def of_a_sidecar() -> None:
    async with Client("http://127.0.0.1:8080", api_key="sk-mine") as client:
        completion = await client.openai().chat.completions.create(model="chat", messages=[{"role": "user", "content": "Say hi"}])
        assert_type(completion.choices[0].message.content, str | None)


async def with_errors() -> Response | None:
    try:
        async with Client(Path("dispatch.yaml")) as client:
            return await client.chat("chat", "Say hi")
    except errors.Overloaded as error:
        assert_type(error.retry_after_s, float | None)
    except errors.UpstreamError as error:
        assert_type(error.failure, errors.Failure)
    except errors.DispatchError as error:
        assert_type(error.status, int)
    return None


async def what_does_not_type_check(client: Client) -> None:
    await client.chat("chat")  # type: ignore[call-overload]  # nothing is asked
    await client.stream("chat", "Say hi")  # type: ignore[misc]  # a stream is iterated, not awaited
    await client.chat(Request(model="chat", messages=()), temperature=1)  # type: ignore[call-overload]  # a request says it all
