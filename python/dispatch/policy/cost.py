"""Tokens by estimate, money in whole numbers.

A price of 2.50 dollars per million tokens is 2,500,000 picodollars per token, so every sum of ours is an exact integer of picodollars;
floats would make the ledger depend on the order of additions. One request of a billion tokens at 1,000 dollars stays below 2^63.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from dispatch.config import Price
    from dispatch.schema import Usage

__all__ = [
    "BYTES_PER_TOKEN",
    "OUTPUT_TOKENS",
    "PICO_PER_MICRO",
    "TOKENS_PER_REQUEST",
    "Rates",
    "audio_pico",
    "cost_pico",
    "estimate_tokens",
    "expect_output_tokens",
    "micro_dollars",
    "rates",
]

PICO_PER_MICRO = 1_000_000

OUTPUT_TOKENS = 256
"""Output that is expected where a request sets no limit and nothing is learned yet: between a chat's answer and a page."""

BYTES_PER_TOKEN = 4
"""English text under GPT's and Llama's vocabularies has 4 to 4.5 bytes to a token, code 3 to 4, so this errs to the high side of prose."""
TOKENS_PER_REQUEST = 8
"""Roles and separators of a chat template around a message or two."""


class Rates(Struct, frozen=True):
    """A price in picodollars per token, which are microdollars per million tokens."""

    input: int = 0
    output: int = 0
    cached_input: int = 0
    audio_input: int = 0
    audio_output: int = 0


def rates(price: Price | None) -> Rates:
    """Turn a configured price into whole numbers, once; a millionth of a dollar per million tokens is the finest step."""
    if price is None:
        return Rates()
    cached = price.input if price.cached_input is None else price.cached_input
    heard = price.input if price.audio_input is None else price.audio_input
    spoken = price.output if price.audio_output is None else price.audio_output
    return Rates(_micro(price.input), _micro(price.output), _micro(cached), _micro(heard), _micro(spoken))


def cost_pico(usage: Usage, price: Rates) -> int:
    """Return what an answer costs, in picodollars."""
    # Cached tokens are part of the input; a provider that reports more of them than input cannot make the rest negative.
    cached = min(usage.cached_tokens, usage.input_tokens)
    return (usage.input_tokens - cached) * price.input + cached * price.cached_input + usage.output_tokens * price.output


def audio_pico(tokens_in: int, tokens_out: int, price: Rates) -> int:
    """Return what tokens of sound cost beside what `cost_pico` counts for them, in picodollars; cached ones are none of them."""
    return tokens_in * (price.audio_input - price.input) + tokens_out * (price.audio_output - price.output)


def micro_dollars(pico: int) -> int:
    """Round picodollars to microdollars, halves up: for people to read, never to add."""
    return (pico + PICO_PER_MICRO // 2) // PICO_PER_MICRO


def estimate_tokens(text_bytes: int) -> int:
    """Estimate the tokens of a prompt from the bytes of its text, rounded up; at least 1.

    Text in other scripts has more bytes to a letter and more tokens to a word, so bytes hold better than letters would. The
    estimate only reserves; the provider's count corrects it.
    """
    return max(1, -(-text_bytes // BYTES_PER_TOKEN) + TOKENS_PER_REQUEST)


def expect_output_tokens(max_tokens: int, n: int, learned: int = 0) -> int:
    """Say how many output tokens to reserve.

    Args:
        max_tokens: the request's limit, 0 for none.
        n: choices that it asks for.
        learned: the mean of late answers, 0 if there are none.
    """
    usual = learned or OUTPUT_TOKENS
    return (min(max_tokens, usual) if max_tokens else usual) * max(1, n)


def _micro(dollars: float) -> int:
    return round(dollars * 1_000_000)
