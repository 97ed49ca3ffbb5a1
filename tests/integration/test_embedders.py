"""Routes and passages found by what texts mean: static embeddings from a folder."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.cli import main
from dispatch.config import build
from dispatch.errors import ConfigError
from dispatch.retrieve.static import load
from dispatch.retrieve.store import Index, Passage, write

from tests.integration.hosted import Hosted
from tests.integration.models import Model, config
from tests.integration.peer import chat
from tests.integration.test_cascades import text_of
from tests.integration.test_routes import config as routed
from tests.integration.test_routes import went, why

if TYPE_CHECKING:
    from pathlib import Path

numpy = pytest.importorskip("numpy")
tokenizers = pytest.importorskip("tokenizers")
model2vec = pytest.importorskip("model2vec")  # the extra

MEANINGS = {
    "money": [1.0, 0.0, 0.1],
    "refund": [0.9, 0.1, 0.0],
    "euros": [0.95, 0.0, 0.0],
    "geld": [0.9, 0.0, 0.2],
    "printer": [0.0, 1.0, 0.0],
    "drucker": [0.1, 0.9, 0.0],
    "screen": [0.1, 0.8, 0.1],
    "penguins": [0.0, 0.0, 1.0],
}
"""Words and what they mean: money, machines, or neither."""


def made(folder: Path) -> str:
    """A static model of a few words."""
    vocabulary = {"[UNK]": 0} | {word: at for at, word in enumerate(MEANINGS, 1)}
    cutter = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    cutter.normalizer = tokenizers.normalizers.Lowercase()
    cutter.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    table = numpy.array([[0.0, 0.0, 0.0], *MEANINGS.values()], dtype=numpy.float32)
    model2vec.StaticModel(table, cutter, normalize=True).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def model(tmp_path: Path) -> str:
    return made(tmp_path / "model")


def route(folder: str, **more: Any) -> dict[str, Any]:
    return {
        "by": "semantic",
        "routes": {
            "billing": {"utterances": ["refund my money", "euros"], "to": "a"},
            "support": {"utterances": ["the printer", "the screen is black"], "to": "b"},
        },
        "embedder": {"folder": folder, **more},
        "default": "c",
    }


@pytest.mark.anyio
async def test_a_route_is_found_by_meaning_where_no_word_is_shared(model: str) -> None:
    async with Hosted(routed(route(model))) as hosted:
        assert await went(hosted, "Ich will mein Geld!") == "a"
        assert await went(hosted, "Mein Drucker druckt nicht") == "b"
        assert await went(hosted, "Tell me of penguins") == "c"
        assert await went(hosted, "xyzzy") == "c"
        assert await went(hosted, "") == "c"


@pytest.mark.anyio
async def test_what_is_not_alike_enough_for_the_embedder_takes_the_default(model: str) -> None:
    async with Hosted(routed(route(model, threshold=0.999))) as hosted:
        assert await went(hosted, "euros") == "a"
        assert await went(hosted, "geld") == "c"


@pytest.mark.anyio
async def test_a_decision_by_meaning_is_made_again_from_its_record(model: str) -> None:
    async with Hosted(routed(route(model))) as hosted:
        reply = await (await hosted.peer()).ask(chat(text="geld"))
        step = (await why(hosted, reply))["steps"][0]
        assert step["replayed"] is True
        assert [(one["name"], one["score"] > 0.9) for one in step["candidates"]] == [("billing", True)]


@pytest.mark.parametrize(
    ("folder", "reason"),
    [("/nowhere", "expected a folder"), (".", "no static model in"), ("minishlab/potion-base-8M", "expected a folder")],
)
def test_a_folder_without_a_model_stops_the_start_with_its_path(folder: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(folder, "models.m.route.embedder.folder")
    assert refused.value.path == "models.m.route.embedder.folder"
    assert reason in refused.value.reason


def test_without_the_extra_the_start_says_what_to_install(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(ConfigError, match=r"pip install 'dispatch-llm\[embed\]'"):
        load(model, "models.m.route.embedder.folder")


def test_an_embedder_is_for_routes_by_similarity() -> None:
    with pytest.raises(ConfigError) as refused:
        build(routed({"by": "rules", "rules": [{"when": {"turns": 1}, "to": "a"}], "embedder": {"folder": "x"}, "default": "b"}), {})
    assert refused.value.path == "models.m.route.embedder"


def test_a_model_is_read_once_and_again_when_it_changed(tmp_path: Path) -> None:
    folder = made(tmp_path / "model")
    first = load(folder, "x")
    assert load(folder, "y") is first
    os.utime(tmp_path / "model" / "config.json", (2e9, 2e9))
    assert load(folder, "z") is not first
    assert first.vectors(["money", "xyzzy"]) == load(folder, "z").vectors(["money", "xyzzy"])


@pytest.mark.anyio
async def test_passages_are_found_with_the_same_model(model: str, tmp_path: Path) -> None:
    passages = [Passage("pets.md", "Penguins swim."), Passage("money.md", "A refund is paid in euros.")]
    write(tmp_path / "docs.db", zip(passages, load(model, "x").vectors([passage.text for passage in passages]), strict=True))
    plan = {"retrieve": {"index": str(tmp_path / "docs.db"), "plan": "a", "embed": {"folder": model}, "most": 1}}
    async with Model("ok") as one, Hosted(config(plan, one)) as hosted:
        reply = await (await hosted.peer()).ask(chat(text="Wo ist mein Geld?"))

        assert text_of(reply) == "ok"
        assert reply.headers["x-dispatch-sources"] == "money.md"
        assert "x-dispatch-fallback" not in reply.headers


@pytest.mark.anyio
async def test_an_index_of_another_model_stops_the_start(model: str, tmp_path: Path) -> None:
    write(tmp_path / "docs.db", [(Passage("a.md", "a"), [1.0, 2.0])])
    plan = {"retrieve": {"index": str(tmp_path / "docs.db"), "plan": "a", "embed": {"folder": model}}}
    async with Model("ok") as one:
        with pytest.raises(ConfigError) as refused:
            async with Hosted(config(plan, one)):
                pass
    assert refused.value.path == "models.m.retrieve.embed.folder"
    assert "gives 3 dimensions" in refused.value.reason


def test_the_command_embeds_with_a_folder(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.md").write_text("The printer is out of paper.")
    out = tmp_path / "docs.db"
    code = main(["index", str(tmp_path / "notes.md"), "--embed-folder", model, "--out", str(out)])

    said = capsys.readouterr()
    assert code == 0, said.err
    assert "3 dimensions" in said.out
    assert Index(out).search("Drucker", load(model, "x").vectors(["drucker"])[0], 1)[0].text == "The printer is out of paper."


def test_the_command_says_what_is_wrong_with_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.md").write_text("x")
    flags = ["index", str(tmp_path / "notes.md"), "--out", str(tmp_path / "docs.db")]
    assert main([*flags, "--embed-folder", "/nowhere"]) == 2
    assert "expected a folder" in capsys.readouterr().err
    assert main([*flags, "--embed-folder", "/nowhere", "--embed", "x"]) == 2
    assert json.dumps("one of them gives the vectors")[1:-1] in capsys.readouterr().err
