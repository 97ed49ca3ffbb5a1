"""What every dialect means: a chat request, its answer, and the events of a stream, in one form.

Parts of messages and of answers are the same classes, because an answer comes back as a message of the next request. What only one
dialect knows stays in `Raw` and in `extra`: it survives where the target is of that dialect, and is named where it is not.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

from msgspec import Struct, field

from dispatch.dialects import Tree

__all__ = [
    "Answer",
    "Choice",
    "CitationDelta",
    "Event",
    "Finish",
    "Format",
    "Media",
    "Message",
    "Part",
    "Raw",
    "Reasoning",
    "Refusal",
    "RefusalDelta",
    "Request",
    "SignatureDelta",
    "Start",
    "Text",
    "TextDelta",
    "Thinking",
    "ThinkingDelta",
    "Tool",
    "ToolBegin",
    "ToolChoice",
    "ToolDelta",
    "ToolResult",
    "ToolUse",
    "Unknown",
    "Usage",
    "UsageReport",
]

# Words of `Finish.reason`: "stop", "length", "tool", "filter", "refusal", "pause", "other".


class Text(Struct, kw_only=True):
    """Plain text."""

    text: str
    cache: Tree | None = None
    """Anthropic's `cache_control`: the prompt up to here is to be cached."""
    citations: list[Tree] = field(default_factory=list)
    """In Anthropic's form."""
    signature: str = ""
    """Gemini's `thoughtSignature`."""


class Media(Struct, kw_only=True):
    """An image, a sound, a video or a document. Exactly one of `data`, `url`, `file_id` and `text` is set."""

    kind: str
    """`image`, `audio`, `video` or `document`."""
    media_type: str = ""
    """As `image/png`; empty where nothing tells."""
    data: str = ""
    """Base64."""
    url: str = ""
    file_id: str = ""
    """Of a file at the provider."""
    text: str = ""
    """A document that is plain text."""
    name: str = ""
    detail: str = ""
    """OpenAI's `low`, `high`, `auto`."""
    cache: Tree | None = None
    extra: Tree = field(default_factory=dict)
    """What only the source's dialect knows of it (`citations`, `context`)."""


class Thinking(Struct, kw_only=True):
    """Reasoning that the model shows, or hides behind a signature."""

    text: str = ""
    signature: str = ""
    is_redacted: bool = False
    """There is no text; `signature` is what the provider wants back."""


class ToolUse(Struct, kw_only=True):
    """A tool is called."""

    id: str
    name: str
    arguments: str
    """JSON as the model wrote it."""
    signature: str = ""
    """Gemini's `thoughtSignature`."""
    cache: Tree | None = None
    is_custom: bool = False
    """OpenAI's custom tool: `arguments` is free text."""
    space: str = ""
    """In an answer of OpenAI's: the namespace of the tool. Other dialects have none, and know the tool by its name."""


class ToolResult(Struct, kw_only=True):
    """What a tool gave."""

    id: str
    parts: list[Part]
    name: str = ""
    is_error: bool = False
    cache: Tree | None = None


class Refusal(Struct, kw_only=True):
    """The model declines, in words."""

    text: str


class Raw(Struct, kw_only=True):
    """A part that only its own dialect understands."""

    dialect: str
    kind: str
    """The part's own name for itself."""
    value: Any


Part = Text | Media | Thinking | ToolUse | ToolResult | Refusal | Raw


class Message(Struct, kw_only=True):
    """One turn."""

    role: str
    """`system`, `user`, `assistant` or `tool`."""
    parts: list[Part]
    name: str = ""
    extra: Tree = field(default_factory=dict)


class Tool(Struct, kw_only=True):
    """Something that the model may call."""

    name: str
    description: str = ""
    schema: Tree | None = None
    strict: bool | None = None
    cache: Tree | None = None
    raw: Raw | None = None
    """A tool that runs at the provider, or of a kind that only its dialect has."""
    extra: Tree = field(default_factory=dict)


class ToolChoice(Struct, kw_only=True):
    """Whether tools must be called."""

    mode: str
    """`auto`, `none`, `required` or `tool`."""
    name: str = ""
    names: list[str] = field(default_factory=list)
    """Only these may be called (Gemini, OpenAI's `allowed_tools`); empty: all."""


class Format(Struct, kw_only=True):
    """The form that the answer's text must have."""

    kind: str
    """`text`, `json` or `schema`."""
    schema: Tree | None = None
    name: str = ""
    strict: bool | None = None
    description: str = ""
    media_type: str = ""
    """Gemini's `responseMimeType` where it is neither text nor JSON."""


class Reasoning(Struct, kw_only=True):
    """How much the model should think."""

    effort: str = ""
    """`none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`; empty: not said."""
    budget: int | None = None
    """Tokens; 0 turns it off, -1 lets the model decide."""
    is_shown: bool | None = None


class Request(Struct, kw_only=True):
    """A chat request."""

    dialect: str
    """Where it comes from."""
    model: str
    messages: list[Message]
    stream: bool = False
    wants_usage: bool = False
    """The client reads the usage of a stream."""
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    n: int | None = None
    seed: int | None = None
    stop: list[str] = field(default_factory=list)
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Tree | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    tools: list[Tool] = field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    format: Format | None = None
    reasoning: Reasoning | None = None
    service_tier: str = ""
    """OpenAI's words."""
    user: str = ""
    metadata: Tree | None = None
    verbosity: str = ""
    modalities: list[str] = field(default_factory=list)
    """OpenAI's, where they ask for more than text."""
    extra: Tree = field(default_factory=dict)
    """Top-level fields without a place here, as they came."""


class Usage(Struct, kw_only=True):
    """Tokens of one answer."""

    input: int = 0
    """Read, cached ones included."""
    output: int = 0
    """Written, reasoning included."""
    cached: int = 0
    written: int = 0
    """Of `input`, those that went into the cache."""
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    tier: str = ""
    """OpenAI's word for the service tier that answered."""
    extra: Tree = field(default_factory=dict)


class Choice(Struct, kw_only=True):
    """One of the answers."""

    parts: list[Part]
    finish: str = ""
    """See `Finish.reason`; empty: not said."""
    raw_finish: str = ""
    """The provider's own word."""
    stop_sequence: str = ""
    logprobs: list[Tree] | None = None
    """OpenAI's `logprobs.content`."""
    index: int = 0
    extra: Tree = field(default_factory=dict)

    def mean_logprob(self) -> float | None:
        """The mean of the logarithms of the tokens' probabilities, nats; None where they are not told."""
        found = [value for one in self.logprobs or () if isinstance(value := one.get("logprob"), int | float)]
        return fmean(found) if found else None


class Answer(Struct, kw_only=True):
    """A whole answer."""

    id: str
    model: str
    choices: list[Choice]
    usage: Usage | None = None
    created: int = 0
    extra: Tree = field(default_factory=dict)

    def take_logprobs(self) -> float | None:
        """Take off what says how sure the model is; return the mean of the first choice."""
        mean = self.choices[0].mean_logprob() if self.choices else None
        for choice in self.choices:
            choice.logprobs = None
        return mean


class Start(Struct):
    """The first event."""

    id: str
    model: str
    usage: Usage | None = None
    created: int = 0


class TextDelta(Struct):
    """A piece of text."""

    text: str
    choice: int = 0
    logprobs: list[Tree] | None = None
    signature: str = ""


class ThinkingDelta(Struct):
    """A piece of reasoning."""

    text: str
    choice: int = 0


class SignatureDelta(Struct):
    """The signature of the reasoning that has ended; `is_redacted`: instead of it."""

    signature: str
    choice: int = 0
    is_redacted: bool = False


class RefusalDelta(Struct):
    """A piece of a refusal."""

    text: str
    choice: int = 0


class ToolBegin(Struct):
    """A tool call begins. Calls are numbered from 0 within a choice, whatever else the answer holds."""

    index: int
    id: str
    name: str
    choice: int = 0
    signature: str = ""
    is_custom: bool = False
    space: str = ""


class ToolDelta(Struct):
    """A piece of a call's arguments."""

    index: int
    text: str
    choice: int = 0


class CitationDelta(Struct):
    """A source of the text that has just come, in Anthropic's form."""

    citation: Tree
    choice: int = 0


class Finish(Struct):
    """A choice has ended."""

    reason: str
    choice: int = 0
    stop_sequence: str = ""
    raw: str = ""


class UsageReport(Struct):
    """Usage so far; each report holds all that is known."""

    usage: Usage


class Unknown(Struct):
    """Something that the target cannot be told."""

    kind: str


Event = (
    Start
    | TextDelta
    | ThinkingDelta
    | SignatureDelta
    | RefusalDelta
    | ToolBegin
    | ToolDelta
    | CitationDelta
    | Finish
    | UsageReport
    | Unknown
)
