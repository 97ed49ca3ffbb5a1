"""Recorded traffic of OpenAI's dialect through a sidecar: the client gets what the provider said, wherever the network cut it."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from dispatch.policy.mask import masked

from tests.contract.inside import sidecar
from tests.contract.recordings import Answer, Player, Recording, ask, cut_everywhere, cut_inside, cut_randomly, events, frame, recordings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


def said(recording: Recording) -> str:
    """What the first error event of a stream says."""
    errors = (data.get("error") for _, _, data in events(recording.body) if isinstance(data, dict))
    return next((error["message"] for error in errors if error), "")


WHOLE = [one for one in recordings() if one.status == 200 and not one.stream]
STREAMS = [one for one in recordings() if one.stream and not said(one)]
BROKEN = [one for one in recordings() if one.stream and said(one)]
ERRORS = [one for one in recordings() if one.status >= 400]
ONE_BYTE_MOST = 6_000
"""Bytes of the largest answer that is also played one byte at a time: more costs seconds and shows nothing new."""

NO_PAYLOAD = {"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier", "obfuscation", "timings"}
"""What may stand in an event that only tells the usage."""


class Path(NamedTuple):
    port: int
    player: Player


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for all, the product's own: cuts are the same on both."""
    return "asyncio", {"use_uvloop": True}


def config(player: Player, **endpoint: Any) -> dict[str, Any]:
    base_url = f"http://127.0.0.1:{player.port}/v1"
    end = {"name": "up", "provider": "openai_compatible", "base_url": base_url, "model": "upstream", **endpoint}
    return {"endpoints": [end], "models": {"replay": {"endpoints": ["up"], "retry": {"attempts": 1}}}}


@pytest.fixture
async def path(tmp_path: Any) -> AsyncIterator[Path]:
    async with Player() as player, sidecar(tmp_path, config(player)) as port:
        yield Path(port, player)


async def replay(path: Path, recording: Recording, pieces: list[bytes], *, minor: int = 1, **fields: Any) -> Answer:
    path.player.play(pieces)
    return await ask(path.port, recording.path, recording.request | {"model": "replay"} | fields, minor=minor)


def cuts(recording: Recording, chance: random.Random) -> list[tuple[str, Callable[[bytes], list[bytes]]]]:
    """The framings and cuts to play it at."""
    # Where the connection's end is the body's, only its JSON tells that it is whole.
    ends = ["close"] if recording.stream or "json" in recording.content_type else []
    any_framing = chance.choice(["chunked", *ends] if recording.stream else ["chunked", "sized", *ends])
    plays: list[tuple[str, Callable[[bytes], list[bytes]]]] = [
        ("chunked" if recording.stream else "sized", lambda data: [data]),
        (any_framing, lambda data: cut_randomly(data, chance)),
        ("chunked", cut_inside),
    ]
    if len(recording.body) <= ONE_BYTE_MOST and recording.core:
        plays.append(("chunked", cut_everywhere))
    return plays


def exact(raw: bytes) -> Any:
    """JSON with numbers as they are written."""
    return json.loads(raw, parse_float=str)


@pytest.mark.parametrize("recording", WHOLE, ids=repr)
async def test_a_whole_answer_arrives_json_equal(path: Path, recording: Recording) -> None:
    chance = random.Random(recording.name)
    for framing, cut in cuts(recording, chance):
        answer = await replay(path, recording, cut(frame(recording, chance, framing)))

        assert (answer.status, answer.whole) == (200, True), answer.body[:500]
        assert exact(answer.body) == exact(recording.body)
        assert answer.headers["content-type"] == recording.content_type
        (head, sent), *more = path.player.received
        assert not more
        assert exact(sent) == exact(json.dumps(recording.request | {"model": "upstream"}).encode())
        assert head.startswith(f"post {recording.path} ".encode())


def told(recording: Recording, *, injected: bool) -> list[tuple[str, str, object]]:
    """The events that a client is to get."""
    found = events(recording.body)
    if not injected:
        return found
    kept: list[tuple[str, str, object]] = []
    for name, number, data in found:
        if isinstance(data, dict) and "choices" in data:
            if data["choices"] == [] and data.get("usage") and data.keys() <= NO_PAYLOAD:
                continue
            kept.append((name, number, {key: value for key, value in data.items() if key != "usage" or value is not None}))
        else:
            kept.append((name, number, data))
    return kept


@pytest.mark.parametrize("recording", STREAMS, ids=repr)
async def test_a_stream_arrives_event_for_event(path: Path, recording: Recording) -> None:
    chance = random.Random(recording.name)
    is_chat = "responses" not in recording.path
    for framing, cut in cuts(recording, chance):
        for options in ({"include_usage": True}, None):
            injected = is_chat and options is None
            fields = {"stream_options": options} if is_chat else {}
            answer = await replay(path, recording, cut(frame(recording, chance, framing)), minor=chance.choice([1, 1, 0]), **fields)

            assert (answer.status, answer.whole) == (200, True), answer.body[:500]
            assert events(answer.body) == told(recording, injected=injected)
            sent = exact(path.player.received[0][1])
            wanted = recording.request | fields | {"model": "upstream"}
            if injected:
                wanted["stream_options"] = {"include_usage": True}
            assert sent == exact(json.dumps(wanted).encode())


@pytest.mark.parametrize("minor", [1, 0])
@pytest.mark.parametrize("recording", BROKEN, ids=repr)
async def test_an_error_in_a_stream_is_told_and_is_no_clean_end(path: Path, recording: Recording, minor: int) -> None:
    chance = random.Random(recording.name)
    answer = await replay(path, recording, cut_randomly(frame(recording, chance, "chunked"), chance), minor=minor)
    *before, (_, _, last) = events(answer.body) if answer.status == 200 else [("", "", json.loads(answer.body))]

    assert isinstance(last, dict)
    assert said(recording) in last["error"]["message"]
    if answer.status == 200:
        assert not answer.whole
        assert before
        assert before == told(recording, injected=True)[: len(before)]
    else:
        assert answer.status >= 400
        assert answer.headers["x-should-retry"] == "false"


def text_of(body: bytes) -> str:
    """What a provider's error says."""
    try:
        tree = json.loads(body)
    except ValueError:
        return body.decode()
    error = tree.get("error", tree)
    return str(error if isinstance(error, str) else error.get("message") or error.get("detail"))


@pytest.mark.parametrize("recording", ERRORS, ids=repr)
async def test_an_error_keeps_status_text_and_when_to_come_back(tmp_path: Any, recording: Recording) -> None:
    chance = random.Random(recording.name)
    for framing, cut in cuts(recording, chance):
        # With a key of ours, 401 would be ours to mend.
        async with Player() as player, sidecar(tmp_path, config(player, api_key="from_client")) as port:
            player.play(cut(frame(recording, chance, framing)))
            answer = await ask(port, recording.path, recording.request | {"model": "replay"}, key="k")

        assert (answer.status, answer.whole) == (recording.status, True), answer.body[:500]
        assert answer.headers.get("retry-after") == recording.headers.get("retry-after")
        assert answer.headers["x-should-retry"] == "false"
        error = json.loads(answer.body)["error"]
        assert error["message"] == text_of(masked(recording.body))
        if isinstance(json.loads(recording.body).get("error") if recording.body.startswith(b"{") else None, dict):
            assert exact(answer.body) == exact(masked(recording.body))


@pytest.mark.parametrize("recording", [one for one in ERRORS if one.status in {401, 403}], ids=repr)
async def test_a_refusal_of_our_own_key_is_told_as_a_fault_of_ours(tmp_path: Any, recording: Recording) -> None:
    async with Player() as player, sidecar(tmp_path, config(player, api_key="env:K"), {"K": "sk-ours"}) as port:
        player.play([frame(recording, random.Random(1), "sized")])
        answer = await ask(port, recording.path, recording.request | {"model": "replay"})
        (head, _), *_ = player.received

    error = json.loads(answer.body)["error"]
    assert answer.status == 502
    assert b"authorization: bearer sk-ours\r\n" in head
    assert (error["code"], answer.headers["x-should-retry"]) == ("upstream_error", "false")
    assert error["message"].startswith(f"up: status {recording.status}: {text_of(masked(recording.body))}")


@pytest.mark.parametrize(("model", "status"), [("*", 404), ("upstream", 502)])
async def test_an_unknown_model_is_the_fault_of_whoever_named_it(tmp_path: Any, model: str, status: int) -> None:
    error = {"message": "The model does not exist", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
    body = json.dumps({"error": error}).encode()
    async with Player() as player, sidecar(tmp_path, config(player, model=model)) as port:
        player.play([b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)])
        answer = await ask(port, "/v1/chat/completions", {"model": "replay", "messages": []})

    assert answer.status == status
    assert "The model does not exist" in json.loads(answer.body)["error"]["message"]


async def test_a_stream_that_was_not_asked_for_is_named(path: Path) -> None:
    body = b'data: {"type":"response.created"}\n\n'
    path.player.play([b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)])
    answer = await ask(path.port, "/v1/responses", {"model": "replay", "input": "x"})

    assert answer.status == 502
    assert "a stream that was not asked for" in json.loads(answer.body)["error"]["message"]
