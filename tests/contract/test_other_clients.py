"""What clients that are not the providers' own SDKs say in their own way, each named after who says it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dispatch.config import Endpoint
from dispatch.dialects.form import Answer, Choice, Refusal, Text
from dispatch.dialects.table import DIALECTS
from dispatch.dialects.target import Losses, Target
from dispatch.errors import Failure
from dispatch.providers.base import target_of
from dispatch.providers.function import PROVIDER
from dispatch.testing import MockProvider

from tests.integration.hosted import Hosted

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"city_name": {"type": "string"}}, "required": ["city_name"]}
# The bytes of a PNG whose base64 has both letters in which the two alphabets differ.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg/+"


def asked_of_google(**fields: Any) -> dict[str, Any]:
    """The same at a provider of chat completions."""
    body = {"contents": [{"role": "user", "parts": [{"text": "Weather?"}]}], **fields}
    request = DIALECTS["generate"].read_request(json.dumps(body).encode())
    found: dict[str, Any] = json.loads(DIALECTS["chat"].write_request(request, Target(provider="openai", model="m"), Losses(drops=False)))
    return found


def test_pydantic_ai_writes_names_of_protocol_buffers_into_a_request_in_camel_case() -> None:
    tool = {"name": "weather", "description": "Tells it.", "parameters_json_schema": SCHEMA}

    found = asked_of_google(tools=[{"functionDeclarations": [tool]}], generationConfig={"max_output_tokens": 7})

    assert found["tools"][0]["function"]["parameters"] == SCHEMA
    assert found["max_tokens"] == 7


def test_a_clients_own_names_below_a_schema_stay_as_they_are() -> None:
    call = {"functionCall": {"name": "weather", "args": {"city_name": {"in_words": 1}}}}

    found = asked_of_google(contents=[{"role": "model", "parts": [call]}], tools=[])

    assert json.loads(found["messages"][0]["tool_calls"][0]["function"]["arguments"]) == {"city_name": {"in_words": 1}}


def test_google_genai_writes_images_in_the_alphabet_for_urls() -> None:
    image = {"inlineData": {"mime_type": "image/png", "data": PICTURE.replace("+", "-").replace("/", "_")}}

    found = asked_of_google(contents=[{"role": "user", "parts": [image]}])

    assert found["messages"][0]["content"][0] == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}


def test_vercels_ai_sdk_takes_no_null_for_citations() -> None:
    answer = Answer(id="a", model="m", choices=[Choice(parts=[Text(text="Hi"), Refusal(text="No")], finish="stop")])

    written = json.loads(DIALECTS["messages"].write_answer(answer, 0, Losses(drops=True)))

    assert written["content"] == [{"type": "text", "text": "Hi"}, {"type": "text", "text": "No"}]


def test_aimock_ends_geminis_calls_with_a_word_of_its_own() -> None:
    call = {"functionCall": {"name": "weather", "args": {}}}
    candidate = {"content": {"role": "model", "parts": [call]}, "finishReason": "FUNCTION_CALL"}

    answer = DIALECTS["generate"].read_answer(json.dumps({"candidates": [candidate]}).encode())

    assert answer.choices[0].finish == "tool"


def test_geminis_command_line_asks_for_top_k_and_a_program_takes_it() -> None:
    endpoint = Endpoint(name="a", provider="function", model="m")
    request = DIALECTS["generate"].read_request(b'{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":{"topK":64}}')

    written = DIALECTS["chat"].write_request(request, target_of(PROVIDER, endpoint), Losses(drops=False))

    assert json.loads(written)["top_k"] == 64


async def test_what_codex_asks_for_and_no_chat_has_is_the_clients_fault_in_the_books_too() -> None:
    tool = {"type": "web_search"}
    body = json.dumps({"model": "m", "input": "Say hi", "tools": [tool]}).encode()
    async with MockProvider() as mock:
        endpoint = {"name": "a", "provider": "openai_compatible", "model": "m", "base_url": mock.base_url, "doors": ["chat"]}
        async with Hosted({"endpoints": [endpoint], "models": {"m": "a"}}) as hosted:
            peer = await hosted.peer()
            head = b"POST /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            reply = await peer.ask(head % len(body) + body)

            assert reply.status == 400
            assert json.loads(reply.body)["error"]["param"] == "tools[0]"
            assert hosted.outcomes() == {Failure.BAD_REQUEST: 1}


@pytest.mark.parametrize(
    ("path", "lines", "status"),
    [
        (b"/api/chat", b"", 200),
        (b"/api/chat", b"origin: http://127.0.0.1:3000\r\n", 403),
        (b"/api/chat", b"content-type: text/plain\r\n", 415),
        (b"/v1/chat/completions", b"", 415),
    ],
    ids=["Ollama's", "of a web page", "of another type", "OpenAI's"],
)
async def test_litellm_asks_ollama_without_a_content_type(path: bytes, lines: bytes, status: int) -> None:
    body = json.dumps({"model": "m", "stream": False, "messages": [{"role": "user", "content": "Say hi"}]}).encode()
    async with MockProvider(echo=True) as mock:
        config = {
            "endpoints": [{"name": "a", "provider": "openai_compatible", "model": "m", "base_url": mock.base_url}],
            "models": {"m": "a"},
        }
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            head = b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\n%bcontent-length: %d\r\n\r\n" % (path, lines, len(body))
            reply = await peer.ask(head + body)

    assert reply.status == status, reply.body
    if status == 200:
        assert json.loads(reply.body)["message"]["content"] == "Say hi"
