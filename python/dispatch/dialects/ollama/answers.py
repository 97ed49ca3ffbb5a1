"""A whole answer of `/api/chat` or `/api/generate`, read into the form and written from it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.form import Answer, Choice, Refusal, Text, Thinking, ToolUse, Usage
from dispatch.dialects.shape import MalformedAnswer, answer_tree, json_object

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Part
    from dispatch.dialects.target import Losses

__all__ = [
    "call_id",
    "finish_of",
    "id_of",
    "read_answer",
    "reason_of",
    "seconds_of",
    "time_of",
    "tool_calls",
    "write_answer",
    "write_counts",
    "write_generate_answer",
]

_FINISHES = {"stop": "stop", "length": "length", "load": "stop", "unload": "stop", "content_filter": "filter"}
_REASONS = {"length": "length", "filter": "content_filter", "refusal": "content_filter"}


def finish_of(said: str, *, has_calls: bool) -> str:
    """The form's word for `done_reason`, which servers before version 0.3.5 leave out. Calls have none of their own."""
    reason = _FINISHES.get(said, "other") if said else "stop"
    return "tool" if reason == "stop" and has_calls else reason


def reason_of(finish: str) -> str:
    """Ollama's word for a reason of the form."""
    return _REASONS.get(finish, "stop")


def seconds_of(created_at: str) -> int:
    """Seconds since 1970 of an RFC 3339 time; 0 for none."""
    try:
        # Nanoseconds, which Go writes, are more than what is read here.
        return int(datetime.fromisoformat(created_at[:19] + "+00:00").timestamp())
    except ValueError:
        return 0


def time_of(seconds: int) -> str:
    """The time as Ollama writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def id_of(created_at: str) -> str:
    """An id for an answer, which has none: by when it was made, to the nanosecond."""
    return "ollama-" + "".join(filter(str.isdigit, created_at))


def call_id(known: str, number: int) -> str:
    """An id for a call that has none: by the answer and its place there, so that it is one of a kind in a conversation."""
    return f"call_{known}_{number}"


def read_answer(body: bytes) -> Answer:
    """Read an answer.

    Raises:
        MalformedAnswer: it has neither a message nor a response.
    """
    tree = answer_tree(body)
    message = tree.get("message")
    if not isinstance(message, dict):
        if not isinstance(tree.get("response"), str):
            raise MalformedAnswer("the answer has no message")
        message = {"content": tree["response"], "thinking": tree.get("thinking")}
    created_at = str(tree.get("created_at") or "")
    known = id_of(created_at)
    parts: list[Part] = []
    if message.get("thinking"):
        parts.append(Thinking(text=message["thinking"]))
    if message.get("content"):
        parts.append(Text(text=message["content"]))
    calls = [_call(one, known, at) for at, one in enumerate(message.get("tool_calls") or ())]
    parts += calls
    said = str(tree.get("done_reason") or "")
    finish = finish_of(said, has_calls=bool(calls)) if tree.get("done") is not False else ""
    choice = Choice(parts=parts, finish=finish, raw_finish=said, logprobs=tree.get("logprobs") or None)
    usage = Usage(input=tree.get("prompt_eval_count") or 0, output=tree.get("eval_count") or 0)
    return Answer(id=known, model=str(tree.get("model") or ""), created=seconds_of(created_at), choices=[choice], usage=usage)


def _call(tree: Any, known: str, number: int) -> ToolUse:
    function = tree.get("function") if isinstance(tree, dict) else None
    if not isinstance(function, dict):
        raise MalformedAnswer(f"call {number} has no function")
    arguments = msgspec.json.encode(function.get("arguments") or {}).decode()
    return ToolUse(id=tree.get("id") or call_id(known, number), name=function.get("name") or "", arguments=arguments)


def write_answer(answer: Answer, now_s: int, losses: Losses) -> bytes:
    """Write an answer of `/api/chat`: its first choice."""
    choice = answer.choices[0]
    tree = _message(choice, losses)
    calls = [part for part in choice.parts if isinstance(part, ToolUse)]
    message: Tree = {"role": "assistant", **tree}
    if calls:
        message["tool_calls"] = tool_calls((part.id, part.name, part.arguments) for part in calls)
    return _whole(answer, {"message": message}, now_s)


def write_generate_answer(answer: Answer, now_s: int, losses: Losses) -> bytes:
    """Write an answer of `/api/generate`: its first choice."""
    choice = answer.choices[0]
    if any(isinstance(part, ToolUse) for part in choice.parts):
        losses.mention("tool_calls")
    tree = _message(choice, losses)
    tree["response"] = tree.pop("content")
    return _whole(answer, tree, now_s)


def _message(choice: Choice, losses: Losses) -> Tree:
    texts: list[str] = []
    thoughts: list[str] = []
    for part in choice.parts:
        if isinstance(part, Text | Refusal):
            texts.append(part.text)
            if isinstance(part, Text) and part.citations:
                losses.mention("citations")
        elif isinstance(part, Thinking):
            thoughts.append(part.text)
            if part.is_redacted:
                losses.mention("redacted_thinking")
        elif not isinstance(part, ToolUse):
            losses.mention(getattr(part, "kind", "part"))
    tree: Tree = {"content": "".join(texts)}
    if any(thoughts):
        tree["thinking"] = "".join(thoughts)
    return tree


def tool_calls(calls: Any) -> list[Tree]:
    """Calls, given as id, name and arguments."""
    return [
        {"id": place, "function": {"index": at, "name": name, "arguments": json_object(arguments)}}
        for at, (place, name, arguments) in enumerate(calls)
    ]


def _whole(answer: Answer, inside: Tree, now_s: int) -> bytes:
    choice = answer.choices[0]
    tree: Tree = {"model": answer.model, "created_at": time_of(answer.created or now_s), **inside}
    tree |= {"done": True, "done_reason": reason_of(choice.finish), **write_counts(answer.usage)}
    if choice.logprobs is not None:
        tree["logprobs"] = choice.logprobs
    return msgspec.json.encode(tree)


def write_counts(usage: Usage | None) -> Tree:
    """Tokens, and the times that clients divide them by, which are not known here."""
    used = usage or Usage()
    return {"total_duration": 0, "prompt_eval_count": used.input, "eval_count": used.output}
