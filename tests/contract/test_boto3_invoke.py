"""InvokeModel by boto3: bodies of each model's maker pass as they are; and models of Bedrock that make vectors, at other doors."""

from __future__ import annotations

import base64
import json
import struct
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EventStreamError  # type: ignore[import-untyped]  # botocore has no types

from tests.contract.boto import CLAUDE, anyio_backend, asked, bedrock
from tests.contract.exchanges import FRAMES, frame_of
from tests.contract.inside import sidecar
from tests.contract.natives import natives, unchanged
from tests.contract.recordings import Player, ask, cut_everywhere, head_and_body

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["anyio_backend"]

KEY = {"ITS_KEY": "k"}
TITAN = "amazon.titan-text-lite-v1"
BODY = b'{ "inputText": "Say this is a test", "stream": true }'
ANSWER = b'{\n "inputTextTokenCount": 5, "results": [{"outputText": "x"}] }'


def invoked(body: bytes = BODY, **fields: Any) -> Callable[[Any], tuple[bytes, dict[str, str]]]:
    def told(client: Any) -> tuple[bytes, dict[str, str]]:
        answer = client.invoke_model(modelId="m", body=body, **fields)
        with closing(answer["body"]) as read:
            return read.read(), answer["ResponseMetadata"]["HTTPHeaders"]

    return told


async def test_a_body_of_any_maker_passes_as_it_is_with_its_counts_in_the_head(tmp_path: Path) -> None:
    counts = b"x-amzn-bedrock-input-token-count: 5\r\nx-amzn-bedrock-output-token-count: 7\r\n"
    told = head_and_body(ANSWER).replace(b"content-length", counts + b"content-length")
    async with Player() as player, sidecar(tmp_path, bedrock(player, model=TITAN, api_key="env:ITS_KEY"), KEY) as port:
        player.play([told])
        body, headers = await asked(port, invoked(trace="ENABLED", guardrailIdentifier="gr1", guardrailVersion="1"))
        head, sent = player.received[-1]

    assert (body, sent) == (ANSWER, BODY)
    assert (headers["x-amzn-bedrock-input-token-count"], headers["x-amzn-bedrock-output-token-count"]) == ("5", "7")
    assert head.startswith(b"post /model/amazon.titan-text-lite-v1/invoke http/1.1\r\n")
    assert b"\r\nauthorization: bearer k\r\n" in head
    assert b"\r\nx-amzn-bedrock-guardrailidentifier: gr1\r\n" in head
    assert b"\r\ncontent-type: application/json\r\n" in head


async def test_recorded_bodies_of_other_makers_pass_unchanged(tmp_path: Path) -> None:
    spoken = [one for one in natives() if one.recording.path.endswith("/invoke")]
    wrong = []
    async with Player() as player, sidecar(tmp_path, bedrock(player, model=TITAN, api_key="env:ITS_KEY"), KEY) as port:
        for one in spoken:
            player.play([head_and_body(one.recording.body)])
            raw = json.dumps(one.request).encode()
            body, _ = await asked(port, invoked(raw))
            wrong += [] if (body, player.received[-1][1]) == (one.recording.body, raw) else [one.name]

    assert not wrong


SAID: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "1", "usage": {"input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"h\u00e9":'}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 2}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}},
]


def in_chunks(told: list[dict[str, Any]]) -> bytes:
    encoded = [base64.b64encode(json.dumps(event).encode()).decode() for event in told]
    body = b"".join(frame_of("chunk", json.dumps({"bytes": one, "p": "abc"}).encode()) for one in encoded)
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (FRAMES.encode(), len(body), body)


def invoked_as_stream(client: Any) -> list[Any]:
    body = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []})
    with closing(client.invoke_model_with_response_stream(modelId="m", body=body)["body"]) as stream:
        return [json.loads(event["chunk"]["bytes"]) for event in stream]


async def test_a_stream_of_anthropics_passes_in_frames_and_never_ends_cleanly_inside_a_call(tmp_path: Path) -> None:
    async with Player() as player, sidecar(tmp_path, bedrock(player, api_key="env:ITS_KEY"), KEY) as port:
        player.play(cut_everywhere(in_chunks(SAID)))
        whole = await asked(port, invoked_as_stream)
        assert player.received[-1][0].startswith(f"post /model/{CLAUDE.replace(':', '%3a')}/invoke-with-response-stream".encode())
        for cut in (SAID[:3] + SAID[4:], SAID[:3]):
            player.play([in_chunks(cut)])
            with pytest.raises(EventStreamError, match=r"cut|without a finish"):
                await asked(port, invoked_as_stream)

    assert whole == SAID


OTHERS: list[dict[str, Any]] = [
    {"generation": "h\u00e9", "prompt_token_count": 10, "generation_token_count": 1, "stop_reason": None},
    {"generation": ".", "generation_token_count": 2, "stop_reason": "stop"},
    {"generation": "", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 10, "outputTokenCount": 2}},
]


async def test_a_stream_of_another_maker_passes_as_it_is_and_ends_with_the_counts_of_bedrock(tmp_path: Path) -> None:
    server = {"server": {"ledger": str(tmp_path / "l")}}
    async with Player() as player, sidecar(tmp_path, bedrock(player, model=TITAN, api_key="env:ITS_KEY") | server, KEY) as port:
        player.play(cut_everywhere(in_chunks(OTHERS)))
        whole = await asked(port, invoked_as_stream)
        assert player.received[-1][0].startswith(f"post /model/{TITAN}/invoke-with-response-stream".encode())
        player.play([in_chunks(OTHERS[:2])])
        with pytest.raises(EventStreamError, match=r"cut|without a finish"):
            await asked(port, invoked_as_stream)
    entries = [json.loads(line) for line in (tmp_path / "l.0").read_text().splitlines()]

    assert whole == OTHERS
    assert [(one["outcome"], one["tokens_in"], one["tokens_out"]) for one in entries if one["outcome"] == "delivered"] == [
        ("delivered", 10, 2)
    ]


async def test_recorded_streams_of_other_makers_pass_unchanged(tmp_path: Path) -> None:
    spoken = [one for one in natives() if one.recording.path.endswith("-stream")]
    wrong = {}
    async with Player() as player, sidecar(tmp_path, bedrock(player, model=TITAN, api_key="env:ITS_KEY"), KEY) as port:
        for one in spoken:
            wrong[one.name] = await unchanged(
                port, player, one._replace(recording=one.recording._replace(path="/model/m/invoke-with-response-stream"))
            )

    assert not {name: why for name, why in wrong.items() if why}


async def test_an_endpoints_guardrail_has_none_beside_it(tmp_path: Path) -> None:
    options = {"region": "r", "guardrail": {"id": "gr1"}}
    async with Player() as player, sidecar(tmp_path, bedrock(player, api_key="env:ITS_KEY", options=options), KEY) as port:
        player.play([head_and_body(ANSWER)])
        await asked(port, invoked())
        head = player.received[-1][0]
        with pytest.raises(ClientError, match="guardrail of its own"):
            await asked(port, invoked(guardrailIdentifier="weak", guardrailVersion="1"))

    assert head.count(b"\r\nx-amzn-bedrock-guardrailidentifier: gr1\r\n") == 1


async def test_titans_vectors_at_openais_door(tmp_path: Path) -> None:
    async with (
        Player() as player,
        sidecar(tmp_path, bedrock(player, model="amazon.titan-embed-text-v2:0", api_key="env:ITS_KEY"), KEY) as port,
    ):
        player.play([head_and_body(b'{"embedding":[0.5,1.0],"inputTextTokenCount":3}')])
        answer = await ask(port, "/v1/embeddings", {"model": "m", "input": "h\u00e9", "dimensions": 256, "encoding_format": "base64"})
        head, sent = player.received[-1]
        several = await ask(port, "/v1/embeddings", {"model": "m", "input": ["a", "b"]})

    found = json.loads(answer.body)
    assert struct.unpack("<2f", base64.b64decode(found["data"][0]["embedding"])) == (0.5, 1.0)
    assert (found["usage"]["prompt_tokens"], found["model"]) == (3, "amazon.titan-embed-text-v2:0")
    assert head.startswith(b"post /model/amazon.titan-embed-text-v2%3a0/invoke http/1.1")
    assert json.loads(sent) == {"inputText": "h\u00e9", "dimensions": 256}
    assert (several.status, json.loads(several.body)["error"]["param"]) == (400, "input")


async def test_coheres_vectors_at_bedrock_are_counted_by_the_head(tmp_path: Path) -> None:
    said = head_and_body(b'{"embeddings":{"float":[[0.5],[1.0]]},"id":"1","response_type":"embeddings_by_type","texts":["a","b"]}')
    async with Player() as player, sidecar(tmp_path, bedrock(player, model="cohere.embed-v4:0", api_key="env:ITS_KEY"), KEY) as port:
        player.play([said.replace(b"content-length", b"x-amzn-bedrock-input-token-count: 4\r\ncontent-length")])
        answer = await ask(port, "/v1/embeddings", {"model": "m", "input": ["a", "b"], "dimensions": 1})
        sent = json.loads(player.received[-1][1])

    found = json.loads(answer.body)
    assert ([one["embedding"] for one in found["data"]], found["usage"]["prompt_tokens"]) == ([[0.5], [1.0]], 4)
    assert sent == {"input_type": "search_document", "embedding_types": ["float"], "texts": ["a", "b"], "output_dimension": 1}
