"""`dispatch index`: documents into an index for the plan `retrieve`."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatch.config.plans.retrieve import Lance, Qdrant
from dispatch.config.secrets import read_secret
from dispatch.errors import ConfigError, DispatchError
from dispatch.retrieve import lance, qdrant
from dispatch.retrieve.passages import cut
from dispatch.retrieve.static import load
from dispatch.retrieve.store import Passage, write

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["add_arguments", "run"]

TEXTS = (".md", ".markdown", ".txt", ".rst", ".html", ".json", ".jsonl", ".csv", ".py", ".yaml", ".yml", ".toml")
"""What is read of a folder."""
_BATCH = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help=f"text in UTF-8; of a folder, all of {' '.join(TEXTS)}")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the index goes, such as docs.db; an old one is replaced")
    parser.add_argument("--qdrant", metavar="URL", help="a Qdrant server to add the passages to, in the place of a file; needs --embed")
    parser.add_argument("--lancedb", metavar="FOLDER", help="a folder of LanceDB to add the passages to; needs --embed")
    parser.add_argument("--collection", metavar="NAME", help="of that server, or the table in that folder; made if there is none")
    parser.add_argument("--qdrant-key", metavar="REF", default="", help="its API key, as env:NAME or file:/path")
    parser.add_argument("--chars", type=int, default=1200, metavar="N", help="longest passage (default: 1200)")
    parser.add_argument("--embed", metavar="MODEL", help="a model of the configuration that gives vectors, to find by meaning as well")
    parser.add_argument("--embed-folder", metavar="FOLDER", help="a static model on disk that gives vectors, in the place of --embed")
    parser.add_argument("--config", metavar="FILE", help="where that model is configured (default: as of `serve`)")


def run(arguments: argparse.Namespace) -> int:
    """Read, cut, embed and write. What cannot be read ends it, and an old index stays as it was."""
    if (wrong := _wrong(arguments)) is not None:
        print(f"dispatch: {wrong}", file=sys.stderr)
        return 2
    try:
        files = [*_files(arguments.files)]
        passages = [Passage(_name(path), piece) for path in files for piece in cut(path.read_text(encoding="utf-8"), arguments.chars)]
        vectors = _vectors(arguments, [passage.text for passage in passages])
        rows = zip(passages, vectors, strict=True)
        count = write(arguments.out, rows) if arguments.out else _add(arguments, [*rows])
    except (OSError, UnicodeDecodeError, ValueError, LookupError, DispatchError) as error:
        print(f"dispatch: {error}", file=sys.stderr)
        return 1
    what = f"{len(vectors[0])} dimensions" if vectors and vectors[0] is not None else "words only"
    if arguments.out is None:
        print(f"{arguments.collection}: {count:,} passages, {len(passages):,} of them from {len(files):,} files now, {what}")
    else:
        print(f"{arguments.out}: {count:,} passages of {len(files):,} files, {what}")
    return 0


def _wrong(arguments: argparse.Namespace) -> str | None:
    """What is wrong with the flags."""
    if arguments.chars < 100:
        return f"--chars: found {arguments.chars}, expected at least 100"
    if [arguments.out, arguments.qdrant, arguments.lancedb].count(None) != 2:
        return "--out FILE, --qdrant URL or --lancedb FOLDER, one of them says where the index goes"
    if arguments.embed and arguments.embed_folder:
        return "--embed MODEL or --embed-folder FOLDER, one of them gives the vectors"
    if arguments.out is None and not ((arguments.embed or arguments.embed_folder) and arguments.collection):
        flag = "--qdrant" if arguments.qdrant else "--lancedb"
        return f"{flag} needs --collection NAME, and --embed MODEL or --embed-folder FOLDER: its passages are found by vectors"
    return None


def _add(arguments: argparse.Namespace, rows: list[Any]) -> int:
    if arguments.lancedb:
        return lance.connect(Lance(folder=arguments.lancedb, table=arguments.collection), "--lancedb").add(rows)
    secret = read_secret(arguments.qdrant_key, os.environ, "--qdrant-key", arguments.qdrant)
    config = Qdrant(url=arguments.qdrant, collection=arguments.collection)
    return qdrant.connect(config, secret, "--qdrant").add(rows)


def _files(given: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in given:
        found += sorted(one for one in path.rglob("*") if one.suffix in TEXTS and one.is_file()) if path.is_dir() else [path]
    if not found:
        raise ConfigError("", f"nothing to read: no file ends in {' '.join(TEXTS)}")
    return found


def _name(path: Path) -> str:
    return str(path).removeprefix("./")


def _vectors(arguments: argparse.Namespace, texts: list[str]) -> Sequence[list[float] | None]:
    if arguments.embed_folder:
        return load(arguments.embed_folder, "--embed-folder").vectors(texts)
    return asyncio.run(_embedded(arguments, texts)) if arguments.embed else [None] * len(texts)


async def _embedded(arguments: argparse.Namespace, texts: list[str]) -> list[list[float]]:
    config: Any = import_module("dispatch.config")
    library: Any = import_module("dispatch.client")
    vectors: list[list[float]] = []
    async with library.Client(config.locate(arguments.config, os.environ)) as client:
        for at in range(0, len(texts), _BATCH):
            vectors += await client.embed(arguments.embed, texts[at : at + _BATCH])
            _progress(len(vectors), len(texts))
    return vectors


def _progress(done: int, count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {count:,} passages embedded", end="" if done < count else "\n", file=sys.stderr, flush=True)
