"""The table, the verdicts, and the files under `benches/results/`."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from benches.proxy.measure import OTHERS_AT_MOST, Result, Spread

if TYPE_CHECKING:
    from benches.proxy.measure import Plan
    from benches.proxy.rig import Tools

__all__ = ["command", "complain", "describe", "line", "save", "table"]

HEADER = (
    "| row | baseline, us | candidate, us | ratio | gate | target | verdict |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)  # fmt: skip


def describe(tools: Tools, plan: Plan, arguments: list[str]) -> dict[str, str]:
    """Tell what was measured on what, so that someone else can repeat it."""
    model = next(
        (row.partition(":")[2].strip() for row in Path("/proc/cpuinfo").read_text().splitlines() if row.startswith("model name")), "unknown"
    )
    cores = sum(row.startswith("processor") for row in Path("/proc/cpuinfo").read_text().splitlines())
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": first_line(["git", "describe", "--always", "--dirty"]),
        "machine": f"{model}, {cores} cores, Linux {platform.release()}",
        "versions": ", ".join(
            [
                f"Python {platform.python_version()}",
                *(f"{name} {metadata.version(name)}" for name in ("dispatch-llm", "uvloop")),
                first_line([tools.nginx, "-v"]).replace("nginx version: ", ""),
                first_line([tools.wrk, "-v"]).partition(" [")[0],
                first_line(["rustc", "--version"]),
            ]
        ),
        "command": command("bench-proxy", arguments),
        "runs": f"{plan.runs} of {plan.seconds:g} s for each contender, turn by turn",
        "warm-up": f"{plan.warm_up_s:g} s, in which every answer is compared with the right one",
    }


def command(target: str, arguments: list[str]) -> str:
    """Tell what to type to measure the same again."""
    return " ".join([f"make {target}", *([f'ARGS="{" ".join(arguments)}"'] if arguments else [])])


def first_line(program: list[str]) -> str:
    """Run a program that tells its version, on whichever stream it does."""
    try:
        done = subprocess.run(program, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"{program[0]} not found"
    return (done.stdout or done.stderr).partition("\n")[0].strip()


def spread(values: Spread, digits: int) -> str:
    """Print a median with its extremes."""
    return f"{values.median:.{digits}f} ({values.low:.{digits}f}-{values.high:.{digits}f})"


def line(result: Result) -> str:
    """Print one row of the table."""
    cells = [result.row]
    cells.extend(spread(Spread.of([run.cpu_us for run in runs]), 1) for runs in (result.baseline, result.candidate))
    cells.append(spread(result.ratio, 2))
    cells.extend("" if limit is None else f"{limit:g}" for limit in (result.gate, result.target))
    cells.append(verdict(result))
    return f"| {' | '.join(cells)} |"


def verdict(result: Result) -> str:
    """Say in a word what the row came to."""
    if result.faults:
        return "INVALID"
    if result.gate is None:
        return "for information"
    if not result.is_passed:
        return "FAIL"
    return "pass" if result.target is None or result.ratio.median > result.target else "pass, target reached"


def table(results: list[Result]) -> str:
    """Print the table, and below it what made rows invalid and how disturbed the machine was."""
    lines = [HEADER, *(line(result) for result in results), ""]
    lines.extend(f"- {result.row}: {fault}" for result in results for fault in result.faults)
    runs = [run for result in results for run in (*result.baseline, *result.candidate)]
    if runs:
        others = Spread.of([run.others for run in runs])
        repeated = sum(result.repeated for result in results)
        lines.append(
            f"Other programs took {others.median:.1%} (at most {others.high:.1%}) of the contender's core; "
            f"{repeated} pairs were measured again because it was more than {OTHERS_AT_MOST:.0%}."
        )
    return "\n".join(lines)


def save(folder: Path, about: dict[str, str], results: list[Result]) -> Path:
    """Write `<date>-proxy.json` and `.md` and return the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{about['date'][:10]}-proxy"
    numbers = {"about": about, "results": [{**asdict(result), "ratio": asdict(result.ratio)} for result in results]}
    (folder / f"{stem}.json").write_text(json.dumps(numbers, indent=1) + "\n")
    facts = "\n".join(f"- {name}: {value}" for name, value in about.items())
    page = folder / f"{stem}.md"
    page.write_text(
        f"# CPU time per request beside nginx\n\n{facts}\n\n"
        "CPU time per request, of a stream per event: user and system time of the process and its children; median (least-greatest).\n"
        "The baseline is nginx, in the row of two workers two sidecars with one worker each on the same cores.\n"
        f"Method: `benches/method.md`.\n\n{table(results)}\n"
    )
    return page


def complain(results: list[Result]) -> int:
    """Give the exit code: 0 when every row counts and is within its gate."""
    failed = [result.row for result in results if not result.is_passed]
    if failed:
        print(f"not passed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
