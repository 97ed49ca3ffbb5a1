"""Decisions and their steps as lines for people."""

from __future__ import annotations

from typing import Any

__all__ = ["decision_text", "step_text"]


def decision_text(found: dict[str, Any]) -> str:
    """A decision: its steps, its tries, what they cost."""
    lines = [f"{found['id']}  {found['time']}  model {found['model']}  {found.get('outcome', 'under_way')}  {found.get('endpoint', '')}"]
    lines += [step_text(step) for step in found.get("steps", [])]
    for tried in found.get("tries", []):
        tokens = f"{tried.get('tokens_in', 0)}+{tried.get('tokens_out', 0)} tokens"
        dollars = tried.get("micro_dollars", 0) / 1e6
        branch = "  branch" if tried.get("is_branch") else ""
        lines.append(f"  try {tried['endpoint']}: {tried['failure']}, {tokens}, ${dollars:.6f}, {tried['duration_ms']:.1f} ms{branch}")
    took = f"{found.get('duration_ms', 0.0):.1f} ms, {found.get('overhead_ms', 0.0):.3f} of it ours"
    lines.append(f"  all together ${found.get('micro_dollars', 0) / 1e6:.6f}, {took}")
    lines += [f"  feedback {score:g}" for score in found.get("feedback", [])]
    return "\n".join(lines)


def step_text(step: dict[str, Any]) -> str:
    """A step: what was chosen, why, of what."""
    by = f" by {step['by']}" if step.get("by") else ""
    again = {True: "; made again: the same", False: "; made again: NOT the same"}.get(step.get("replayed", ""), "")
    chosen, why = step.get("chosen", ""), step.get("why", "")
    lines = [f"{step['path'] or step['kind']}{by} -> {chosen or 'nobody'}{f': {why}' if why else ''}{again}"]
    signals = {name: value for name, value in (step.get("signals") or {}).items() if value not in (None, "", [], 0, 0.0, False)}
    if signals:
        lines.append("  signals " + ", ".join(f"{name} {_brief(value)}" for name, value in signals.items()))
    for one in step.get("candidates", []):
        score = f" {one['score']:.4f}" if one.get("score") is not None else ""
        filtered = f"  left out: {one['filtered']}" if one.get("filtered") else ""
        lines.append(f"  candidate {one['name']}{score}{filtered}")
    lines += [_pick_text(pick) for pick in step.get("trail") or []]
    for name, value in step.get("details", {}).items():
        lines += [f"  {name} {_brief(one)}" for one in (value if isinstance(value, list) else [value])]
    return "\n".join(lines)


def _pick_text(pick: dict[str, Any]) -> str:
    """A question to a pool's strategy: what was read of each endpoint that was looked at, and the answer."""
    seen = [
        f"{name} ({', '.join(f'{fact} {_brief(value)}' for fact, value in facts.items() if fact != 'is_eligible' and value is not None)})"
        for name, facts in pick["seen"].items()
        if facts.get("is_eligible", True)
    ]
    end = "none" if pick["chosen"] is None else pick["chosen"] + ("" if pick["taken"] else ", which had no room")
    return f"  of {'; '.join(seen)}: {end}".replace(" ()", "")


def _brief(value: Any) -> str:  # noqa: ANN401  # JSON
    if isinstance(value, float):
        return f"{value:.3g}"
    return "+".join(map(_brief, value)) if isinstance(value, list | tuple) else str(value)
