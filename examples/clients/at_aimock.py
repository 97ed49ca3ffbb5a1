"""A sidecar in front of aimock, a simulated provider that others wrote (npm, `@copilotkit/aimock`): every dialect behind, SDKs before.

    make aimock

Each SDK asks at its door for models of seven providers: whole, as a stream, with a tool and its result, and for an error. Then aimock
drops a third of all requests, and its journal says what the sidecar did about it. Ends with status 1 if a try failed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import anthropic
import openai
from google import genai

HERE = Path(__file__).parent / "aimock"
SAID = "Sunny in Köln, with a little 😀 and some wind from the west."
KEY = "sk-client"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
_DRAINS: list[asyncio.Task[bytes]] = []
"""What the programs go on to print: it must not fill their pipes."""
PROVIDERS: dict[str, dict[str, Any]] = {
    "openai": {"provider": "openai", "model": "gpt-4o", "base_url": "{}/v1"},
    "azure": {"provider": "azure", "model": "gpt-4o", "base_url": "{}/openai/v1"},
    "anthropic": {"provider": "anthropic", "model": "claude-sonnet-4-5"},
    "gemini": {"provider": "gemini", "model": "gemini-2.5-flash"},
    "bedrock": {"provider": "bedrock", "model": "amazon.nova-pro-v1:0", "options": {"region": "us-east-1", "api": "converse"}},
    "cohere": {"provider": "cohere", "model": "command-a-03-2025"},
    "ollama": {"provider": "ollama", "model": "llama3.2"},
}


def config(url: str) -> dict[str, Any]:
    """A model for each provider, and one that may go to three of them."""
    endpoints = [
        {"name": f"at-{name}", "api_key": "env:AIMOCK_KEY", **fields, "base_url": fields.get("base_url", "{}").format(url)}
        for name, fields in PROVIDERS.items()
    ]
    models: dict[str, Any] = {name: f"at-{name}" for name in PROVIDERS}
    models["any"] = {"endpoints": ["at-openai", "at-anthropic", "at-gemini"], "retry": {"attempts": 8, "base_s": 0.01}, "deadline_s": 30}
    return {"endpoints": endpoints, "models": models}


class Chat:
    """OpenAI's SDK at the door of chat completions."""

    def __init__(self, root: str) -> None:
        self.sdk = openai.OpenAI(base_url=f"{root}/v1", api_key=KEY, max_retries=0)

    def whole(self, model: str, text: str = "say it") -> str:
        turn: Any = [{"role": "user", "content": text}]
        return self.sdk.chat.completions.create(model=model, messages=turn, max_tokens=200).choices[0].message.content or ""

    def stream(self, model: str) -> str:
        turn: Any = [{"role": "user", "content": "say it"}]
        chunks = self.sdk.chat.completions.create(model=model, messages=turn, stream=True, max_tokens=200)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    def tool(self, model: str) -> str:
        tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
        turn: Any = [{"role": "user", "content": "use a tool"}]
        with self.sdk.chat.completions.stream(model=model, messages=turn, tools=tools, max_tokens=200) as events:
            message = events.get_final_completion().choices[0].message
        call: Any = message.tool_calls[0]
        assert json.loads(call.function.arguments) == {"city": "Köln", "days": 3}, call
        turn += [message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"})]
        turn += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
        return self.sdk.chat.completions.create(model=model, messages=turn, tools=tools, max_tokens=200).choices[0].message.content or ""

    def error(self, model: str) -> str:
        try:
            self.whole(model, "fail")
        except openai.BadRequestError as failed:
            assert "told to fail" in str(failed), failed
            return SAID
        return "no error"


class Messages:
    """Anthropic's SDK at the door of messages."""

    def __init__(self, root: str) -> None:
        self.sdk = anthropic.Anthropic(base_url=root, api_key=KEY, max_retries=0)

    def whole(self, model: str, text: str = "say it") -> str:
        reply = self.sdk.messages.create(model=model, max_tokens=200, messages=[{"role": "user", "content": text}])
        return "".join(block.text for block in reply.content if block.type == "text")

    def stream(self, model: str) -> str:
        with self.sdk.messages.stream(model=model, max_tokens=200, messages=[{"role": "user", "content": "say it"}]) as events:
            return "".join(events.text_stream)

    def tool(self, model: str) -> str:
        tools: Any = [{"name": "weather", "input_schema": SCHEMA}]
        turn: Any = [{"role": "user", "content": "use a tool"}]
        with self.sdk.messages.stream(model=model, max_tokens=200, messages=turn, tools=tools) as events:
            message = events.get_final_message()
        call = next(block for block in message.content if block.type == "tool_use")
        assert call.input == {"city": "Köln", "days": 3}, call
        assert message.stop_reason == "tool_use", message
        turn += [{"role": "assistant", "content": message.content}]
        turn += [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]}]
        reply = self.sdk.messages.create(model=model, max_tokens=200, messages=turn, tools=tools)
        return "".join(block.text for block in reply.content if block.type == "text")

    def error(self, model: str) -> str:
        try:
            self.whole(model, "fail")
        except anthropic.BadRequestError as failed:
            assert "told to fail" in str(failed), failed
            return SAID
        return "no error"


class Generate:
    """Google's SDK at the door of generateContent."""

    def __init__(self, root: str) -> None:
        self.sdk = genai.Client(api_key=KEY, http_options={"base_url": root})

    def whole(self, model: str, text: str = "say it") -> str:
        return self.sdk.models.generate_content(model=model, contents=text).text or ""

    def stream(self, model: str) -> str:
        return "".join(chunk.text or "" for chunk in self.sdk.models.generate_content_stream(model=model, contents="say it"))

    def tool(self, model: str) -> str:
        declared: Any = {"name": "weather", "description": "Tells it", "parameters_json_schema": SCHEMA}
        settings: Any = {"tools": [{"function_declarations": [declared]}]}
        contents: Any = [{"role": "user", "parts": [{"text": "use a tool"}]}]
        reply: Any = self.sdk.models.generate_content(model=model, contents=contents, config=settings)
        call = reply.function_calls[0]
        assert call.args == {"city": "Köln", "days": 3}, call
        contents += [reply.candidates[0].content]
        contents += [
            {"role": "user", "parts": [{"function_response": {"id": call.id, "name": "weather", "response": {"output": "sunny"}}}]}
        ]
        return self.sdk.models.generate_content(model=model, contents=contents, config=settings).text or ""

    def error(self, model: str) -> str:
        try:
            self.whole(model, "fail")
        except genai.errors.ClientError as failed:
            assert failed.code == 400, failed
            assert "told to fail" in str(failed), failed
            return SAID
        return "no error"


def try_all(root: str) -> int:
    """Every SDK, every provider, every try; give the number of those that failed."""
    failed = 0
    for door in (Chat(root), Messages(root), Generate(root)):
        for provider in PROVIDERS:
            for name in ("whole", "stream", "tool", "error"):
                try:
                    said = getattr(door, name)(provider)
                    assert said == SAID, f"it said {said!r}"
                    outcome = "ok"
                except Exception as error:  # whatever an SDK raises is what is to be shown
                    failed += 1
                    outcome = f"FAILED {type(error).__name__}: {str(error)[:300]}"
                print(f"{type(door).__name__:<9} {provider:<10} {name:<7} {outcome}")
    return failed


def try_chaos(root: str, mock: str, requests: int = 60) -> int:
    """A third of all requests are dropped: each client has its answer all the same, and none is asked more often than the journal says."""
    _call(f"{mock}/__aimock/reset/journal", "POST")
    _call(f"{mock}/__aimock/chaos", "POST", {"dropRate": 0.34})
    doors = (Chat(root), Messages(root))
    said = Counter(doors[number % 2].whole("any") for number in range(requests))
    _call(f"{mock}/__aimock/chaos", "DELETE")
    found = _call(f"{mock}/__aimock/journal?limit=1000", "GET")
    entries = found if isinstance(found, list) else found.get("entries", found.get("requests", []))
    statuses = Counter(entry["response"]["status"] for entry in entries)
    paths = Counter(entry["path"].partition("?")[0] for entry in entries)
    print(f"chaos: {said[SAID]} of {requests} whole; aimock answered {dict(statuses)} at {dict(paths)}")
    return 0 if said == {SAID: requests} and statuses[200] == requests and len(entries) > requests else 1


def _call(url: str, method: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data=data, method=method, headers={"content-type": "application/json"})) as reply:  # noqa: S310  # our own
        return json.loads(reply.read() or b"null")


async def started(*command: str, word: str, **fields: Any) -> tuple[asyncio.subprocess.Process, str]:
    """Start a program; give it and the address on the line that has `word`."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, **fields)
    assert process.stdout is not None
    while line := (await process.stdout.readline()).decode():
        if word in line:
            _DRAINS.append(asyncio.create_task(process.stdout.read()))
            return process, next(part.rstrip(",/") for part in line.split() if part.startswith("http://"))
    raise SystemExit(f"{command[0]} did not start")


async def main() -> int:
    """Start both, try everything, end both."""
    if not (HERE / "node_modules").exists():
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=HERE, check=True)  # noqa: ASYNC221, S607  # nothing else runs
    llmock = str(HERE / "node_modules" / ".bin" / "llmock")
    mock, url = await started(llmock, "-p", "0", "-f", "fixtures.json", "--strict", "--log-level", "info", word="http://", cwd=HERE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dispatch.json"
        path.write_text(json.dumps(config(url)))
        serve = (sys.executable, "-m", "dispatch", "serve", "--config", str(path), "--port", "0", "--workers", "1")
        sidecar, root = await started(*serve, word="http://", env={"AIMOCK_KEY": "sk-mock"})
        try:
            failed = await asyncio.to_thread(try_all, root)
            failed += await asyncio.to_thread(try_chaos, root, url)
        finally:
            for process in (sidecar, mock):
                process.terminate()
                await process.wait()
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
