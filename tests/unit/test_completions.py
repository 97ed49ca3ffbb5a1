"""Prompts and the text that follows them: what plans read of an answer, and how sure a model was of it."""

from __future__ import annotations

import json

import pytest
from dispatch.combine.tongues import TONGUES
from dispatch.dialects.completions.answers import read_answer, write_logprobs
from dispatch.dialects.completions.prompts import PromptWriter, read_prompt, write_completion
from dispatch.dialects.form import Answer, Choice, Finish, Text, TextDelta, Usage
from dispatch.dialects.shape import MalformedAnswer
from dispatch.dialects.target import Losses
from dispatch.errors import BadRequest

SURE = [{"token": " B", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": " C", "logprob": -2.0, "bytes": None}]}]


def test_an_answer_that_is_written_is_read_the_same() -> None:
    choice = Choice(parts=[Text(text=" B")], finish="length", raw_finish="length", logprobs=[{"token": " B", "logprob": -0.5}])
    answer = Answer(id="cmpl-1", model="up", choices=[choice], usage=Usage(input=3, output=1), created=7)

    found = read_answer(write_completion(answer, 9, Losses(drops=True)))

    assert (found.id, found.model, found.created) == ("cmpl-1", "up", 7)
    assert found.choices == [choice]
    assert found.usage is not None
    assert (found.usage.input, found.usage.output) == (3, 1)


@pytest.mark.parametrize("body", [b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": "x"}}]}', b'{"choices": [7]}'])
def test_what_is_no_completion_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        read_answer(body)


def test_tokens_are_listed_with_where_they_begin() -> None:
    told = write_logprobs([*SURE, {"token": "!", "logprob": -0.1}], 10)

    assert told == {"tokens": [" B", "!"], "token_logprobs": [-0.5, -0.1], "top_logprobs": [{" C": -2.0}, {}], "text_offset": [10, 12]}
    assert write_logprobs(None) is None


def test_a_streams_tokens_go_on_where_the_last_ones_ended() -> None:
    writer = PromptWriter(1, wants_usage=False)
    data = writer.write([TextDelta("abc"), TextDelta(" B", 0, SURE), Finish("stop")])

    choices = [json.loads(line[6:])["choices"][0] for line in data.split(b"\n\n") if line]
    assert [choice["logprobs"] and choice["logprobs"]["text_offset"] for choice in choices] == [None, [3], None]


@pytest.mark.parametrize(("asked", "is_asked", "tops"), [(0, True, None), (3, True, 3), (None, False, None), (False, False, None)])
def test_logprobs_are_a_number_here(asked: int | None, is_asked: bool, tops: int | None) -> None:
    request = read_prompt(json.dumps({"model": "m", "prompt": "hi", "logprobs": asked}).encode())

    assert (request.logprobs, request.top_logprobs) == (is_asked, tops)


def test_what_a_plan_says_beside_a_prompt_stands_in_it() -> None:
    tongue = TONGUES["completions"]
    tree = {"model": "m", "prompt": ["Count."], "temperature": 0}

    assert tongue.prefaced(tree, "Be short.") == {"model": "m", "prompt": "Be short.\n\nCount.", "temperature": 0}
    assert tongue.anew(tree, "Which?", 8) == {"model": "m", "prompt": "Which?", "max_tokens": 8}
    assert tongue.longest(tree) == 16
    assert tongue.longest({"max_tokens": 5, "n": 2, "best_of": 4}) == 20
    with pytest.raises(BadRequest):
        tongue.read_turns({"prompt": [1, 2, 3]})


def test_pictures_of_a_prompt_stay_beside_it() -> None:
    tongue = TONGUES["ollama_generate"]
    tree = {"model": "m", "prompt": "What is it?", "images": ["aGk="], "system": "Be short."}
    (turn,) = tongue.read_turns(tree)
    parts = tongue.parts_of(turn)

    assert [part["type"] for part in parts] == ["text", "image"]
    assert tongue.with_turns(tree, [tongue.with_parts(turn, [tongue.text_part("A cat?"), parts[1]])]) == {**tree, "prompt": "A cat?"}
    assert tongue.with_turns(tree, [tongue.with_parts(turn, parts[:1])]) == {"model": "m", "prompt": "What is it?", "system": "Be short."}
    assert tongue.prefaced(tree, "Think.")["system"] == "Think.\n\nBe short."
