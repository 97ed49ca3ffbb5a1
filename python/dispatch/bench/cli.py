"""`dispatch bench`: flags, the run with its progress line, the reports."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import uvloop

from dispatch.bench.load import Load
from dispatch.bench.options import DOORS, Options, Target
from dispatch.bench.page import page_of
from dispatch.bench.prompts import bodies, generated, read_prompts, requests
from dispatch.bench.report import Report, duration, make_report, text_of
from dispatch.distribution import Distribution
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "options_from", "run"]

_DURATION_S: Final = 10.0
_EXIT_FAILED, _EXIT_USAGE, _EXIT_INVALID = 1, 2, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = "Send load to an OpenAI-compatible server and report latencies, measured from the intended send times."
    parser.epilog = (
        "A DISTRIBUTION is a number, uniform:LOW,HIGH, exponential:MEAN or lognormal:MEDIAN,SIGMA. "
        "Exit status: 0 valid run, 1 no whole answer, 2 wrong usage, 3 invalid run (send lag p99 > 1 ms or own CPU > 90 %)."
    )
    place = parser.add_argument_group("where")
    place.add_argument("address", nargs="?", metavar="URL", help="base URL as an SDK takes it (default: that of --url)")
    place.add_argument("--url", default="http://127.0.0.1:8080/v1", help="the same as a flag (default: %(default)s)")
    place.add_argument("--unix", default="", metavar="PATH", help="connect to this Unix socket; --url gives host and path")
    place.add_argument("--door", choices=sorted(DOORS), default="chat", help="kind of request (default: %(default)s)")
    place.add_argument("--model", default="mock", help="model to ask for (default: %(default)s)")
    place.add_argument("--key", default="", help="API key")
    place.add_argument("--insecure", action="store_true", help="accept any certificate")
    load = parser.add_argument_group("load")
    load.add_argument("--rate", type=float, help="requests per second, sent on schedule whatever the answers do (open loop)")
    load.add_argument("--arrivals", choices=("poisson", "constant"), default="poisson", help="gaps of the schedule (default: %(default)s)")
    load.add_argument("--concurrency", type=int, help="without --rate: requests in flight (closed loop); with it: most connections")
    load.add_argument("--duration", type=float, metavar="S", help="seconds to send for (default: 10 unless --requests)")
    load.add_argument("--requests", type=int, help="stop after this many")
    load.add_argument("--warmup", type=float, default=0.0, metavar="S", help="seconds to send before the measurement (default: 0)")
    load.add_argument("--timeout", type=float, default=60.0, metavar="S", help="longest wait for an answer (default: %(default)s)")
    load.add_argument("--seed", type=int, default=0, help="of arrivals and prompts")
    what = parser.add_argument_group("requests")
    what.add_argument("--stream", action="store_true", help="ask for streams")
    what.add_argument("--prompts", type=Path, metavar="FILE", help="one prompt a line: text, or JSON (string, messages, whole body)")
    what.add_argument("--prompt-tokens", default="32", metavar="DISTRIBUTION", help="length of generated prompts (default: %(default)s)")
    what.add_argument("--max-tokens", metavar="DISTRIBUTION", help="max_tokens of each request")
    out = parser.add_argument_group("report")
    out.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON; - for standard output instead of text")
    out.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots")
    out.add_argument("--quiet", action="store_true", help="no progress line")


def _distribution(flag: str, source: str) -> Distribution:
    try:
        return Distribution.parse(source)
    except ValueError as error:
        raise ConfigError(flag, str(error)) from None


def options_from(args: argparse.Namespace) -> Options:
    """Check the flags.

    Raises:
        ConfigError: a flag has a bad value.
    """
    has_end = args.duration is not None or args.requests is not None
    plain = {
        "target": Target.parse(args.address or args.url, args.unix),
        "door": args.door,
        "model": args.model,
        "key": args.key,
        "stream": args.stream,
        "rate": args.rate,
        "arrivals": args.arrivals,
        "concurrency": args.concurrency,
        "duration_s": args.duration if has_end else _DURATION_S,
        "requests": args.requests,
        "warmup_s": args.warmup,
        "timeout_s": args.timeout,
        "insecure": args.insecure,
        "seed": args.seed,
    }
    try:
        return msgspec.convert(plain, Options)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        raise ConfigError("--" + place.removesuffix("`").removesuffix("_s").replace("_", "-"), reason) from None


def run(args: argparse.Namespace) -> int:
    """Run the load; give the exit status."""
    try:
        options = options_from(args)
        prompts = read_prompts(args.prompts) if args.prompts else generated(_distribution("--prompt-tokens", args.prompt_tokens), args.seed)
        limits = _distribution("--max-tokens", args.max_tokens) if args.max_tokens else None
        encoded = requests(options, bodies(options, prompts, limits))
    except ConfigError as wrong:
        print(f"dispatch bench: {wrong}", file=sys.stderr)
        return _EXIT_USAGE
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # the old limit still serves
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(_measure(options, encoded, quiet=args.quiet))
    _publish(args, report)
    if not report.whole:
        return _EXIT_FAILED
    return 0 if report.is_valid else _EXIT_INVALID


def _publish(args: argparse.Namespace, report: Report) -> None:
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=1)
    if args.json is not None and str(args.json) != "-":
        args.json.write_bytes(encoded)
    if args.html is not None:
        args.html.write_text(page_of(report), encoding="utf-8")
    print(encoded.decode() if str(args.json) == "-" else text_of(report))


async def _measure(options: Options, encoded: list[bytes], *, quiet: bool) -> Report:
    loop = asyncio.get_running_loop()
    load = Load(options, encoded, loop)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, load.stop)  # a second thought still gets its report
    progress = None if quiet else loop.create_task(_show_progress(load))
    record = await load.run()
    if progress is not None:
        progress.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await progress
    return make_report(options, load, record)


async def _show_progress(load: Load) -> None:
    """Write one line a second: rewritten in place on a terminal."""
    is_terminal = sys.stderr.isatty()
    started_s, whole, failed = time.monotonic(), 0, 0
    try:
        while True:
            await asyncio.sleep(1.0)
            record = load.record
            latencies = record.seconds[-2].latencies_s if len(record.seconds) > 1 else ()
            mean = duration(sum(latencies) / len(latencies)) if latencies else "-"
            line = (
                f"{time.monotonic() - started_s:4.0f} s  {record.whole - whole:>7,}/s whole  {record.failed - failed:>5,}/s failed  "
                f"{load.in_flight:>6,} in flight  mean latency {mean}{'' if load.is_releasing else '  (waiting for the last answers)'}"
            )
            whole, failed = record.whole, record.failed
            print(f"\r{line}\x1b[K" if is_terminal else line, end="" if is_terminal else "\n", file=sys.stderr, flush=True)
    finally:
        if is_terminal:
            print(file=sys.stderr)
