"""Requests, answers and streams of the form, drawn at random, and what of them must survive a way through two dialects.

What is compared is what is said, not how: ids of calls are known by their order, since Gemini's calls need none; arguments are trees;
what follows each other from one side of a conversation is one turn; the name of a schema and whether it is called strict are labels.
"""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
from dispatch.dialects import form
from dispatch.dialects.target import Target
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["NO_SCHEMA", "answers", "fit", "heard", "meant", "requests", "said", "streams", "target"]

NO_SCHEMA = {"type": "object", "properties": {}}
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
WORDS = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz_"), min_size=1, max_size=8)
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6)
OBJECTS = st.dictionaries(TEXTS | st.sampled_from(["result", "output", "error", "_raw"]), TREES, max_size=3)
DATA = st.binary(min_size=1, max_size=12).map(lambda raw: base64.b64encode(raw).decode())
TYPES = {"image": "image/png", "document": "application/pdf"}


def target(door: str) -> Target:
    """An endpoint that can do all that its dialect can."""
    names = {"messages": "claude-opus-5", "generate": "gemini-3-pro", "converse": "us.anthropic.claude-opus-5"}
    model = names.get(door, "gpt-5")
    return Target(provider=door, model=model, drops=True, unknown_ok=True)


# Requests.

TEXT_PARTS = TEXTS.map(lambda text: form.Text(text=text))
MEDIA = st.sampled_from(["image", "document"]).flatmap(
    lambda kind: DATA.map(lambda data: form.Media(kind=kind, media_type=TYPES[kind], data=data))
)
TOOLS = st.builds(
    lambda name, description, schema: form.Tool(name=name, description=description, schema={**NO_SCHEMA, **schema}),
    WORDS,
    TEXTS | st.just(""),
    st.just({}) | WORDS.map(lambda name: {"properties": {name: {"type": "string"}}, "required": [name]}),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[form.Message]:
    messages = []
    if draw(st.booleans()):
        messages.append(form.Message(role="system", parts=draw(st.lists(TEXT_PARTS, min_size=1, max_size=2))))
    number = 0
    for _ in range(draw(st.integers(1, 3))):
        messages.append(form.Message(role="user", parts=draw(st.lists(TEXT_PARTS | MEDIA, min_size=1, max_size=3))))
        if not draw(st.booleans()):
            continue
        parts: list[Any] = draw(st.lists(TEXT_PARTS, max_size=1))
        calls = [
            form.ToolUse(id=f"id_{number + at}", name=name, arguments=json.dumps(draw(OBJECTS)))
            for at, name in enumerate(draw(st.lists(WORDS, min_size=0 if parts else 1, max_size=3)))
        ]
        number += len(calls)
        messages.append(form.Message(role="assistant", parts=[*parts, *calls]))
        results = [form.ToolResult(id=call.id, name=call.name, parts=[draw(RESULTS)]) for call in draw(st.permutations(calls))]
        messages += [form.Message(role="tool", parts=[one]) for one in results]
    return messages


RESULTS = (TEXTS | OBJECTS.map(json.dumps)).map(lambda text: form.Text(text=text))


@st.composite
def requests(draw: st.DrawFn) -> form.Request:
    """What chat, messages and generate can all say."""
    tools = draw(st.lists(TOOLS, max_size=3, unique_by=lambda tool: tool.name))
    choice = None
    if tools:
        modes = st.sampled_from(["auto", "none", "required"]).map(lambda mode: form.ToolChoice(mode=mode))
        named = st.sampled_from(tools).map(lambda tool: form.ToolChoice(mode="tool", name=tool.name))
        choice = draw(st.none() | modes | named)
    unit = st.none() | st.floats(0, 1)
    schemas = WORDS.map(lambda name: form.Format(kind="schema", schema={**NO_SCHEMA, "required": [name]}, name="answer"))
    return form.Request(
        dialect="chat",
        model="m",
        messages=draw(conversations()),
        max_tokens=draw(st.integers(1, 100_000)),
        temperature=draw(unit),
        top_p=draw(unit),
        stop=draw(st.lists(TEXTS, max_size=3)),
        tools=tools,
        tool_choice=choice,
        format=draw(st.none() | schemas),
        reasoning=draw(st.none() | st.sampled_from(["low", "medium", "high"]).map(lambda effort: form.Reasoning(effort=effort))),
    )


def fit(one: Any, dialects: Collection[str]) -> Any:
    """The same request, answer or stream without what one of these dialects has no word for."""
    if "responses" in dialects and isinstance(one, form.Request):
        # There are no such sequences.
        one.stop = []
    if "converse" not in dialects:
        return one
    if isinstance(one, form.Request):
        # Tools that may not be called cannot be said, and blank texts are refused.
        one.tool_choice = one.tool_choice if one.tool_choice and one.tool_choice.mode != "none" else None
        for message in one.messages:
            for part in (part for given in message.parts for part in getattr(given, "parts", [given])):
                if isinstance(part, form.Text) and not part.text.strip():
                    part.text = "x"
        return one
    # An answer has neither an id nor the model's name, and reasoning is counted with the rest.
    events = one if isinstance(one, list) else [one]
    for event in events:
        if isinstance(event, form.Start | form.Answer):
            event.id = event.model = ""
        usage = getattr(event, "usage", None)
        if usage is not None:
            usage.reasoning = 0
    return one


def meant(request: form.Request) -> dict[str, Any]:
    """What a request says."""
    tree: dict[str, Any] = msgspec.to_builtins(request)
    for name in ("dialect", "model", "stream", "wants_usage"):
        del tree[name]
    if tree["tool_choice"] == {"mode": "auto", "name": "", "names": []}:
        tree["tool_choice"] = None
    if request.format is not None:
        tree["format"]["name"] = tree["format"]["strict"] = None
    for tool in tree["tools"]:
        tool["schema"] = tool["schema"] or NO_SCHEMA
        tool["strict"] = tool["strict"] or None
    if request.reasoning is not None:
        # Whether it is shown is each dialect's own habit.
        tree["reasoning"] = {"effort": request.reasoning.effort or request.reasoning.budget}
    tree["messages"] = _turns(request.messages)
    return tree


def _turns(messages: Iterable[form.Message]) -> list[tuple[str, list[Any]]]:
    turns: list[tuple[str, list[Any]]] = []
    numbers: dict[str, int] = {}
    for message in messages:
        side = {"tool": "user"}.get(message.role, message.role)
        parts = [_part(part, numbers) for part in message.parts]
        parts += [("name", message.name)] if message.name else []
        if turns and turns[-1][0] == side:
            turns[-1][1].extend(parts)
        else:
            turns.append((side, parts))
    for _, parts in turns:
        # Results of one turn are known by their calls, not by their order; they come first.
        parts.sort(key=lambda part: (0, part[1]) if part[0] == "result" else (1, 0))
    return turns


def _part(part: form.Part, numbers: dict[str, int]) -> tuple[Any, ...]:
    if isinstance(part, form.ToolUse):
        number = numbers[part.id] = len(numbers)
        return ("call", number, part.name, _tree(part.arguments), part.is_custom, part.signature, part.cache)
    if isinstance(part, form.ToolResult):
        inside = [_part(one, numbers) for one in part.parts]
        shown = [("json", _tree(one[1])) if one[0] == "text" and one[1].lstrip().startswith("{") else one for one in inside]
        return ("result", numbers.get(part.id, part.id), shown, part.is_error, part.cache)
    if isinstance(part, form.Text):
        return ("text", part.text, part.cache, part.citations, part.signature)
    tree = msgspec.to_builtins(part)
    if isinstance(part, form.Media) and part.kind == "document":
        # OpenAI's API wants a name in any case.
        del tree["name"]
    return (type(part).__name__, tree)


def _tree(raw: str) -> Any:
    try:
        return json.loads(raw or "{}")
    except ValueError:
        return raw


# Answers.

USAGES = st.builds(
    lambda fresh, cached, seen, thought: form.Usage(input=fresh + cached, output=seen + thought, cached=cached, reasoning=thought),
    *(st.integers(0, 10**6),) * 4,
)


@st.composite
def answers(draw: st.DrawFn, *, is_signed: bool = False) -> form.Answer:
    """What all can say; signed reasoning: what those two can that have a place for the signature."""
    thoughts = TEXTS.map(lambda text: form.Thinking(text=text, signature="c2ln" if is_signed else ""))
    parts: list[Any] = draw(st.lists(thoughts, max_size=1)) + draw(st.lists(TEXT_PARTS, max_size=1))
    calls = [
        form.ToolUse(id=f"id_{at}", name=name, arguments=json.dumps(draw(OBJECTS)))
        for at, name in enumerate(draw(st.lists(WORDS, max_size=3)))
    ]
    finish = "tool" if calls else draw(st.sampled_from(["stop", "length"]))
    choice = form.Choice(parts=[*parts, *calls], finish=finish)
    return form.Answer(id="a", model="m", choices=[choice], usage=draw(USAGES), created=1)


def said(answer: form.Answer) -> dict[str, Any]:
    """What an answer says."""
    choices = []
    for choice in answer.choices:
        numbers: dict[str, int] = {}
        parts = [_part(part, numbers) for part in choice.parts]
        choices.append((choice.index, parts, choice.finish, choice.stop_sequence, choice.logprobs))
    usage = None if answer.usage is None else msgspec.to_builtins(answer.usage)
    return {"id": answer.id, "model": answer.model, "choices": choices, "usage": usage}


# Streams.


@st.composite
def streams(draw: st.DrawFn, *, is_signed: bool = False) -> list[Any]:
    """The events of an answer, as they come: what it says in pieces."""
    events: list[Any] = [form.Start("a", "m", None, 1)]
    answer = draw(answers(is_signed=is_signed))
    calls = 0
    for part in answer.choices[0].parts:
        if isinstance(part, form.ToolUse):
            events.append(form.ToolBegin(calls, part.id, part.name))
            events += [form.ToolDelta(calls, piece) for piece in _pieces(draw, part.arguments)]
            calls += 1
        elif isinstance(part, form.Thinking):
            events += [form.ThinkingDelta(piece) for piece in _pieces(draw, part.text)]
            events += [form.SignatureDelta(part.signature)] if part.signature else []
        elif isinstance(part, form.Text):
            events += [form.TextDelta(piece) for piece in _pieces(draw, part.text)]
    events.append(form.Finish(answer.choices[0].finish))
    events.append(form.UsageReport(answer.usage or form.Usage()))
    return events


def _pieces(draw: st.DrawFn, text: str) -> list[str]:
    places = [0, *sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=3))), len(text)]
    return [text[begin:end] for begin, end in pairwise(places) if begin < end]


def heard(events: Iterable[Any]) -> dict[str, Any]:
    """What a stream said, put together."""
    told: dict[str, Any] = {"id": "", "said": [], "finish": None, "usage": None}
    for event in events:
        if isinstance(event, form.Start):
            told["id"] = event.id
        elif isinstance(event, form.Finish):
            told["finish"] = (event.reason, event.stop_sequence)
        elif isinstance(event, form.UsageReport):
            told["usage"] = msgspec.to_builtins(event.usage)
        else:
            _hear(told["said"], event)
    for block in told["said"]:
        if block[0] == "call":
            block[3] = _tree(block[3])
    return told


def _hear(blocks: list[list[Any]], event: Any) -> None:
    kind = type(event).__name__
    if isinstance(event, form.TextDelta | form.ThinkingDelta):
        if not blocks or blocks[-1][0] != kind:
            blocks.append([kind, ""])
        blocks[-1][1] += event.text
    elif isinstance(event, form.SignatureDelta):
        blocks.append([kind, event.signature, event.is_redacted])
    elif isinstance(event, form.ToolBegin):
        blocks.append(["call", event.index, event.name, "", event.signature])
    elif isinstance(event, form.ToolDelta):
        next(block for block in blocks if block[:2] == ["call", event.index])[3] += event.text
    else:
        blocks.append([kind])
