"""Tokens of a text, in a third of the time where the tokenizer is of a kind that the core knows.

A tokenizer takes some 100 us for 400 characters, since it keeps track of much that a static embedding has no use for. Two kinds are cut in
the core: pieces of words (BERT's), and merged pairs whose spaces became marks (Llama's), where no token of the vocabulary has a mark behind
another sign, so that none reaches over a space. Other tokenizers, and texts that these rules do not cover, are cut by the tokenizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.routing import Merges, Pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cutter"]

_MARK = "\u2581"
_MARKING = [{"type": "Prepend", "prepend": _MARK}, {"type": "Replace", "pattern": {"String": " "}, "content": _MARK}]


class Cutter:
    """Cuts texts.

    Args:
        tokenizer: of the package tokenizers, with its limit of tokens set.
        unknown: the token that stands for what is not known, which is left out.
    """

    __slots__ = ("_most", "_rules", "_special", "_tokenizer", "_unknown")

    def __init__(self, tokenizer: Any, unknown: int | None) -> None:  # noqa: ANN401  # of a package that may not be there
        plan: dict[str, Any] = msgspec.json.decode(tokenizer.to_str())
        added = plan.get("added_tokens") or []
        limit = plan.get("truncation") or {"max_length": None, "direction": "Right"}
        is_plain = limit["direction"] == "Right" and not any(one["normalized"] for one in added)
        self._tokenizer = tokenizer
        self._unknown = unknown
        self._most: int | None = limit["max_length"]
        self._special = tuple(one["content"] for one in added)
        self._rules = (_pieces(plan) or _merges(plan)) if is_plain else None

    def cut(self, text: str) -> Sequence[int]:
        """Return the tokens of a text."""
        found = self._rules.cut(text) if self._rules is not None and not any(one in text for one in self._special) else None
        if found is None:
            found = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        found = found[: self._most]
        return [token for token in found if token != self._unknown] if self._unknown in found else found


def _pieces(plan: dict[str, Any]) -> Pieces | None:
    """The rules of a tokenizer like BERT's."""
    model, normalizer = plan["model"], plan.get("normalizer") or {}
    if (model["type"], normalizer.get("type")) != ("WordPiece", "BertNormalizer") or plan.get("pre_tokenizer") != {
        "type": "BertPreTokenizer"
    }:
        return None
    vocabulary, prefix = model["vocab"], model["continuing_subword_prefix"]
    if model["unk_token"] not in vocabulary:
        return None
    rest = {token.removeprefix(prefix): at for token, at in vocabulary.items() if token.startswith(prefix)}
    unknown, longest = vocabulary[model["unk_token"]], model["max_input_chars_per_word"]
    return Pieces(vocabulary, rest, unknown=unknown, lowered=normalizer["lowercase"], longest=longest)


def _merges(plan: dict[str, Any]) -> Merges | None:
    """The rules of a tokenizer like Llama's."""
    model, normalizer = plan["model"], plan.get("normalizer") or {}
    if model["type"] != "BPE" or normalizer.get("normalizers") != _MARKING or plan.get("pre_tokenizer") or not model["byte_fallback"]:
        return None
    if any(model.get(key) for key in ("dropout", "ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")):
        return None
    vocabulary: dict[str, int] = model["vocab"]
    octets = [vocabulary.get(f"<0x{octet:02X}>") for octet in range(256)]
    known = [octet for octet in octets if octet is not None]
    if len(known) != len(octets) or _MARK not in vocabulary or any(_MARK in token.lstrip(_MARK) for token in vocabulary):
        return None
    parts = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    pairs = {(vocabulary[one], vocabulary[other]): (rank, vocabulary[one + other]) for rank, (one, other) in enumerate(parts)}
    return Merges({sign: at for sign, at in vocabulary.items() if len(sign) == 1}, known, pairs)
