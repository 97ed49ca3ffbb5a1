"""What `echo` is asked, in the forms of OpenAI's chat, completions, embeddings and responses APIs.

A token is a word with the space before it. Ids are digests of the request: the same request has the same answer.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Ask", "first_count"]

_WORD = re.compile(r"\s*\S+|\s+")
_CHOICES_MAX = 128


class Ask(Struct, frozen=True, kw_only=True):
    """A request, as far as an echo cares."""

    model: str
    texts: tuple[str, ...]
    """What to answer: one for each prompt or input, one alone for a conversation."""
    input_tokens: int
    id: str
    now_s: int
    is_stream: bool = False
    include_usage: bool = False
    limit: int | None = None
    """Most tokens of an answer."""
    n: int = 1
    body: dict[str, Any]

    @classmethod
    def read(cls, door: str, body: bytes, now_s: int) -> Ask:
        """Read a request.

        Raises:
            ValueError: it has nothing to answer.
        """
        try:
            raw = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ValueError("the body is not a JSON object") from None
        texts, input_tokens = _READERS[door](raw)
        options = raw.get("stream_options")
        return cls(
            model=raw["model"] if isinstance(raw.get("model"), str) else "echo",
            texts=texts,
            input_tokens=input_tokens,
            id=hashlib.blake2b(body, digest_size=12).hexdigest(),
            now_s=now_s,
            is_stream=raw.get("stream") is True,
            include_usage=isinstance(options, dict) and options.get("include_usage") is True,
            limit=first_count(raw, "max_completion_tokens", "max_tokens", "max_output_tokens"),
            n=min(first_count(raw, "n") or 1, _CHOICES_MAX),
            body=raw,
        )

    def choices(self) -> list[tuple[list[str], str]]:
        """Return words and finish reason of each choice."""
        said = [_cut(text, self.limit) for text in self.texts]
        return [choice for choice in said for _ in range(self.n)]


def first_count(raw: dict[str, Any], *names: str) -> int | None:
    """Return the first of these fields that is a positive number."""
    for name in names:
        value = raw.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _cut(text: str, limit: int | None) -> tuple[list[str], str]:
    words: list[str] = _WORD.findall(text)
    return (words, "stop") if limit is None or len(words) <= limit else (words[:limit], "length")


def _count(text: str) -> int:
    return len(_WORD.findall(text))


def _content(message: object) -> str:
    """Text of a message, a part of one, or a list of either."""
    if isinstance(message, str):
        return message
    if isinstance(message, list):
        return "".join(_content(part) for part in message)
    if isinstance(message, dict):
        return _content(message.get("content") if "content" in message else message.get("text"))
    return ""


def _read_conversation(messages: object, name: str) -> tuple[tuple[str, ...], int]:
    if isinstance(messages, str):
        return (messages,), _count(messages)
    if not isinstance(messages, list) or not messages:
        raise ValueError(f"`{name}` must be a list of at least one message")
    said = [message for message in messages if isinstance(message, dict)]
    of_user = [message for message in said if message.get("role") == "user"]
    last = (of_user or said or [{}])[-1]
    return (_content(last),), sum(_count(_content(message)) for message in said)


def _read_chat(raw: dict[str, Any]) -> tuple[tuple[str, ...], int]:
    return _read_conversation(raw.get("messages") or [], "messages")


def _read_responses(raw: dict[str, Any]) -> tuple[tuple[str, ...], int]:
    texts, tokens = _read_conversation(raw.get("input") or [], "input")
    return texts, tokens + _count(_content(raw.get("instructions")))


def _read_prompts(raw: dict[str, Any], name: str) -> tuple[tuple[str, ...], int]:
    """One text, a list of texts, one list of token numbers, or a list of such lists."""
    given = raw.get(name)
    if isinstance(given, str) or (isinstance(given, list) and given and all(isinstance(one, int) for one in given)):
        given = [given]
    if not isinstance(given, list) or not given:
        raise ValueError(f"`{name}` must be text, token numbers, or a list of at least one of them")
    texts = tuple(one if isinstance(one, str) else " ".join(map(str, one)) if isinstance(one, list) else str(one) for one in given)
    return texts, sum(map(_count, texts))


_READERS: Mapping[str, Callable[[dict[str, Any]], tuple[tuple[str, ...], int]]] = {
    "chat": _read_chat,
    "completions": lambda raw: _read_prompts(raw, "prompt"),
    "embeddings": lambda raw: _read_prompts(raw, "input"),
    "responses": _read_responses,
}
