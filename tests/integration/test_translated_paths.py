"""Translated requests on the sidecar's paths: refusals, headers, keys, streams that break."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import google.genai
import google.genai.errors
import openai
import pytest

from tests.integration.hosted import Hosted
from tests.integration.upstream import ERROR, GOOD, Upstream, answer, chunk, delta, once, stream_head

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")  # Google's own business

TURN: Any = [{"role": "user", "content": "hello"}]
WRONG: Any = [{"role": "user", "content": [1]}]
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


def config(upstream: Upstream, provider: str, **endpoint: Any) -> dict[str, Any]:
    base = upstream.base_url.removesuffix("/v1") if provider in {"anthropic", "gemini"} else upstream.base_url
    end = {"name": "a", "provider": provider, "model": "up-5", "base_url": base, "api_key": "env:UP_KEY", **endpoint}
    return {"endpoints": [end], "models": {"m": {"endpoints": ["a"], "retry": {"attempts": 1}}}}


def claude(hosted: Hosted) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{hosted.port}", api_key="sk-any", max_retries=0)


def gpt(hosted: Hosted) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{hosted.port}/v1", api_key="sk-any", max_retries=0)


def sent(upstream: Upstream) -> tuple[str, dict[str, Any]]:
    head, _, body = upstream.requests[-1].partition(b"\r\n\r\n")
    return head.decode().lower(), json.loads(body)


async def test_anthropics_sdk_talks_to_an_openai_server() -> None:
    async with Upstream(GOOD) as upstream, Hosted(config(upstream, "openai_compatible")) as hosted, claude(hosted) as sdk:
        message = await sdk.messages.create(model="m", max_tokens=10, messages=TURN)

    head, body = sent(upstream)
    assert [block.text for block in message.content if block.type == "text"] == ["hello"]
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == ("end_turn", 3, 2)
    assert "authorization: bearer sk-upstream-secret" in head
    assert "anthropic-version" not in head
    assert body == {"model": "up-5", "messages": TURN, "max_tokens": 10}


async def test_openais_sdk_talks_to_an_anthropic_server() -> None:
    async with Upstream(once(answer(MESSAGE))) as upstream, Hosted(config(upstream, "anthropic")) as hosted, gpt(hosted) as sdk:
        completion = await sdk.chat.completions.create(model="m", messages=TURN)

    head, body = sent(upstream)
    assert completion.choices[0].message.content == "hello"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 5
    assert head.startswith("post /v1/messages http/1.1")
    assert "x-api-key: sk-upstream-secret" in head
    assert "anthropic-version: 2023-06-01" in head
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]


async def test_the_same_dialect_is_not_touched() -> None:
    async with Upstream(once(answer(MESSAGE))) as upstream, Hosted(config(upstream, "anthropic")) as hosted, claude(hosted) as sdk:
        await sdk.messages.create(model="m", max_tokens=10, messages=TURN, extra_body={"unheard_of": {"a": [1.50]}})

    head, body = sent(upstream)
    assert body["unheard_of"] == {"a": [1.5]}
    assert head.count("anthropic-version") == 1


async def test_a_client_that_names_no_version_of_anthropics_api_is_served() -> None:
    async with Upstream(once(answer(MESSAGE))) as upstream, Hosted(config(upstream, "anthropic")) as hosted:
        peer = await hosted.peer()
        body = json.dumps({"model": "m", "max_tokens": 5, "messages": TURN}).encode()
        reply = await peer.ask(
            b"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (len(body), body)
        )

    assert reply.status == 200
    assert sent(upstream)[0].count("anthropic-version: 2023-06-01") == 1


async def test_what_the_target_cannot_do_is_refused_by_its_name() -> None:
    async with Upstream(once(answer(MESSAGE))) as upstream, Hosted(config(upstream, "anthropic")) as hosted, gpt(hosted) as sdk:
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.chat.completions.create(model="m", messages=TURN, logit_bias={"1": 5})

    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "logit_bias")
    assert not upstream.requests


@pytest.mark.parametrize("by", ["client", "config"])
async def test_or_left_out_and_named_where_somebody_says_so(by: str) -> None:
    endpoint = {"drop_unsupported": True} if by == "config" else {}
    headers = {"x-dispatch-drop-unsupported": "true"} if by == "client" else {}
    async with Upstream(once(answer(MESSAGE))) as upstream, Hosted(config(upstream, "anthropic", **endpoint)) as hosted, gpt(hosted) as sdk:
        whole = await sdk.chat.completions.with_raw_response.create(
            model="m", messages=TURN, logit_bias={"1": 5}, seed=3, extra_headers=headers
        )

    assert whole.headers["x-dispatch-dropped"] == "logit_bias, seed"
    assert "logit_bias" not in sent(upstream)[1]


async def test_a_malformed_request_is_refused_in_the_doors_own_error_by_its_place() -> None:
    async with Upstream(GOOD) as upstream, Hosted(config(upstream, "openai_compatible")) as hosted, claude(hosted) as sdk:
        with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\].content\[0\]") as refused:
            await sdk.messages.create(model="m", max_tokens=5, messages=WRONG)
        with pytest.raises(anthropic.NotFoundError):
            await sdk.messages.create(model="none", max_tokens=5, messages=TURN)

    assert isinstance(refused.value.body, dict)
    assert refused.value.body["error"]["type"] == "invalid_request_error"


async def test_an_answer_that_is_none_is_a_clear_error() -> None:
    async with Upstream(once(answer({"id": "x"}))) as upstream, Hosted(config(upstream, "anthropic")) as hosted, gpt(hosted) as sdk:
        with pytest.raises(openai.InternalServerError) as broken:
            await sdk.chat.completions.create(model="m", messages=TURN)

    assert broken.value.status_code == 502


async def test_a_providers_error_comes_in_the_clients_dialect() -> None:
    async with (
        Upstream(once(answer(ERROR, 500))) as upstream,
        Hosted(config(upstream, "openai_compatible")) as hosted,
        claude(hosted) as sdk,
    ):
        with pytest.raises(anthropic.InternalServerError) as failed:
            await sdk.messages.create(model="m", max_tokens=5, messages=TURN)

    assert failed.value.body == {"type": "error", "error": {"type": "api_error", "message": "the server had an error"}}


async def test_a_stream_that_breaks_is_told_in_the_clients_dialect() -> None:
    begun = stream_head() + delta(None) + delta("half") + chunk(b'data: {"error": {"message": "gone", "type": "server_error"}}\n\n')
    async with (
        Upstream(once(begun, then="fin")) as upstream,
        Hosted(config(upstream, "openai_compatible")) as hosted,
        claude(hosted) as sdk,
    ):
        texts: list[str] = []

        async def read() -> None:
            async with sdk.messages.stream(model="m", max_tokens=5, messages=TURN) as stream:
                texts.extend([text async for text in stream.text_stream])

        with pytest.raises(anthropic.APIError, match="gone"):
            await read()


async def test_each_event_leaves_when_it_comes() -> None:
    async def script(line: Any) -> None:
        await line.request()
        await line.send(stream_head() + delta(None) + delta("one"))
        await go.wait()
        await line.send(delta("two") + delta("", "stop") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    go = asyncio.Event()
    texts = []
    async with (
        Upstream(script) as upstream,
        Hosted(config(upstream, "openai_compatible")) as hosted,
        claude(hosted) as sdk,
        sdk.messages.stream(model="m", max_tokens=5, messages=TURN) as stream,
    ):
        async for text in stream.text_stream:
            texts.append(text)
            go.set()
        message = await stream.get_final_message()

    assert texts == ["one", "two"]
    assert message.stop_reason == "end_turn"


def gemini(hosted: Hosted) -> google.genai.Client:
    return google.genai.Client(api_key="sk-any", http_options={"base_url": f"http://127.0.0.1:{hosted.port}"})


CANDIDATE = {"content": {"parts": [{"text": "hello"}], "role": "model"}, "finishReason": "STOP", "index": 0}
GENERATED = {
    "candidates": [CANDIDATE],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
    "modelVersion": "g",
    "responseId": "r",
}


async def test_googles_sdk_talks_to_an_openai_server() -> None:
    async with Upstream(GOOD) as upstream, Hosted(config(upstream, "openai_compatible")) as hosted:
        whole = await gemini(hosted).aio.models.generate_content(model="m", contents="hello")

    assert (whole.text, whole.usage_metadata and whole.usage_metadata.prompt_token_count) == ("hello", 3)
    assert "stream" not in sent(upstream)[1]


async def test_googles_sdk_reads_the_stream_of_an_openai_server() -> None:
    stream = stream_head() + delta(None) + delta("hel") + delta("lo", "stop") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    async with Upstream(once(stream)) as upstream, Hosted(config(upstream, "openai_compatible")) as hosted:
        pieces = [one.text async for one in await gemini(hosted).aio.models.generate_content_stream(model="m", contents="hello")]

    assert [text for text in pieces if text] == ["hel", "lo"]
    assert sent(upstream)[1]["stream"] is True


@pytest.mark.parametrize("sdk_of", [gpt, claude])
async def test_other_sdks_talk_to_gemini(sdk_of: Any) -> None:
    async with Upstream(once(answer(GENERATED))) as upstream, Hosted(config(upstream, "gemini")) as hosted, sdk_of(hosted) as sdk:
        if sdk_of is gpt:
            completion = await sdk.chat.completions.create(model="m", messages=TURN)
            assert completion.choices[0].message.content == "hello"
        else:
            message = await sdk.messages.create(model="m", max_tokens=5, messages=TURN)
            assert message.content[0].text == "hello"

    head, body = sent(upstream)
    assert head.startswith("post /v1beta/models/up-5:generatecontent http/1.1")
    assert "x-goog-api-key: sk-upstream-secret" in head
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hello"}]}]


async def test_a_gemini_request_to_gemini_is_not_touched() -> None:
    async with Upstream(once(answer(GENERATED))) as upstream, Hosted(config(upstream, "gemini")) as hosted:
        peer = await hosted.peer()
        body = b'{"contents": [{"parts": [{"text": "x"}]}],  "unheard": 1.50}'
        head = b"POST /v1beta/models/m:generateContent?key=k HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        reply = await peer.ask(head + b"content-length: %d\r\n\r\n%b" % (len(body), body))

    assert json.loads(reply.body) == GENERATED
    assert upstream.requests[-1].endswith(b"\r\n\r\n" + body)


async def test_googles_sdk_reads_our_errors() -> None:
    async with Upstream(GOOD) as upstream, Hosted(config(upstream, "openai_compatible")) as hosted:
        with pytest.raises(google.genai.errors.ClientError) as unknown:
            await gemini(hosted).aio.models.generate_content(model="none", contents="x")

    assert unknown.value.code == 404
    assert "NOT_FOUND" in str(unknown.value)


async def test_tokens_are_counted_by_the_provider_or_estimated() -> None:
    counted = once(answer({"input_tokens": 77}))
    async with Upstream(counted) as upstream, Hosted(config(upstream, "anthropic")) as hosted, claude(hosted) as sdk:
        assert (await sdk.messages.count_tokens(model="m", messages=TURN)).input_tokens == 77
    async with Upstream(GOOD) as upstream, Hosted(config(upstream, "openai_compatible")) as hosted, claude(hosted) as sdk:
        estimate = await sdk.messages.with_raw_response.count_tokens(model="m", messages=TURN)
        total = await gemini(hosted).aio.models.count_tokens(model="m", contents="hello")

    assert estimate.headers["x-dispatch-estimated"] == "true"
    assert (await estimate.parse()).input_tokens == (total.total_tokens or 0) > 0
    assert not upstream.requests


async def test_models_are_listed_for_anthropics_sdk() -> None:
    async with Upstream(GOOD) as upstream, Hosted(config(upstream, "anthropic")) as hosted, claude(hosted) as sdk:
        assert [model.id async for model in sdk.models.list()] == ["m"]


async def test_gemini_embeds_for_its_own_clients() -> None:
    embedded = {"embeddings": [{"values": [0.5, 0.25]}]}
    async with Upstream(once(answer(embedded))) as upstream, Hosted(config(upstream, "gemini")) as hosted:
        got = await gemini(hosted).aio.models.embed_content(model="m", contents="hello")

    assert got.embeddings is not None
    assert got.embeddings[0].values == [0.5, 0.25]
    assert sent(upstream)[0].startswith("post /v1beta/models/up-5:batchembedcontents http/1.1")
