"""Passages of a table of LanceDB: filled by `dispatch index`, found by vectors, and missed without harm. `make extras` installs it."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.cli import main
from dispatch.config import build
from dispatch.config.plans.retrieve import Lance as Config
from dispatch.errors import ConfigError
from dispatch.retrieve.lance import connect
from dispatch.retrieve.store import Passage

from tests.integration.hosted import Hosted
from tests.integration.models import Model, asked, config
from tests.integration.peer import chat
from tests.integration.test_cascades import text_of
from tests.integration.test_ensembles import vector

if TYPE_CHECKING:
    from pathlib import Path

try:
    import lancedb  # type: ignore[import-not-found]  # the extra
except ImportError:
    lancedb = None

there = pytest.mark.skipif(lancedb is None, reason="the extra lancedb is not installed: make extras")

ROWS = [(Passage("pets.md", "Cats sleep."), [1.0, 0.0]), (Passage("money.md", "Invoices are due."), [0.0, 1.0])]


def retrieve(folder: Path, **more: Any) -> dict[str, Any]:
    return {"retrieve": {"index": {"folder": str(folder), "table": "docs", **more}, "plan": "a", "embed": "b", "most": 1}}


def filled(folder: Path, **more: Any) -> int:
    return connect(Config(folder=str(folder), table="docs", **more), "index").add(ROWS)


async def ask(plan: dict[str, Any], *models: Model) -> Any:
    async with Hosted(config(plan, *models)) as hosted:
        return await (await hosted.peer()).ask(chat(text="Zahlungsziel?"))


@there
@pytest.mark.anyio
@pytest.mark.parametrize("more", [{}, {"vector": "meaning", "text": "body", "source": "file"}])
async def test_what_is_nearest_stands_before_the_request(tmp_path: Path, more: dict[str, str]) -> None:
    assert filled(tmp_path / "base", **more) == 2
    async with Model("ok") as one, Model(vector(0.1, 3.0)) as embedder:
        reply = await ask(retrieve(tmp_path / "base", **more), one, embedder)

        assert text_of(reply) == "ok"
        assert "x-dispatch-fallback" not in reply.headers
        assert reply.headers["x-dispatch-sources"] == "money.md"
        assert "[money.md]\nInvoices are due." in asked(one)["messages"][0]["content"]


@there
def test_a_passage_that_is_added_again_is_there_once(tmp_path: Path) -> None:
    assert filled(tmp_path) == 2
    assert filled(tmp_path) == 2
    assert [one.source for one in connect(Config(folder=str(tmp_path), table="docs"), "x").search("", [1.0, 0.1], 5)] == [
        "pets.md",
        "money.md",
    ]


@there
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "more", "fallback"),
    [
        (vector(1.0, 2.0), {"table": "nobody"}, "no_index"),
        (vector(1.0, 2.0), {"vector": "nobody"}, "no_index"),
        (vector(1.0, 2.0, 3.0), {}, "no_index"),
        (500, {}, "no_embedding"),
    ],
)
async def test_without_passages_the_plan_is_asked_all_the_same(tmp_path: Path, said: Any, more: dict[str, str], fallback: str) -> None:
    filled(tmp_path)
    async with Model("ok") as one, Model(said) as embedder:
        reply = await ask(retrieve(tmp_path, **more), one, embedder)

        assert text_of(reply) == "ok"
        assert reply.headers["x-dispatch-fallback"] == fallback
        assert asked(one)["messages"] == [{"role": "user", "content": "Zahlungsziel?"}]


@there
def test_the_command_fills_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.md").write_text("Cats sleep.\n\nDogs run.")

    async def command() -> int:
        async with Model(vector(1.0, 0.5)) as embedder:
            end = {"name": "e", "provider": "openai_compatible", "model": "e", "base_url": embedder.base_url}
            settings = tmp_path / "dispatch.json"
            settings.write_text(json.dumps({"endpoints": [end], "models": {"vectors": {"endpoints": ["e"]}}}))
            place = ["--lancedb", str(tmp_path / "base"), "--collection", "docs"]
            flags = [str(tmp_path / "notes.md"), "--embed", "vectors", "--config", str(settings), "--chars", "100", *place]
            return await asyncio.to_thread(main, ["index", *flags])

    assert asyncio.run(command()) == 0, capsys.readouterr().err
    assert "docs: 1 passages, 1 of them from 1 files now, 2 dimensions" in capsys.readouterr().out


def test_without_the_extra_the_start_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(ConfigError, match=r"pip install 'dispatch-llm\[lancedb\]'"):
        connect(Config(folder=str(tmp_path), table="docs"), "models.m.retrieve.index")


@pytest.mark.parametrize(
    ("index", "path", "reason"),
    [
        ({"folder": "base"}, "models.m.retrieve.index.table", "missing"),
        ({"folder": "base", "table": "docs", "url": "x"}, "models.m.retrieve.index.url", "unknown key"),
        ({"kind": "pinecone"}, "models.m.retrieve.index", ""),
    ],
)
def test_an_index_that_cannot_be_meant_stops_the_start(index: dict[str, str], path: str, reason: str) -> None:
    ends = [{"name": name, "provider": "echo"} for name in "ab"]
    plan = {"retrieve": {"index": index, "plan": "a", "embed": "b"}}
    with pytest.raises(ConfigError) as refused:
        build({"endpoints": ends, "models": {"m": plan}}, {})
    assert refused.value.path.startswith(path)
    assert reason in refused.value.reason


def test_a_table_needs_vectors() -> None:
    plan = {"retrieve": {"index": {"folder": "base", "table": "docs"}, "plan": "a"}}
    with pytest.raises(ConfigError, match="asked with vectors"):
        build({"endpoints": [{"name": "a", "provider": "echo"}], "models": {"m": plan}}, {})


def test_flags_that_do_not_say_which_table_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "README.md", "--lancedb", "base"]) == 2
    assert "--lancedb needs --collection" in capsys.readouterr().err
