"""What a provider's answer says, whatever its dialect: read from recordings by the plainest code.

What the official SDKs read in ours is in `facts_sdk`: theirs, so that a mistake of one side is not the other's truth.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from botocore.eventstream import EventStreamBuffer  # type: ignore[import-untyped]  # botocore has no types

__all__ = [
    "Facts",
    "payloads",
    "said_in_chat",
    "said_in_cohere",
    "said_in_converse",
    "said_in_generate",
    "said_in_invoke",
    "said_in_messages",
    "said_in_ollama",
]


@dataclass
class Facts:
    """What must not change on the way."""

    text: str = ""
    thinking: str = ""
    tools: list[tuple[str, Any]] = field(default_factory=list)
    finish: str = ""
    """`stop`, `length`, `tool`, `filter`."""
    usage: tuple[int, int, int] = (0, 0, 0)
    """Input with what was cached, output, cached."""
    signatures: list[str] = field(default_factory=list)

    def without_usage(self) -> Facts:
        return Facts(self.text, self.thinking, self.tools, self.finish, (0, 0, 0), self.signatures)


MESSAGE_STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool",
    "refusal": "filter",
    "pause_turn": "stop",
    "model_context_window_exceeded": "length",
}
CHAT_STOPS = {"stop": "stop", "length": "length", "tool_calls": "tool", "function_call": "tool", "content_filter": "filter"}


def arguments(raw: str) -> Any:
    try:
        return json.loads(raw or "{}")
    except ValueError:
        # What the model wrote is no JSON; a dialect that needs an object keeps it under a name of ours.
        return {"_raw": raw}


# What recordings say.


def data_of(body: bytes) -> list[dict[str, Any]]:
    """The data of each event of a stream."""
    lines = body.decode().replace("\r\n", "\n").split("\n")
    found = (line[5:].strip() for line in lines if line.startswith("data:"))
    return [json.loads(data) for data in found if data not in {"", "[DONE]"}]


def said_in_messages(body: bytes, stream: bool) -> Facts:  # noqa: C901, PLR0912  # one branch for each kind of event and block
    facts = Facts()
    usage: dict[str, Any] = {}
    if not stream:
        tree = json.loads(body)
        blocks, usage, stop = tree["content"], tree["usage"], tree["stop_reason"]
    else:
        blocks, stop = [], None
        place: dict[int, dict[str, Any]] = {}
        for event in data_of(body):
            if event["type"] == "message_start":
                usage = dict(event["message"]["usage"])
            elif event["type"] == "content_block_start":
                blocks.append({**event["content_block"], "json": ""})
                place[event["index"]] = blocks[-1]
            elif event["type"] == "content_block_delta":
                delta = event["delta"]
                for key, name in (("text", "text"), ("thinking", "thinking"), ("signature", "signature"), ("partial_json", "json")):
                    if key in delta:
                        place[event["index"]][name] = place[event["index"]].get(name, "") + delta[key]
            elif event["type"] == "message_delta":
                stop = event["delta"].get("stop_reason") or stop
                usage |= {name: value for name, value in event["usage"].items() if value is not None}
    for block in blocks:
        if block["type"] == "text":
            facts.text += block["text"]
        elif block["type"] == "thinking":
            facts.thinking += block["thinking"]
            facts.signatures += [block["signature"]] if block.get("signature") else []
        elif block["type"] == "redacted_thinking":
            facts.signatures.append(block["data"])
        elif block["type"] == "tool_use":
            facts.tools.append((block["name"], arguments(block["json"]) if block.get("json") else block["input"]))
    cached, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    facts.usage = (usage["input_tokens"] + cached + written, usage["output_tokens"], cached)
    facts.finish = MESSAGE_STOPS[stop] if stop else ""
    return facts


def said_in_chat(body: bytes, stream: bool) -> Facts:
    """Of the first choice."""
    facts = Facts()
    calls: list[tuple[Any, str, str]] = []
    usage: dict[str, Any] = {}
    for tree in data_of(body) if stream else [json.loads(body)]:
        usage = tree.get("usage") or usage
        for choice in tree["choices"]:
            if choice.get("index", 0) != 0:
                continue
            message = choice.get("delta") or choice.get("message") or {}
            content = message.get("content") or ""
            parts: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content
            for part in parts:
                facts.text += part["text"] if part["type"] == "text" else ""
                if part["type"] == "thinking":
                    facts.thinking += "".join(one["text"] for one in part["thinking"])
            facts.text += message.get("refusal") or ""
            details = "".join(one.get("text") or "" for one in message.get("reasoning_details") or ())
            facts.thinking += message.get("reasoning_content") or message.get("reasoning") or details
            facts.signatures += [
                one.get("signature") or one.get("data")
                for one in message.get("reasoning_details") or ()
                if one.get("signature") or one.get("data")
            ]
            legacy: dict[str, Any] = message.get("function_call") or {}
            old = [{"function": legacy}] if legacy and (stream or legacy.get("name")) else []
            for at, call in enumerate(message.get("tool_calls") or old):
                collect(calls, call, at, stream=stream)
            facts.finish = CHAT_STOPS.get(choice.get("finish_reason") or "", facts.finish)
    facts.tools = [(name, arguments(text)) for _, name, text in calls]
    if facts.finish == "stop" and facts.tools:
        facts.finish = "tool"
    read = usage.get("prompt_tokens_details") or {}
    cached = read.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0
    facts.usage = (usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0, cached)
    return facts


def collect(calls: list[tuple[Any, str, str]], call: dict[str, Any], at: int, *, stream: bool) -> None:
    """Put a piece of a call to its others: those of one index, unless it brings another id."""
    function = call.get("function") or call.get("custom") or {}
    place: tuple[Any, Any] = (call.get("index", 0) if stream else at, call.get("id"))
    text = function.get("arguments") or function.get("input") or ""
    text = text if isinstance(text, str) else json.dumps(text)
    for number, (known, name, before) in reversed([*enumerate(calls)]):
        if stream and known[0] == place[0] and place[1] in (None, "", known[1]):
            calls[number] = (known, name, before + text)
            return
    calls.append((place, function.get("name") or "", text))


GEMINI_STOPS = {"STOP": "stop", "MAX_TOKENS": "length"}


def said_in_generate(body: bytes, stream: bool) -> Facts:
    """Of the first candidate."""
    facts = Facts()
    usage: dict[str, Any] = {}
    said = ""
    for tree in data_of(body) if stream else [json.loads(body)]:
        usage = tree.get("usageMetadata") or usage
        if "blockReason" in (tree.get("promptFeedback") or {}):
            said = "SAFETY"
        for candidate in tree.get("candidates") or ():
            if candidate.get("index", 0) != 0:
                continue
            for part in (candidate.get("content") or {}).get("parts") or ():
                if part.get("thought"):
                    facts.thinking += part.get("text", "")
                elif "text" in part:
                    facts.text += part["text"]
                elif "functionCall" in part:
                    facts.tools.append((part["functionCall"]["name"], part["functionCall"].get("args") or {}))
            said = candidate.get("finishReason") or said
    facts.finish = GEMINI_STOPS.get(said, "filter") if said else ""
    if facts.finish == "stop" and facts.tools:
        facts.finish = "tool"
    read = (usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0)
    made = (usage.get("candidatesTokenCount") or 0) + (usage.get("thoughtsTokenCount") or 0)
    facts.usage = (read, made, usage.get("cachedContentTokenCount") or 0)
    return facts


CONVERSE_STOPS = MESSAGE_STOPS | {"guardrail_intervened": "filter", "content_filtered": "filter"}


def payloads(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Names and payloads of the events in frames, as AWS's own parser reads them."""
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    found = ((event.headers[":event-type"], json.loads(event.payload)) for event in buffer)
    # InvokeModel wraps the events of its models.
    inside = [(name, json.loads(base64.b64decode(tree["bytes"])) if name == "chunk" else {name: tree}) for name, tree in found]
    return [(next(iter(tree)), tree) for _, tree in inside]


def said_in_invoke(body: bytes, stream: bool) -> Facts:
    """Of Anthropic's models."""
    if not stream:
        return said_in_messages(body, False)
    return said_in_messages("".join(f"data: {json.dumps(tree)}\n\n" for _, tree in payloads(body)).encode(), True)


def said_in_converse(body: bytes, stream: bool) -> Facts:
    facts = Facts()
    if not stream:
        tree = json.loads(body)
        blocks, stop, usage = tree["output"]["message"]["content"], tree["stopReason"], tree["usage"]
    else:
        place: dict[int, dict[str, Any]] = {}
        stop, usage = "", {}
        for name, event in payloads(body):
            inside = event[name]
            block = place.setdefault(inside.get("contentBlockIndex", -1), {"text": "", "json": "", "thinking": {}, "start": {}})
            if name == "contentBlockStart":
                block["start"] = inside["start"]
            elif name == "contentBlockDelta":
                delta = inside["delta"]
                block["text"] += delta.get("text", "")
                block["json"] += (delta.get("toolUse") or {}).get("input", "")
                for key, value in (delta.get("reasoningContent") or {}).items():
                    block["thinking"][key] = block["thinking"].get(key, "") + value
            stop = inside.get("stopReason", stop)
            usage = inside.get("usage", usage)
        blocks = [whole(block) for block in place.values()]
    for block in blocks:
        cited = block.get("citationsContent") or {}
        facts.text += block.get("text") or "".join(one["text"] for one in cited.get("content") or ())
        thought = block.get("reasoningContent") or {}
        shown = thought.get("reasoningText") or {}
        facts.thinking += shown.get("text") or ""
        facts.signatures += [one for one in (shown.get("signature"), thought.get("redactedContent")) if one]
        use = block.get("toolUse")
        if use and use.get("type") != "server_tool_use":
            facts.tools.append((use["name"], use["input"]))
    cached, written = usage.get("cacheReadInputTokens") or 0, usage.get("cacheWriteInputTokens") or 0
    facts.usage = (usage.get("inputTokens", 0) + cached + written, usage.get("outputTokens", 0), cached)
    facts.finish = CONVERSE_STOPS[stop]
    return facts


def whole(block: dict[str, Any]) -> dict[str, Any]:
    """A block out of its pieces."""
    thinking = dict(block["thinking"])
    redacted = thinking.pop("redactedContent", None)
    tree: dict[str, Any] = {"text": block["text"], "reasoningContent": {"reasoningText": thinking, "redactedContent": redacted}}
    if "toolUse" in block["start"]:
        tree["toolUse"] = {**block["start"]["toolUse"], "input": arguments(block["json"])}
    return tree


COHERE_STOPS = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool"}


def said_in_cohere(body: bytes, stream: bool) -> Facts:
    facts = Facts()
    calls: list[list[str]] = []
    end: dict[str, Any] = {}
    if stream:
        for event in data_of(body):
            message = (event.get("delta") or {}).get("message") or {}
            content, made = message.get("content") or {}, message.get("tool_calls") or {}
            if event["type"] == "content-delta":
                facts.text += content.get("text", "")
                facts.thinking += content.get("thinking", "")
            elif event["type"] == "tool-plan-delta":
                facts.thinking += message["tool_plan"]
            elif event["type"] == "tool-call-start":
                calls.append([made["function"]["name"], made["function"]["arguments"]])
            elif event["type"] == "tool-call-delta":
                calls[-1][1] += made["function"]["arguments"]
            elif event["type"] == "message-end":
                end = event["delta"]
    else:
        end = json.loads(body)
        message = end["message"]
        facts.thinking = message.get("tool_plan", "") + "".join(one.get("thinking", "") for one in message.get("content", ()))
        facts.text = "".join(one.get("text", "") for one in message.get("content", ()))
        calls = [[one["function"]["name"], one["function"]["arguments"]] for one in message.get("tool_calls", ())]
    facts.tools = [(name, arguments(text)) for name, text in calls]
    facts.finish = COHERE_STOPS[end["finish_reason"]]
    usage = end["usage"]
    facts.usage = (usage["tokens"]["input_tokens"], usage["tokens"]["output_tokens"], usage.get("cached_tokens", 0))
    return facts


def said_in_ollama(body: bytes, stream: bool) -> Facts:
    """Of `/api/chat` and `/api/generate`."""
    facts = Facts()
    del stream
    for line in filter(None, body.split(b"\n")):
        tree = json.loads(line)
        message = tree.get("message") or {"content": tree.get("response"), "thinking": tree.get("thinking")}
        facts.text += message.get("content") or ""
        facts.thinking += message.get("thinking") or ""
        facts.tools += [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or ()]
        facts.finish = tree.get("done_reason", "stop")
        facts.usage = (tree.get("prompt_eval_count", 0), tree.get("eval_count", 0), 0)
    if facts.finish == "stop" and facts.tools:
        facts.finish = "tool"
    return facts
