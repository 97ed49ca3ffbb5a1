"""A long input in pieces: who works on which, what becomes of the results, and what of failures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.combine.pieces import merged
from dispatch.config import build
from dispatch.errors import ConfigError, Failure

from tests.integration.hosted import Hosted
from tests.integration.models import Model, asked, config
from tests.integration.peer import post
from tests.integration.test_cascades import text_of

if TYPE_CHECKING:
    from tests.integration.peer import Reply

pytestmark = pytest.mark.anyio


def fanout(work: Any = "a", **more: Any) -> dict[str, Any]:
    return {"fanout": {"work": work, **more}}


def shout(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    return text.rpartition("\n\n")[2].upper()


async def ask_with(plan: dict[str, Any], content: Any, *models: Model, lines: tuple[str, ...] = (), **fields: Any) -> tuple[Reply, Hosted]:
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **fields}
    async with Hosted(config(plan, *models)) as hosted:
        reply = await (await hosted.peer()).ask(post(json.dumps(body).encode(), *lines))
        assert reply.is_whole
    return reply, hosted


TEXT = "Shout it.\n\none one\n\ntwo\n\nthree"


@pytest.mark.parametrize("stream", [False, True])
async def test_pieces_are_worked_on_and_joined_in_their_order(stream: bool) -> None:
    async with Model(shout) as one:
        reply, hosted = await ask_with(fanout(split="list", separator=" "), TEXT, one, stream=stream)

        assert text_of(reply) == "ONE ONE TWO THREE"
        prompts = sorted(asked(one, at)["messages"][0]["content"] for at in range(3))
        assert prompts == ["Shout it.\n\none one", "Shout it.\n\nthree", "Shout it.\n\ntwo"]
        ((call, outcome, _),) = hosted.reports
        assert (outcome, call.usage[:2]) == (Failure.NONE, (300, 30))


async def test_paragraphs_fill_a_piece_and_pages_are_pieces() -> None:
    long = "x" * 90
    async with Model("ok") as one:
        await ask_with(fanout(split="paragraph", max_chars=100), f"Do.\n\n{long}\n\n{long}\n\na\n\nb", one)
        assert len(one.requests) == 2
        await ask_with(fanout(split="page"), "Do.\n\npage one\n\nstill\fpage two\f", one)
        assert len(one.requests) == 4


async def test_items_of_a_list_are_mapped_and_json_is_merged() -> None:
    def work(body: dict[str, Any]) -> str:
        item = json.loads(body["messages"][0]["content"].rpartition("\n\n")[2])
        return json.dumps({"sum": [item["n"] * 2], "last": item["n"]})

    async with Model(work) as one:
        content = [{"type": "text", "text": "Double."}, {"type": "text", "text": '[{"n": 1}, {"n": 2}, {"n": 3}]'}]
        reply, _ = await ask_with(fanout(split="list", join="json"), content, one)
        assert json.loads(text_of(reply)) == {"sum": [2, 4, 6], "last": 3}


async def test_each_modality_goes_to_the_model_that_knows_it() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    async with Model("seen") as eyes, Model("heard") as ears:
        plan = fanout({"image": "a", "audio": "b"}, split="modality", separator="+")
        reply, _ = await ask_with(plan, [{"type": "text", "text": "What?"}, image, sound, image], eyes, ears)

        assert text_of(reply) == "seen+heard"
        assert asked(eyes)["messages"][0]["content"] == [{"type": "text", "text": "What?"}, image, image]
        reply, _ = await ask_with(plan, [{"type": "text", "text": "What?"}, {"type": "file", "file": {"file_id": "f"}}], eyes, ears)
        assert reply.code == (400, "unsupported_parameter")
        assert "file is not among" in reply.error["message"]


async def test_a_model_reduces_the_results_as_it_writes() -> None:
    async with Model(shout) as one, Model("all in one") as two:
        reply, _ = await ask_with(fanout(split="list", join="reduce", reduce="b"), TEXT, one, two, stream=True)

        assert text_of(reply).replace(" ", "") == "allinone"
        prompt = asked(two)["messages"][0]["content"]
        assert "Part 3:\nTHREE" in prompt
        assert "Shout it." in prompt
        assert asked(two)["stream"] is True


def fails_on_two(body: dict[str, Any]) -> Any:
    said = shout(body)
    return 500 if said == "TWO" else said


async def test_a_piece_that_fails_fails_the_request() -> None:
    async with Model(fails_on_two) as one:
        reply, hosted = await ask_with(fanout(split="list"), TEXT, one)
        assert reply.code == (502, "upstream_error")
        assert reply.error["message"].startswith("part 2 of 3 failed")
        assert hosted.outcomes() == {Failure.SERVER: 1}


async def test_a_partial_answer_says_what_is_missing() -> None:
    async with Model(fails_on_two) as one:
        reply, _ = await ask_with(fanout(split="list", separator="|", partial=True), TEXT, one)
        assert text_of(reply) == "ONE ONE|[part 2 of 3 failed]|THREE"
        assert reply.headers["x-dispatch-failed-parts"] == "2"


async def test_no_more_are_asked_at_once_than_allowed() -> None:
    busy, most = 0, 0

    async def work(body: dict[str, Any]) -> str:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await one.until(lambda: busy == 2 or len(one.requests) == 5)
        busy -= 1
        return "x"

    async with Model(work) as one:
        await ask_with(fanout(split="list", at_once=2), "Do.\n\n1\n2\n3\n4\n5", one)
        assert most == 2


async def test_a_client_that_asks_hears_how_far_it_is() -> None:
    async with Model(shout) as one:
        reply, _ = await ask_with(fanout(split="list"), TEXT, one, lines=("x-dispatch-queue-events: 1",), stream=True)
        assert b": 2 of 3 parts done\n\n" in reply.body
        assert text_of(reply) == "ONE ONE\n\nTWO\n\nTHREE"


@pytest.mark.parametrize(("content", "status"), [("", 400), ("Do.\n\n" + "x\n" * 9, 413)])
async def test_nothing_to_cut_and_too_much_are_told(content: str, status: int) -> None:
    async with Model("x") as one:
        reply, _ = await ask_with(fanout(split="list", most=8), content, one)
        assert reply.status == status
        assert not one.requests


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[1], [2, 3]], [1, 2, 3]),
        ([{"a": {"b": [1]}}, {"a": {"b": [2]}, "c": 4}], {"a": {"b": [1, 2]}, "c": 4}),
        ([1, 2], 2),
        ([[1], {"a": 1}], {"a": 1}),
    ],
)
def test_json_is_merged_by_shape(values: list[Any], expected: Any) -> None:
    assert merged(values) == expected


@pytest.mark.parametrize(
    ("plan", "path", "reason"),
    [
        ({"fanout": {}}, "models.m.fanout.work", "missing"),
        (fanout(join="reduce"), "models.m.fanout.reduce", "needs `join: reduce`"),
        (fanout(reduce="b"), "models.m.fanout.reduce", "needs `join: reduce`"),
        (fanout(prompt="hm"), "models.m.fanout.prompt", "{piece}"),
        (fanout({"smell": "a"}, split="modality"), "models.m.fanout.work.smell", "unknown key"),
        (fanout({}, split="modality"), "models.m.fanout.work", "plans by modality"),
        (fanout("m"), "models.m.fanout.work", "lead back"),
    ],
)
async def test_a_bad_fanout_stops_the_start(plan: dict[str, Any], path: str, reason: str) -> None:
    async with Model("x") as one, Model("y") as two:
        with pytest.raises(ConfigError) as refused:
            build(config(plan, one, two))
    assert refused.value.path == path
    assert reason in refused.value.reason
