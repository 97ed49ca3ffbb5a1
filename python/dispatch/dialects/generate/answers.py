"""A whole `generateContent` answer, read into the form and written from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.form import Answer, Choice, Media, Raw, Refusal, Text, Thinking, ToolUse, Usage
from dispatch.dialects.generate.read_request import media_of
from dispatch.dialects.generate.signatures import hidden, thinking_of
from dispatch.dialects.shape import MalformedAnswer, answer_tree, json_object

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Part
    from dispatch.dialects.target import Losses

__all__ = ["REASONS", "call_id", "finish_of", "read_answer", "read_usage", "reason_of", "write_answer", "write_usage"]

REASONS = {"STOP": "stop", "FUNCTION_CALL": "stop", "MAX_TOKENS": "length", "FINISH_REASON_UNSPECIFIED": ""}
"""All others withhold the answer: safety, recitation, a call that the model spoiled. `FUNCTION_CALL` is not Google's: servers like
theirs say it (aimock)."""
_WORDS = {
    "stop": "STOP",
    "tool": "STOP",
    "pause": "STOP",
    "length": "MAX_TOKENS",
    "filter": "SAFETY",
    "refusal": "SAFETY",
    "other": "OTHER",
}


def finish_of(said: str, *, has_calls: bool) -> str:
    """The form's word for a reason to end. Calls have none of their own here."""
    reason = REASONS.get(said, "filter")
    return "tool" if reason == "stop" and has_calls else reason


def reason_of(finish: str) -> str:
    """Gemini's word for a reason of the form."""
    return _WORDS.get(finish, "OTHER")


def read_answer(body: bytes) -> Answer:
    """Read an answer.

    Raises:
        MalformedAnswer: it has neither candidates nor a word why.
    """
    tree = answer_tree(body)
    candidates = tree.get("candidates") or []
    feedback = tree.get("promptFeedback")
    usage = tree.get("usageMetadata")
    known = tree.get("responseId") or ""
    if candidates:
        choices = [_choice(one, at, known) for at, one in enumerate(candidates)]
    elif isinstance(feedback, dict) and feedback.get("blockReason"):
        choices = [Choice(parts=[], finish="filter", raw_finish=str(feedback["blockReason"]))]
    elif isinstance(usage, dict):
        # Some answers are empty, and say no more.
        choices = [Choice(parts=[], finish="filter", raw_finish="")]
    else:
        raise MalformedAnswer("the answer has no candidates")
    return Answer(
        id=known, model=tree.get("modelVersion") or "", choices=choices, usage=read_usage(usage) if isinstance(usage, dict) else None
    )


def _choice(tree: Any, at: int, known: str) -> Choice:
    if not isinstance(tree, dict):
        raise MalformedAnswer(f"candidate {at} is no object")
    content = tree.get("content") or {}
    parts: list[Part] = []
    for one in content.get("parts") or ():
        part = _part(one)
        if isinstance(part, ToolUse):
            part.id = part.id or call_id(known, len([call for call in parts if isinstance(call, ToolUse)]))
        parts.append(part)
    texts = [part for part in parts if isinstance(part, Text)]
    if texts:
        texts[-1].citations = _sources(tree.get("groundingMetadata"))
    said = tree.get("finishReason") or ""
    has_calls = any(isinstance(part, ToolUse) for part in parts)
    return Choice(
        parts=parts,
        finish=finish_of(said, has_calls=has_calls) if said else "",
        raw_finish=said,
        logprobs=_logprobs(tree.get("logprobsResult")),
        index=tree.get("index") or 0,
    )


def call_id(known: str, number: int) -> str:
    """An id for a call that has none: by the answer and its place there, so that it is one of a kind in a conversation."""
    return f"call_{known or 'gemini'}_{number}"


def _part(tree: Tree) -> Part:
    signature = tree.get("thoughtSignature") or ""
    if "text" in tree:
        shown = tree["text"] or ""
        return thinking_of(shown, signature) if tree.get("thought") else Text(text=shown, signature=signature)
    call = tree.get("functionCall")
    if isinstance(call, dict):
        arguments = msgspec.json.encode(call.get("args") or {}).decode()
        return ToolUse(id=call.get("id") or "", name=call.get("name") or "", arguments=arguments, signature=signature)
    return media_of(tree)


def _sources(tree: Any) -> list[Tree]:
    chunks = tree.get("groundingChunks") if isinstance(tree, dict) else None
    webs = [chunk["web"] for chunk in chunks or () if isinstance(chunk, dict) and isinstance(chunk.get("web"), dict)]
    kind = "web_search_result_location"
    return [{"type": kind, "url": web.get("uri") or "", "title": web.get("title"), "cited_text": "", "encrypted_index": ""} for web in webs]


def _logprobs(tree: Any) -> list[Tree] | None:
    if not isinstance(tree, dict) or not tree.get("chosenCandidates"):
        return None
    tops = tree.get("topCandidates") or []
    return [
        {**_token(one), "top_logprobs": [_token(top) for top in (tops[at].get("candidates") or ())] if at < len(tops) else []}
        for at, one in enumerate(tree["chosenCandidates"])
    ]


def _token(tree: Tree) -> Tree:
    token = tree.get("token") or ""
    return {"token": token, "logprob": tree.get("logProbability") or 0.0, "bytes": list(token.encode())}


def read_usage(tree: Tree) -> Usage:
    """The usage metadata of an answer."""
    thought = tree.get("thoughtsTokenCount") or 0
    return Usage(
        input=(tree.get("promptTokenCount") or 0) + (tree.get("toolUsePromptTokenCount") or 0),
        output=(tree.get("candidatesTokenCount") or 0) + thought,
        cached=tree.get("cachedContentTokenCount") or 0,
        reasoning=thought,
    )


def write_usage(usage: Usage) -> Tree:
    """The usage metadata of an answer."""
    tree: Tree = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "totalTokenCount": usage.input + usage.output,
    }
    if usage.cached:
        tree["cachedContentTokenCount"] = usage.cached
    if usage.reasoning:
        tree["thoughtsTokenCount"] = usage.reasoning
    return tree


def write_answer(answer: Answer, now_s: int, losses: Losses) -> bytes:
    """Write an answer; parts without an equal are named in `losses`."""
    del now_s
    tree: Tree = {
        "candidates": [_candidate(choice, losses) for choice in answer.choices],
        "modelVersion": answer.model,
        "responseId": answer.id,
    }
    if answer.usage is not None:
        tree["usageMetadata"] = write_usage(answer.usage)
    return msgspec.json.encode(tree)


def _candidate(choice: Choice, losses: Losses) -> Tree:
    parts = [one for part in choice.parts if (one := _written(part, losses)) is not None]
    tree: Tree = {"content": {"parts": parts, "role": "model"}, "index": choice.index}
    if choice.finish:
        tree["finishReason"] = reason_of(choice.finish)
    if choice.logprobs is not None:
        chosen = [{"token": one.get("token"), "logProbability": one.get("logprob")} for one in choice.logprobs]
        tops = [
            {"candidates": [{"token": top.get("token"), "logProbability": top.get("logprob")} for top in one.get("top_logprobs") or ()]}
            for one in choice.logprobs
        ]
        tree["logprobsResult"] = {"chosenCandidates": chosen, "topCandidates": tops}
    return tree


def _written(part: Part, losses: Losses) -> Tree | None:
    if isinstance(part, Text | Refusal):
        return {"text": part.text}
    if isinstance(part, Thinking):
        tree: Tree = {"text": part.text, "thought": True}
        if part.signature:
            tree["thoughtSignature"] = hidden(part.signature, is_redacted=part.is_redacted)
        return tree
    if isinstance(part, ToolUse):
        tree = {"functionCall": {"id": part.id, "name": part.name, "args": json_object(part.arguments)}}
        if part.signature:
            tree["thoughtSignature"] = part.signature
        return tree
    if isinstance(part, Media) and part.data:
        return {"inlineData": {"mimeType": part.media_type, "data": part.data}}
    losses.mention(part.kind if isinstance(part, Raw | Media) else type(part).__name__.lower())
    return None
