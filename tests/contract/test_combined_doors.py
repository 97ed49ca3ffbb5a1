"""Plans over several models by every door, asked by each dialect's own SDK, of endpoints of that dialect and of another one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import google.genai
import google.genai.errors
import ollama
import openai
import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # botocore has no types

from tests.contract.inside import sidecar
from tests.contract.recordings import ask
from tests.contract.speakers import SPEAKERS, Native

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")]  # Google's own business


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """What is asked here has nothing to do with the kind of loop."""
    return "asyncio"


PROVIDERS = {
    "chat": "openai_compatible",
    "responses": "openai",
    "messages": "anthropic",
    "generate": "gemini",
    "ollama": "ollama",
    "completions": "openai_compatible",
    "ollama_generate": "ollama",
    "converse": "bedrock",
}
PLANS: dict[str, Any] = {
    "corrected": {"cascade": {"steps": ["a", "b"], "hand_on": "Mend it.", "escalate_if": {"verify": {"regex": "nothing like it"}}}},
    "accepted": {"cascade": {"steps": ["a", "b"], "escalate_if": {"samples": 2, "verify": {"plan": "c"}}}},
    "voted": {"ensemble": {"of": ["a", "b", "d"]}},
    "judged": {"ensemble": {"of": ["a", "b"], "by": "judge", "model": "c"}},
    "fused": {"ensemble": {"of": ["a", "b"], "by": "fuse", "model": "b"}},
    "chained": {"chain": {"steps": [{"plan": "a", "name": "first"}, {"plan": "b", "prompt": "{first}?", "system": "Be {last}."}]}},
    "parted": {"fanout": {"work": "a", "split": "list", "separator": "+"}},
}
ANSWERS = {
    "corrected": "b",
    "accepted": "a",
    "voted": "a",
    "judged": "b",
    "fused": "b",
    "chained": "b",
    "parted": "a+a",
}


def says(model: str, body: dict[str, Any]) -> str:
    """`up-c` finds the second answer best, and every answer right; `up-d` agrees with `up-a`; the others say their names."""
    said = json.dumps(body)
    if model == "up-c":
        return "[[2]]" if said.find("Answer 1:\\na") >= 0 else "[[1]]" if "Answer 1:" in said else "YES"
    return {"up-d": "a"}.get(model, model.removeprefix("up-"))


def config(provider: str, native: Native) -> dict[str, Any]:
    root = native.root + ("/v1" if provider.startswith("openai") else "")
    endpoints = [{"name": name, "provider": provider, "base_url": root, "model": f"up-{name}", "api_key": "env:UP"} for name in "abcd"]
    return {"endpoints": endpoints, "models": {name: {**plan, "retry": {"attempts": 1}} for name, plan in PLANS.items()}}


@pytest.fixture
async def native() -> AsyncIterator[Native]:
    async with Native(says) as provider:
        yield provider


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("is_native", [False, True])
@pytest.mark.parametrize("door", SPEAKERS)
async def test_each_plan_answers_at_each_door(door: str, is_native: bool, stream: bool, native: Native, tmp_path: Path) -> None:
    provider = PROVIDERS[door] if is_native else "anthropic" if door == "chat" else "openai_compatible"
    async with sidecar(tmp_path, config(provider, native), {"UP": "sk-up-0123456789"}) as port:
        root = f"http://127.0.0.1:{port}"
        assert await SPEAKERS[door](root, [*ANSWERS], stream) == [*ANSWERS.values()]
    if is_native:
        check_bodies(door, native)


def check_bodies(door: str, native: Native) -> None:
    """What plans change is said in the dialect's own words, and what a path says is not said again."""
    for _, body in native.asked:
        assert door not in ("generate", "converse") or not {"model", "stream"} & body.keys()
        assert not door.startswith("ollama") or isinstance(body["stream"], bool)
    corrected = next(said for _, body in native.asked if "Mend it." in (said := json.dumps(body)))
    answer = corrected.index("\\n\\na\\n\\n") if door in ("completions", "ollama_generate") else corrected.index('"a"')
    assert corrected.index("Count them.") < answer < corrected.index("Mend it.")
    chained = next(body for _, body in native.asked if "a?" in json.dumps(body))
    places = ("system", "systemInstruction", "instructions", "prompt")
    assert "Be a." in json.dumps(next((chained[place] for place in places if place in chained), None) or chained["messages"][0])


async def test_what_is_sent_to_gemini_without_a_plan_stays_as_it_came(native: Native, tmp_path: Path) -> None:
    setting = config("gemini", native)
    setting["models"]["plain"] = {"endpoints": ["a"]}
    body = {"contents": [{"parts": [{"text": "hi"}]}], "x": [1, 2]}
    async with sidecar(tmp_path, setting, {"UP": "sk-up-0123456789"}) as port:
        await ask(port, "/v1beta/models/plain:generateContent", body)
    assert native.asked == [("/v1beta/models/up-a:generateContent", body)]


async def test_a_plan_without_an_answer_is_an_error_of_each_dialect(native: Native, tmp_path: Path) -> None:
    """A spent budget is no 429: waiting does not help."""
    setting = config("openai_compatible", native)
    setting["models"] = {"spent": {"chain": {"steps": [{"plan": "a"}, {"plan": "b"}], "budget": {"tokens": 1}}, "retry": {"attempts": 1}}}
    errors: dict[str, Any] = {
        "chat": openai.InternalServerError,
        "responses": openai.InternalServerError,
        "messages": anthropic.InternalServerError,
        "generate": google.genai.errors.ServerError,
        "ollama": ollama.ResponseError,
        "completions": openai.InternalServerError,
        "ollama_generate": ollama.ResponseError,
        "converse": ClientError,
    }
    async with sidecar(tmp_path, setting, {"UP": "sk-up-0123456789"}) as port:
        for door, error in errors.items():
            del native.asked[:]
            with pytest.raises(error, match="has spent its 1 tokens"):
                await SPEAKERS[door](f"http://127.0.0.1:{port}", ["spent"], False)
            assert len(native.asked) == 1
        answer: Any = await ask(port, "/v1/chat/completions", {"model": "spent", "messages": [{"role": "user", "content": "hi"}]})
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (502, "upstream_error")
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers


async def test_what_a_plan_cannot_do_for_a_response_is_refused_by_name(native: Native, tmp_path: Path) -> None:
    async with sidecar(tmp_path, config("openai", native), {"UP": "sk-up-0123456789"}) as port:
        answer: Any = await ask(port, "/v1/responses", {"model": "voted", "input": "hi", "background": True})
        other: Any = await ask(port, "/v1/completions", {"model": "chained", "prompt": ["one", "two"]})
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (400, "unsupported_parameter")
    assert (other.status, json.loads(other.body)["error"]["param"]) == (400, "prompt")
    assert len(native.asked) == 0
