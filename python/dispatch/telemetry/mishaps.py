"""What failed beside the models of plans, and was gone on without: counted in each worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.telemetry.families import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.telemetry.families import Samples

__all__ = ["MISHAPS"]


def _counts(counts: Mapping[tuple[str, str, str], int]) -> Samples:
    return ((names, count) for names, count in [*counts.items()])


MISHAPS = Metric(
    name="dispatch_plan_mishaps_total",
    labels=("model", "plan", "kind"),
    unit="answers",
    about="What failed beside the models, in this worker: answers that a function did not judge, which were in doubt (`verifier_late`, "
    "`verifier_failed`), utterances that were not embedded (`no_embedding`).",
    read=_counts,
    only="it has happened",
)
"""Its source is a count by model, place of the plan and word."""
