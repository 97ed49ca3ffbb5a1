"""What a stream costs that comes from more than one endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.policy.cost import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from dispatch.wire.sse import Told

__all__ = ["Bill", "told_tokens"]


def told_tokens(told: Told | None) -> int:
    """What the client has got, in tokens by estimate."""
    return 0 if told is None else max(told.deltas, told.size // BYTES_PER_TOKEN)


class Bill:
    """See the module.

    Attributes:
        sent: tokens of the answer that the present endpoint was given to go on from.
        spent: input and output tokens of the answers that broke, by estimate: their own reports would have been their last events.
    """

    __slots__ = ("sent", "spent")

    def __init__(self) -> None:
        self.sent = 0
        self.spent = (0, 0)

    def break_off(self, tokens_in: int, told: int) -> None:
        """An answer broke when `told` tokens had been told."""
        before_in, before_out = self.spent
        self.spent = before_in + tokens_in, before_out + told - self.sent

    def delivered(self, usage: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """What was delivered, by the report of the last answer: one prompt, and the answer once, whoever gave which part of it."""
        tokens_in, tokens_out, cached, reasoning = usage
        if tokens_out:
            tokens_in = max(0, tokens_in - self.sent)
            tokens_out += self.sent
        return tokens_in, tokens_out, cached, reasoning
