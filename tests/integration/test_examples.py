"""Each configuration in `examples`, with doubles in place of its endpoints: it starts, and does what its scenario is about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.cli import main
from dispatch.config.read import read

from tests.integration.hosted import Hosted
from tests.integration.peer import Peer, chat

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

FOLDER = Path(__file__).parents[2] / "examples"
PROSE = "Please tell me a little about the town in which you grew up, and what people do there on Sundays. "


@pytest.fixture(autouse=True)
def routers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train what the examples name, as their first lines say, where the test stands."""
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(FOLDER / "data" / "topics.jsonl"), "--out", "topics.bin"]) == 0
    assert main(["train", str(FOLDER / "data" / "scores.jsonl"), "--out", "router.bin"]) == 0
    (tmp_path / "handbook.md").write_text("Holidays are thirty days a year.")
    assert main(["index", "handbook.md", "--out", "handbook.db"]) == 0
    return iter(())


def example(name: str) -> dict[str, Any]:
    """An example whose endpoints echo, but for its programs."""
    raw: dict[str, Any] = dict(read(FOLDER / name))
    kept = ("name", "weight", "limits", "price", "profile", "offline_ok")
    raw["endpoints"] = [
        one if one["provider"] == "function" else {**{key: one[key] for key in kept if key in one}, "provider": "echo"}
        for one in raw["endpoints"]
    ]
    return raw


async def went(name: str, model: str, *questions: tuple[str, dict[str, Any]] | str) -> list[str]:
    """The endpoints that answer questions, each a text or a text with further fields; `lines` are header lines."""
    found = []
    async with Hosted(example(name)) as hosted, Peer(hosted.port) as peer:
        for question in questions:
            text, fields = (question, {}) if isinstance(question, str) else question
            reply = await peer.ask(
                chat(model, text, *fields.get("lines", ()), **{key: one for key, one in fields.items() if key != "lines"})
            )
            assert reply.status == 200, reply
            found.append(reply.headers["x-dispatch-endpoint"])
    return found


def lines(*given: str) -> dict[str, Any]:
    return {"lines": given}


def with_part(**part: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [part, {"type": "text", "text": "What is this?"}]}]}


IMAGE = with_part(type="image_url", image_url={"url": "data:image/png;base64,AAAA"})
AUDIO = with_part(type="input_audio", input_audio={"data": "AAAA", "format": "wav"})


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_valid_and_listed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(path), "--without-secrets"]) == 0
    assert "valid" in capsys.readouterr().out
    assert f"({path.name})" in (FOLDER / "README.md").read_text()


async def test_round_robin_is_in_turn_or_by_weight() -> None:
    assert sorted(await went("round-robin.yaml", "in-turn", *["hi"] * 8)) == ["east"] * 4 + ["west"] * 4
    assert sorted(await went("round-robin.yaml", "weighted", *["hi"] * 8)) == ["east"] * 6 + ["west"] * 2


async def test_a_user_stays_with_a_replica() -> None:
    for user in ("ann", "bo", "cy"):
        assert len({*await went("by-user.yaml", "chat", *[("hi", {"user": user})] * 5)}) == 1


async def test_context_decides() -> None:
    code = "Why?\n```python\nfor x in range(10):\n    print(x)\n```"
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    turns = [{"role": role, "content": "well"} for role in ("user", "assistant", "user", "assistant", "user")]
    questions = (
        ("hi", lines("x-dispatch-tier: gold")),
        ("hi", {"metadata": {"tier": "gold"}}),
        code,
        ("", {"tools": tools, "messages": turns}),
        "hi",
    )
    assert await went("contextual.yaml", "auto", *questions) == ["claude", "claude", "claude", "large", "mini"]


async def test_technical_creative_and_general_go_their_ways() -> None:
    questions = ("why does this query run so slowly", "please write a poem about the sea and a dragon")
    assert await went("technical-creative-general.yaml", "auto", *questions) == ["technical", "creative"]
    prefers = (
        ("hi", lines("x-dispatch-prefer: accuracy")),
        ("hi", lines("x-dispatch-prefer: creativity")),
        ("hi", lines("x-dispatch-prefer: cost")),
    )
    assert await went("technical-creative-general.yaml", "by-profile", *prefers) == ["technical", "creative", "general"]


async def test_what_is_long_or_hard_goes_to_the_large_model() -> None:
    hard = "Find all functions f: R->R such that f(x+f(y)) = f(x)+y for all real x,y"
    assert await went("small-and-large.yaml", "auto", "hi", hard, PROSE * 200) == ["small", "large", "large"]


async def test_the_type_of_the_data_decides() -> None:
    assert await went("by-data-type.yaml", "auto", ("", IMAGE), ("", AUDIO), "hi") == ["vision", "listening", "text"]


async def test_experts_are_asked_in_their_domains() -> None:
    questions = (
        "Can my landlord in Poland evict me?",
        "Is paracetamol safe during pregnancy?",
        "What is 17 plus 25?",
        "Write a poem about dogs",
    )
    assert await went("domain-experts.yaml", "auto", *questions) == ["lawyer", "doctor", "program", "general"]


async def test_sums_are_left_to_a_program_and_what_it_cannot_read_to_a_model() -> None:
    answer, _ = await said("domain-experts.yaml", "auto", "What is 17 plus 25?")
    assert answer == "42"
    answer, headers = await said("domain-experts.yaml", "auto", "What is seventeen plus twenty five percent?")
    assert headers["x-dispatch-endpoint"] == "general"
    assert "seventeen" in answer


async def test_what_is_easy_stays_here() -> None:
    hard = "Find all functions f: R->R such that f(x+f(y)) = f(x)+y for all real x,y"
    assert await went("local-first.yaml", "auto", "hi", hard) == ["local", "cloud"]


async def test_personal_data_stay_here() -> None:
    questions = ("call me on +49 30 901820", ("hi", lines("x-dispatch-private: true")), ("", IMAGE), "What is the capital of France?")
    assert await went("privacy.yaml", "auto", *questions) == ["local", "local", "local", "cloud"]


async def test_a_share_or_a_budget_is_kept() -> None:
    mixed = [f"What is the capital of {at}?" if at % 2 else f"Prove the bound of {at} step by step" for at in range(300)]
    found = await went("budget.yaml", "a-third-large", *mixed)
    assert 70 <= found.count("large") <= 130
    assert await went("budget.yaml", "auto", "What is the capital of Peru?")


async def test_a_canary_gets_its_users() -> None:
    found = await went("canary.yaml", "chat", *[("hi", {"user": f"user-{at}"}) for at in range(300)])
    assert 3 <= found.count("candidate") <= 35


@pytest.mark.parametrize(("name", "model"), [("least-connections.yaml", "chat"), ("office-hours.yaml", "chat")])
async def test_it_answers(name: str, model: str) -> None:
    assert await went(name, model, "hi")


async def said(name: str, model: str, text: str) -> tuple[str, dict[str, str]]:
    """What an example answers, and its header lines."""
    async with Hosted(example(name)) as hosted, Peer(hosted.port) as peer:
        reply = await peer.ask(chat(model, text))
        assert reply.status == 200, reply
        return json.loads(reply.body)["choices"][0]["message"]["content"], reply.headers


async def test_cheap_answers_that_agree_are_not_escalated() -> None:
    answer, headers = await said("triage.yaml", "exam", "The answer is B.")
    assert answer == "The answer is B."
    assert headers["x-dispatch-endpoint"] in ("cheap-a", "cheap-b")
    assert "large" not in headers["x-dispatch-branches"]


async def test_high_stakes_are_voted_on_or_judged() -> None:
    answer, headers = await said("high-stakes.yaml", "verdict", "guilty")
    assert answer == "guilty"
    assert headers["x-dispatch-branches"].count("=") >= 2
    _, headers = await said("high-stakes.yaml", "review", "well")
    # The double says its prompt again, which is no verdict.
    assert headers["x-dispatch-fallback"] == "judge_nonsense"
    assert "gemini" in headers["x-dispatch-branches"]


@pytest.mark.parametrize(("text", "endpoint"), [('{"number": "A7", "total": 3.5}', "small"), ('{"total": "three"}', "large")])
async def test_what_does_not_fit_the_schema_is_corrected(text: str, endpoint: str) -> None:
    _, headers = await said("extract-and-validate.yaml", "invoice", text)
    assert headers["x-dispatch-endpoint"] == endpoint


async def test_documents_help_to_answer() -> None:
    _, headers = await said("retrieval.yaml", "helpdesk", "How many holidays are there?")
    assert headers["x-dispatch-sources"] == "handbook.md"


async def test_a_long_document_is_worked_on_in_pieces() -> None:
    pages = "\n\n".join(f"{page} {PROSE * 50}" for page in ("one", "two", "three"))
    answer, headers = await said("long-document.yaml", "summary", f"Summarise it.\n\n{pages}")
    assert headers["x-dispatch-branches"].count("small=") == 3
    assert headers["x-dispatch-endpoint"] == "large"
    assert "Part 3:" in answer
