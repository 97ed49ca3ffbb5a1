"""A request's input in pieces, and results joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from dispatch.combine.compare import unfenced
from dispatch.combine.tongues import is_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dispatch.combine.question import Question
    from dispatch.dialects import Tree

__all__ = ["Input", "Piece", "merged", "pieces_of"]

_KINDS = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
    "document": "file",
    "file": "file",
}
"""By the type of a part."""
_MEMBERS = {"image": "image", "video": "video", "audio": "audio", "document": "file"}
"""By its only member, as Converse has it."""
_MEDIA = frozenset(("image", "audio", "video"))


class Piece(Struct, frozen=True):
    """Some of the input: text, or parts of a message."""

    kind: str
    text: str = ""
    parts: tuple[Any, ...] = ()


class Input(Struct, frozen=True):
    """A message cut into pieces."""

    instruction: str
    pieces: list[Piece]


def pieces_of(question: Question, split: str, max_chars: int) -> Input:
    """Cut the user's last message."""
    parts = question.last_parts()
    texts = [part["text"] for part in parts if is_text(part)]
    if split in ("part", "modality"):
        others = [part for part in parts if not is_text(part)]
        if others or split == "modality":
            return _by_part(texts, others) if split == "part" else _by_kind(texts, others)
        return Input("\n\n".join(texts[:1]), [Piece("text", text) for text in texts[1:]])
    instruction, text = _parted(texts)
    if split == "page":
        found = [page for page in text.split("\f") if page.strip()]
    elif split == "list":
        found = _items(text)
    else:
        found = [*_paragraphs(text, max_chars)]
    return Input(instruction, [Piece("text", one) for one in found])


def merged(values: Sequence[object]) -> object:
    """One JSON value of several: objects field by field, lists one after the other; of anything else the last."""
    if values and all(isinstance(value, list) for value in values):
        return [item for value in values if isinstance(value, list) for item in value]
    if values and all(isinstance(value, dict) for value in values):
        trees: list[dict[str, Any]] = [value for value in values if isinstance(value, dict)]
        names = dict.fromkeys(name for tree in trees for name in tree)
        return {name: merged([tree[name] for tree in trees if name in tree]) for name in names}
    return values[-1] if values else None


def _by_part(texts: list[str], others: list[Tree]) -> Input:
    return Input("\n\n".join(texts), [Piece(_kind(part), parts=(part,)) for part in others])


def _by_kind(texts: list[str], others: list[Tree]) -> Input:
    by_kind: dict[str, list[Tree]] = {}
    for part in others:
        by_kind.setdefault(_kind(part), []).append(part)
    pieces = [Piece(kind, parts=tuple(parts)) for kind, parts in by_kind.items()]
    if not pieces or len(texts) > 1:
        # More text than the instruction is an input of its own.
        pieces.insert(0, Piece("text", "\n\n".join(texts[1:] or texts)))
        return Input(texts[0] if len(texts) > 1 else "", pieces)
    return Input("\n\n".join(texts), pieces)


def _kind(part: Tree) -> str:
    for key in ("inlineData", "inline_data", "fileData", "file_data"):
        if isinstance(part.get(key), dict):
            word = str(part[key].get("mimeType") or part[key].get("mime_type") or "").partition("/")[0]
            return word if word in _MEDIA else "file"
    if "type" not in part:
        return next((kind for name, kind in _MEMBERS.items() if name in part), "file")
    return _KINDS.get(str(part["type"]), "file")


def _parted(texts: list[str]) -> tuple[str, str]:
    """The instruction and the input."""
    if len(texts) > 1:
        return "\n\n".join(texts[:-1]), texts[-1]
    whole = texts[0] if texts else ""
    first, blank, rest = whole.partition("\n\n")
    return (first, rest) if blank and rest.strip() else ("", whole)


def _items(text: str) -> list[str]:
    plain = unfenced(text).strip()
    try:
        found = msgspec.json.decode(plain)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if isinstance(found, list):
        return [item if isinstance(item, str) else msgspec.json.encode(item).decode() for item in found]
    return [line for line in text.splitlines() if line.strip()]


def _paragraphs(text: str, max_chars: int) -> Iterable[str]:
    piece = ""
    for paragraph in text.split("\n\n"):
        if not paragraph.strip():
            continue
        if piece and len(piece) + len(paragraph) + 2 > max_chars:
            yield piece
            piece = ""
        piece = f"{piece}\n\n{paragraph}" if piece else paragraph
    if piece:
        yield piece
