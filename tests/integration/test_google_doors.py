"""Google's doors beside chat: counts and vectors, passed on to Google's endpoints and translated for others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import Peer
from tests.integration.test_left_out import post
from tests.integration.upstream import Upstream, answer, once

pytestmark = pytest.mark.anyio

VECTORS = {"embeddings": [{"values": [0.5, 0.25]}, {"values": [1.0, 0.0]}], "usageMetadata": {"promptTokenCount": 4}}
PREDICTED = {"predictions": [{"embeddings": {"values": one["values"], "statistics": {"token_count": 2}}} for one in VECTORS["embeddings"]]}  # type: ignore[index]
OPENAIS = {
    "object": "list",
    "model": "up-a",
    "data": [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate([[0.5, 0.25], [1.0, 0.0]])],
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}
BATCH = {"requests": [{"model": "models/m", "content": {"parts": [{"text": text}]}} for text in ("one", "two")]}
TEXTS = {"input": ["one", "two"]}


def config(upstream: Upstream, provider: str, **endpoint: Any) -> dict[str, Any]:
    found = pool(upstream.base_url)
    base = upstream.base_url if provider == "openai_compatible" else upstream.base_url.removesuffix("/v1")
    found["endpoints"][0] |= {"provider": provider, "base_url": base, **endpoint}
    return found


async def asked(told: dict[str, Any], provider: str, path: str, body: dict[str, Any], **endpoint: Any) -> tuple[Any, str, Any]:
    """The answer, and what the endpoint was asked: its path, its body."""
    async with Upstream(once(answer(told))) as upstream, Hosted(config(upstream, provider, **endpoint)) as hosted:
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(post(path, body))
        assert reply.status == 200, reply.body
        head, _, sent = upstream.requests[-1].partition(b"\r\n\r\n")
    return json.loads(reply.body), head.split(b" ")[1].decode(), json.loads(sent)


async def test_a_count_of_google_own_is_passed_on() -> None:
    told, path, _ = await asked({"totalTokens": 31}, "gemini", "/v1beta/models/m:countTokens", {"contents": [{"parts": [{"text": "x"}]}]})

    assert told == {"totalTokens": 31}
    assert path == "/v1beta/models/up-a:countTokens"


async def test_names_of_the_model_inside_a_request_are_the_endpoints() -> None:
    told, path, sent = await asked(VECTORS, "gemini", "/v1beta/models/m:batchEmbedContents", BATCH)

    assert told == VECTORS
    assert path == "/v1beta/models/up-a:batchEmbedContents"
    assert [one["model"] for one in sent["requests"]] == ["models/up-a"] * 2
    assert [one["content"] for one in sent["requests"]] == [one["content"] for one in BATCH["requests"]]


@pytest.mark.parametrize("base64", [False, True])
async def test_openais_door_of_vectors_reaches_gemini(*, base64: bool) -> None:
    body = {**TEXTS, "dimensions": 2, **({"encoding_format": "base64"} if base64 else {})}
    told, path, sent = await asked(VECTORS, "gemini", "/v1/embeddings", body)

    assert path == "/v1beta/models/up-a:batchEmbedContents"
    assert sent["requests"][1] == {"model": "models/up-a", "content": {"parts": [{"text": "two"}]}, "outputDimensionality": 2}
    assert [one["embedding"] for one in told["data"]] == (["AAAAPwAAgD4=", "AACAPwAAAAA="] if base64 else [[0.5, 0.25], [1.0, 0.0]])
    assert told["usage"] == {"prompt_tokens": 4, "total_tokens": 4}


@pytest.mark.parametrize("door", ["/v1/embeddings", "/v1beta/models/m:batchEmbedContents"])
async def test_vertex_older_models_predict(door: str) -> None:
    body = TEXTS if door == "/v1/embeddings" else BATCH
    more = {"model": "text-embedding-005", "options": {"project": "p"}, "api_key": ""}
    told, path, sent = await asked(PREDICTED, "vertex", door, body, **more)

    assert path.endswith("/publishers/google/models/text-embedding-005:predict")
    assert sent == {"instances": [{"content": "one"}, {"content": "two"}]}
    vectors = [one["embedding"] for one in told["data"]] if door == "/v1/embeddings" else [one["values"] for one in told["embeddings"]]
    assert vectors == [[0.5, 0.25], [1.0, 0.0]]


@pytest.mark.parametrize("verb", ["embedContent", "batchEmbedContents"])
async def test_googles_doors_of_vectors_reach_openai(verb: str) -> None:
    body = BATCH["requests"][0] if verb == "embedContent" else BATCH
    told, path, sent = await asked(OPENAIS, "openai_compatible", f"/v1beta/models/m:{verb}", body)

    assert path == "/v1/embeddings"
    assert sent == {"model": "up-a", "input": ["one"] if verb == "embedContent" else ["one", "two"]}
    assert told.get("embedding", told.get("embeddings", [{}])[0]) == {"values": [0.5, 0.25]}
    assert told["usageMetadata"] == {"promptTokenCount": 4}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"requests": []}, "requests: expected at least one text"),
        ({"requests": [{"content": {"parts": [{"inlineData": {}}]}}]}, "requests[0].content.parts: expected text"),
        (
            {"requests": [{**BATCH["requests"][0], "outputDimensionality": 2}, BATCH["requests"][1]]},
            "requests: texts with different settings",
        ),
    ],
)
async def test_what_cannot_be_said_elsewhere_is_refused_by_its_place(body: dict[str, Any], told: str) -> None:
    async with (
        Upstream(once(answer(OPENAIS))) as upstream,
        Hosted(config(upstream, "openai_compatible")) as hosted,
        Peer(hosted.port) as peer,
    ):
        reply = await peer.ask(post("/v1beta/models/m:batchEmbedContents", body))

    assert reply.status == 400
    assert told in json.loads(reply.body)["error"]["message"]
    assert not upstream.requests
