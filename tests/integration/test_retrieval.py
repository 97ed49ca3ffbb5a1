"""Passages of documents beside the request."""
# ruff: noqa: RUF001  # commas of Chinese are what they look like

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from dispatch.cli import main
from dispatch.errors import ConfigError
from dispatch.retrieve.passages import cut
from dispatch.retrieve.store import Index, Passage, write
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.hosted import Hosted
from tests.integration.models import Model, asked, config
from tests.integration.peer import chat
from tests.integration.test_cascades import ask, text_of
from tests.integration.test_ensembles import vector

PASSAGES = [
    Passage("pets.md", "Cats sleep for most of the day."),
    Passage("pets.md", "Dogs like to run in the park."),
    Passage("money.md", "The invoice is due within thirty days."),
]
VECTORS = [[1.0, 0.0], [0.8, 0.2], [0.0, 1.0]]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    write(tmp_path / "words.db", [(passage, None) for passage in PASSAGES])
    return tmp_path / "words.db"


@pytest.fixture
def meanings(tmp_path: Path) -> Path:
    write(tmp_path / "meanings.db", zip(PASSAGES, VECTORS, strict=True))
    return tmp_path / "meanings.db"


def retrieve(index: Path | str, **more: Any) -> dict[str, Any]:
    return {"retrieve": {"index": str(index), "plan": "a", **more}}


async def ask_for(text: str, plan: dict[str, Any], *models: Model) -> Any:
    async with Hosted(config(plan, *models)) as hosted:
        return await (await hosted.peer()).ask(chat(text=text))


@pytest.mark.anyio
async def test_what_is_found_stands_before_the_request(words: Path) -> None:
    async with Model("In thirty days [money.md].") as one:
        reply = await ask_for("When is my invoice due?", retrieve(words, most=1), one)

        assert text_of(reply) == "In thirty days [money.md]."
        assert reply.headers["x-dispatch-sources"] == "money.md"
        system, user = asked(one)["messages"]
        assert "[money.md]\nThe invoice is due within thirty days." in system["content"]
        assert user == {"role": "user", "content": "When is my invoice due?"}


@pytest.mark.anyio
async def test_without_a_passage_the_plan_is_asked_all_the_same(words: Path) -> None:
    async with Model("no idea") as one:
        reply = await ask_for("Zebras?", retrieve(words), one)

        assert reply.headers["x-dispatch-fallback"] == "no_passages"
        assert asked(one)["messages"] == [{"role": "user", "content": "Zebras?"}]


@pytest.mark.anyio
async def test_meaning_finds_what_no_word_names(meanings: Path) -> None:
    async with Model("ok") as one, Model(vector(0.0, 3.0)) as embedder:
        reply = await ask_for("Zahlungsziel?", retrieve(meanings, most=1, embed="b"), one, embedder)

        assert reply.headers["x-dispatch-sources"] == "money.md"
        assert asked(embedder)["input"] == "Zahlungsziel?"


@pytest.mark.anyio
@pytest.mark.parametrize("said", [500, vector(1.0, 2.0, 3.0), "no vector"])
async def test_without_a_vector_words_do(meanings: Path, said: Any) -> None:
    async with Model("ok") as one, Model(said) as embedder:
        reply = await ask_for("cats", retrieve(meanings, most=1, embed="b"), one, embedder)

        assert reply.headers["x-dispatch-fallback"] == "no_embedding"
        assert reply.headers["x-dispatch-sources"] == "pets.md"


@pytest.mark.anyio
async def test_streams_and_chains_take_passages_too(words: Path) -> None:
    plan = {"chain": {"steps": [{"plan": retrieve(words), "prompt": "cats"}, {"plan": "b", "prompt": "Say: {last}"}]}}
    async with Model("they sleep") as one, Model("the end") as two:
        reply, _ = await ask(plan, one, two, stream=True)

        assert text_of(reply).replace(" ", "") == "theend"
        assert asked(two)["messages"][-1]["content"] == "Say: they sleep"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("plan", "path", "reason"),
    [
        (retrieve("/nowhere.db"), "models.m.retrieve.index", "no index at"),
        (retrieve("README.md"), "models.m.retrieve.index", "no index at"),
        (retrieve("x", prompt="hm"), "models.m.retrieve.prompt", "{passages}"),
        ({"retrieve": {"index": "x"}}, "models.m.retrieve.plan", "missing"),
    ],
)
async def test_a_retriever_without_an_index_stops_the_start(plan: dict[str, Any], path: str, reason: str) -> None:
    async with Model("x") as one:
        with pytest.raises(ConfigError) as refused:
            async with Hosted(config(plan, one)):
                pass
    assert refused.value.path == path
    assert reason in refused.value.reason


@pytest.mark.anyio
async def test_an_embedder_needs_an_index_with_vectors(words: Path) -> None:
    async with Model("x") as one, Model("y") as two:
        with pytest.raises(ConfigError, match="has no vectors"):
            async with Hosted(config(retrieve(words, embed="b"), one, two)):
                pass


def test_an_index_of_another_version_is_refused(words: Path) -> None:
    with closing(sqlite3.connect(words)) as base:
        base.execute("UPDATE meta SET version = 1")
        base.commit()
    with pytest.raises(ValueError, match="has version 1, this is 2: make it anew with `dispatch index`"):
        Index(words)


SENTENCES = {
    "zh-office": "明天上午十点在北京的办公室开会，请大家准时参加。",
    "zh-invoice": "发票必须在三十天内付款，逾期将收取利息。",
    "zh-cat": "猫一天中的大部分时间都在睡觉。",
    "ja-tower": "東京タワーは1958年に完成した高さ333メートルの電波塔です。",
    "ja-invoice": "請求書の支払い期限は三十日以内です。",
    "ja-tea": "お茶は毎朝飲みます。",
    "th-invoice": "ใบแจ้งหนี้ต้องชำระภายในสามสิบวัน",
    "th-cat": "แมวนอนหลับเกือบทั้งวัน",
    "th-city": "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
    "ko-train": "서울에서 부산까지 기차로 세 시간이 걸립니다.",
    "ko-invoice": "청구서는 삼십일 이내에 지불해야 합니다.",
    "hi-invoice": "चालान का भुगतान तीस दिनों के भीतर करना होगा।",
    "hi-cat": "बिल्लियाँ दिन भर सोती हैं।",
    "en-invoice": "The naïve café's invoice is due within thirty days.",
}


@pytest.fixture(scope="module")
def many_tongues(tmp_path_factory: pytest.TempPathFactory) -> Index:
    path = tmp_path_factory.mktemp("tongues") / "tongues.db"
    write(path, [(Passage(name, text), None) for name, text in SENTENCES.items()])
    return Index(path)


@pytest.mark.parametrize(
    ("asked_for", "found"),
    [
        ("发票什么时候付款？", "zh-invoice"),
        ("北京会议", "zh-office"),
        ("猫睡觉吗", "zh-cat"),
        ("東京タワーの高さは？", "ja-tower"),
        ("ﾀﾜｰ", "ja-tower"),
        ("支払いの期限はいつ", "ja-invoice"),
        ("茶", "ja-tea"),
        ("ต้องชำระใบแจ้งหนี้เมื่อไร", "th-invoice"),
        ("แมว", "th-cat"),
        ("เมืองหลวงของไทยคืออะไร", "th-city"),
        ("부산 기차", "ko-train"),
        ("청구서", "ko-invoice"),
        ("चालान", "hi-invoice"),
        ("Are invoices due?", "en-invoice"),
        ("CAFE", "en-invoice"),
        ("cafe\u0301", "en-invoice"),
    ],
)
def test_text_is_found_in_tongues_without_spaces_and_with_marks(many_tongues: Index, asked_for: str, found: str) -> None:
    assert [passage.source for passage in many_tongues.search(asked_for, None, 1)] == [found]


@pytest.mark.parametrize("name", [name for name in SENTENCES if name[:2] in ("zh", "ja")])
def test_every_piece_of_a_sentence_without_spaces_finds_it(many_tongues: Index, name: str) -> None:
    for run in re.findall(r"[^\W\d]+", SENTENCES[name]):
        for size in (1, 2, 5):
            for at in range(len(run) - size + 1):
                piece = run[at : at + size]
                assert name in [passage.source for passage in many_tongues.search(piece, None, 14)], piece


def test_a_long_question_is_cut_short(many_tongues: Index) -> None:
    hay = "".join(chr(0x4E00 + 2 * at) for at in range(20_000))
    assert many_tongues.search(f"猫一天{hay}", None, 1)[0].source == "zh-cat"


def test_a_clients_words_are_no_query_language(words: Path) -> None:
    index = Index(words)
    for hostile in ('" OR 1', "NEAR(cats dogs)", "text: *", "a" * 100_000, "-cats", "", '"', "cats AND NOT dogs"):
        index.search(hostile, None, 3)
    assert index.search("cats AND zebras", None, 1)[0].source == "pets.md"


@given(st.text(max_size=400))
def test_any_text_can_be_searched_for(text: str) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        write(Path(folder) / "x.db", [(PASSAGES[0], None)])
        assert len(Index(Path(folder) / "x.db").search(text, None, 3)) <= 1


@given(st.text(alphabet=st.sampled_from("ab .\n"), max_size=600), st.integers(min_value=10, max_value=120))
def test_passages_hold_the_whole_text_and_no_more_than_they_may(text: str, most: int) -> None:
    passages = [*cut(text, most)]
    assert all(len(passage) <= most for passage in passages)
    assert "".join("".join(passages).split()) == "".join(text.split())


def test_long_paragraphs_without_spaces_are_cut_at_ends_of_sentences() -> None:
    assert [*cut("明天开会。发票付款。猫睡觉了！今天下雨。", 12)] == ["明天开会。发票付款。", "猫睡觉了！今天下雨。"]


def test_dispatch_index_makes_an_index_that_is_found_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("Alpha beta.\n\nGamma delta.")
    (tmp_path / "docs" / "b.bin").write_bytes(b"\xff")
    (tmp_path / "docs" / "b.txt").write_text("Omega.")
    out = tmp_path / "docs.db"

    assert main(["index", str(tmp_path / "docs"), "--out", str(out)]) == 0
    assert "2 passages of 2 files, words only" in capsys.readouterr().out
    assert Index(out).search("omega", None, 5) == [Passage(str(tmp_path / "docs" / "b.txt"), "Omega.")]


def test_what_cannot_be_read_leaves_the_old_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    write(tmp_path / "x.db", [(PASSAGES[0], None)])

    assert main(["index", str(tmp_path / "bad.txt"), "--out", str(tmp_path / "x.db")]) == 1
    assert main(["index", str(tmp_path / "gone.txt"), "--out", str(tmp_path / "x.db")]) == 1
    assert len(Index(tmp_path / "x.db")) == 1
    assert "gone.txt" in capsys.readouterr().err


def test_where_no_index_can_be_written_it_is_said_and_nothing_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("Alpha.")
    (tmp_path / "folder").mkdir()
    for out in ("nowhere/x.db", "folder"):
        assert main(["index", str(tmp_path / "a.txt"), "--out", str(tmp_path / out)]) == 1
        assert out in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "folder"]


def test_passages_are_embedded_by_a_configured_model(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Alpha.\n\n" + "Beta. " * 300)
    (tmp_path / "dispatch.yaml").write_text("endpoints: [{name: echo, provider: echo}]\nmodels: {e: echo}")

    assert (
        main(
            ["index", str(tmp_path / "a.txt"), "--out", str(tmp_path / "x.db"), "--embed", "e", "--config", str(tmp_path / "dispatch.yaml")]
        )
        == 0
    )
    index = Index(tmp_path / "x.db")
    assert index.dims > 0
    assert len(index) >= 2
