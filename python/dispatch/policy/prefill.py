"""How an endpoint is asked to go on with an answer that another one has begun.

None of the ways is a standard, and models that think or call tools refuse most of them, so that an endpoint has one only by its own word
(`capabilities: {prefill: ...}`) or its provider's (a capability `prefill:KIND`):

- `prefix`, `prefix_echoed`: `prefix: true` on a last assistant message. DeepSeek's beta answers with what follows
  (https://api-docs.deepseek.com/guides/chat_prefix_completion), Mistral repeats the message first;
- `continue_final_message`: of vLLM and SGLang, beside `add_generation_prompt: false`;
- `assistant`: a last assistant message alone, as Anthropic's models that allow it and OpenRouter take it. It may not end in white space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.config import Endpoint

__all__ = ["KINDS", "continued", "prefill_of"]

KINDS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "prefix": ({"prefix": True}, {}),
    "prefix_echoed": ({"prefix": True}, {}),
    "continue_final_message": ({}, {"continue_final_message": True, "add_generation_prompt": False}),
    "assistant": ({}, {}),
}
"""Per kind, the fields added to the last message and to the request."""

_LIMITS = ("max_tokens", "max_completion_tokens")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def prefill_of(capabilities: frozenset[str], endpoint: Endpoint) -> str:
    """Return how an endpoint can be asked to go on: its own word if it gives one, else what its provider's `capabilities` say."""
    own = endpoint.capabilities.prefill
    if own is None:
        return next((kind for kind in KINDS if f"prefill:{kind}" in capabilities), "")
    return "" if own == "none" else own


def continued(body: bytes, text: str, kind: str, tokens: int) -> tuple[bytes, int]:
    """Turn a chat request into one for the rest of its answer.

    Args:
        body: the client's JSON.
        text: what was delivered of the answer; not empty.
        kind: one of `KINDS`.
        tokens: how many that were, by which the request's own limits are lowered.

    Returns:
        The body, and how many UTF-8 bytes of the answer the new one goes on after: 0 where it begins again with the text.
    """
    request = _decode(body)
    in_message, in_request = KINDS[kind]
    sent = text.rstrip() if kind == "assistant" else text
    message = {"role": "assistant", "content": sent, **in_message}
    request |= in_request
    request["messages"] = [*request.get("messages", ()), message]
    for name in _LIMITS:
        limit = request.get(name)
        if isinstance(limit, int):
            request[name] = max(1, limit - tokens)
    return msgspec.json.encode(request), 0 if kind == "prefix_echoed" else len(sent.encode())
