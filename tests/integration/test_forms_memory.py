"""What a large form costs in memory while it is passed on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.peer import Peer
from tests.integration.sidecar import Sidecar
from tests.integration.upstream import Upstream, answer, once

pytestmark = pytest.mark.anyio

SIZE = 24 << 20
COPIES = 3.6
"""Held to be sent again, put together for the endpoint, and on its way; one more while its pieces were copied first."""


def peak_bytes(pid: int) -> int:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def form(size: int) -> bytes:
    parts = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n%b\r\n' % bytes(size),
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n',
    )
    body = b"".join(parts)
    head = b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\n"
    return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)


async def test_a_large_form_is_held_once_and_put_together_once(tmp_path: Path) -> None:
    async with Upstream(once(answer({"text": "hello"}))) as upstream:
        end = {"name": "a", "provider": "openai_compatible", "model": "whisper", "base_url": upstream.base_url}
        async with Sidecar(tmp_path, {"endpoints": [end], "models": {"m": "a"}}, "--workers", "1") as sidecar:
            [pid] = await sidecar.workers(1)
            async with Peer(sidecar.port) as peer:
                assert (await peer.ask(form(1000))).status == 200
                before = peak_bytes(pid)
                reply = await peer.ask(form(SIZE))
                copies = (peak_bytes(pid) - before) / SIZE

        assert (reply.status, reply.body) == (200, b'{"text": "hello"}')
        assert len(upstream.requests[-1]) > SIZE
        assert copies < COPIES
