"""`dispatch merge RECIPE`: local checkpoints become one model more, with a measured profile beside its parents.

mergekit merges (an extra, a program of its own: `mergekit-yaml RECIPE FOLDER`), a server serves what came out (`--serve`, or one
that runs already, `--base-url`), `dispatch profile` measures it beside its parents, and the configuration gets it as an endpoint. Each step
ends whole or leaves nothing: the folder appears when the merge is done, and the configuration is changed when the changed one is valid.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from dispatch.config import Endpoint, load, locate
from dispatch.errors import ConfigError
from dispatch.learn.profile import measure, read_tasks

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from dispatch.config import Config
    from dispatch.learn.profile import Measured

__all__ = ["add_arguments", "run"]

PROGRAM = "mergekit-yaml"
POLL_S = 0.2
_STDERR = 2
"""The descriptor: what others print is progress, and stdout is ours."""
_BLOCK = re.compile(r"^endpoints:[ \t]*(?:#.*)?\n((?:[ \t]*(?:#.*)?\n)*)([ \t]*)- ", re.MULTILINE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="mergekit's YAML: models, merge_method, ...")
    parser.add_argument("--out", type=Path, metavar="FOLDER", required=True, help="where the merged checkpoint goes; must not exist")
    parser.add_argument("--name", metavar="NAME", help="of the new endpoint (default: the folder's)")
    parser.add_argument(
        "--model", metavar="NAME", default="{name}", help="what its server calls it: {name}, or {model}, its folder (default: %(default)s)"
    )
    parser.add_argument("--mergekit", metavar="PROGRAM", default=PROGRAM, help="what merges: PROGRAM RECIPE FOLDER (default: %(default)s)")
    parser.add_argument("--merge-args", metavar="ARGS", default="", help="further arguments for it, such as '--cuda --lazy-unpickle'")
    parser.add_argument("--serve", metavar="COMMAND", help="starts a server: {model} the folder, {name}, {port}; it ends with the command")
    parser.add_argument("--base-url", metavar="URL", help="where the model is served (default with --serve: a free port of this machine)")
    parser.add_argument(
        "--ready-s", type=float, default=600.0, metavar="S", help="how long the server may take to start (default: %(default)s)"
    )
    parser.add_argument("--tasks", type=Path, metavar="FILE", help="as of `dispatch profile`: measure it, and its parents")
    parser.add_argument("--parents", metavar="A,B,...", default="", help="endpoints of the configuration to measure it beside")
    parser.add_argument("--judge", metavar="MODEL", help="as of `dispatch profile`")
    parser.add_argument("--concurrency", type=int, default=4, metavar="N", help="as of `dispatch profile` (default: %(default)s)")
    parser.add_argument("--config", metavar="FILE", help="configuration (default: as of `dispatch serve`)")
    parser.add_argument("--add", action="store_true", help="write the endpoint into the configuration (default: print it)")


def run(arguments: argparse.Namespace) -> int:
    """Merge, serve, measure, add."""
    name = arguments.name or arguments.out.name
    place = locate(arguments.config, os.environ)
    config = load(place, os.environ)
    _check(arguments, config, name)
    tasks = read_tasks(arguments.tasks) if arguments.tasks else []
    if not _merged(arguments):
        return 1
    base_url = arguments.base_url or f"http://127.0.0.1:{_free_port()}/v1"
    endpoint = Endpoint(name=name, provider="openai_compatible", model=_called(arguments, name), base_url=base_url, offline_ok=True)
    profile: dict[str, float] = {}
    if tasks:
        whole = msgspec.structs.replace(config, endpoints=(*config.endpoints, endpoint))
        named = whole.endpoint_by_name
        asked = [*(named[parent] for parent in _parents(arguments)), endpoint]
        try:
            with _served(arguments, name, base_url):
                found = asyncio.run(measure(whole, asked, tasks, arguments, warm=True))
        except OSError as error:
            print(f"dispatch: {error}; the merged checkpoint is in {arguments.out}", file=sys.stderr)
            return 1
        print("\n".join(_row(one, measured) for one, measured in found.items()))
        profile = found[name].profile
    return _add(endpoint, profile, Path(place) if place is not None and arguments.add else None)


def _called(arguments: argparse.Namespace, name: str) -> str:
    return str(arguments.model).replace("{name}", name).replace("{model}", str(arguments.out.resolve()))


def _check(arguments: argparse.Namespace, config: Config, name: str) -> None:
    """Refuse what would fail after hours. Raises `ConfigError`."""
    if arguments.out.exists():
        raise ConfigError("--out", f"{arguments.out} is there already")
    if name in config.endpoint_by_name or name in config.models:
        raise ConfigError("--name", f"{name!r} is in the configuration already")
    for parent in _parents(arguments):
        if parent not in config.endpoint_by_name:
            raise ConfigError("--parents", f"found {parent!r}, expected endpoints: {', '.join(config.endpoint_by_name)}")
    if arguments.tasks and not (arguments.serve or arguments.base_url):
        raise ConfigError("--tasks", "who serves the merged model? Say --serve COMMAND or --base-url URL")
    if shutil.which(arguments.mergekit) is None:
        raise ConfigError("--mergekit", f"found no program {arguments.mergekit!r}; it comes with `pip install mergekit`")
    _check_recipe(arguments.recipe)


def _check_recipe(path: Path) -> None:
    """Every checkpoint that a recipe names lies on this machine: nothing is fetched behind one's back."""
    try:
        recipe = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(str(path), str(error)) from None
    found = [*_checkpoints(recipe, "")]
    if not found:
        raise ConfigError(str(path), "names no checkpoint: a recipe has `models` or `slices`, each with `model: FOLDER`")
    for where, text in found:
        folder = Path(text.partition("+")[0])  # `base+adapter`
        if not (folder / "config.json").is_file():
            raise ConfigError(f"{path}: {where}", f"{text!r} is no checkpoint on this machine: there is no {folder / 'config.json'}")


def _checkpoints(node: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401  # YAML
    if isinstance(node, list):
        for at, item in enumerate(node):
            yield from _checkpoints(item, f"{path}[{at}]")
    elif isinstance(node, dict):
        for key, value in node.items():
            here = f"{path}.{key}".removeprefix(".")
            if key in {"model", "base_model"} and isinstance(value, str):
                yield here, value
            else:
                yield from _checkpoints(value, here)


def _merged(arguments: argparse.Namespace) -> bool:
    """Run mergekit beside the folder and move what came out. Its output is the progress."""
    rough = arguments.out.with_name(f"{arguments.out.name}.part")
    shutil.rmtree(rough, ignore_errors=True)
    command = [arguments.mergekit, str(arguments.recipe), str(rough), *shlex.split(arguments.merge_args)]
    print(f"dispatch: {shlex.join(command)}", file=sys.stderr)
    ended = subprocess.run(command, check=False, stdout=_STDERR)  # noqa: S603  # the program that the operator names
    if ended.returncode or not (rough / "config.json").is_file():
        reason = f"ended with {ended.returncode}" if ended.returncode else "left no checkpoint"
        print(f"dispatch: {arguments.mergekit} {reason}; nothing was added", file=sys.stderr)
        shutil.rmtree(rough, ignore_errors=True)
        return False
    rough.rename(arguments.out)
    return True


@contextmanager
def _served(arguments: argparse.Namespace, name: str, base_url: str) -> Iterator[None]:
    """Have a server while the block runs. Raises `OSError` when it does not start."""
    if not arguments.serve:
        yield
        return
    host, port = _address(base_url)
    words = [word.format(model=arguments.out.resolve(), name=name, port=port) for word in shlex.split(arguments.serve)]
    print(f"dispatch: {shlex.join(words)}", file=sys.stderr)
    server = subprocess.Popen(words, stdout=_STDERR)  # noqa: S603  # the same
    try:
        _await_server(server, host, port, arguments.ready_s)
        yield
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _await_server(server: subprocess.Popen[bytes], host: str, port: int, ready_s: float) -> None:
    end = time.monotonic() + ready_s
    while True:
        if server.poll() is not None:
            raise OSError(f"the server ended with {server.returncode} before it was ready")
        try:
            socket.create_connection((host, port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise OSError(f"the server does not listen on port {port} after {ready_s:g} s") from None
            time.sleep(POLL_S)
        else:
            return


def _address(base_url: str) -> tuple[str, int]:
    host, _, port = base_url.partition("://")[2].partition("/")[0].rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError("--base-url", f"found {base_url!r}, expected http://HOST:PORT/v1 beside --serve")
    return host, int(port)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _parents(arguments: argparse.Namespace) -> list[str]:
    return [name for name in arguments.parents.split(",") if name]


def _row(name: str, measured: Measured) -> str:
    axes = ", ".join(f"{axis} {value:.3f}" for axis, value in measured.profile.items())
    return f"{name}: {axes}; median {measured.median_s:.3f} s, {measured.failed} failed"


def _add(endpoint: Endpoint, profile: dict[str, float], path: Path | None) -> int:
    """Write the endpoint into the configuration, or say how it reads."""
    fields = {"name": endpoint.name, "provider": endpoint.provider, "model": endpoint.model, "base_url": endpoint.base_url}
    form = {**fields, "offline_ok": True, **({"profile": profile} if profile else {})}
    line = msgspec.json.encode(form).decode()
    if path is None or not _inserted(path, form, line):
        print(f"endpoints:\n  - {line}")
        return 0 if path is None else 1
    print(f"{path}: added the endpoint {endpoint.name!r}")
    return 0


def _inserted(path: Path, form: dict[str, Any], line: str) -> bool:
    """Change the file as text, so that its comments stay; only into what is valid afterwards."""
    text = path.read_text()
    if path.suffix == ".json":
        tree = msgspec.json.decode(text, type=dict[str, Any])
        tree["endpoints"] = [*tree.get("endpoints", []), form]
        changed = msgspec.json.format(msgspec.json.encode(tree)).decode() + "\n"
    else:
        changed = _BLOCK.sub(lambda found: f"endpoints:\n{found[2]}- {line}\n{found[1]}{found[2]}- ", text, count=1)
    fresh = path.with_name(f"{path.stem}.new{path.suffix}")
    fresh.write_text(changed)
    try:
        is_there = form["name"] in load(fresh, os.environ).endpoint_by_name
    except ConfigError as error:
        is_there = False
        print(f"dispatch: {error}", file=sys.stderr)
    if is_there:
        fresh.replace(path)
    else:
        fresh.unlink()
        print(f"dispatch: {path} has no list of endpoints in block style; it was not changed. Add this:", file=sys.stderr)
    return is_there
