"""How sure the mock says that it is of each token (https://platform.openai.com/docs/api-reference/chat/object, `choices[].logprobs`).

No chance is in it: every token has the logarithm of its probability that the scenario names, and its alternatives share the rest.
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dispatch.mock.passage import filler, pieces_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NEVER", "told"]

NEVER: Final = -9999.0
"""What OpenAI tells of a token that has no chance."""


def told(pieces: Iterable[bytes], logprob: float, tops: int) -> bytes:
    """Write the `logprobs` of an answer, or of one event of it.

    Args:
        pieces: JSON-escaped text.
        logprob: of each token, nats; 0 or less.
        tops: most likely tokens that are told at each place.
    """
    tokens = [token for piece in pieces for token in pieces_of(msgspec.json.decode(b'"' + piece + b'"'))]
    chances = _chances(logprob, tops)
    content = [_one(msgspec.json.decode(b'"' + token + b'"'), logprob, chances, tops) for token in tokens]
    return msgspec.json.encode({"content": content, "refusal": None})


def _chances(logprob: float, tops: int) -> list[tuple[str, float]]:
    """Other tokens with their logarithms: the first has half of the probability that is left, the next one half of that, and so on."""
    others = [f" {piece.decode().strip(' ,')}" for piece in dict.fromkeys(filler(0, 4 * tops))][:tops]
    left = 1 - exp(logprob)
    return [(token, round(log(left / 2**place), 6) if left > 0 else NEVER) for place, token in enumerate(others, 1)]


def _one(token: str, logprob: float, others: list[tuple[str, float]], tops: int) -> dict[str, Any]:
    likely = sorted([(token, logprob), *(other for other in others if other[0] != token)], key=lambda one: -one[1])[:tops]
    return _named(token, logprob) | {"top_logprobs": [_named(*one) for one in likely]}


def _named(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
