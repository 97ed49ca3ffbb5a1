"""A small model first: whose answer the client gets, what it costs, and what is asked at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted, until
from tests.integration.models import Model, asked, config
from tests.integration.peer import chat, events_of

if TYPE_CHECKING:
    from tests.integration.peer import Reply

pytestmark = pytest.mark.anyio


def cascade(*steps: Any, **more: Any) -> dict[str, Any]:
    return {"cascade": {"steps": [*steps], **more}}


def text_of(reply: Reply) -> str:
    if reply.headers["content-type"].startswith("text/event-stream"):
        events = [event for event in events_of(reply.body) if event != "[DONE]"]
        return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])
    content: str = json.loads(reply.body)["choices"][0]["message"]["content"]
    return content


async def ask(plan: dict[str, Any], *models: Model, stream: bool = False, **settings: Any) -> tuple[Reply, Hosted]:
    async with Hosted(config(plan, *models, **settings)) as hosted:
        reply = await (await hosted.peer()).ask(chat(stream=stream))
        assert reply.is_whole
    return reply, hosted


@pytest.mark.parametrize("stream", [False, True])
async def test_a_sure_answer_is_the_clients_and_nobody_else_is_asked(stream: bool) -> None:
    async with Model({"content": "sure", "logprob": -0.1}) as small, Model("large") as large:
        reply, hosted = await ask(cascade("a", "b", escalate_if={"logprob_below": -0.9}), small, large, stream=stream)

        assert text_of(reply) == "sure"
        assert reply.headers["x-dispatch-endpoint"] == "a"
        assert reply.headers["x-dispatch-branches"] == "a=100+10"
        assert not large.requests
        assert asked(small)["logprobs"] is True
        assert "stream" not in asked(small)
        assert hosted.outcomes() == {Failure.NONE: 1}
        if stream:
            assert events_of(reply.body)[-1] == "[DONE]"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("said", [{"content": "hm", "logprob": -1.5}, "does not tell", {"content": "", "logprob": 0.0}, 500])
async def test_an_answer_in_doubt_goes_to_the_next_step_which_answers_as_it_comes(said: Any, stream: bool) -> None:
    async with Model(lambda _: dict(said) if isinstance(said, dict) else said) as small, Model("large one") as large:
        reply, hosted = await ask(cascade("a", "b", escalate_if={"logprob_below": -0.9}), small, large, stream=stream)

        assert text_of(reply).replace(" ", "") == "largeone"
        assert reply.headers["x-dispatch-endpoint"] == "b"
        assert asked(large).get("stream", False) is stream
        assert "logprobs" not in asked(large)
        assert hosted.outcomes() == {Failure.NONE: 1}
        ((call, _, _),) = hosted.reports
        asked_twice = 1 if said == 500 else 2
        assert call.usage[:2] == (100 * asked_twice, 10 * asked_twice)
        assert call.attempts == 2


@pytest.mark.parametrize(("second", "answers"), [("(B)", "a"), ("It is C.", "c")])
async def test_two_cheap_answers_that_agree_are_enough(second: str, answers: str) -> None:
    async with Model("The answer is B") as one, Model(second) as two, Model("C") as large:
        reply, _ = await ask(cascade(["a", "b"], "c", escalate_if={"compare": "choice"}), one, two, large)

        assert reply.headers["x-dispatch-endpoint"] == answers
        assert len(large.requests) == (answers == "c")


async def test_samples_of_one_model_must_agree() -> None:
    said = iter(["4", "five", "4", "4"])
    async with Model(lambda _: next(said)) as small, Model("large") as large:
        doubt = {"samples": 4, "agreement": 0.75, "compare": "number"}
        reply, _ = await ask(cascade("a", "b", escalate_if=doubt), small, large)

        assert text_of(reply) == "4"
        assert len(small.requests) == 4
        assert {asked(small, at)["temperature"] for at in range(4)} == {0.7}
        assert not large.requests


@pytest.mark.parametrize(
    ("verify", "said", "is_accepted"),
    [
        ({"regex": r"^\d+$"}, "42", True),
        ({"regex": r"^\d+$"}, "forty-two", False),
        ({"schema": {"type": "object", "required": ["total"]}}, '```json\n{"total": 3}\n```', True),
        ({"schema": {"type": "object", "required": ["total"]}}, '{"sum": 3}', False),
        ({"schema": {"type": "object"}}, "no json", False),
        ({"regex": r"^total: \d+$"}, "the bill\ntotal: 12\nthanks", True),
        ({"schema": {"properties": {"id": {"pattern": r"^A\d+$"}}}}, '{"id": "A7"}', True),
        ({"schema": {"properties": {"id": {"pattern": r"^A\d+$"}}}}, '{"id": "x\\nA7"}', False),
        ({"function": "tests.integration.test_cascades:is_polite"}, "thank you", True),
        ({"function": "tests.integration.test_cascades:is_polite"}, "go away", False),
    ],
)
async def test_a_verifier_decides(verify: dict[str, Any], said: str, is_accepted: bool) -> None:
    async with Model(said) as small, Model("large") as large:
        reply, _ = await ask(cascade("a", "b", escalate_if={"verify": verify}), small, large)

        assert reply.headers["x-dispatch-endpoint"] == ("a" if is_accepted else "b")


@pytest.mark.parametrize("verify", [{"regex": "^(a+)+$"}, {"schema": {"pattern": "^(a+)+$"}}])
async def test_no_text_of_a_model_keeps_a_pattern_busy(verify: dict[str, Any]) -> None:
    """Engines that go back try 2^40 ways here."""
    said = "a" * 40 + "!"
    async with Model(json.dumps(said) if "schema" in verify else said) as small, Model("large") as large:
        reply, _ = await ask(cascade("a", "b", escalate_if={"verify": verify}), small, large)

        assert reply.headers["x-dispatch-endpoint"] == "b"


async def test_a_long_answer_is_looked_at_beside_the_loop() -> None:
    async with Model("x" * 1_000_000) as small, Model("large") as large:
        reply, _ = await ask(cascade("a", "b", escalate_if={"verify": {"regex": "^(x+x+)+y"}}), small, large)

        assert reply.headers["x-dispatch-endpoint"] == "b"


def is_polite(question: str, answer: str) -> bool:
    assert question == "user: hi"
    return "thank" in answer


@pytest.mark.parametrize(("verdict", "answers"), [("Yes.", "a"), ("no, it is wrong", "b"), ("bananas", "b")])
async def test_a_model_verifies(verdict: str, answers: str) -> None:
    async with Model("small {answer}") as small, Model("large") as large, Model(verdict) as judge:
        reply, _ = await ask(cascade("a", "b", escalate_if={"verify": {"plan": "c"}}), small, large, judge)

        assert reply.headers["x-dispatch-endpoint"] == answers
        (turn,) = asked(judge)["messages"]
        assert "user: hi" in turn["content"]
        assert turn["content"].endswith("small {answer}")


async def test_the_next_step_corrects_what_it_is_shown() -> None:
    async with Model('{"total": 3}') as small, Model('{"total": 4}') as large:
        plan = cascade("a", "b", hand_on="Check it.", escalate_if={"verify": {"regex": "nothing like it"}})
        reply, _ = await ask(plan, small, large)

        assert text_of(reply) == '{"total": 4}'
        assert [turn["content"] for turn in asked(large)["messages"]] == ["hi", '{"total": 3}', "Check it."]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_doubtful_answer_is_better_than_none(stream: bool) -> None:
    async with Model("small") as small, Model(500) as large:
        reply, hosted = await ask(cascade("a", "b", escalate_if={"verify": {"regex": "large"}}), small, large, stream=stream)

        assert text_of(reply) == "small"
        assert reply.headers["x-dispatch-fallback"] == "doubtful"
        assert hosted.outcomes() == {Failure.NONE: 1}


async def test_when_all_steps_fail_the_last_error_is_the_clients() -> None:
    async with Model(500) as small, Model(503) as large:
        reply, hosted = await ask(cascade("a", "b"), small, large)

        assert reply.status in (502, 503)
        assert hosted.outcomes() == {Failure.OVERLOADED: 1}


async def test_the_decision_shows_each_branch_and_why_it_went_on() -> None:
    plan = cascade("a", "b", escalate_if={"verify": {"regex": "large"}})
    async with Model("small") as small, Model("large") as large, Hosted(config(plan, small, large, price=1.0)) as hosted:
        peer = await hosted.peer()
        name = (await peer.ask(chat())).headers["x-dispatch-decision"]
        found = await peer.ask(f"GET /admin/decision?id={name} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())

        step, *pools = json.loads(found.body)["steps"]
        assert (step["path"], step["kind"], step["chosen"]) == ("cascade", "cascade", "b")
        assert [(pool["path"], pool["chosen"], pool["replayed"]) for pool in pools] == [
            ("cascade[0]", "a", True),
            ("cascade[1]", "b", True),
        ]
        assert step["why"] == "a in doubt: not verified; answered"
        costs = [line.rpartition(" ms")[0].rpartition(" ")[0] for line in step["details"]["branches"]]
        assert costs == ["part 0 a 100+10 $0.000110", "part 1 b 100+10 $0.000110"]


@pytest.mark.parametrize(
    ("budget", "asks"), [({"tokens": 110}, 1), ({"tokens": 111}, 2), ({"dollars": 0.00011}, 1), ({"dollars": 0.00012}, 2)]
)
async def test_a_budget_is_exceeded_by_one_call_at_most(budget: dict[str, Any], asks: int) -> None:
    async with Model("one") as one, Model("two") as two, Model("three") as three:
        plan = cascade("a", "b", "c", escalate_if={"verify": {"regex": "three"}}, budget=budget)
        reply, _ = await ask(plan, one, two, three, price=1.0)

        assert len(one.requests) + len(two.requests) + len(three.requests) == asks
        assert text_of(reply) == ("one", "two")[asks - 1]
        assert reply.headers["x-dispatch-cost-usd"] == f"{0.00011 * asks:.9f}"


async def test_the_time_of_a_budget_ends_the_waiting() -> None:
    async with Model("one") as one, Model(None) as two, Model(None) as three:
        plan = cascade("a", "b", "c", escalate_if={"verify": {"regex": "three"}}, budget={"seconds": 1.2})
        reply, _ = await ask(plan, one, two, three)

        assert text_of(reply) == "one"
        await two.until(lambda: two.left == 1)
        await three.until(lambda: three.left == 1)


async def test_a_client_that_leaves_ends_all_that_is_under_way() -> None:
    async with Model(None) as one, Model(None) as two, Model("large") as large:
        running = Hosted(config(cascade(["a", "b"], "c"), one, two, large))
        async with running as hosted:
            peer = await hosted.peer()
            await peer.send(chat())
            await one.until(lambda: one.requests)
            await two.until(lambda: two.requests)
            peer.reset()
            await one.until(lambda: one.left == 1)
            await two.until(lambda: two.left == 1)
            await until(lambda: hosted.reports)
            assert hosted.outcomes() == {Failure.CANCELLED: 1}
            assert not large.requests


async def test_the_deadline_holds_over_all_steps() -> None:
    async with Model("small") as small, Model(None) as large:
        reply, hosted = await ask(cascade("a", "b", escalate_if={"verify": {"regex": "x"}}), small, large, deadline_s=1.4)

        # There was an answer, and it was in doubt: it is given when nothing better comes in time.
        assert text_of(reply) == "small"
        assert hosted.outcomes() == {Failure.NONE: 1}


async def test_cascades_nest_in_fallbacks_and_cascades() -> None:
    async with Model(500) as one, Model("two") as two, Model("three") as three, Model("four") as four:
        inner = cascade("b", "c", escalate_if={"verify": {"regex": "nobody"}})
        plan = cascade("a", inner, "d", escalate_if={"verify": {"regex": "four"}})
        reply, hosted = await ask(plan, one, two, three, four)

        assert text_of(reply) == "four"
        assert reply.headers["x-dispatch-attempts"] == "4"
        ((call, _, _),) = hosted.reports
        assert call.usage[:2] == (300, 30)


@pytest.mark.parametrize(
    ("plan", "path", "reason"),
    [
        (cascade("a"), "models.m.cascade.steps", "at least two steps"),
        (cascade("a", ["b", "c"]), "models.m.cascade.steps[1]", "nothing follows"),
        (cascade("a", []), "models.m.cascade.steps[1]", "empty list"),
        (cascade("a", "b", escalate_if={"verify": {}}), "models.m.cascade.escalate_if.verify", "nothing that verifies"),
        (cascade("a", "b", escalate_if={"logprob_below": 1}), "models.m.cascade.escalate_if.logprob_below", "<= 0"),
        (cascade("a", "m"), "models.m.cascade.steps[1]", "lead back to itself"),
        (cascade("a", "b", escalate_if={"verify": {"plan": "zz"}}), "models.m.cascade.escalate_if.verify.plan", "name of an endpoint"),
        (cascade("a", "b", escalate_if={"agreement": 0.5}), "models.m.cascade.escalate_if.agreement", "nothing is compared"),
        (cascade("a", "b", budget={}), "models.m.cascade.budget", "expected dollars, tokens or seconds"),
        (cascade("a", "b", budgett={}), "models.m.cascade.budgett", "did you mean 'budget'"),
    ],
)
async def test_a_bad_cascade_stops_the_start(plan: dict[str, Any], path: str, reason: str) -> None:
    from dispatch.config import build
    from dispatch.errors import ConfigError

    async with Model("x") as one, Model("y") as two, Model("z") as three:
        with pytest.raises(ConfigError) as refused:
            build(config(plan, one, two, three))
    assert refused.value.path == path
    assert reason in refused.value.reason


@pytest.mark.parametrize(
    "verify",
    [
        {"regex": "("},
        {"regex": r"(a)\1"},
        {"regex": "(?=x)"},
        {"regex": r"(\w{1000}){1000}"},
        {"function": "tests.nowhere:f"},
        {"schema": {"type": 3}},
        {"schema": {"properties": {"id": {"pattern": "(?=x)"}}}},
        {"schema": {"patternProperties": {"a+": {}}}},
    ],
)
async def test_a_verifier_that_cannot_be_used_stops_the_start(verify: dict[str, Any]) -> None:
    from dispatch.errors import ConfigError

    async with Model("x") as one, Model("y") as two:
        with pytest.raises(ConfigError) as refused:
            async with Hosted(config(cascade("a", "b", escalate_if={"verify": verify}), one, two)):
                pass
    assert refused.value.path.startswith("models.m.cascade.escalate_if.verify.")
