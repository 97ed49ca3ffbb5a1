"""Programs in place of models: through the sidecar, its other dialects, and the library."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from dispatch import Client
from dispatch.config import build
from dispatch.errors import ConfigError, UpstreamError

from tests.contract.inside import sidecar
from tests.contract.recordings import ask
from tests.integration import programs
from tests.integration.hosted import until

if TYPE_CHECKING:
    from pathlib import Path

TURN = "4 + 5"


def config(handler: str = "", *, rest: list[dict[str, Any]] | None = None, base_url: str = "", **options: Any) -> dict[str, Any]:
    """A model `m` that is asked first of a handler, then of `rest`."""
    named = {"handler": f"tests.integration.programs:{handler}"} if handler else {}
    first = {"name": "program", "provider": "function", "model": "calc", "base_url": base_url, "options": {**named, **options}}
    others = rest or []
    names = [one["name"] for one in (first, *others)]
    plan: dict[str, Any] = {"fallback": names} if others else {"endpoints": names}
    return {"endpoints": [first, *others], "models": {"m": {**plan, "retry": {"attempts": 1}}}}


async def chat(port: int, text: str = TURN, **fields: Any) -> Any:
    return await ask(port, "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": text}], **fields})


def streamed(body: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    assert lines[-1] == b"[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def text_of(body: bytes) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in streamed(body) for choice in chunk["choices"])


@pytest.mark.parametrize(
    ("handler", "asked", "text"),
    [("add", TURN, "9"), ("shout", "hi", "HI"), ("count", "3", "0 1 2 "), ("spell", "abc", "abc")],
)
async def test_a_program_answers_whole_and_as_a_stream(handler: str, asked: str, text: str, tmp_path: Path) -> None:
    async with sidecar(tmp_path, config(handler)) as port:
        whole = await chat(port, asked)
        stream = await chat(port, asked, stream=True, stream_options={"include_usage": True})

    answer = json.loads(whole.body)
    assert (answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"], answer["model"]) == (text, "stop", "calc")
    assert text_of(stream.body) == text
    assert streamed(stream.body)[-1]["usage"]["completion_tokens"] == 0
    assert whole.headers["x-dispatch-endpoint"] == "program"


async def test_a_plain_function_runs_beside_the_loop(tmp_path: Path) -> None:
    programs.SEEN.clear()
    async with sidecar(tmp_path, config("add")) as port:
        await chat(port)

    [(thread, asked)] = programs.SEEN
    assert thread != threading.current_thread().name
    assert asked == TURN


async def test_every_dialect_reaches_it(tmp_path: Path) -> None:
    turn = [{"role": "user", "content": TURN}]
    async with sidecar(tmp_path, config("add")) as port:
        anthropic = await ask(port, "/v1/messages", {"model": "m", "max_tokens": 9, "messages": turn})
        gemini = await ask(port, "/v1beta/models/m:generateContent", {"contents": [{"parts": [{"text": TURN}]}]})
        ollama = await ask(port, "/api/chat", {"model": "m", "messages": turn, "stream": False})

    assert json.loads(anthropic.body)["content"][0]["text"] == "9"
    assert json.loads(gemini.body)["candidates"][0]["content"]["parts"] == [{"text": "9"}]
    assert json.loads(ollama.body)["message"]["content"] == "9"


async def test_it_may_call_tools_or_answer_with_a_value(tmp_path: Path) -> None:
    async with sidecar(tmp_path, config("call")) as port:
        whole = json.loads((await chat(port, "Rome")).body)["choices"][0]
        stream = streamed((await chat(port, "Rome", stream=True)).body)
    async with sidecar(tmp_path, config("table")) as port:
        value = json.loads((await chat(port, "x", seed=1)).body)["choices"][0]["message"]["content"]

    called = whole["message"]["tool_calls"][0]["function"]
    assert (called["name"], json.loads(called["arguments"]), whole["finish_reason"]) == ("weather", {"city": "Rome"}, "tool_calls")
    pieces = [call for chunk in stream for choice in chunk["choices"] for call in choice["delta"].get("tool_calls", [])]
    assert json.loads("".join(piece["function"]["arguments"] for piece in pieces)) == {"city": "Rome"}
    assert json.loads(value) == {"asked": "x", "fields": ["messages", "model", "seed"]}


@pytest.mark.parametrize("stream", [False, True])
async def test_what_it_refuses_is_the_clients_to_mend(stream: bool, tmp_path: Path) -> None:
    async with sidecar(tmp_path, config("refuse")) as port:
        answer = await chat(port, "x", stream=stream)

    assert answer.status == 400
    assert json.loads(answer.body)["error"]["message"] == "cannot read 'x'"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_answers_where_the_program_fails(stream: bool, tmp_path: Path) -> None:
    async with sidecar(tmp_path, config("fail", rest=[{"name": "echo-1", "provider": "echo"}])) as port:
        answer = await chat(port, "hi", stream=stream)

    assert answer.status == 200
    assert answer.headers["x-dispatch-endpoint"] == "echo-1"
    assert text_of(answer.body) == "hi" if stream else json.loads(answer.body)["choices"][0]["message"]["content"] == "hi"


async def test_an_exception_is_told_without_a_trace(tmp_path: Path) -> None:
    async with sidecar(tmp_path, config("fail")) as port:
        answer = await chat(port, "boom")

    assert answer.status == 500
    assert "ZeroDivisionError: boom" in json.loads(answer.body)["error"]["message"]
    assert b"Traceback" not in answer.body


async def test_a_stream_that_fails_late_ends_in_an_error(tmp_path: Path) -> None:
    async with sidecar(tmp_path, config("fail_late")) as port:
        answer = await chat(port, "hi", stream=True)

    assert not answer.whole
    assert b'"content":"hi"' in answer.body
    assert b"ZeroDivisionError: late" in answer.body


@pytest.mark.parametrize("handler", ["hang", "sleep"])
async def test_it_has_its_time_and_no_more(handler: str, tmp_path: Path) -> None:
    programs.RELEASE.clear()
    try:
        async with sidecar(tmp_path, config(handler, timeout_s=0.05)) as port:
            answer = await chat(port)
    finally:
        programs.RELEASE.set()

    assert answer.status == 504
    assert "no answer within 0.05 s" in json.loads(answer.body)["error"]["message"]


async def test_calls_beyond_its_places_are_refused_at_once_and_the_loop_goes_on(tmp_path: Path) -> None:
    programs.RELEASE.clear()
    programs.STARTED.clear()
    async with sidecar(tmp_path, config("hang", concurrency=1, rest=[{"name": "echo-1", "provider": "echo"}])) as port:
        first = asyncio.create_task(chat(port, "first"))
        try:
            await until(programs.STARTED.is_set)
            second = await chat(port, "second")
        finally:
            programs.RELEASE.set()
        answer = await first

    assert (answer.headers["x-dispatch-endpoint"], second.headers["x-dispatch-endpoint"]) == ("program", "echo-1")


async def test_a_thread_that_does_not_come_back_keeps_its_place(tmp_path: Path) -> None:
    programs.RELEASE.clear()
    async with sidecar(tmp_path, config("hang", concurrency=1, timeout_s=0.05)) as port:
        late = await chat(port)
        refused = await chat(port)
        programs.RELEASE.set()
        answer = await chat(port)
        # The first that comes back may be late once more, on a machine that has other things to do.
        while answer.status != 200:
            answer = await chat(port)

    assert (late.status, refused.status, answer.status) == (504, 503, 200)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_too_long_is_not_collected(stream: bool, tmp_path: Path) -> None:
    async with sidecar(tmp_path, config("endless", max_bytes=10_000)) as port:
        answer = await chat(port, "x" * 100, stream=stream)

    assert b"longer than 10000 bytes" in answer.body
    assert len(answer.body) < 100_000


async def test_the_library_asks_it_too() -> None:
    async with Client(build(config("add"), {})) as client:
        reply = await client.chat("m", TURN)
        pieces = [delta.text async for delta in client.stream("m", TURN)]
    async with Client(build(config("refuse"), {})) as client:
        with pytest.raises(UpstreamError, match="cannot read"):
            await client.chat("m", TURN)

    assert (reply.text, "".join(pieces)) == ("9", "9")


async def answers(request: web.Request) -> web.StreamResponse:
    """A program behind HTTP."""
    asked = (await request.json())["messages"][-1]["content"]
    kind = request.path.strip("/")
    if kind == "plain":
        return web.Response(text=asked.upper())
    if kind == "json":
        return web.json_response({"content": asked, "tool_calls": [{"name": request.headers["authorization"], "arguments": {}}]})
    if kind == "refuses":
        return web.json_response({"error": "not today"}, status=422)
    stream = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
    await stream.prepare(request)
    for letter in asked:
        await stream.write(json.dumps(letter).encode() + b"\n")
    return stream


@pytest.fixture
async def program() -> Any:
    app = web.Application()
    app.router.add_post("/{kind}", answers)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_program_behind_http_is_sent_the_chat(program: str) -> None:
    async with Client(build(config(base_url=f"{program}/plain"), {})) as client:
        assert (await client.chat("m", "abc")).text == "ABC"
    async with Client(build(config(base_url=f"{program}/lines"), {})) as client:
        assert [delta.text async for delta in client.stream("m", "abc") if delta.text] == ["a", "b", "c"]
        assert (await client.chat("m", "abc")).text == "abc"
    async with Client(build(config(base_url=f"{program}/refuses"), {})) as client:
        with pytest.raises(Exception, match="not today"):
            await client.chat("m", "abc")


async def test_its_credential_travels_as_a_bearer_token(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROGRAM_KEY", "sk-program")
    asked = config(base_url=f"{program}/json")
    asked["endpoints"][0]["api_key"] = "env:PROGRAM_KEY"
    async with Client(build(asked, {"PROGRAM_KEY": "sk-program"})) as client:
        reply = await client.chat("m", "abc")

    assert (reply.text, reply.tool_calls[0].name) == ("abc", "Bearer sk-program")


@pytest.mark.parametrize(
    ("options", "base_url", "why"),
    [
        ({}, "", "expected either a handler or a base_url"),
        ({"handler": "tests.integration.programs:add"}, "http://x", "expected either a handler or a base_url"),
        ({"handler": "no.such.module:f"}, "", "cannot be imported: ModuleNotFoundError"),
        ({"handler": "tests.integration.programs:nothing"}, "", "cannot be imported: AttributeError"),
        ({"handler": "tests.integration.programs:SEEN"}, "", "cannot be called"),
    ],
)
def test_a_program_that_is_not_there_stops_the_start(options: dict[str, Any], base_url: str, why: str) -> None:
    one = {"name": "program", "provider": "function", "model": "m", "base_url": base_url, "options": options}
    with pytest.raises(ConfigError, match=why):
        build({"endpoints": [one], "models": {"m": "program"}}, {})
