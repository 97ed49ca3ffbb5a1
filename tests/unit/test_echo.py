"""The echo model: whole HTTP responses in the forms of OpenAI's APIs, made in process."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import httptools
import pytest
from dispatch.providers.chat import decode_answer, decode_event
from dispatch.providers.echo import answer


class Reply:
    """What an HTTP client makes of the pieces."""

    def __init__(self, pieces: tuple[bytes, ...]) -> None:
        self.body = b""
        self.chunks = 0
        self.is_complete = False
        self.headers: dict[bytes, bytes] = {}
        parser = httptools.HttpResponseParser(self)
        for piece in pieces:
            parser.feed_data(piece)
        self.status = parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name] = value

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_chunk_header(self) -> None:
        self.chunks += 1

    def on_message_complete(self) -> None:
        self.is_complete = True

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[bytes]:
        return [
            line.removeprefix(b"data: ") for block in self.body.split(b"\n\n") for line in block.split(b"\n") if line.startswith(b"data: ")
        ]


def ask(door: str, **body: Any) -> Reply:
    reply = Reply(answer(door, json.dumps(body).encode(), now_s=1700000000))
    assert reply.is_complete
    return reply


def said(*messages: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in messages]


def test_the_last_user_message_comes_back() -> None:
    reply = ask("chat", model="echo", messages=said(("user", "one"), ("user", "two three"), ("assistant", "no")))
    response = decode_answer(reply.body)

    assert (reply.status, reply.headers[b"content-type"]) == (200, b"application/json")
    assert (response.text, response.finish_reason, response.model) == ("two three", "stop", "echo")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (4, 2)
    assert reply.json()["created"] == 1700000000


def test_text_parts_are_joined_and_others_left_out() -> None:
    parts = [{"type": "text", "text": "a "}, {"type": "image_url", "image_url": {"url": "data:..."}}, {"type": "text", "text": "b"}]

    assert decode_answer(ask("chat", messages=said(("user", parts))).body).text == "a b"


@pytest.mark.parametrize("text", ["", " ", "hi", "  two  words  ", "line\nline\n", "日本語 \u2028 x", "\r\n\r\n", 'data: "x"\n\n'])
def test_a_stream_says_what_the_whole_answer_says(text: str) -> None:
    whole = decode_answer(ask("chat", messages=said(("user", text))).body)
    reply = ask("chat", messages=said(("user", text)), stream=True, stream_options={"include_usage": True})
    deltas = [delta for event in reply.events() for delta in decode_event(event)]

    assert "".join(delta.text for delta in deltas) == whole.text == text
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    assert [delta.usage for delta in deltas if delta.usage] == [whole.usage]
    assert reply.events()[-1] == b"[DONE]"
    assert reply.chunks == len(reply.events()) + 1


def test_usage_is_streamed_only_if_asked_for() -> None:
    assert b"usage" not in ask("chat", messages=said(("user", "a")), stream=True).body
    assert b"usage" not in ask("chat", messages=said(("user", "a")), stream=True, stream_options={"include_usage": False}).body


def test_an_answer_keeps_to_its_limit() -> None:
    response = decode_answer(ask("chat", messages=said(("user", "a b c d")), max_completion_tokens=2).body)

    assert (response.text, response.finish_reason, response.usage.output_tokens) == ("a b", "length", 2)


def test_there_are_as_many_choices_as_asked_for() -> None:
    assert [choice["index"] for choice in ask("chat", messages=said(("user", "a")), n=3).json()["choices"]] == [0, 1, 2]
    events = [json.loads(event) for event in ask("chat", messages=said(("user", "a")), n=3, stream=True).events()[:-1]]
    assert {event["choices"][0]["index"] for event in events if event["choices"][0]["finish_reason"]} == {0, 1, 2}


def test_completions() -> None:
    reply = ask("completions", prompt=["a b", "c"], model="m").json()

    assert [choice["text"] for choice in reply["choices"]] == ["a b", "c"]
    assert reply["object"] == "text_completion"
    events = ask("completions", prompt="a b", stream=True).events()
    assert "".join(json.loads(event)["choices"][0]["text"] for event in events[:-1]) == "a b"


def test_embeddings_are_unit_vectors_of_their_text() -> None:
    reply = ask("embeddings", input=["a", "b", "a"]).json()
    vectors = [row["embedding"] for row in reply["data"]]

    assert vectors[0] == vectors[2] != vectors[1]
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-5) for vector in vectors)
    assert len(ask("embeddings", input="a", dimensions=32).json()["data"][0]["embedding"]) == 32
    packed = ask("embeddings", input="a", encoding_format="base64").json()["data"][0]["embedding"]
    assert struct.unpack("<8f", base64.b64decode(packed)) == pytest.approx(vectors[0])
    assert len(ask("embeddings", input=[[1, 2], [3]]).json()["data"]) == 2
    assert len(ask("embeddings", input=[1, 2]).json()["data"]) == 1


def test_responses() -> None:
    reply = ask("responses", model="m", input="hi there", instructions="be brief").json()

    assert reply["output"][0]["content"][0]["text"] == "hi there"
    assert reply["usage"]["input_tokens"] == 4
    assert reply["status"] == "completed"
    cut = ask("responses", input=[{"role": "user", "content": [{"type": "input_text", "text": "a b c"}]}], max_output_tokens=1).json()
    assert (cut["status"], cut["output"][0]["content"][0]["text"]) == ("incomplete", "a")


def test_responses_are_streamed_in_order() -> None:
    events = [json.loads(event) for event in ask("responses", input="hi there", stream=True).events()]

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == "hi there"
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "hi there"


def test_every_answer_is_valid_for_the_official_sdk() -> None:
    from openai.types import Completion, CreateEmbeddingResponse
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from openai.types.responses import Response, ResponseStreamEvent
    from pydantic import TypeAdapter

    chat = {"messages": said(("user", "a b"))}
    ChatCompletion.model_validate_json(ask("chat", **chat).body)
    Completion.model_validate_json(ask("completions", prompt="a").body)
    CreateEmbeddingResponse.model_validate_json(ask("embeddings", input="a").body)
    Response.model_validate_json(ask("responses", input="a b").body)
    for event in ask("chat", **chat, stream=True, stream_options={"include_usage": True}).events()[:-1]:
        ChatCompletionChunk.model_validate_json(event)
    stream_event: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
    for event in ask("responses", input="a b", stream=True).events():
        stream_event.validate_json(event)


@pytest.mark.parametrize(
    ("door", "body"),
    [
        ("chat", b"{}"),
        ("chat", b"[]"),
        ("chat", b"{"),
        ("chat", b"\xff"),
        ("chat", b'{"messages": 3}'),
        ("completions", b"{}"),
        ("completions", b'{"prompt": []}'),
        ("embeddings", b'{"input": {}}'),
        ("responses", b"{}"),
    ],
)
def test_a_body_without_a_question_is_refused(door: str, body: bytes) -> None:
    reply = Reply(answer(door, body))

    assert (reply.status, reply.is_complete) == (400, True)
    assert reply.json()["error"]["type"] == "invalid_request_error"
