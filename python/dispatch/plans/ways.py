"""Ways to take a stream over: who can be asked, and what for."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from dispatch.policy.prefill import KINDS, continued
from dispatch.routing import MASK_BITS
from dispatch.wire.http1 import HAS_FORMAT, Scan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatch.attempt import Attempts
    from dispatch.config.structs import Recovery
    from dispatch.exchange import Call
    from dispatch.pools import Pool
    from dispatch.wire.sse import Told

__all__ = ["Way", "tried_by", "ways_of"]


class Way:
    """One way to take a stream over.

    Attributes:
        name: as in the configuration.
        kind: of prefill (`policy.prefill`); empty for a restart.
        pool: the endpoints that can.
        barred: the others, as a bit mask.
    """

    __slots__ = ("barred", "kind", "name", "pool")

    def __init__(self, name: Recovery, kind: str, pool: Pool, barred: int) -> None:
        self.name = name
        self.kind = kind
        self.pool = pool
        self.barred = barred

    def suits(self, told: Told, call: Call) -> bool:
        """Whether what was told can be gone on from. Not by prefill under a format, whose grammar would begin anew after it."""
        if not self.kind:
            return True
        scan = call.body
        return (
            call.door == "chat" and isinstance(scan, Scan) and not scan.flags & HAS_FORMAT and told.is_prose and not told.content.isspace()
        )

    def comment(self, endpoint: bytes, *, is_estimated: bool) -> bytes:
        """Lines that say who takes over, and whether the usage to come is an estimate in the part that broke."""
        return b": x-dispatch-recovered: %b %b\n" % (self.name.encode(), endpoint) + (
            b": x-dispatch-estimated: true\n" if is_estimated else b""
        )

    def prepare(self, told: Told, branch: Call, tokens: int, spent: tuple[int, int]) -> None:
        """Make `branch` ask for what is missing, and `told` ready for it.

        Args:
            told: what the client has.
            branch: asks the same as the client, still.
            tokens: what was told, by estimate.
            spent: input and output tokens of the answers that broke, to be added to what this one reports.
        """
        if not self.kind:
            told.restart(*spent)
            return
        scan = branch.body
        assert isinstance(scan, Scan)
        body, sent = continued(scan.body(b"", False), told.content.decode(), self.kind, tokens)
        branch.body = scan.rewritten(body)
        branch.tokens_in += tokens
        told.resume(sent, *spent)


def ways_of(name: Recovery, pool: Pool) -> Iterator[Way]:
    """Yield how the endpoints of a pool can be asked to take over: one way for each kind of prefill among them."""
    if name == "restart":
        yield Way(name, "", pool, 0)
        return
    for kind in KINDS:
        # In a pool with more endpoints than bits, one bit may stand for several: it is set only if all of them can.
        others = {at & MASK_BITS for at, link in enumerate(pool.links) if link.prefill != kind}
        barred = sum(1 << at for at in others)
        if pool.all & ~barred:
            able = copy(pool)
            able.cannot = {door: mask | barred for door, mask in pool.cannot.items()}
            yield Way(name, kind, able, barred)


def tried_by(attempts: Attempts | None, way: Way | None, pool: Pool, endpoint: str) -> int:
    """Return the mask of what was tried: by `attempts`, which went `way`, or where others made them, `endpoint` at least."""
    if attempts is not None:
        return attempts.tried & ~(0 if way is None else way.barred)
    return sum({1 << (at & MASK_BITS) for at, link in enumerate(pool.links) if link.name == endpoint})
