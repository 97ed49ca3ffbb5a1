"""`dispatch mock`: flags, the scenario file, and running until interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import uvloop

from dispatch.errors import ConfigError
from dispatch.mock.faults import Fault
from dispatch.mock.journal import Journal
from dispatch.mock.scenario import PROFILES, Scenario, build, load
from dispatch.mock.service import Service

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run", "scenario_from"]

_FLUSH_S: Final = 0.5
_FIELDS: Final = (
    "first_token_s",
    "tokens_per_s",
    "gap_s",
    "output_tokens",
    "chunk_tokens",
    "reply",
    "retry_after_s",
    "error_code",
    "fault_after",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = "Simulate a provider (OpenAI dialect): chat, completions, embeddings, responses, models."
    parser.epilog = (
        "A DISTRIBUTION is a number, uniform:LOW,HIGH, exponential:MEAN or lognormal:MEDIAN,SIGMA. "
        f"Faults: {', '.join(Fault)}. Look at what came in with GET /journal; change the scenario with PUT /scenario."
    )
    place = parser.add_argument_group("where")
    place.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    place.add_argument("--port", type=int, default=9001, help="port; 0 lets the system choose (default: %(default)s)")
    place.add_argument("--unix", type=Path, help="listen on this Unix socket instead")
    place.add_argument(
        "--control-port", type=int, help="answer here too, whatever the scenario does to connections; 0 lets the system choose"
    )
    place.add_argument("--tls-cert", type=Path, help="certificate chain (PEM): speak TLS")
    place.add_argument("--tls-key", type=Path, help="its key, if not in the same file")
    _add_answer_flags(parser.add_argument_group("answers"))
    _add_trouble_flags(parser.add_argument_group("trouble"))
    record = parser.add_argument_group("record")
    record.add_argument("--journal", type=Path, metavar="FILE", help="append one JSON object per request to this file")
    record.add_argument("--journal-size", type=int, default=100_000, help="entries kept in memory (default: %(default)s)")
    record.add_argument("--keep-requests", action="store_true", help="keep headers and bodies in the journal")


def _add_answer_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--scenario", type=Path, metavar="FILE", help="YAML with defaults, models, keys, rules; flags patch its defaults")
    group.add_argument("--profile", choices=sorted(PROFILES), help="latencies to start from (default: instant)")
    group.add_argument("--first-token", dest="first_token_s", metavar="DISTRIBUTION", help="seconds to the first token")
    group.add_argument("--tokens-per-s", metavar="DISTRIBUTION", help="drawn once per answer; 0: no pauses")
    group.add_argument("--gap", dest="gap_s", metavar="DISTRIBUTION", help="seconds between two events, drawn for each")
    group.add_argument("--output-tokens", metavar="DISTRIBUTION", help="length of answers")
    group.add_argument("--chunk-tokens", type=int, help="tokens per event")
    group.add_argument("--reply", metavar="TEXT", help="answer with this text")
    group.add_argument("--echo", action="store_true", default=None, help="answer with the last user message")
    group.add_argument("--seed", type=int, help="of all chance")


def _add_trouble_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--error", action="append", default=[], metavar="STATUS=RATE", help="share of requests answered by a status; repeatable"
    )
    group.add_argument(
        "--fault", action="append", default=[], metavar="NAME=RATE", help="share of requests that suffer a fault; repeatable"
    )
    group.add_argument("--retry-after", dest="retry_after_s", type=float, metavar="S", help="told with 429 and 5xx")
    group.add_argument("--error-code", help="code of errors, such as insufficient_quota")
    group.add_argument("--fault-after", type=float, metavar="SHARE", help="share of the output before a fault in the middle (default: 0.5)")
    group.add_argument("--requests-per-min", type=int, help="limit of each key")
    group.add_argument("--tokens-per-min", type=int, help="limit of each key")
    group.add_argument("--max-concurrency", dest="concurrency", type=int, help="limit of each key")
    group.add_argument("--enforce", choices=("bucket", "sliding_60s", "per_second"), help="how limits are counted (default: bucket)")
    group.add_argument("--api-key", action="append", default=[], metavar="KEY", help="accept only these keys; repeatable")


def _rates(flag: str, pairs: list[str]) -> dict[str, float]:
    rates = {}
    for pair in pairs:
        name, equals, rate = pair.partition("=")
        try:
            rates[name] = float(rate) if equals else 1.0
        except ValueError:
            raise ConfigError(flag, f"expected NAME=RATE, got {pair!r}") from None
    return rates


def scenario_from(args: argparse.Namespace) -> Scenario:
    """Combine profile, file and flags; flags win.

    Raises:
        ConfigError: a flag or the file is wrong.
    """
    scenario = load(args.scenario) if args.scenario else Scenario()
    patch: dict[str, Any] = {name: getattr(args, name) for name in _FIELDS if getattr(args, name) is not None}
    if args.echo:
        patch["echo"] = True
    if args.error:
        patch["errors"] = _rates("--error", args.error)
    if args.fault:
        patch["faults"] = _rates("--fault", args.fault)
    limits = {name: getattr(args, name) for name in ("requests_per_min", "tokens_per_min", "concurrency", "enforce")}
    limits = {name: value for name, value in limits.items() if value is not None}
    if limits:
        patch["limits"] = limits
    plain = msgspec.to_builtins(scenario)
    plain["defaults"] = {**PROFILES[args.profile or "instant"], **scenario.defaults, **patch}
    plain["accept_keys"] = args.api_key or scenario.accept_keys
    if args.seed is not None:
        plain["seed"] = args.seed
    return build(plain)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; give the exit status."""
    try:
        scenario = scenario_from(args)
    except ConfigError as wrong:
        print(f"dispatch mock: {wrong}", file=sys.stderr)
        return 2
    _raise_descriptor_limit()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(args, scenario))
    except OSError as error:
        print(f"dispatch mock: {error}", file=sys.stderr)
        return 1
    return 0


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # the old limit still serves
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(args: argparse.Namespace, scenario: Scenario) -> None:
    loop = asyncio.get_running_loop()
    journal = Journal(size=args.journal_size, file=args.journal)
    service = Service(
        scenario,
        host=args.host,
        port=args.port,
        control_port=args.control_port,
        unix=args.unix,
        tls_cert=args.tls_cert,
        tls_key=args.tls_key,
        journal=journal,
        keep_requests=args.keep_requests,
    )
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        async with service:
            print(f"listening on {service.url}", flush=True)
            if service.control_port is not None:
                print(f"controls on http://{args.host}:{service.control_port}", flush=True)
            while not stopped.is_set():
                journal.flush()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopped.wait(), _FLUSH_S)
    finally:
        journal.close()
    print(f"{journal.total} requests; {journal!r}", flush=True)
