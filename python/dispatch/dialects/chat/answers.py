"""A whole chat completion, read into the form and written from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.form import Answer, Choice, Media, Raw, Refusal, Text, Thinking, ToolUse, Usage
from dispatch.dialects.shape import MalformedAnswer, answer_tree

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Part
    from dispatch.dialects.target import Losses

__all__ = ["FINISHES", "REASONS", "annotation", "read_answer", "read_usage", "reasoning_detail", "write_answer", "write_usage"]

REASONS = {"stop": "stop", "length": "length", "tool_calls": "tool", "function_call": "tool", "content_filter": "filter", "error": "other"}
FINISHES = {
    "stop": "stop",
    "length": "length",
    "tool": "tool_calls",
    "filter": "content_filter",
    "refusal": "content_filter",
    "pause": "stop",
    "other": "stop",
}
_TIERS = {"auto", "default", "flex", "scale", "priority"}


def read_answer(body: bytes) -> Answer:
    """Read an answer.

    Raises:
        MalformedAnswer: it is no chat completion.
    """
    tree = answer_tree(body)
    choices = tree.get("choices")
    if not isinstance(choices, list) or not choices:
        raise MalformedAnswer("the answer has no choices")
    usage = tree.get("usage")
    found = read_usage(usage) if isinstance(usage, dict) else None
    if found is not None:
        found.tier = tree.get("service_tier") or ""
    return Answer(
        id=tree.get("id") or "",
        model=tree.get("model") or "",
        created=int(tree.get("created") or 0),
        choices=[_choice(choice, at) for at, choice in enumerate(choices)],
        usage=found,
    )


def _choice(tree: Any, at: int) -> Choice:
    message = tree.get("message") if isinstance(tree, dict) else None
    if not isinstance(message, dict):
        raise MalformedAnswer(f"choice {at} has no message")
    said = tree.get("finish_reason") or ""
    parts: list[Part] = _thinking(message)
    parts += _content(message)
    if message.get("refusal"):
        parts.append(Refusal(text=message["refusal"]))
    parts += _calls(message)
    stop = tree.get("stop_reason")
    logprobs = tree.get("logprobs")
    return Choice(
        parts=parts,
        finish=REASONS.get(said, "other" if said else ""),
        raw_finish=said,
        # vLLM names the stop sequence here, SGLang under the same name.
        stop_sequence=stop if isinstance(stop, str) else "",
        logprobs=logprobs.get("content") if isinstance(logprobs, dict) else None,
        index=tree.get("index") or 0,
    )


def _thinking(message: Tree) -> list[Part]:
    details = message.get("reasoning_details")
    if isinstance(details, list) and details:
        signed = [_signed(one) for one in details if isinstance(one, dict)]
        if any(part.signature for part in signed):
            return [*signed]
    shown = message.get("reasoning_content") or message.get("reasoning") or _joined(details)
    return [Thinking(text=shown)] if isinstance(shown, str) and shown else []


def _joined(details: Any) -> str:
    if not isinstance(details, list):
        return ""
    return "".join(one.get("text") or "" for one in details if isinstance(one, dict))


def _signed(tree: Tree) -> Thinking:
    if tree.get("type") == "reasoning.encrypted":
        return Thinking(signature=tree.get("data") or "", is_redacted=True)
    return Thinking(text=tree.get("text") or tree.get("summary") or "", signature=tree.get("signature") or "")


def _content(message: Tree) -> list[Part]:
    content = message.get("content")
    if isinstance(content, str):
        parts: list[Part] = [Text(text=content)] if content else []
    elif isinstance(content, list):
        parts = [part for one in content if isinstance(one, dict) for part in _content_part(one)]
    else:
        parts = []
    notes = message.get("annotations")
    if isinstance(notes, list):
        texts = [part for part in parts if isinstance(part, Text)]
        if texts:
            texts[-1].citations = [found for note in notes if (found := _citation(note)) is not None]
    return parts


def _content_part(tree: Tree) -> list[Part]:
    """Mistral's reasoning models answer in parts, thinking among them."""
    kind = tree.get("type")
    if kind == "text":
        return [Text(text=tree.get("text") or "")]
    if kind == "thinking":
        inside = tree.get("thinking")
        shown = inside if isinstance(inside, str) else "".join(one.get("text") or "" for one in inside or () if isinstance(one, dict))
        return [Thinking(text=shown)]
    return [Raw(dialect="chat", kind=str(kind), value=tree)]


def _citation(note: Any) -> Tree | None:
    inside = note.get("url_citation") if isinstance(note, dict) else None
    if not isinstance(inside, dict):
        return None
    return {
        "type": "web_search_result_location",
        "url": inside.get("url") or "",
        "title": inside.get("title"),
        "cited_text": inside.get("content") or "",
        "encrypted_index": "",
    }


def _calls(message: Tree) -> list[Part]:
    calls: list[Part] = []
    for call in message.get("tool_calls") or ():
        custom = call.get("custom")
        # Clients written in Go fill in every field.
        if isinstance(custom, dict) and custom.get("name"):
            calls.append(
                ToolUse(id=call.get("id") or "", name=custom.get("name") or "", arguments=custom.get("input") or "", is_custom=True)
            )
            continue
        function = call.get("function") or {}
        google = (call.get("extra_content") or {}).get("google") or {}
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            # Some servers give the object itself.
            arguments = msgspec.json.encode(arguments).decode()
        signature = google.get("thought_signature") or ""
        calls.append(ToolUse(id=call.get("id") or "", name=function.get("name") or "", arguments=arguments or "", signature=signature))
    function = message.get("function_call")
    if isinstance(function, dict) and function.get("name"):
        name = function.get("name") or ""
        calls.append(ToolUse(id=name, name=name, arguments=function.get("arguments") or ""))
    return calls


def read_usage(tree: Tree) -> Usage:
    """The usage object of a completion."""
    sent = tree.get("prompt_tokens_details") or {}
    made = tree.get("completion_tokens_details") or {}
    return Usage(
        input=tree.get("prompt_tokens") or 0,
        output=tree.get("completion_tokens") or 0,
        cached=sent.get("cached_tokens") or tree.get("prompt_cache_hit_tokens") or 0,
        written=sent.get("cache_write_tokens") or sent.get("cache_creation_tokens") or 0,
        reasoning=made.get("reasoning_tokens") or tree.get("reasoning_tokens") or 0,
        audio_input=sent.get("audio_tokens") or 0,
        audio_output=made.get("audio_tokens") or 0,
    )


def write_usage(usage: Usage) -> Tree:
    """The usage object of a completion."""
    sent: Tree = {"cached_tokens": usage.cached}
    if usage.written:
        # As OpenRouter says it; OpenAI does not charge for it.
        sent["cache_write_tokens"] = usage.written
    if usage.audio_input:
        sent["audio_tokens"] = usage.audio_input
    made: Tree = {"reasoning_tokens": usage.reasoning}
    if usage.audio_output:
        made["audio_tokens"] = usage.audio_output
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": sent,
        "completion_tokens_details": made,
    }


def write_answer(answer: Answer, now_s: int, losses: Losses) -> bytes:
    """Write an answer; parts without an equal are named in `losses`."""
    tree: Tree = {
        "id": answer.id,
        "object": "chat.completion",
        "created": answer.created or now_s,
        "model": answer.model,
        "choices": [_written(choice, losses) for choice in answer.choices],
    }
    if answer.usage is not None:
        tree["usage"] = write_usage(answer.usage)
        if answer.usage.tier in _TIERS:
            tree["service_tier"] = answer.usage.tier
    return msgspec.json.encode(tree)


def _written(choice: Choice, losses: Losses) -> Tree:
    texts: list[str] = []
    message: Tree = {"role": "assistant", "content": None, "refusal": None}
    notes: list[Tree] = []
    for part in choice.parts:
        if isinstance(part, Text):
            notes += [annotation(one, sum(map(len, texts)), part.text) for one in part.citations]
            texts.append(part.text)
        else:
            _put_part(message, part, losses)
    if texts:
        message["content"] = "".join(texts)
    if notes:
        message["annotations"] = notes
    if "reasoning_details" in message and not any(one.get("signature") or one.get("data") for one in message["reasoning_details"]):
        del message["reasoning_details"]
    tree: Tree = {"index": choice.index, "message": message, "finish_reason": FINISHES.get(choice.finish)}
    tree["logprobs"] = None if choice.logprobs is None else {"content": choice.logprobs, "refusal": None}
    if choice.stop_sequence:
        tree["stop_reason"] = choice.stop_sequence
    return tree


def _put_part(message: Tree, part: Part, losses: Losses) -> None:
    if isinstance(part, Thinking):
        details = message.setdefault("reasoning_details", [])
        details.append(reasoning_detail(part.text, part.signature, is_redacted=part.is_redacted, index=len(details)))
        if part.text:
            message["reasoning_content"] = message.get("reasoning_content", "") + part.text
    elif isinstance(part, ToolUse):
        message.setdefault("tool_calls", []).append(_call(part))
    elif isinstance(part, Refusal):
        message["refusal"] = (message["refusal"] or "") + part.text
    elif isinstance(part, Media) and part.kind == "image":
        # As OpenRouter gives images that a model makes.
        url = part.url or f"data:{part.media_type};base64,{part.data}"
        message.setdefault("images", []).append({"type": "image_url", "image_url": {"url": url}})
    else:
        losses.mention(part.kind if isinstance(part, Raw | Media) else type(part).__name__.lower())


def _call(use: ToolUse) -> Tree:
    if use.is_custom:
        return {"id": use.id, "type": "custom", "custom": {"name": use.name, "input": use.arguments}}
    tree: Tree = {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": use.arguments}}
    if use.signature:
        tree["extra_content"] = {"google": {"thought_signature": use.signature}}
    return tree


def reasoning_detail(text: str, signature: str, *, is_redacted: bool, index: int) -> Tree:
    """Reasoning with its signature, in OpenRouter's form, in which a client sends it back."""
    if is_redacted:
        return {"type": "reasoning.encrypted", "data": signature, "index": index}
    return {"type": "reasoning.text", "text": text, "signature": signature or None, "index": index}


def annotation(citation: Tree, start: int, text: str) -> Tree:
    """A source in OpenAI's form: of documents, which have no URL, the title stands for it."""
    title = citation.get("title") or citation.get("document_title") or ""
    url = citation.get("url") or citation.get("source") or ""
    return {"type": "url_citation", "url_citation": {"start_index": start, "end_index": start + len(text), "url": url, "title": title}}
