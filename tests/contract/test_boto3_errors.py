"""What goes wrong, as boto3 reports it; and whose request it is."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import boto3  # type: ignore[import-untyped]  # boto3 has no types
import pytest
import trustme
from botocore.eventstream import EventStreamBuffer  # type: ignore[import-untyped]  # the same
from botocore.exceptions import ClientError, EventStreamError  # type: ignore[import-untyped]  # the same
from botocore.parsers import EventStreamJSONParser  # type: ignore[import-untyped]  # the same

from tests.contract.boto import CALL, CHUNKS, COMPLETION, anyio_backend, asked, bedrock, config, delta, events, made, streamed, whole
from tests.contract.exchanges import FRAMES, frame_of
from tests.contract.inside import sidecar
from tests.contract.recordings import Player, ask, head_and_body
from tests.integration.sidecar import Sidecar

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["anyio_backend"]

NAMES = {
    400: "ValidationException",
    404: "ResourceNotFoundException",
    422: "ValidationException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
    529: "ServiceUnavailableException",
}


@pytest.mark.parametrize("verb", [whole, streamed])
@pytest.mark.parametrize("status", NAMES)
async def test_an_error_is_the_exception_that_boto3_has_for_it(status: int, verb: Any, tmp_path: Path) -> None:
    body = json.dumps({"error": {"message": "the provider's words", "type": "x"}}).encode()
    async with Player() as player, sidecar(tmp_path, config(player)) as port:
        player.play([b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)])
        with pytest.raises(ClientError, match="the provider's words") as raised:
            await asked(port, verb())

    error = raised.value
    assert (type(error).__name__, error.response["ResponseMetadata"]["HTTPStatusCode"]) in {
        (NAMES[status], status),
        ("ClientError", status),
    }
    assert error.response["Error"]["Code"] == NAMES[status]


async def test_what_is_ours_to_mend_is_not_asked_again_by_boto3(tmp_path: Path) -> None:
    """Its SDK knows nothing of `x-should-retry`, and repeats a request after 500, 502, 503 and 504."""
    refusal = b"HTTP/1.1 401 X\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    async with Player() as player, sidecar(tmp_path, config(player)) as port:
        player.play([refusal])
        with pytest.raises(ClientError) as raised:
            await asked(port, whole(), attempts=3)

        assert len(player.received) == 1
    assert raised.value.response["Error"]["Code"] == "ModelErrorException"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 424


async def test_bedrocks_own_exception_keeps_its_name(tmp_path: Path) -> None:
    body = b'{"message":"Model is getting ready for inference. Try again later."}'
    head = b"HTTP/1.1 429 X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    head += b"x-amzn-errortype: ModelNotReadyException:http://a/b/\r\n\r\n"
    async with Player() as player, sidecar(tmp_path, bedrock(player, api_key="env:ITS_KEY"), {"ITS_KEY": "k"}) as port:
        player.play([head % len(body) + body])
        with pytest.raises(ClientError, match="getting ready") as raised:
            await asked(port, whole())

    assert raised.value.response["Error"]["Code"] == "ModelNotReadyException"


async def test_a_stream_that_ends_inside_a_call_never_ends_cleanly(tmp_path: Path) -> None:
    cut = [*CALL[:-1], delta("tool_calls")]
    async with Player() as player, sidecar(tmp_path, config(player)) as port:
        player.play([events(*cut)])
        with pytest.raises(EventStreamError, match="arguments of a tool call are cut"):
            await asked(port, streamed())
        player.play([events(*CALL[:-1], end=b"")])
        with pytest.raises(EventStreamError, match="without a finish reason"):
            await asked(port, streamed())
        said = await ask(port, "/model/m/converse-stream", {"messages": [{"role": "user", "content": [{"text": "x"}]}]})

    assert not said.whole
    assert b"messageStop" not in said.body


async def test_the_same_of_bedrocks_own_stream(tmp_path: Path) -> None:
    start = {"start": {"toolUse": {"toolUseId": "t", "name": "f"}}, "contentBlockIndex": 0}
    half = {"delta": {"toolUse": {"input": '{"a":'}}, "contentBlockIndex": 0}
    frames = [("messageStart", {"role": "assistant"}), ("contentBlockStart", start), ("contentBlockDelta", half)]
    end = [("contentBlockStop", {"contentBlockIndex": 0}), ("messageStop", {"stopReason": "tool_use"})]
    async with Player() as player, sidecar(tmp_path, bedrock(player, api_key="env:ITS_KEY"), {"ITS_KEY": "k"}) as port:
        for told, why in ((frames + end, "arguments of a tool call are cut"), (frames, "without a finish reason")):
            player.play([in_frames(told)])
            with pytest.raises(EventStreamError, match=why):
                await asked(port, streamed())
        player.play([in_frames(frames, frame_of("throttlingException", b'{"message":"slow down"}', "exception"))])
        with pytest.raises(EventStreamError, match="slow down") as raised:
            await asked(port, streamed())

    assert raised.value.response["Error"]["Code"] == "throttlingException"


def in_frames(told: list[tuple[str, Any]], last: bytes = b"") -> bytes:
    body = b"".join(frame_of(name, json.dumps(payload).encode()) for name, payload in told) + last
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (FRAMES.encode(), len(body), body)


KEYED = {"keys": [{"name": "team", "key": "env:TEAM_KEY"}]}


async def test_the_access_key_id_is_the_clients_key_where_keys_are_configured(tmp_path: Path) -> None:
    async with Player() as player, sidecar(tmp_path, config(player) | KEYED, {"TEAM_KEY": "sk-team/1"}) as port:
        player.play([head_and_body(json.dumps(COMPLETION).encode())])
        answer = await asked(port, whole(), keys={"aws_access_key_id": "sk-team/1"})
        sent = player.received[-1][0]
        with pytest.raises(ClientError, match="not known") as refused:
            await asked(port, streamed())

    assert answer["stopReason"] == "tool_use"
    assert b"sk-team" not in sent
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


async def test_a_bearer_token_is_the_clients_key_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "sk-team")
    tls = {"server": {"tls": {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}}}
    async with Player() as player:
        player.play([head_and_body(json.dumps(COMPLETION).encode())])
        async with Sidecar(tmp_path, config(player) | KEYED | tls, "--workers", "1", environ={"TEAM_KEY": "sk-team"}) as process:
            url = f"https://127.0.0.1:{process.port}"
            answer = await asyncio.to_thread(made, url, whole(), verify=str(tmp_path / "ca.pem"), keys=NO_KEYS)

    assert answer["stopReason"] == "tool_use"


NO_KEYS = {"aws_access_key_id": None, "aws_secret_access_key": None}


async def test_a_silent_stream_says_that_it_is_there_in_frames_that_boto3_passes_over(tmp_path: Path) -> None:
    answer = events(*CHUNKS)
    split = answer.index(b"data: ")
    keeps = {"server": {"keepalive_s": 0.2}}

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer[:split])
        # Until the sidecar has told its client that it waits.
        await gone.wait()
        writer.write(answer[split:])
        await writer.drain()
        writer.close()

    gone = asyncio.Event()
    server = await asyncio.start_server(late, "127.0.0.1", 0)
    async with Player() as player:
        settings = config(player, base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1") | keeps
        async with sidecar(tmp_path, settings) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = json.dumps({"messages": [{"role": "user", "content": [{"text": "x"}]}]}).encode()
            head = f"POST /model/m/converse-stream HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            raw = await reader.readuntil(b"keepAlive")
            gone.set()
            raw += await reader.read()
            writer.close()
    server.close()

    buffer = EventStreamBuffer()
    buffer.add_data(raw.partition(b"\r\n\r\n")[2])
    parser = EventStreamJSONParser()
    shape = boto3.Session(region_name="r").client("bedrock-runtime").meta.service_model.operation_model("ConverseStream").output_shape
    told = [parser.parse(event.to_response_dict(), shape.members["stream"]) for event in buffer]
    assert [name for one in (told[-1], *told) for name in one][:2] == ["metadata", "messageStart"]
    # What it makes of an event that it does not know is nothing, and that its stream leaves out.
    assert {} in told


async def test_a_field_of_another_type_that_no_reader_looks_at_is_400_and_the_next_request_is_served(tmp_path: Path) -> None:
    marked = {"type": "text", "text": "x", "cache_control": ["no object"]}
    request: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [marked]}]}
    said = {"output": {"message": {"role": "assistant", "content": [{"text": "x"}]}}, "stopReason": "end_turn", "usage": {}}
    async with (
        Player() as player,
        sidecar(tmp_path, bedrock(player, model="amazon.nova-lite-v1:0", api_key="env:ITS_KEY"), {"ITS_KEY": "k"}) as port,
    ):
        refused = await ask(port, "/v1/messages", request)
        player.play([head_and_body(json.dumps(said).encode())])
        marked["cache_control"] = {"type": "ephemeral"}  # type: ignore[assignment]  # as it should be
        served = await ask(port, "/v1/messages", request)

    assert (refused.status, json.loads(refused.body)["error"]["type"], served.status) == (400, "invalid_request_error", 200)
