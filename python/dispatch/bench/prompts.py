"""Request bodies, encoded before the run: of a file's prompts, or of generated ones of given lengths."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dispatch.bench.options import DOORS, Options
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from dispatch.distribution import Distribution

__all__ = ["bodies", "generated", "read_prompts", "requests"]

_DISTINCT: Final = 256
"""Generated prompts; they are sent in turn."""
_WORDS: Final = "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo sierra"
Prompt = str | list[Any] | dict[str, Any]
"""A text, a list of messages, or a whole body."""


def read_prompts(file: Path) -> list[Prompt]:
    """Read one prompt per line: plain text, or JSON (a string, a list of messages, a body).

    Raises:
        ConfigError: the file cannot be read or holds no prompt.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("--prompts", f"cannot read {file}: {error}") from error
    prompts = [_prompt(line) for line in lines if line.strip()]
    if not prompts:
        raise ConfigError("--prompts", f"{file} holds no prompt")
    return prompts


def _prompt(line: str) -> Prompt:
    if line.lstrip()[:1] in ('"', "[", "{"):
        try:
            value = msgspec.json.decode(line)
        except msgspec.DecodeError:
            return line
        if isinstance(value, str | list | dict):
            return value
    return line


def generated(tokens: Distribution, seed: int) -> list[Prompt]:
    """Make prompts whose lengths in tokens (about a word each) follow a distribution."""
    rng, words = Random(seed), _WORDS.split()
    lengths = [max(1, round(tokens.sample(rng))) for _ in range(_DISTINCT)]
    return [" ".join(rng.choices(words, k=length)) for length in lengths]


def bodies(options: Options, prompts: list[Prompt], max_tokens: Distribution | None) -> list[bytes]:
    """Encode the request bodies."""
    rng = Random(options.seed + 1)
    limits = [max(1, round(max_tokens.sample(rng))) if max_tokens else 0 for _ in prompts]
    return [msgspec.json.encode(_body(options, prompt, limit)) for prompt, limit in zip(prompts, limits, strict=True)]


def _body(options: Options, prompt: Prompt, limit: int) -> dict[str, Any]:
    body: dict[str, Any] = {"model": options.model}
    if isinstance(prompt, dict):
        body.update(prompt)
    elif options.door == "chat":
        body["messages"] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    else:
        body["prompt" if options.door == "completions" else "input"] = prompt
    if options.door == "embeddings":
        return body
    if limit:
        body["max_output_tokens" if options.door == "responses" else "max_tokens"] = limit
    if options.stream:
        body["stream"] = True
        if options.door != "responses":
            body.setdefault("stream_options", {"include_usage": True})
    return body


def requests(options: Options, encoded: list[bytes]) -> list[bytes]:
    """Put a request head before each body, so that sending is one write of ready bytes."""
    target = options.target
    lines = [
        f"POST {target.path}{DOORS[options.door]} HTTP/1.1",
        f"host: {target.host_header}",
        "content-type: application/json",
        f"accept: {'text/event-stream' if options.stream else 'application/json'}",
        "user-agent: dispatch-bench",
    ]
    if options.key:
        lines.append(f"authorization: Bearer {options.key}")
    head = "\r\n".join(lines).encode("latin-1")
    return [b"%b\r\ncontent-length: %d\r\n\r\n%b" % (head, len(body), body) for body in encoded]
