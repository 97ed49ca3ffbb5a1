"""The status in a request's log line is the one that its client got."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.testing import MockProvider

from tests.integration.peer import Peer, post
from tests.integration.sidecar import Sidecar

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

PATHS = {"/v1/chat/completions": {}, "/v1/messages": {"max_tokens": 9}}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The log has nothing to do with the kind of loop, and the sidecar has its own."""
    return "asyncio"


async def test_a_providers_refusal_is_logged_under_the_status_that_the_client_got(tmp_path: Path) -> None:
    # An error object with 400, which goes out as it came; a page of HTML, which does not; a refusal of our own key, which is ours to mend.
    faults = {"no": {"errors": {400: 1.0}}, "page": {"faults": {"bad_gateway": 1.0}}, "key": {"faults": {"bad_key": 1.0}}}
    async with MockProvider(scenario={"models": faults}) as mock:
        shared = {"provider": "openai_compatible", "base_url": mock.base_url, "doors": ["chat"]}
        config: dict[str, Any] = {
            "endpoints": [{"name": f"at-{name}", "model": name, **shared} for name in faults],
            "models": {name: {"endpoints": [f"at-{name}"], "retry": {"attempts": 1}} for name in faults},
        }
        async with Sidecar(tmp_path, config, "--workers", "1") as sidecar:
            seen, mark = [], 0
            for path, more in PATHS.items():
                for model in faults:
                    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
                    async with Peer(sidecar.port) as peer:
                        reply = await peer.ask(post(json.dumps(body).encode(), path=path))
                    line = await sidecar.event("request", after=mark)
                    mark = sidecar.log.index(line) + 1
                    seen.append((reply.status, line["status"]))

    assert seen == [(400, 400), (502, 502), (502, 502)] * 2
