"""What the tests of OpenAI's SDK share: a simulated provider, a sidecar in a process of its own, and the library's `Client.openai()`.

Each way to behave is a model of its own, so that no test sees the failures of another.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from dispatch.client import Client
from dispatch.testing import MockProvider
from pydantic import BaseModel

from tests.integration.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["BEHAVIOURS", "KEY", "STATUSES", "TURN", "WEATHER", "Forecast", "anyio_backend", "config", "mock", "sdk", "sidecar", "sync_sdk"]

TURN: Any = [{"role": "user", "content": "What is the weather in K\u00f6ln? \U0001f600"}]
PARAMETERS: Any = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
STATUSES: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    413: openai.APIStatusError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}
BEHAVIOURS: dict[str, dict[str, Any]] = {
    "chat": {"output_tokens": 6},
    "echo-back": {"echo": True},
    "flaky": {"script": [500, "close_before_head", "ok"]},
    "hangs": {"faults": {"hang_before_head": 1.0}},
    "stalls": {"faults": {"hang_mid_stream": 1.0}, "output_tokens": 8},
    "breaks": {"faults": {"error_event": 1.0}, "output_tokens": 8},
    "cut": {"faults": {"cut_rst": 1.0}, "output_tokens": 8},
    "spent-whole": {"errors": {500: 1.0}},
    "spent-stream": {"errors": {500: 1.0}},
    "own-key-refused": {"errors": {401: 1.0}},
    "client-key-refused": {"errors": {401: 1.0}},
    **{f"status-{status}": {"errors": {status: 1.0}, "retry_after_s": 7.0} for status in STATUSES},
}
KEY = "sk-of-the-client"


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for the module: the provider and the sidecar live as long as it does."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def mock() -> AsyncIterator[MockProvider]:
    async with MockProvider(scenario={"models": BEHAVIOURS}) as provider:
        yield provider


@pytest.fixture(scope="module")
def config(mock: MockProvider) -> dict[str, Any]:
    up = {"provider": "openai_compatible", "base_url": mock.base_url}
    endpoints = [{"name": f"at-{name}", "model": name, **up} for name in BEHAVIOURS]
    endpoints[[end["name"] for end in endpoints].index("at-client-key-refused")]["api_key"] = "from_client"
    # Nobody listens on port 1.
    endpoints += [
        {"name": f"dead-{at}", "model": "m", "provider": "openai_compatible", "base_url": "http://127.0.0.1:1/v1"} for at in (1, 2)
    ]
    once = {"retry": {"attempts": 1}}
    models: dict[str, Any] = {name: {"endpoints": [f"at-{name}"], **once} for name in BEHAVIOURS}
    models["flaky"] = {"endpoints": ["at-flaky"], "retry": {"attempts": 3, "base_s": 0.01, "unknown": True}}
    models["dead"] = {"endpoints": ["dead-1", "dead-2"], "retry": {"attempts": 3, "base_s": 0.01}}
    return {"endpoints": endpoints, "models": models}


@pytest.fixture(scope="module")
async def sidecar(config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sidecar]:
    async with Sidecar(tmp_path_factory.mktemp("sdk"), config, "--workers", "1") as process:
        yield process


@pytest.fixture(scope="module", params=["sidecar", "inside"])
async def sdk(
    request: pytest.FixtureRequest, config: dict[str, Any], sidecar: Sidecar, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[openai.AsyncOpenAI]:
    """The asynchronous SDK, in both of its ways here."""
    if request.param == "inside":
        path = tmp_path_factory.mktemp("inside") / "dispatch.json"
        path.write_text(json.dumps(config))
        async with Client(path) as client, client.openai() as inside:
            yield inside
    else:
        async with openai.AsyncOpenAI(base_url=sidecar.base_url, api_key=KEY, max_retries=0) as remote:
            yield remote


@pytest.fixture(scope="module")
def sync_sdk(sidecar: Sidecar) -> Any:
    with openai.OpenAI(base_url=sidecar.base_url, api_key=KEY, max_retries=0) as client:
        yield client


class Forecast(BaseModel):
    city: str
    days: int
