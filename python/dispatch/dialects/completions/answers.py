"""A whole answer of `/v1/completions`, read into the form, and how sure a model was of its tokens, in that API's words."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from dispatch.dialects.chat.answers import REASONS, read_usage
from dispatch.dialects.form import Answer, Choice, Text
from dispatch.dialects.shape import MalformedAnswer, answer_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.dialects import Tree

__all__ = ["read_answer", "write_logprobs"]


def read_answer(body: bytes) -> Answer:
    """Read an answer.

    Raises:
        MalformedAnswer: it is no completion of a prompt.
    """
    tree = answer_tree(body)
    choices = tree.get("choices")
    if not isinstance(choices, list) or not choices:
        raise MalformedAnswer("the answer has no choices")
    usage = tree.get("usage")
    return Answer(
        id=tree.get("id") or "",
        model=tree.get("model") or "",
        created=int(tree.get("created") or 0),
        choices=[_choice(choice, at) for at, choice in enumerate(choices)],
        usage=read_usage(usage) if isinstance(usage, dict) else None,
    )


def _choice(tree: Any, at: int) -> Choice:
    text = tree.get("text") if isinstance(tree, dict) else None
    if not isinstance(text, str):
        raise MalformedAnswer(f"choice {at} has no text")
    said = tree.get("finish_reason") or ""
    return Choice(
        parts=[Text(text=text)] if text else [],
        finish=REASONS.get(said, "other" if said else ""),
        raw_finish=said,
        logprobs=_logprobs(tree.get("logprobs")),
        index=tree.get("index") or 0,
    )


def _logprobs(told: Any) -> list[Tree] | None:
    """Each token with its logarithm; the first one of an echoed prompt has none."""
    if not isinstance(told, dict):
        return None
    pairs = zip(told.get("tokens") or (), told.get("token_logprobs") or (), strict=False)
    return [{"token": token, "logprob": logprob} for token, logprob in pairs if logprob is not None]


def write_logprobs(told: Sequence[Tree] | None, begin: int = 0) -> Tree | None:
    """Tokens of the form, as this API lists them.

    Args:
        told: the tokens; None: the answer does not tell.
        begin: letters of the answer before them.
    """
    if told is None:
        return None
    tokens = [str(one.get("token", "")) for one in told]
    ends = [*accumulate(map(len, tokens), initial=begin)]
    tops = [{top["token"]: top["logprob"] for top in one.get("top_logprobs") or ()} for one in told]
    return {"tokens": tokens, "token_logprobs": [one.get("logprob") for one in told], "top_logprobs": tops, "text_offset": ends[:-1]}
