"""The command line. Each command imports what it needs when it runs, so that `dispatch version` does not pay for a server."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dispatch.errors import ConfigError, DispatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dispatch.config import Config

__all__ = ["main"]

_DESCRIPTION = "Sends LLM requests to the right model, at the right provider, at the right moment."
_EPILOG = """\
examples:
  dispatch serve                          start with ./dispatch.yaml, or with what this machine offers
  dispatch serve --port 9000 --workers 2  flags win over DISPATCH_* variables, those over the file
  dispatch check --config prod.yaml       say what is wrong with a configuration, without starting
  dispatch chat echo "Say hi"             ask a model, in this process
"""
_CONFIG_HELP = "configuration: YAML, TOML or JSON (default: $DISPATCH_CONFIG, else ./dispatch.yaml, else what this machine offers)"

# Commands that live in packages of their own, which bring their flags: `add_arguments(parser)` and `run(arguments) -> exit code`.
_ELSEWHERE = {
    "mock": ("dispatch.mock.cli", "a simulated provider: latencies, errors, limits, streams, on a local port"),
    "simulate": ("dispatch.simulate.cli", "traffic in virtual time: compare strategies, limits and faults before trying them"),
    "index": ("dispatch.indexing", "passages of documents for the plan `retrieve`, in one file"),
    "train": ("dispatch.learn.train", "learn from a table of scores which model answers which prompt"),
    "evaluate": ("dispatch.learn.evaluate", "what a learned router is worth beside simpler ways to choose, with intervals and curves"),
    "profile": ("dispatch.learn.profile", "how good each endpoint is at a set of tasks, how fast, and what it costs"),
    "merge": ("dispatch.merging", "merge local checkpoints with mergekit, measure what comes out, add it as an endpoint"),
    "why": ("dispatch.why.decision", "why a request went where it went: signals, candidates, attempts, tokens, money"),
    "route": ("dispatch.why.route", "where a prompt would go, without sending it"),
    "bench": ("dispatch.bench.cli", "an open-loop load generator: latency, time to first token, throughput, errors"),
}

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 refused before anything was done."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(next((word for word in words if not word.startswith("-")), ""))
    arguments = parser.parse_args(words)
    if "run" not in arguments:
        parser.print_help()
        return EXIT_USAGE
    try:
        code = int(arguments.run(arguments) or 0)
        sys.stdout.flush()
    except ConfigError as error:
        print(f"dispatch: configuration: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read along, such as `head`, has enough; what is left in the buffer would be told to nobody once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return code


def _parser(command: str) -> argparse.ArgumentParser:
    """Build the parser; of the commands in other packages, only the one that was asked for is imported."""
    parser = argparse.ArgumentParser(
        prog="dispatch", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_serve(commands)
    _add_check(commands)
    for name, (module, summary) in _ELSEWHERE.items():
        added = _add(commands, name, summary, None)
        if command == name:
            package: Any = importlib.import_module(module)
            package.add_arguments(added)
            added.set_defaults(run=package.run)
    _add_chat(commands)
    _add(commands, "version", "print the version", _version)
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    run: Callable[[argparse.Namespace], int] | None,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".", allow_abbrev=False)
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "serve", "start the sidecar", _serve)
    parser.add_argument("--config", metavar="FILE", help=_CONFIG_HELP)
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1); a public one needs keys")
    parser.add_argument("--port", metavar="N", type=int, help="TCP port (default: 8080); 0 lets the system choose")
    parser.add_argument("--workers", metavar="N", type=int, help="processes (default: one for each CPU)")
    parser.add_argument("--unix", metavar="PATH", help="listen on a Unix socket in place of TCP")
    parser.add_argument(
        "--log", choices=("json", "human", "off"), help="form of the log lines on standard error (default: human on a terminal, else json)"
    )
    parser.add_argument("--check", action="store_true", help="check the configuration and exit")


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "check", "check a configuration without starting", _check)
    parser.add_argument("--config", metavar="FILE", help=_CONFIG_HELP)
    parser.add_argument(
        "--without-secrets", action="store_true", help="do not ask that the secrets it names, and what plans read, exist on this machine"
    )


def _add_chat(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "chat", "ask a model and print its answer as it comes", _chat)
    parser.add_argument("model", help="a model of the configuration, such as echo")
    parser.add_argument("prompt", nargs="?", help="what to say; left out: read from standard input")
    parser.add_argument("--system", metavar="TEXT", help="a system message before it")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--config", metavar="FILE", help=_CONFIG_HELP)
    where.add_argument("--url", help="ask a running sidecar, such as http://127.0.0.1:8080, instead of answering in this process")


def _serve(arguments: argparse.Namespace) -> int:
    from dispatch.config import load, locate  # noqa: PLC0415  # see the module's docstring

    path = locate(arguments.config, os.environ)
    overrides = {f"server.{name}": getattr(arguments, name) for name in ("host", "port", "workers", "unix")}
    if arguments.check:
        return _report(load(path, os.environ, overrides), path, with_secrets=True)
    supervisor: Any = importlib.import_module("dispatch.server.supervisor")
    return int(supervisor.serve(path, overrides, arguments.log) or 0)


def _check(arguments: argparse.Namespace) -> int:
    from dispatch.config import load, locate  # noqa: PLC0415  # see the module's docstring

    path = locate(arguments.config, os.environ)
    return _report(load(path, os.environ), path, with_secrets=not arguments.without_secrets)


def _report(config: Config, path: Path | None, *, with_secrets: bool) -> int:
    from dispatch.catalogue import with_prices  # noqa: PLC0415  # see the module's docstring
    from dispatch.catalogue.budgets import check_budgets  # noqa: PLC0415  # see the module's docstring
    from dispatch.config import pools, resolve  # noqa: PLC0415  # see the module's docstring

    check_budgets(with_prices(config))
    if with_secrets:
        from dispatch.why.tables import tables  # noqa: PLC0415  # see the module's docstring

        # Plans find only then whether their indexes, functions and patterns are there.
        tables(config, resolve(config, os.environ))
    counts = ((len(config.endpoints), "endpoint"), (len(config.models), "model"), (len(config.keys), "key"))
    found = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts)
    print(f"{path or 'no file, what this machine offers'}: valid ({found})")
    used = {name for model in config.models.values() for pool in pools(model.plan) for name in pool.endpoints}
    for endpoint in config.endpoints:
        if endpoint.name not in used:
            print(f"note: no model uses endpoint {endpoint.name!r}; only models can be asked for")
    return 0


def _chat(arguments: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415  # 60 ms that `serve` would wait for

    prompt = sys.stdin.read() if arguments.prompt is None else arguments.prompt
    said = [("system", arguments.system), ("user", prompt)]
    messages = [{"role": role, "content": text} for role, text in said if text is not None]
    try:
        asyncio.run(_ask(arguments, messages))
    except DispatchError as error:
        print(f"dispatch: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


async def _ask(arguments: argparse.Namespace, messages: list[dict[str, str]]) -> None:
    from dispatch.config import locate  # noqa: PLC0415  # see the module's docstring

    library: Any = importlib.import_module("dispatch.client")
    source = arguments.url or locate(arguments.config, os.environ)
    async with library.Client(source) as client:
        async for delta in client.stream(arguments.model, messages):
            print(delta.text, end="", flush=True)
    print()


def _version(arguments: argparse.Namespace) -> int:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  # as asyncio

    del arguments
    number = "unknown (not installed)"
    with suppress(PackageNotFoundError):
        number = version("dispatch-llm")
    print(f"dispatch {number}")
    return 0
