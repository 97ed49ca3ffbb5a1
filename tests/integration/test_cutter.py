"""Tokens that the core cuts are those of the tokenizer, whatever the text is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.retrieve.cutter import Cutter

if TYPE_CHECKING:
    from collections.abc import Sequence

tokenizers = pytest.importorskip("tokenizers")  # of the extra `embed`

MOST = 40
LESSONS = ["the printer prints no invoices", "print the invoice, then the invoices", "a sigma \u03c3 and an \u00e9tude", "3.14 and 42 [x]"]
TEXTS = [
    *LESSONS,
    "",
    " ",
    "  two  spaces  ",
    "the printer\nprints\t\tno\r\ninvoices\n\nA. yes\nB. no",
    "PRINTER's (invoice)...[x]!? ##print a.b.c 1,000.5",
    "The \u00c9TUDE \u03a3\u03a3 cafe\u0301 \u0301 \u00a0x\u2003y \u4f60\u597d\u4e16\u754c",
    "a \u2581 mark\u2581ed \u2581\u2581",
    "say [UNK] or <s>the printer</s> <s>",
    "xyzzy \U0001f427 qqq \x00 \x7f",
    "print" * 30,
    "the invoices " * 30,
]


def walled() -> Any:
    """As BERT's: white space and marks part words, then pieces are looked up."""
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer()
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(
        LESSONS * 9, tokenizers.trainers.WordPieceTrainer(vocab_size=120, special_tokens=["[UNK]"], show_progress=False)
    )
    made.enable_truncation(MOST)
    return made


def marked(*, over_spaces: bool = False) -> Any:
    """As Llama's: spaces become marks, then pairs are merged; bytes stand for signs that are not known."""
    taught = tokenizers.Tokenizer(tokenizers.models.BPE())
    taught.normalizer = marking()
    if not over_spaces:
        taught.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    taught.train_from_iterator(LESSONS * 9, tokenizers.trainers.BpeTrainer(vocab_size=150, show_progress=False))
    model = json.loads(taught.to_str())["model"]
    first = ["<unk>", "<s>", "</s>", *(f"<0x{octet:02X}>" for octet in range(256))]
    vocabulary = {token: at for at, token in enumerate([*first, *model["vocab"]])}
    merges = [tuple(pair) for pair in model["merges"]]
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = marking()
    made.add_special_tokens([tokenizers.AddedToken(token, normalized=False) for token in first[:3]])
    made.enable_truncation(MOST)
    return made


def marking() -> Any:
    return tokenizers.normalizers.Sequence([tokenizers.normalizers.Prepend("\u2581"), tokenizers.normalizers.Replace(" ", "\u2581")])


def whole(tokenizer: Any, text: str, unknown: int | None) -> Sequence[int]:
    return [token for token in tokenizer.encode(text, add_special_tokens=False).ids if token != unknown]


class Asked:
    """A tokenizer that counts how often it is asked."""

    def __init__(self, tokenizer: Any) -> None:
        self.times = 0
        self._tokenizer = tokenizer
        self.to_str = tokenizer.to_str

    def encode_batch_fast(self, texts: list[str], **more: Any) -> Any:
        self.times += 1
        return self._tokenizer.encode_batch_fast(texts, **more)


@pytest.mark.parametrize("made", [walled, marked])
def test_a_text_has_the_tokens_that_the_tokenizer_gives_it(made: Any) -> None:
    tokenizer = made()
    for unknown in (0, None):
        cutter = Cutter(tokenizer, unknown)
        for text in TEXTS:
            assert [*cutter.cut(text)] == whole(tokenizer, text, unknown), text


def test_without_a_token_for_what_is_not_known_the_tokenizer_is_asked() -> None:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece({"a": 0, "b": 1}, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    asked = Asked(tokenizer)

    assert [*Cutter(asked, None).cut("A b")] == [0, 1]
    assert asked.times == 1


@pytest.mark.parametrize("made", [walled, marked])
def test_plain_text_is_cut_in_the_core(made: Any) -> None:
    asked = Asked(made())
    cutter = Cutter(asked, 0)
    for text in LESSONS[:2]:
        cutter.cut(text)
    assert asked.times == 0
    cutter.cut("say [UNK] or <s>")
    assert asked.times == 1, "special tokens are the tokenizer's own affair"


def test_where_a_token_reaches_over_a_space_the_tokenizer_is_asked() -> None:
    asked = Asked(marked(over_spaces=True))
    cutter = Cutter(asked, None)
    for text in LESSONS:
        assert [*cutter.cut(text)] == whole(asked._tokenizer, text, None)
    assert asked.times == len(LESSONS)
