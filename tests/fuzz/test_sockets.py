"""Mutated requests at a running sidecar, over sockets: whatever comes, the answers are well framed and the worker is none the worse.

The short form runs with the tests; `make fuzz` runs it for `DISPATCH_FUZZ_SECONDS`. With `DISPATCH_FUZZ_KEEP=1`, an input whose answers
were of a kind not seen before is added to `tests/fuzz/corpus/socket`. `DISPATCH_FUZZ_SEED` chooses the run: the same seed and
corpus give the same inputs as long as the answers are of the same kinds. A failing input is written to `target/fuzz/`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.peer import Peer, chat
from tests.integration.sidecar import Sidecar, is_alive, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SECONDS = float(os.environ.get("DISPATCH_FUZZ_SECONDS") or 0)
SEED = int(os.environ.get("DISPATCH_FUZZ_SEED") or 1)
KEEP = bool(os.environ.get("DISPATCH_FUZZ_KEEP"))
CORPUS = Path(__file__).parent / "corpus" / "socket"
FAILED = Path(__file__).parents[2] / "target" / "fuzz"

ROUNDS = 12
"""Of the short form."""
AT_ONCE = 40
"""Connections of a round."""
MAX_INPUT = 8192
MAX_POOL = 400

TOKENS = [
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"\x7f", b"\xff", b"\xc3\xa9", b"%2f", b"?", b"#", b"*"),
    *(b"GET ", b"POST ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"PRI ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/2.0\r\n"),
    *(b"host: h\r\n", b"host: 127.0.0.1\r\n", b"connection: close\r\n", b"connection: keep-alive\r\n", b"expect: 100-continue\r\n"),
    *(b"content-length: 0\r\n", b"content-length: 99999999999999999999\r\n", b"content-length: -1\r\n", b"content-encoding: gzip\r\n"),
    *(b"transfer-encoding: chunked\r\n", b"transfer-encoding: gzip, chunked\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"ffffffffffffffff\r\n"),
    *(b"origin: http://evil.example\r\n", b"x-dispatch-deadline-ms: 1\r\n", b"x-dispatch-deadline-ms: x\r\n", b"x-dispatch-key: k\r\n"),
    *(b'"model":"m",', b'"mod\\u0065l":"n",', b'"stream":true,', b'"stream":null,', b'"stream_options":{},', b'"n":3,', b'"max_tokens":1,'),
    *(b"{", b"}", b"[", b"]", b'"', b"\\", b"\\ud800", b"null", b"true", b"1e999", b"-0", b"\xef\xbb\xbf", b"[" * 130),
]

STATUSES = {100, 200, 204, 400, 401, 403, 404, 405, 408, 413, 415, 417, 429, 431, 501, 503, 504, 505}
"""What a client can bring about. 500 is not among them."""

ERRORS = [{"message", "type", "param", "code"}, {"type", "message"}, {"code", "message", "status"}]
"""The fields of OpenAI's, Anthropic's and Google's error objects. Cohere and Bedrock say `message` alone, Ollama says `error`."""

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [A-Za-z -]+")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9a-z-]+): ([^\r\n\0]*)")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough: what is tested runs in other processes."""
    return "asyncio", {"use_uvloop": True}


def mutated(pool: list[bytes], draw: Random) -> bytes:
    """One of the pool, changed in up to six places."""
    data = bytearray(draw.choice(pool))
    for _ in range(draw.randint(0, 6)):
        at = draw.randint(0, len(data))
        end = min(len(data), at + draw.randint(0, 24))
        kind = draw.randint(0, 6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draw.randint(0, 7)
        elif kind == 1 and at < len(data):
            data[at] = draw.randint(0, 255)
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end]
        elif kind == 4:
            other = draw.choice(pool)
            data[at:] = other[draw.randint(0, len(other)) :]
        else:
            data[at : at if kind == 5 else end] = draw.choice(TOKENS)
    return bytes(data[:MAX_INPUT])


def answers(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each answer's status and body; raises `EOFError` where the data end within one, `AssertionError` where the framing is wrong."""
    while data:
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            raise EOFError
        line, *lines = head.split(b"\r\n")
        status = STATUS_LINE.fullmatch(line)
        assert status is not None, line
        matches = [FIELD.fullmatch(field) for field in lines]
        assert all(matches), lines
        fields = {match[1]: match[2] for match in matches if match is not None}
        assert len(fields) == len(lines), lines
        body, data = _body(int(status[1]), fields, rest)
        yield int(status[1]), body


def _body(status: int, fields: dict[bytes, bytes], rest: bytes) -> tuple[bytes, bytes]:
    assert not (b"content-length" in fields and b"transfer-encoding" in fields)
    if status < 200 or status == 204:
        return b"", rest
    if b"content-length" in fields:
        length = int(fields[b"content-length"])
        if len(rest) < length:
            raise EOFError
        return rest[:length], rest[length:]
    if b"transfer-encoding" not in fields:
        assert fields.get(b"connection") == b"close", fields
        return rest, b""
    body = b""
    while True:
        line, found, rest = rest.partition(b"\r\n")
        if not found:
            raise EOFError
        size = int(line, 16)
        if len(rest) < size + 2:
            raise EOFError
        assert rest[size : size + 2] == b"\r\n"
        body, rest = body + rest[:size], rest[size + 2 :]
        if not size:
            return body, rest


async def play(port: int, data: bytes, draw: Random) -> str:
    """Send an input in pieces, read all that comes, hold it against the laws. Returns what kind of answers came."""
    cuts = sorted(draw.randint(0, len(data)) for _ in range(draw.choice([0, 0, 1, 3])))
    leaves = draw.random() < 0.8
    async with Peer(port) as peer:
        with suppress(ConnectionError, OSError):
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                await peer.send(data[start:end])
            if leaves:
                peer.half_close()
        got = await peer.to_end()
    kinds = []
    try:
        for status, body in answers(got):
            assert status in STATUSES, got
            code = _code(body) if status >= 400 else ""
            kinds.append(f"{status}{code}")
    except EOFError:
        # Only a client that has left is told less than a whole answer.
        assert leaves or peer.end == "rst", got
        kinds.append("cut")
    return " ".join(kinds)


def _code(body: bytes) -> str:
    """What tells this error from others, and at which door: each has an error object of its own."""
    found: dict[str, Any] = json.loads(body)
    error = found.get("error")
    if not isinstance(error, dict):
        [(field, text)] = found.items()
        assert field in {"message", "error"}, found
        assert text, found
        return str(field)
    assert set(error) in ERRORS, found
    assert error["message"]
    return f"{len(error)}{error.get('code', error.get('type'))}"


def corpus() -> list[bytes]:
    return [path.read_bytes() for path in sorted(CORPUS.glob("*.http"))]


def keep(data: bytes) -> None:
    (CORPUS / f"found-{hashlib.sha256(data).hexdigest()[:12]}.http").write_bytes(data)


async def test_no_request_breaks_the_sidecar(tmp_path: Path) -> None:
    config = {
        "server": {"workers": 1, "read_timeout_s": 0.3, "idle_s": 0.3, "max_body_bytes": 4096, "cors_origins": ["http://page.example"]},
        "endpoints": [{"name": "echo", "provider": "echo"}],
        "models": {"m": "echo"},
    }
    async with Sidecar(tmp_path, config, log="off") as sidecar:
        counts = await fuzz(sidecar.port)
        print(f"socket: {counts[0]} inputs of seed {SEED}, {counts[1]} kinds of answers, no law broken")  # noqa: T201  # the report

        async with Peer(sidecar.port) as peer:
            assert (await peer.ask(chat())).status == 200
        assert await sidecar.metric("dispatch_in_flight", endpoint="echo") == 0
        metrics = await sidecar.metrics()
        ended = sum(value for (name, _), value in metrics.items() if name == "dispatch_requests_total")
        attempts = sum(value for (name, _), value in metrics.items() if name == "dispatch_attempts_total")
        assert attempts <= ended
        assert sidecar.process.returncode is None
        [worker] = children(sidecar.process.pid)
        await until(lambda: len(list(Path(f"/proc/{worker}/fd").iterdir())) < 40, "connections closed")
        assert is_alive(worker)
        assert not [line for line in sidecar.noise if "Traceback" in line or "Error" in line], sidecar.noise[:40]


async def fuzz(port: int) -> tuple[int, int]:
    """Play rounds until the time is over. Returns how many inputs and how many kinds of answers there were."""
    draw, pool, kinds, inputs = Random(SEED), corpus(), set[str](), 0
    waiting = [*pool]
    end, rounds = monotonic() + SECONDS, 0
    while rounds < ROUNDS or monotonic() < end:
        rounds += 1
        batch = [waiting.pop() if waiting else mutated(pool, draw) for _ in range(AT_ONCE)]
        results = await asyncio.gather(*(play(port, data, Random(draw.getrandbits(64))) for data in batch), return_exceptions=True)
        for data, kind in zip(batch, results, strict=True):
            inputs += 1
            if isinstance(kind, BaseException):
                FAILED.mkdir(parents=True, exist_ok=True)
                path = FAILED / f"socket-{hashlib.sha256(data).hexdigest()[:16]}"
                path.write_bytes(data)
                pytest.fail(f"{path} breaks a law, after {inputs} inputs of seed {SEED}: {kind!r}")
            if kind not in kinds and len(pool) < MAX_POOL:
                kinds.add(kind)
                pool.append(data)
                if KEEP and rounds > 1:
                    keep(data)
    return inputs, len(kinds)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
