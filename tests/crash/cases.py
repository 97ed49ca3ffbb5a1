"""Every fault of the taxonomy, as the mock plays it, and what its clients may see."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

__all__ = ["CASES", "DEADLINE_S", "GOOD", "KINDS", "VARIANTS", "Case", "Run", "runs_of", "scenario"]

DEADLINE_S: Final = 8.0
FIRST_TOKEN_S: Final = 1.5
STALL_S: Final = 1.5
"""Short enough for four tries inside the deadline, long enough for a busy machine to answer 200 clients at once."""
GOOD: Final = "good"
"""The upstream name of a model that answers well."""
KINDS: Final = ("stream", "whole")
VARIANTS: Final = {"one": 1, "most": 3, "all": 4}
"""How many endpoints of the four are faulty."""


class Case(Struct, frozen=True, kw_only=True):
    """One fault."""

    name: str
    set: dict[str, Any] = {}
    """What the mock does for requests to this case's faulty endpoints."""
    door: str = ""
    """Which special upstream the faulty endpoints are at: `closed`, `reset` or `slow`; empty: the same as the good ones."""
    model: dict[str, Any] = {}
    """Settings of the model, beside those of all."""
    heals: bool = False
    """The answer of a faulty endpoint is a whole one."""
    drops: bool = False
    """A stream may lack one event: the malformed one."""
    is_answer: bool = False
    """What the faulty endpoint says is the request's answer: another one would say the same, and none is asked."""
    after_commit: bool = False
    """A stream has content when it breaks: with `commit: first` that is told, not mended."""
    unknown: bool = False
    """Whether the request was executed is not known, so it is not sent again by default."""


def _of(fault: str, **fields: Any) -> Case:
    patch = {"faults": {fault: 1}, **fields.pop("set", {})}
    return Case(name=fields.pop("name", fault), set=patch, **fields)


BREAKS: Final = ("hang_mid_stream", "cut_fin", "cut_rst", "cut_mid_event", "cut_before_finish", "end_early", "error_event")
CASES: Final = (
    Case(name="none", heals=True),
    _of("rate_limit", set={"retry_after_s": 1}),
    _of("quota"),
    _of("server_error"),
    _of("bad_gateway"),
    _of("unavailable"),
    _of("overloaded"),
    _of("bad_key"),
    _of("context_length", is_answer=True),
    _of("content_filter", is_answer=True),
    Case(name="refused", door="closed"),
    Case(name="reset_on_accept", door="reset", unknown=True),
    Case(name="slow_handshake", door="slow"),
    _of("close_before_head", unknown=True),
    _of("close_before_head", name="close_before_head, retry.unknown", model={"retry": {"unknown": True}}),
    _of("reset_before_head", unknown=True),
    _of("reset_before_head", name="reset_before_head, retry.unknown", model={"retry": {"unknown": True}}),
    _of("hang_before_head"),
    _of("hang_after_head"),
    _of("hang_mid_stream", after_commit=True),
    _of("stall", set={"stall_s": 0.5}, heals=True),
    _of("stall", name="stall, too long", set={"stall_s": 4}, after_commit=True),
    _of("slow", set={"slow_factor": 20}, heals=True),
    _of("trickle", set={"chars_per_s": 5}, after_commit=True),
    _of("cut_after_head"),
    _of("cut_fin", name="cut_fin, before content", set={"fault_after": 0}),
    _of("cut_fin", after_commit=True),
    _of("cut_rst", after_commit=True),
    _of("cut_mid_event", after_commit=True),
    _of("cut_before_finish", after_commit=True),
    _of("cut_after_finish", heals=True, model={"retry": {"unknown": True}}),
    _of("end_early", after_commit=True),
    _of("no_finish_reason", after_commit=True),
    _of("no_done", heals=True),
    _of("error_event", after_commit=True),
    _of("unavailable_event"),
    _of("malformed_event", heals=True, drops=True),
    _of("half_tool_call", after_commit=True),
    _of("html_page"),
    _of("empty_body"),
    _of("truncated_json"),
    _of("wrong_content_type"),
    _of("redirect"),
    _of("huge_answer", set={"huge_bytes": 1_500_000}, is_answer=True),
    *(_of(fault, name=f"{fault}, commit: whole", model={"commit": "whole"}) for fault in ("hang_mid_stream", "cut_rst", "error_event")),
    *(_of(fault, name=f"{fault}, recover: [restart]", model={"recover": ["restart"]}) for fault in BREAKS),
)


class Run(Struct, frozen=True):
    """One case in one variant, asked for in one kind."""

    case: Case
    variant: str
    kind: str

    @property
    def model(self) -> str:
        """The sidecar's model."""
        return f"{slug(self.case.name)}-{self.variant}-{self.kind}"

    @property
    def wants_whole(self) -> bool:
        """Whether every client must get a whole answer: an endpoint can give it, and nothing forbids to ask it."""
        case = self.case
        if case.heals and not (case.drops and self.kind == "whole"):
            return True
        is_final = case.is_answer or case.unknown or (case.after_commit and self.kind == "stream")
        return self.variant != "all" and not is_final


def slug(name: str) -> str:
    """A name that can stand in configurations."""
    return "".join(char if char.isalnum() else "_" for char in name)


def runs_of(cases: tuple[Case, ...]) -> list[Run]:
    """All runs of these cases."""
    return [Run(case, variant, kind) for case in cases for variant in VARIANTS for kind in KINDS]


def scenario(cases: tuple[Case, ...]) -> dict[str, Any]:
    """What the mocks play: by the upstream's model name."""
    base = {"echo": True, "first_token_s": 0.005, "gap_s": 0.002}
    return {"seed": 1, "defaults": base, "models": {GOOD: {}, **{f"bad-{slug(case.name)}": case.set for case in cases}}}
