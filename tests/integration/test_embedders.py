"""Routes and passages found by what texts mean: static embeddings from a folder, or the vectors of a model."""

from __future__ import annotations

import asyncio
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

from tests.integration.hosted import Hosted, until
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


@pytest.mark.parametrize("is_plain", [True, False])
def test_one_text_has_the_vector_that_it_has_among_others(tmp_path: Path, is_plain: bool) -> None:
    folder = made(tmp_path / "model")
    if not is_plain:
        found = model2vec.StaticModel.from_pretrained(folder, force_download=False)
        shared = {"token_mapping": numpy.array([0, 1, 1, 1, 1, 2, 2, 2, 3]), "weights": numpy.linspace(0.1, 1.0, 9)}
        model2vec.StaticModel(found.embedding[[0, 1, 5, 8]], found.tokenizer, normalize=True, **shared).save_pretrained(folder)
    model = load(folder, "x")
    for text in ["money for penguins", "xyzzy", "", "printer " * 2000]:
        one, among = (numpy.frombuffer(row, "<f4") for row in (model.row(text), model.rows([text])))
        length = numpy.linalg.norm(one)
        assert numpy.allclose(one / length if length else one, among, atol=1e-6), text


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


def meant(text: str) -> list[float]:
    """The vector of a text, by the words above."""
    found = [MEANINGS[word] for word in text.lower().split() if word in MEANINGS]
    return [sum(values) for values in zip(*found, strict=True)] or [0.0, 0.0, 0.0]


def vectors(body: dict[str, Any]) -> dict[str, Any]:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    data = [{"object": "embedding", "index": at, "embedding": meant(text)} for at, text in enumerate(texts)]
    return {"raw": {"object": "list", "model": "e", "data": data[::-1], "usage": {"prompt_tokens": 7, "total_tokens": 7}}}


def asking(embedder: Model, private: str = "", **more: Any) -> dict[str, Any]:
    """The route above, with a model that gives the vectors."""
    end = {"name": "e", "provider": "openai_compatible", "model": "e", "base_url": embedder.base_url}
    plan = route("", **more)
    plan["embedder"] = {"model": "e", "timeout_s": 20, **more}
    form = routed(plan | ({"private": private} if private else {}), end)
    form["models"]["m"]["retry"] = {"attempts": 1}
    return form


async def ready(hosted: Hosted) -> None:
    """Wait until the utterances have vectors. The attempt that asked for them is on the board, and in no client's report."""
    await until(lambda: hosted.dispatcher.generation.routes["m route"].embedded)  # type: ignore[union-attr]
    hosted.reports[0][0].attempts += 1


@pytest.mark.anyio
async def test_a_model_gives_vectors_once_the_utterances_have_theirs() -> None:
    async with Model(vectors) as embedder, Hosted(asking(embedder)) as hosted:
        first = await (await hosted.peer()).ask(chat(text="Ich will mein Geld"))
        assert first.headers["x-dispatch-endpoint"] == "c", "no word is shared, and hashed words is all there is yet"
        assert first.headers["x-dispatch-fallback"] == "no_embedding"
        await ready(hosted)

        reply = await (await hosted.peer()).ask(chat(text="Ich will mein Geld", stream=True))
        assert reply.headers["x-dispatch-endpoint"] == "a"
        assert "x-dispatch-fallback" not in reply.headers
        steps = {step["kind"]: step for step in (await why(hosted, reply))["steps"]}
        assert [steps[kind]["chosen"] for kind in ("embedder", "route")] == ["a", "a"]
        assert steps["route"]["replayed"] is True
        assert steps["route"]["board"] == {"embedded": True}
        assert len(steps["embedder"]["details"]["branches"]) == 2, steps
        call = hosted.reports[-1][0]
        assert call.usage[0] > 7, "the client pays for the vector of its question, and not for those of the utterances"


@pytest.mark.anyio
@pytest.mark.parametrize("said", [500, None, "no vector", {"raw": {"data": []}}])
async def test_where_the_model_fails_hashed_words_choose(said: Any) -> None:
    fails: list[Any] = []
    async with Model(lambda body: fails[0] if fails else vectors(body)) as embedder, Hosted(asking(embedder, timeout_s=0.3)) as hosted:
        await went(hosted, "euros")
        await ready(hosted)
        fails.append(said)
        reply = await (await hosted.peer()).ask(chat(text="refund my money"))
        assert reply.headers["x-dispatch-endpoint"] == "a"
        assert reply.headers["x-dispatch-fallback"] == "no_embedding"
        [step] = [step for step in (await why(hosted, reply))["steps"] if step["kind"] == "route"]
        assert step["replayed"] is True
        assert step["board"]["fallback"].startswith("no vector")


@pytest.mark.anyio
async def test_what_is_private_is_not_embedded() -> None:
    async with Model(vectors) as embedder, Hosted(asking(embedder, private="c")) as hosted:
        assert await went(hosted, "refund my money to ann@example.org") == "c"
        assert await went(hosted, "refund my money", "x-dispatch-private: true") == "c"
        assert not embedder.requests


@pytest.mark.anyio
async def test_many_requests_at_once_have_the_utterances_embedded_once() -> None:
    async with Model(vectors) as embedder, Hosted(asking(embedder)) as hosted:
        await asyncio.gather(*(went(hosted, "euros") for _ in range(20)))
        await ready(hosted)
        assert sum(b'"input":[' in one for one in embedder.requests) == 1


@pytest.mark.anyio
async def test_a_reload_keeps_the_vectors_of_utterances_that_stay() -> None:
    async with Model(vectors) as embedder:
        form = asking(embedder)
        async with Hosted(form) as hosted:
            await went(hosted, "euros")
            await ready(hosted)
            hosted.reload(form)
            reply = await (await hosted.peer()).ask(chat(text="geld"))
            assert (reply.headers["x-dispatch-endpoint"], reply.headers.get("x-dispatch-fallback")) == ("a", None)
            form["models"]["m"]["route"]["routes"]["billing"]["utterances"] = ["euros"]
            hosted.reload(form)
            reply = await (await hosted.peer()).ask(chat(text="geld"))
            assert reply.headers["x-dispatch-fallback"] == "no_embedding", "these are others"
            await ready(hosted)


@pytest.mark.parametrize("embedder", [{}, {"folder": "x", "model": "a"}, {"threshold": 0.4}])
def test_an_embedder_is_a_folder_or_a_model(embedder: dict[str, Any]) -> None:
    plan = route("x") | {"embedder": embedder}
    with pytest.raises(ConfigError) as refused:
        build(routed(plan), {})
    assert refused.value.path == "models.m.route.embedder"


def test_an_embedder_that_is_no_model_stops_the_start() -> None:
    with pytest.raises(ConfigError) as refused:
        build(routed(route("") | {"embedder": {"model": "nobody"}}), {})
    assert refused.value.path == "models.m.route.embedder.model"
