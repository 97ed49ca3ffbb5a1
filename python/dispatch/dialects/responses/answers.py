"""A whole response, read into the form and written from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.chat.answers import annotation
from dispatch.dialects.form import Answer, Choice, Media, Raw, Refusal, Text, Thinking, ToolUse, Usage
from dispatch.dialects.responses.marks import hidden_in_item, hidden_in_signature, spaced
from dispatch.dialects.shape import MalformedAnswer, answer_tree

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Part
    from dispatch.dialects.target import Losses

__all__ = [
    "TIERS",
    "call_item",
    "citation_of",
    "ending",
    "finish_of",
    "message_item",
    "note_of",
    "own_id",
    "read_answer",
    "read_usage",
    "reasoning_item",
    "response",
    "text_part",
    "write_answer",
    "write_usage",
]

CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Items that call a tool, and where they say with what."""
TIERS = frozenset(("auto", "default", "flex", "scale", "priority"))
_PREFIX = "resp_"
_REASONS = {"max_output_tokens": "length", "content_filter": "filter"}
_CUTS = {"length": "max_output_tokens", "filter": "content_filter", "refusal": "content_filter"}


def read_answer(body: bytes) -> Answer:
    """Read an answer.

    Raises:
        MalformedAnswer: it is no response, or one that failed.
    """
    tree = answer_tree(body)
    output = tree.get("output")
    if not isinstance(output, list) or tree.get("status") in {"failed", "cancelled"}:
        raise MalformedAnswer("the answer has no output")
    usage = tree.get("usage")
    found = read_usage(usage) if isinstance(usage, dict) else None
    if found is not None:
        found.tier = tree.get("service_tier") or ""
    logprobs: list[Tree] = []
    choice = Choice(parts=[part for item in output if isinstance(item, dict) for part in _parts(item, logprobs)])
    choice.logprobs = logprobs or None
    choice.finish, choice.raw_finish = finish_of(tree, has_calls=any(isinstance(part, ToolUse) for part in choice.parts))
    created = int(tree.get("created_at") or 0)
    return Answer(id=own_id(tree), model=tree.get("model") or "", created=created, choices=[choice], usage=found)


def own_id(tree: Tree) -> str:
    """A response's id without what every id of one begins with."""
    return str(tree.get("id") or "").removeprefix(_PREFIX)


def finish_of(tree: Tree, *, has_calls: bool) -> tuple[str, str]:
    """The form's word for how a response ended, and the provider's own."""
    details = tree.get("incomplete_details")
    if tree.get("status") == "incomplete" and isinstance(details, dict):
        said = str(details.get("reason") or "incomplete")
        return _REASONS.get(said, "other"), said
    return "tool" if has_calls else "stop", str(tree.get("status") or "")


def _parts(item: Tree, logprobs: list[Tree]) -> list[Part]:
    kind = item.get("type")
    if kind == "message":
        return [_content(one, logprobs) for one in item.get("content") or () if isinstance(one, dict)]
    if kind in CALLS:
        identity = item.get("call_id") or item.get("id") or ""
        arguments = item.get(CALLS[kind]) or ""
        space = item.get("namespace") or ""
        return [ToolUse(id=identity, name=item.get("name") or "", arguments=arguments, is_custom=kind == "custom_tool_call", space=space)]
    if kind == "reasoning":
        pieces = [*_texts(item.get("summary"), "\n\n"), *_texts(item.get("content"), "")]
        encrypted = item.get("encrypted_content")
        signature = hidden_in_signature(item.get("id") or "", encrypted) if encrypted else ""
        return [Thinking(text="".join(pieces), signature=signature)] if pieces or signature else []
    if kind == "image_generation_call" and item.get("result"):
        return [Media(kind="image", media_type=f"image/{item.get('output_format') or 'png'}", data=item["result"])]
    return [Raw(dialect="responses", kind=str(kind), value=item)]


def _texts(pieces: Any, between: str) -> list[str]:
    texts = [one.get("text") or "" for one in pieces or () if isinstance(one, dict)]
    return [between.join(texts)] if any(texts) else []


def _content(part: Tree, logprobs: list[Tree]) -> Part:
    kind = part.get("type")
    if kind == "output_text":
        logprobs += part.get("logprobs") or ()
        notes = [found for note in part.get("annotations") or () if (found := citation_of(note)) is not None]
        return Text(text=part.get("text") or "", citations=notes)
    if kind == "refusal":
        return Refusal(text=part.get("refusal") or "")
    return Raw(dialect="responses", kind=str(kind), value=part)


def citation_of(note: Any) -> Tree | None:
    """An annotation in Anthropic's form; None for those of files, which have no URL."""
    if not isinstance(note, dict) or note.get("type") != "url_citation":
        return None
    kind = "web_search_result_location"
    return {"type": kind, "url": note.get("url") or "", "title": note.get("title"), "cited_text": "", "encrypted_index": ""}


def note_of(citation: Tree, start: int, text: str) -> Tree:
    """A source as an annotation."""
    return {"type": "url_citation", **annotation(citation, start, text)["url_citation"]}


def read_usage(tree: Tree) -> Usage:
    """The usage object of a response."""
    sent = tree.get("input_tokens_details") or {}
    made = tree.get("output_tokens_details") or {}
    return Usage(
        input=tree.get("input_tokens") or 0,
        output=tree.get("output_tokens") or 0,
        cached=sent.get("cached_tokens") or 0,
        written=sent.get("cache_write_tokens") or 0,
        reasoning=made.get("reasoning_tokens") or 0,
    )


def write_usage(usage: Usage) -> Tree:
    """The usage object of a response."""
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.written},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }


def response(identity: str, model: str, created: int, status: str) -> Tree:
    """A response object without its content: what was asked for is not repeated, and nothing is stored."""
    return {
        "id": _PREFIX + identity,
        "object": "response",
        "created_at": created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }


def ending(tree: Tree, finish: str, output: list[Tree], usage: Usage | None) -> Tree:
    """The response object when all is said."""
    cut = _CUTS.get(finish)
    tree |= {"status": "incomplete" if cut else "completed", "output": output}
    tree["incomplete_details"] = {"reason": cut} if cut else None
    if usage is not None:
        tree["usage"] = write_usage(usage)
        if usage.tier in TIERS:
            tree["service_tier"] = usage.tier
    return tree


def reasoning_item(identity: str, text: str, signature: str = "", *, is_redacted: bool = False) -> Tree:
    """Reasoning, which other providers show as a text of their own making, as a summary."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    item: Tree = {"id": identity, "type": "reasoning", "summary": summary}
    if signature:
        item["encrypted_content"] = hidden_in_item(signature, is_redacted=is_redacted)
    return item


def message_item(identity: str, content: list[Tree], status: str = "completed") -> Tree:
    """What the model says."""
    return {"id": identity, "type": "message", "status": status, "role": "assistant", "content": content}


def text_part(text: str, notes: list[Tree] | None = None, logprobs: list[Tree] | None = None) -> Tree:
    """A text in a message."""
    return {"type": "output_text", "annotations": notes or [], "logprobs": logprobs or [], "text": text}


def call_item(identity: str, use: ToolUse, status: str = "completed") -> Tree:
    """A call of a tool."""
    call_id = use.id or f"call_{identity}"
    kind, prefix = ("custom_tool_call", "ctc") if use.is_custom else ("function_call", "fc")
    named = {"name": use.name, "namespace": use.space} if use.space else spaced(use.name)
    item: Tree = {"id": f"{prefix}_{identity}", "type": kind, "status": status, "call_id": call_id, **named}
    return item | {CALLS[kind]: use.arguments}


def write_answer(answer: Answer, now_s: int, losses: Losses) -> bytes:
    """Write an answer; parts without an equal are named in `losses`."""
    choice = answer.choices[0]
    if len(answer.choices) > 1:
        losses.mention("choices")
    output: list[Tree] = []
    content: list[Tree] = []
    for part in choice.parts:
        known = f"{answer.id}_{len(output)}"
        if isinstance(part, Text | Refusal):
            if not content:
                output.append(message_item(f"msg_{known}", content))
            content.append(_said(part, choice if not any(one["type"] == "output_text" for one in content) else None))
            continue
        content = []
        if isinstance(part, ToolUse) and part.signature:
            # Gemini signs calls; here a signature has a place of its own, before the call.
            output.append(reasoning_item(f"rs_{known}", "", part.signature))
            known = f"{answer.id}_{len(output)}"
        item = _item(part, known, losses)
        output += [] if item is None else [item]
    tree = response(answer.id, answer.model, answer.created or now_s, "completed")
    return msgspec.json.encode(ending(tree, choice.finish, output, answer.usage))


def _said(part: Text | Refusal, choice: Choice | None) -> Tree:
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    notes = [note_of(one, 0, part.text) for one in part.citations]
    return text_part(part.text, notes, choice.logprobs if choice is not None else None)


def _item(part: Part, known: str, losses: Losses) -> Tree | None:
    if isinstance(part, Thinking):
        return reasoning_item(f"rs_{known}", "" if part.is_redacted else part.text, part.signature, is_redacted=part.is_redacted)
    if isinstance(part, ToolUse):
        use = part if part.arguments or part.is_custom else ToolUse(id=part.id, name=part.name, arguments="{}")
        return call_item(known, use)
    if isinstance(part, Media) and part.kind == "image" and part.data:
        return {"id": f"ig_{known}", "type": "image_generation_call", "status": "completed", "result": part.data}
    losses.mention(part.kind if isinstance(part, Raw | Media) else type(part).__name__.lower())
    return None
