"""`split`: one of several plans by share, for canaries and comparisons; sticky by whoever asks, so that nobody sees both."""

from __future__ import annotations

from hashlib import blake2b
from random import getrandbits
from time import monotonic_ns
from typing import TYPE_CHECKING

from dispatch.decisions import Candidate, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config import Split as Config
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Site, Start

__all__ = ["Split", "build"]

_WHOLE = 1 << 64


class Split:
    """See the module."""

    __slots__ = ("_config", "_ends", "_parts", "_salt", "_site", "made_ns")

    def __init__(self, config: Config, parts: Sequence[Start], site: Site) -> None:
        self._config = config
        self._parts = parts
        self._site = site
        self.made_ns = monotonic_ns()
        whole = sum(config.shares)
        sums = [sum(config.shares[: at + 1]) / whole for at in range(len(config.shares))]
        self._ends = [int(end * _WHOLE) for end in sums]
        # Of two splits on the way each divides anew what the other has divided.
        self._salt = f"{site.model} {site.path}".encode()

    def run(self, call: Call, failed: Failed) -> None:
        """Choose an arm and start it."""
        sticky = self._config.sticky and call.affinity
        seed = self._hash(call.affinity) if sticky else getrandbits(64)
        place = self.choose(seed)
        why = "sticky: by its user, session or key" if sticky else "drawn"
        shares = [Candidate(name, share) for name, share in zip(self._config.names, self._config.shares, strict=True)]
        step = Step(self._site.path, "split", "share", self._config.names[place], why, seed, candidates=shares)
        self._site.decisions.of(call).steps.append(step)
        self._parts[place](call, failed)

    def _hash(self, affinity: int) -> int:
        digest = blake2b(affinity.to_bytes(8, "little"), digest_size=8, key=self._salt[:64]).digest()
        return int.from_bytes(digest, "little")

    def choose(self, seed: int) -> int:
        """The arm of a draw of 64 bits. An arm grows by taking draws at its end: who is in it stays while it grows and is the first."""
        return next((at for at, end in enumerate(self._ends) if seed < end), len(self._ends) - 1)

    def replay(self, step: Step) -> bool:
        """Whether a recorded draw leads to the same arm."""
        return self._config.names[self.choose(step.seed)] == step.chosen


def build(plan: Config, parts: Sequence[Start], site: Site) -> Split:
    """Join a split with its arms."""
    split = site.replayed[f"{site.model} {site.path}"] = Split(plan, parts, site)
    return split
