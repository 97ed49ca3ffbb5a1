"""Passages of a Qdrant server: filled by `dispatch index`, found by vectors, and missed without harm."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.cli import main
from dispatch.config.plans.retrieve import Qdrant as Config
from dispatch.errors import ConfigError
from dispatch.retrieve.qdrant import Collection, connect
from dispatch.retrieve.store import Passage

from tests.integration.hosted import Hosted
from tests.integration.models import Model, asked, config
from tests.integration.peer import chat
from tests.integration.test_cascades import text_of
from tests.integration.test_ensembles import vector

pytest.importorskip("qdrant_client")  # the extra

from qdrant_client import QdrantClient

from tests.integration.qdrant_double import KEY, Qdrant  # needs it

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
    # Its local mode leaves one, of which Python 3.13 warns.
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]

ROWS = [(Passage("pets.md", "Cats sleep."), [1.0, 0.0]), (Passage("money.md", "Invoices are due."), [0.0, 1.0])]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_KEY", KEY)


@pytest.fixture
async def server() -> AsyncIterator[Qdrant]:
    async with Qdrant() as qdrant:
        yield qdrant


def retrieve(server: Qdrant, **more: Any) -> dict[str, Any]:
    index = {"url": server.url, "collection": "docs", "api_key": "env:QDRANT_KEY", **more}
    return {"retrieve": {"index": index, "plan": "a", "embed": "b", "most": 1}}


async def filled(server: Qdrant, **more: Any) -> int:
    collection = connect(Config(url=server.url, collection="docs", **more), KEY, "index")
    return await asyncio.to_thread(collection.add, ROWS)


async def ask(plan: dict[str, Any], *models: Model) -> Any:
    async with Hosted(config(plan, *models)) as hosted:
        return await (await hosted.peer()).ask(chat(text="Zahlungsziel?"))


@pytest.mark.parametrize("more", [{}, {"vector": "meaning", "text": "body", "source": "file"}])
async def test_what_is_nearest_stands_before_the_request(server: Qdrant, more: dict[str, str]) -> None:
    assert await filled(server, **more) == 2
    async with Model("ok") as one, Model(vector(0.1, 3.0)) as embedder:
        reply = await ask(retrieve(server, **more), one, embedder)

        assert text_of(reply) == "ok"
        assert "x-dispatch-fallback" not in reply.headers
        assert reply.headers["x-dispatch-sources"] == "money.md"
        assert "[money.md]\nInvoices are due." in asked(one)["messages"][0]["content"]


async def test_a_passage_that_is_added_again_is_there_once(server: Qdrant) -> None:
    assert await filled(server) == 2
    assert await filled(server) == 2


@pytest.mark.parametrize("more", [{}, {"vector": "meaning", "text": "body", "source": "file"}])
async def test_the_engine_of_qdrants_own_client_takes_what_is_added(more: dict[str, Any], tmp_path: Path) -> None:
    """Nothing of ours between: its local mode, on disk."""
    config = Config(url="http://none", collection="docs", **more)
    inside = QdrantClient(path=str(tmp_path))
    try:
        assert Collection(inside, config).add(ROWS) == 2
        assert Collection(inside, config).add(ROWS) == 2
        assert Collection(inside, config).search("", [0.1, 3.0], 1) == [ROWS[1][0]]
    finally:
        inside.close()


@pytest.mark.parametrize(
    ("said", "more", "fallback"),
    [
        (vector(1.0, 2.0), {"collection": "nobody"}, "no_index"),
        (vector(1.0, 2.0), {"url": "http://127.0.0.1:1"}, "no_index"),
        (vector(1.0, 2.0), {"api_key": ""}, "no_index"),
        (vector(1.0, 2.0, 3.0), {}, "no_index"),
        (500, {}, "no_embedding"),
    ],
)
async def test_without_passages_the_plan_is_asked_all_the_same(server: Qdrant, said: Any, more: dict[str, str], fallback: str) -> None:
    await filled(server)
    async with Model("ok") as one, Model(said) as embedder:
        reply = await ask(retrieve(server, **more), one, embedder)

        assert text_of(reply) == "ok"
        assert reply.headers["x-dispatch-fallback"] == fallback
        assert asked(one)["messages"] == [{"role": "user", "content": "Zahlungsziel?"}]


@pytest.mark.parametrize(
    ("index", "path", "reason"),
    [
        ({"url": "localhost", "collection": "x"}, "models.m.retrieve.index.url", "localhost"),
        ({"url": "http://x", "collection": "x", "api_key": "sk-literal"}, "models.m.retrieve.index.api_key", "expected env:NAME"),
        ({"url": "http://x", "collection": "x", "api_key": "env:NOT_THERE"}, "models.m.retrieve.index.api_key", "not set"),
        ({"url": "http://x"}, "models.m.retrieve.index.collection", "missing"),
    ],
)
async def test_a_collection_that_cannot_be_meant_stops_the_start(index: dict[str, str], path: str, reason: str) -> None:
    async with Model("x") as one, Model("y") as two:
        with pytest.raises(ConfigError) as refused:
            async with Hosted(config({"retrieve": {"index": index, "plan": "a", "embed": "b"}}, one, two)):
                pass
    assert refused.value.path == path
    assert "sk-literal" not in str(refused.value)
    assert reason in refused.value.reason


async def test_a_qdrant_needs_vectors() -> None:
    async with Model("x") as one:
        with pytest.raises(ConfigError, match="asked with vectors"):
            async with Hosted(config({"retrieve": {"index": {"url": "http://x", "collection": "x"}, "plan": "a"}}, one)):
                pass


async def test_the_command_fills_a_collection(server: Qdrant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.md").write_text("Cats sleep.\n\nDogs run.")
    async with Model(vector(1.0, 0.5)) as embedder:
        end = {"name": "e", "provider": "openai_compatible", "model": "e", "base_url": embedder.base_url}
        settings = tmp_path / "dispatch.json"
        settings.write_text(json.dumps({"endpoints": [end], "models": {"vectors": {"endpoints": ["e"]}}}))
        place = ["--qdrant", server.url, "--collection", "docs", "--qdrant-key", "env:QDRANT_KEY"]
        flags = [str(tmp_path / "notes.md"), "--embed", "vectors", "--config", str(settings), "--chars", "100", *place]
        code = await asyncio.to_thread(main, ["index", *flags])

    assert code == 0, capsys.readouterr().err
    assert "docs: 1 passages, 1 of them from 1 files now, 2 dimensions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ([], "one of them says where"),
        (["--out", "x.db", "--qdrant", "http://x"], "one of them says where"),
        (["--qdrant", "http://x"], "needs --collection"),
    ],
)
def test_flags_that_do_not_say_where_are_refused(flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "README.md", *flags]) == 2
    assert reason in capsys.readouterr().err
