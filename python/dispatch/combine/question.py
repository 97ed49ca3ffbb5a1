"""What a plan asks its parts: the client's request, changed in the client's own dialect.

Only the fields that a plan changes are touched; whatever else the client wrote stays as it was.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from dispatch.combine.tongues import TONGUES, is_text
from dispatch.dialects.form import Text
from dispatch.dialects.table import DIALECTS
from dispatch.errors import BadRequest
from dispatch.exchange import Rewritable
from dispatch.wire.http1 import BodyError, Scan

if TYPE_CHECKING:
    from collections.abc import Collection

    from dispatch.combine.tongues import Tongue
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Message
    from dispatch.exchange import Call

__all__ = ["DOORS", "Question", "door_of", "filled"]

DOORS = frozenset((*TONGUES, "generate_stream", "converse_stream"))
"""Doors whose requests can be asked of several models."""


def door_of(call: Call) -> str:
    """The door by which `call` gets its answer whole."""
    return call.door.removesuffix("_stream")


class Question:
    """A request as a tree of its dialect.

    Attributes:
        door: the one that it is asked by, without streams.
        tree: the body. Changed only through copies.
        wants_logprobs: as of calls.
    """

    __slots__ = ("door", "tree", "wants_logprobs")

    def __init__(self, door: str, tree: Tree, *, wants_logprobs: bool = False) -> None:
        self.door = door
        self.tree = tree
        self.wants_logprobs = wants_logprobs

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
        if call.door not in doors or not isinstance(body, Rewritable):
            reason = f"the model {call.model!r} stands for a plan over several, and cannot be asked for {call.door}"
            raise BadRequest(reason, code="unsupported_parameter", param="model")
        tree, door = msgspec.json.decode(body.body(b"", False)), door_of(call)
        tongue = TONGUES.get(door)
        return cls(door, tree if tongue is None else tongue.whole(tree), wants_logprobs=call.wants_logprobs)

    def body(self, like: Rewritable, door: str) -> Rewritable:
        """The body to send in the place of `like`, which came by `door`. Raises `BadRequest`."""
        data = msgspec.json.encode(self.tree)
        try:
            # What a door adds to its bodies does not hold for another one's.
            return like.rewritten(data) if door.removesuffix("_stream") == self.door or isinstance(like, Scan) else Scan(data)
        except BodyError as error:
            raise BadRequest(error.message, code=error.code, param=error.param) from None

    @property
    def _tongue(self) -> Tongue:
        return TONGUES[self.door]

    def _but(self, tree: Tree) -> Question:
        return Question(self.door, tree, wants_logprobs=self.wants_logprobs)

    def streamed(self, *, with_usage: bool) -> Question:
        """The same as a stream."""
        return self._but(self._tongue.streamed(self.tree, with_usage=with_usage))

    def sampled(self, temperature: float | None, seed: int | None = None) -> Question:
        """The same at another temperature."""
        changes = {key: value for key, value in (("temperature", temperature), ("seed", seed)) if value is not None}
        return self._but(self._tongue.sampled(self.tree, changes))

    def with_logprobs(self) -> Question:
        """The same, and the answer is to say how sure the model was of each token. What the client asked for itself, it also gets."""
        asked = self._but(self._tongue.with_logprobs(self.tree))
        asked.wants_logprobs |= self._tongue.is_silent or asked.tree != self.tree
        return asked

    def followed(self, answer: str, then: str) -> Question:
        """The conversation as if the model had given `answer`, and the user had said `then`."""
        tongue = self._tongue
        said = [tongue.turn("assistant", answer)] if answer else []
        return self._but(tongue.with_turns(self.tree, [*tongue.read_turns(self.tree), *said, tongue.turn("user", then)]))

    def saying(self, text: str) -> Question:
        """The same with other words in the user's last message; its images and files stay. Without such a message there is one more."""
        return self.with_parts([self.text_part(text), *(part for part in self.last_parts() if not is_text(part))])

    def text_part(self, text: str) -> Tree:
        """Text as a part of a message."""
        return self._tongue.text_part(text)

    def last_parts(self) -> list[Tree]:
        """The parts of the user's last message, in the dialect's form."""
        turns, at = self._turns()
        return self._tongue.parts_of(turns[at]) if at >= 0 else []

    def with_parts(self, parts: list[Tree]) -> Question:
        """The same with other parts in the user's last message."""
        tongue = self._tongue
        turns, at = self._turns()
        if at < 0:
            turns, at = [*turns, {"role": "user"}], len(turns)
        turn = tongue.with_parts({"role": "user"} | turns[at], parts)
        return self._but(tongue.with_turns(self.tree, [*turns[:at], turn, *turns[at + 1 :]]))

    def _turns(self) -> tuple[list[Tree], int]:
        """All turns, and the place of the user's last one; -1: there is none."""
        tongue = self._tongue
        turns = tongue.read_turns(self.tree)
        places = [at for at, turn in enumerate(turns) if tongue.is_users(turn)]
        return turns, places[-1] if places else -1

    def prefaced(self, text: str) -> Question:
        """The same with more instructions for the model, before the client's own."""
        return self._but(self._tongue.prefaced(self.tree, text))

    def anew(self, prompt: str, max_tokens: int | None = None) -> Question:
        """Another question, in words of the plan, under the same model's name."""
        return Question(self.door, self._tongue.anew(self.tree, prompt, max_tokens))

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
