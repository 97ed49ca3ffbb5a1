"""What a plan says of its course: to the client in header lines, to operators in the decision's record and in counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatch.decisions import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.exchange import Call
    from dispatch.plans.base import Site

__all__ = ["Telling"]


class Telling:
    """See the module.

    Attributes:
        call: the client's, or a branch of a plan above.
        details: what the plan measured, for the decision's record.
    """

    def __init__(self, call: Call, site: Site) -> None:
        self.call = call
        self.details: dict[str, Any] = {}
        self._site = site
        self._step = Step(site.path, site.path.rpartition(".")[2])
        self._reasons: list[str] = []

    def explain(self, reason: str) -> None:
        """Say in the decision's record why the plan goes on as it does."""
        self._reasons.append(reason)

    def remark(self, word: str) -> None:
        """Tell the client that the plan took a way out: `x-dispatch-fallback`."""
        self.explain(word)
        self.note(f"x-dispatch-fallback: {word}")

    def mishap(self, word: str) -> None:
        """Tell the client that something beside the models failed, and count it."""
        self._site.mishaps[self.call.model, self._site.path, word] += 1
        self.remark(word)

    def note(self, line: str) -> None:
        """Give the client's answer one more header line."""
        if self.call.parent is None:
            # A value may hold names of others' making.
            self.call.notes += "".join(mark if " " <= mark <= "~" else "?" for mark in line).encode() + b"\r\n"

    def _begin_record(self) -> None:
        self._site.decisions.of(self.call).steps.append(self._step)

    def _record(self, chosen: str, why: str, branches: Sequence[str]) -> None:
        """Close the step of the decision's record."""
        step = self._step
        step.chosen, step.why = chosen, "; ".join([*self._reasons, why])
        step.details = {"branches": [*branches], **self.details}
