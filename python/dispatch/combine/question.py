"""What a plan asks its parts: the client's request, changed in the client's own dialect.

Only the fields that a plan changes are touched; whatever else the client wrote stays as it was.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.form import Text
from dispatch.dialects.table import DIALECTS
from dispatch.errors import BadRequest
from dispatch.wire.http1 import BodyError, Scan

if TYPE_CHECKING:
    from collections.abc import Collection

    from dispatch.dialects import Tree
    from dispatch.dialects.form import Message
    from dispatch.exchange import Call

__all__ = ["DOORS", "Question", "door_of", "filled", "is_text", "text_part"]

DOORS = frozenset(("chat", "messages", "generate", "generate_stream"))
"""Doors whose requests can be asked of several models."""

_SYSTEM = {"messages": "system", "generate": "systemInstruction"}
_TURNS = {"chat": "messages", "messages": "messages", "generate": "contents"}
_PARTS = {"chat": "content", "messages": "content", "generate": "parts"}
_MAX_TOKENS = 1024
"""For dialects that need a limit, where a plan asks in its own words."""


def door_of(call: Call) -> str:
    """The door by which `call` gets its answer whole."""
    return call.door.removesuffix("_stream")


class Question:
    """A request as a tree of its dialect.

    Attributes:
        door: the one that it is asked by, without streams.
        tree: the body. Changed only through copies.
    """

    __slots__ = ("door", "tree")

    def __init__(self, door: str, tree: Tree) -> None:
        self.door = door
        self.tree = tree

    @classmethod
    def of(cls, call: Call, doors: Collection[str] = DOORS) -> Question:
        """The client's request, asked whole.

        Args:
            call: the client's.
            doors: those by which it may come.

        Raises:
            BadRequest: it is none that several models could be asked.
        """
        body = call.body
        if call.door not in doors or not isinstance(body, Scan):
            raise BadRequest(f"the model {call.model!r} cannot be asked for {call.door}", code="unsupported_parameter", param="model")
        tree = msgspec.json.decode(body.body(b"", False))
        return cls(door_of(call), {key: value for key, value in tree.items() if key not in ("stream", "stream_options")})

    def scan(self, like: Scan) -> Scan:
        """The body to send in the place of `like`. Raises `BadRequest`."""
        try:
            return like.rewritten(msgspec.json.encode(self.tree))
        except BodyError as error:
            raise BadRequest(error.message, code=error.code, param=error.param) from None

    def streamed(self, *, with_usage: bool) -> Question:
        """The same as a stream, where the dialect says so in the body."""
        if self.door == "generate":
            return self
        more: Tree = {"stream": True}
        if self.door == "chat" and with_usage:
            more["stream_options"] = {"include_usage": True}
        return Question(self.door, self.tree | more)

    def sampled(self, temperature: float | None, seed: int | None = None) -> Question:
        """The same at another temperature."""
        changes = {key: value for key, value in (("temperature", temperature), ("seed", seed)) if value is not None}
        if self.door == "generate":
            config = self.tree.get("generationConfig") or {}
            return Question(self.door, self.tree | {"generationConfig": config | changes})
        if self.door == "messages":
            changes.pop("seed", None)
        return Question(self.door, self.tree | changes)

    def with_logprobs(self) -> Question:
        """The same, and the answer is to say how sure the model was of each token. Anthropic's cannot say it."""
        if self.door == "chat":
            return Question(self.door, self.tree | {"logprobs": True})
        if self.door == "generate":
            config = self.tree.get("generationConfig") or {}
            return Question(self.door, self.tree | {"generationConfig": config | {"responseLogprobs": True}})
        return self

    def followed(self, answer: str, then: str) -> Question:
        """The conversation as if the model had given `answer`, and the user had said `then`."""
        key = _TURNS[self.door]
        turns = [*(self.tree.get(key) or ())]
        if answer:
            turns.append(_turn(self.door, "assistant", answer))
        return Question(self.door, self.tree | {key: [*turns, _turn(self.door, "user", then)]})

    def saying(self, text: str) -> Question:
        """The same with other words in the user's last message; its images and files stay. Without such a message there is one more."""
        return self.with_parts([text_part(self.door, text), *(part for part in self.last_parts() if not is_text(part))])

    def last_parts(self) -> list[Tree]:
        """The parts of the user's last message, in the dialect's form."""
        turns, at = self._turns()
        found = turns[at].get(_PARTS[self.door]) if at >= 0 else None
        if isinstance(found, str):
            return [text_part(self.door, found)]
        return [part for part in found or () if isinstance(part, dict)]

    def with_parts(self, parts: list[Tree]) -> Question:
        """The same with other parts in the user's last message."""
        turns, at = self._turns()
        whole = [*turns]
        # One part of text is written as most clients write it, which every server takes.
        plain = self.door != "generate" and len(parts) == 1 and is_text(parts[0])
        turn = {"role": "user", **(turns[at] if at >= 0 else {}), _PARTS[self.door]: parts[0]["text"] if plain else parts}
        whole[at if at >= 0 else len(whole) :] = [turn, *(whole[at + 1 :] if at >= 0 else ())]
        return Question(self.door, self.tree | {_TURNS[self.door]: whole})

    def _turns(self) -> tuple[list[Tree], int]:
        """All turns, and the place of the user's last one; -1: there is none."""
        found = self.tree.get(_TURNS[self.door])
        turns = [turn for turn in found if isinstance(turn, dict)] if isinstance(found, list) else []
        places = [at for at, turn in enumerate(turns) if turn.get("role", "user") == "user"]
        return turns, places[-1] if places else -1

    def prefaced(self, text: str) -> Question:
        """The same with more instructions for the model, before the client's own."""
        if self.door == "chat":
            return Question(self.door, self.tree | {"messages": [{"role": "system", "content": text}, *(self.tree.get("messages") or ())]})
        key = _SYSTEM[self.door]
        mine: Any = {"type": "text", "text": text} if self.door == "messages" else {"text": text}
        before = self.tree.get(key)
        if self.door == "generate":
            parts = (before or {}).get("parts") or [] if isinstance(before, dict) or before is None else [{"text": str(before)}]
            return Question(self.door, self.tree | {key: {"parts": [mine, *parts]}})
        own = [{"type": "text", "text": before}] if isinstance(before, str) else [*(before or ())]
        return Question(self.door, self.tree | {key: [mine, *own]})

    def anew(self, prompt: str, max_tokens: int | None = None) -> Question:
        """Another question, in words of the plan, under the same model's name."""
        turn = _turn(self.door, "user", prompt)
        if self.door == "generate":
            config = {"generationConfig": {"maxOutputTokens": max_tokens}} if max_tokens else {}
            return Question(self.door, {**_model(self.tree), "contents": [turn], **config})
        tree: Tree = {**_model(self.tree), "messages": [turn]}
        if self.door == "messages" or max_tokens:
            tree["max_tokens"] = max_tokens or self.tree.get("max_tokens") or _MAX_TOKENS
        return Question(self.door, tree)

    def conversation(self) -> str:
        """What was said, as text with the speakers before it. Raises `BadRequest`: it cannot be read."""
        request = DIALECTS[self.door].read_request(msgspec.json.encode(self.tree))
        return "\n\n".join(f"{message.role}: {said}" for message in request.messages if (said := _said(message)))

    def last_words(self) -> str:
        """The text of the last message of the user. Raises `BadRequest`: it cannot be read."""
        request = DIALECTS[self.door].read_request(msgspec.json.encode(self.tree))
        return next((_said(message) for message in reversed(request.messages) if message.role == "user"), "")


def filled(template: str, **words: str) -> str:
    """`template` with each `{name}` of `words` replaced, in one pass: what is filled in is not looked at again."""
    names = "|".join(words)
    return re.sub(f"{{({names})}}", lambda found: words[found[1]], template)


def _said(message: Message) -> str:
    return "\n".join(part.text for part in message.parts if isinstance(part, Text))


def _model(tree: Tree) -> Tree:
    return {"model": tree["model"]} if "model" in tree else {}


def is_text(part: Tree) -> bool:
    """Whether a part is text."""
    return "text" in part and part.get("type", "text") == "text"


def text_part(door: str, text: str) -> Tree:
    """Text as a part."""
    return {"text": text} if door == "generate" else {"type": "text", "text": text}


def _turn(door: str, role: str, text: str) -> Tree:
    if door == "generate":
        return {"role": "model" if role == "assistant" else role, "parts": [{"text": text}]}
    return {"role": role, "content": text}
