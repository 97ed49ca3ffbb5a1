"""A prompt as the one message of a chat, and the answer as the text that follows it.

What only a model without a chat can do (`suffix`, `echo`, prompts of tokens, several at once) is refused by its name. `logprobs` are a
number here, of the likeliest tokens at each place: 0 asks for those of the answer alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.chat.answers import FINISHES, write_usage
from dispatch.dialects.chat.read_request import read_request as read_chat_request
from dispatch.dialects.completions.answers import write_logprobs
from dispatch.dialects.form import Finish, RefusalDelta, Start, Text, TextDelta, ToolBegin, Usage, UsageReport
from dispatch.dialects.shape import expect, request_tree
from dispatch.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatch.dialects import Tree
    from dispatch.dialects.form import Answer, Choice, Event, Request
    from dispatch.dialects.target import Losses

__all__ = ["PromptWriter", "read_prompt", "write_completion"]

_encode = msgspec.json.encode
_ONLY_HERE = ("suffix", "echo")


def read_prompt(body: bytes) -> Request:
    """Read a request.

    Raises:
        BadRequest: it asks for what no chat can do; the field is named.
    """
    tree = request_tree(body)
    for name in _ONLY_HERE:
        # `echo: false` asks for nothing.
        if tree.get(name) not in (None, False, ""):
            raise BadRequest(f"{name}: the endpoint has only a chat", code="unsupported_parameter", param=name)
    if tree.get("best_of") not in (None, tree.get("n"), 1):
        raise BadRequest("best_of: the endpoint has only a chat", code="unsupported_parameter", param="best_of")
    prompt = tree.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    if isinstance(prompt, list):
        raise BadRequest("prompt: the endpoint takes one text", code="unsupported_parameter", param="prompt")
    rest = {name: value for name, value in tree.items() if name not in {"prompt", "best_of", *_ONLY_HERE}}
    if (tops := rest.pop("logprobs", None)) is not None and tops is not False:
        rest |= {"logprobs": True} | ({"top_logprobs": expect(tops, int, "logprobs")} if tops is not True and tops != 0 else {})
    # What the API gives where a request says nothing.
    rest.setdefault("max_tokens", 16)
    return read_chat_request(_encode({**rest, "messages": [{"role": "user", "content": expect(prompt, str, "prompt")}]}))


def write_completion(answer: Answer, now_s: int, losses: Losses) -> bytes:
    """Write an answer; what is no text is named in `losses`."""
    head = {"id": answer.id, "object": "text_completion", "created": answer.created or now_s, "model": answer.model}
    usage = {} if answer.usage is None else {"usage": write_usage(answer.usage)}
    return _encode({**head, "choices": [_written(choice, losses) for choice in answer.choices], **usage})


def _written(choice: Choice, losses: Losses) -> Tree:
    for part in choice.parts:
        if not isinstance(part, Text):
            losses.mention(type(part).__name__.lower())
    text = "".join(part.text for part in choice.parts if isinstance(part, Text))
    return {"text": text, "index": choice.index, "logprobs": write_logprobs(choice.logprobs), "finish_reason": FINISHES.get(choice.finish)}


class PromptWriter:
    """Events in, chunks of text out.

    Args:
        now_s: what `created` says where the provider does not, seconds since 1970.
        wants_usage: whether the client asked for the usage of a stream.
    """

    __slots__ = ("_now_s", "_prefix", "_usage", "_wants_usage", "_written", "lost")

    def __init__(self, now_s: int, *, wants_usage: bool) -> None:
        self.lost: list[str] = []
        self._now_s = now_s
        self._wants_usage = wants_usage
        self._usage: Usage | None = None
        self._prefix = b""
        self._written: dict[int, int] = {}
        """Letters by choice: tokens are listed with where they begin."""

    def write(self, events: Iterable[Event]) -> bytes:
        """Write what has come."""
        out: list[bytes] = []
        for event in events:
            if isinstance(event, TextDelta):
                self._text(event, out)
            elif isinstance(event, RefusalDelta):
                self._put(event.choice, event.text, None, out)
            elif isinstance(event, Start):
                self._start(event)
            elif isinstance(event, Finish):
                self._put(event.choice, "", FINISHES[event.reason], out)
            elif isinstance(event, UsageReport):
                self._usage = event.usage
            else:
                self._lose(event)
        return b"".join(out)

    def end(self) -> bytes:
        """Write what ends a complete stream."""
        if not self._wants_usage:
            return b"data: [DONE]\n\n"
        usage = _encode(write_usage(self._usage or Usage()))
        return b'%b"choices":[],"usage":%b}\n\ndata: [DONE]\n\n' % (self._head(), usage)

    def _start(self, event: Start) -> None:
        tree = {"id": event.id, "object": "text_completion", "created": event.created or self._now_s, "model": event.model}
        self._prefix = b"data: " + _encode(tree)[:-1] + b","
        if event.usage is not None:
            self._usage = event.usage

    def _head(self) -> bytes:
        if not self._prefix:
            self._start(Start("", ""))
        return self._prefix

    def _text(self, event: TextDelta, out: list[bytes]) -> None:
        begin = self._written.get(event.choice, 0)
        self._written[event.choice] = begin + len(event.text)
        self._put(event.choice, event.text, None, out, write_logprobs(event.logprobs, begin))

    def _put(self, choice: int, text: str, finish: str | None, out: list[bytes], logprobs: Tree | None = None) -> None:
        tree = {"text": text, "index": choice, "logprobs": logprobs, "finish_reason": finish}
        out.append(b'%b"choices":[%b]}\n\n' % (self._head(), _encode(tree)))

    def _lose(self, event: Any) -> None:
        name = "tool_calls" if isinstance(event, ToolBegin) else getattr(event, "kind", type(event).__name__.removesuffix("Delta").lower())
        if name not in self.lost:
            self.lost.append(name)
