"""Plans that go by logprobs, with those of an inference server that nobody here wrote: `make real`, see `docs/real-servers.md`."""

from __future__ import annotations

from math import exp
from statistics import fmean
from typing import TYPE_CHECKING, Any

import openai
import pytest
from dispatch.testing import MockProvider

from tests.contract.test_real_doors import by_anthropic, by_openai
from tests.contract.test_real_server import ASK, anyio_backend, base_url
from tests.contract.test_real_server import pytestmark as needs_a_server
from tests.integration.sidecar import Sidecar

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["anyio_backend", "base_url"]

pytestmark = needs_a_server

GREEDY = {name: value for name, value in ASK.items() if name != "seed"}


async def asked_straight(url: str) -> tuple[str, str, float]:
    """The server's name for its model, what it says, and the mean of what it tells of its tokens."""
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as sdk:
        name = (await sdk.models.list()).data[0].id
        whole: Any = await sdk.chat.completions.create(model=name, logprobs=True, **GREEDY)
    choice = whole.choices[0]
    if choice.logprobs is None:
        pytest.skip("this server tells no logprobs")
    return name, choice.message.content, fmean(one.logprob for one in choice.logprobs.content)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("door", [by_openai, by_anthropic])
async def test_the_servers_logprobs_decide(base_url: str, tmp_path: Path, door: Any, stream: bool) -> None:
    name, said, mean = await asked_straight(base_url)
    doubts = {"above": mean - 0.01, "below": mean + 0.01}
    plans: dict[str, Any] = {
        model: {"cascade": {"steps": ["real", "large"], "escalate_if": {"logprob_below": below, "cut": False}}}
        for model, below in doubts.items()
    }
    # Two votes of the server against one of a model that is sure: a random model's two are not enough.
    plans["vote"] = {"ensemble": {"of": ["real", "real", "large"], "by": "vote", "weights": "logprob"}}
    async with MockProvider(reply="LARGE", logprob=-0.01) as mock:
        ends = [("real", base_url, name), ("large", mock.base_url, "large")]
        endpoints = [
            {"name": end, "provider": "openai_compatible", "base_url": url, "model": model, "doors": ["chat"]} for end, url, model in ends
        ]
        async with Sidecar(tmp_path, {"endpoints": endpoints, "models": plans}, "--workers", "1") as sidecar:
            root = sidecar.base_url.removesuffix("/v1")
            texts = {model: (await door(root, model, stream=stream)).text for model in plans}

    assert texts == {"above": said, "below": "LARGE", "vote": said if 2 * exp(mean) > exp(-0.01) else "LARGE"}
