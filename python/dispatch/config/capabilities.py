"""What an endpoint can do. See `structs`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["Capabilities"]

Prefill = Literal["none", "prefix", "prefix_echoed", "continue_final_message", "assistant"]


class Capabilities(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Corrections to what the provider is known to support; left out: as the provider says."""

    stream_usage: bool | None = None
    """Takes `stream_options.include_usage`. Where false, the output of a stream is estimated."""
    prefill: Prefill | None = None
    """How it can be asked to go on with an answer that was begun: `prefix` (`prefix: true` on a last assistant message, as DeepSeek's
    beta takes it), `prefix_echoed` (the same, and the answer repeats that message: Mistral), `continue_final_message` (vLLM, SGLang),
    `assistant` (a last assistant message alone: Claude models that allow it, OpenRouter), `none`."""
    reasoning: bool | None = None
    """Takes a reasoning effort from requests of other dialects. Left out: by the model's name."""
    reads: tuple[Literal["image", "document", "audio", "video"], ...] | None = None
    """What its model takes beside text; `[]`: nothing. Requests with something else go to other endpoints of the pool, and are refused
    where there is none. This, `tools`, `schema` and `context` left out: as the catalogue of models says, where the models of a pool
    differ."""
    tools: bool | None = None
    """Its model takes tools."""
    schema: bool | None = None
    """Its model keeps to a JSON schema of the answer."""
    context: Annotated[int, Meta(ge=1)] | None = None
    """Tokens that its model reads at most. Longer prompts, by estimate, go to others of the pool."""
