"""The page `docs/conformance.md`: every recorded exchange through a sidecar, by provider: `make conformance`.

An answer passes if the same dialect gives it unchanged and every other dialect that is translated says the same, read by its
official SDK, at a random cut. An error passes if it keeps its status in every dialect.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.contract.exchanges import (
    CLIENTS,
    DIALECTS,
    FRAMES,
    HALF_CALLS,
    LEFT_OUT,
    NOT_CHAT,
    PATHS,
    Exchange,
    Unequal,
    answered,
    configuration,
    exchanges,
    is_broken,
    put,
    replayed,
)
from tests.contract.facts import payloads
from tests.contract.inside import sidecar
from tests.contract.natives import Native, natives, unchanged
from tests.contract.recordings import DOORS, OWN, Answer, Player, Recording, ask, cut_randomly, events, frame, recordings
from tests.contract.vectors import Embedding, embeddings, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

HEAD = """# Conformance

Recorded exchanges of providers, played to a sidecar at random cuts, by `make conformance`. A file passes if the same dialect gives the
answer unchanged, and if each other dialect that is translated (OpenAI chat and responses, Anthropic messages, Gemini generateContent,
Bedrock Converse) says the same text, reasoning, tool calls, reason to end and usage as the provider did, read by the official SDK of that
dialect. An error passes if it keeps its status, a stream with a tool call that stays cut if it ends in an error at every door. What is not
spoken yet counts as failed.

| provider | files | passed | failed, and why |
| --- | --- | --- | --- |
"""


def index() -> list[dict[str, Any]]:
    folder = Path(os.environ.get("DISPATCH_WIRE_DIR") or OWN)
    return [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]


async def failure(port: int, player: Player, one: Exchange) -> str:
    """Why an exchange of a dialect that is translated fails; empty: it does not."""
    chance = random.Random(one.name)
    for client in CLIENTS:
        if client == one.dialect and "invoke" in one.name:
            # InvokeModel in the words of Converse is asked for at another door.
            continue
        pieces = cut_randomly(frame(one.recording, chance, "chunked"), chance)
        if one.said is None:
            answer = await replayed(port, player, one, client, pieces)
            if one.recording.status >= 400 and answer.status not in {one.recording.status, 502, 424}:
                return f"an error of status {one.recording.status} became {answer.status}"
        elif client == one.dialect:
            player.play(pieces)
            stream: dict[str, Any] = {"stream": True} if one.recording.stream else {}
            if stream and client == "chat":
                stream["stream_options"] = {"include_usage": True}
            answer = await put(port, client, client, {**REQUESTS[client], **stream})
            if not (is_broken(answer) if one.name in HALF_CALLS else same(one.recording, answer)):
                return "not unchanged in its own dialect"
        else:
            try:
                answered(one, client, await replayed(port, player, one, client, pieces))
            except Unequal as error:
                return f"to {client}: {str(error).partition(':')[0]}"
    return ""


REQUESTS: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "x"}]},
    "messages": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9},
    "generate": {"contents": [{"parts": [{"text": "x"}]}]},
    "responses": {"input": "x"},
    "converse": {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
}


def same(recording: Recording, answer: Answer) -> bool:
    """Whether an answer came through as it was."""
    if answer.status != recording.status or not answer.whole:
        return False
    if recording.stream:
        read = payloads if recording.content_type == FRAMES else events
        return bool(read(answer.body) == read(recording.body))
    return bool(json.loads(answer.body) == json.loads(recording.body))


async def passed_on(port: int, player: Player, recording: Recording) -> str:
    """Why an exchange of OpenAI's other doors fails."""
    player.play(cut_randomly(frame(recording, random.Random(1), "chunked"), random.Random(recording.name)))
    request = recording.request | {"model": "chat"}
    if recording.stream and recording.path.endswith("completions"):
        request |= {"stream_options": {"include_usage": True}}
    answer = await ask(port, recording.path, request)
    if recording.status >= 400 or b'"error":' in recording.body[:2_000]:
        return "" if answer.status in {recording.status, 502} or not answer.whole else f"an error became {answer.status}"
    return "" if same(recording, answer) else "not unchanged in its own dialect"


CHECKS: dict[type, Callable[..., Coroutine[Any, Any, str]]] = {
    Exchange: failure,
    Recording: passed_on,
    Native: unchanged,
    Embedding: translated,
}


async def results() -> dict[str, str]:
    """Why each file fails, by name; empty: it passes."""
    found: dict[str, str] = {}
    async with Player() as player:
        folder = Path(tempfile.mkdtemp())
        passed_through = [one for one in recordings() if one.path not in PATHS.values()]
        one_of: Iterable[Any] = (*exchanges(), *passed_through, *natives(), *embeddings())
        for one in one_of:
            # A sidecar of its own for each: failures one after another would open a breaker.
            async with sidecar(folder, configuration(player)) as port:
                if found.get(one.name):
                    continue
                try:
                    found[one.name] = await asyncio.wait_for(CHECKS[type(one)](port, player, one), 20)
                except (AssertionError, TimeoutError, ValueError, KeyError, TypeError) as error:
                    found[one.name] = f"{type(error).__name__}: {str(error)[:60]}"
    return found


def page(rows: list[dict[str, Any]], found: dict[str, str]) -> str:
    """The table."""
    lines = []
    total = [0, 0]
    for provider in sorted({row["provider"] for row in rows}):
        names = [(row["file"].removesuffix(".json"), row["endpoint"]) for row in rows if row["provider"] == provider]
        why = Counter(reason for name, endpoint in names if (reason := _reason(name, endpoint, provider, found)))
        passed = len(names) - sum(why.values())
        total = [total[0] + len(names), total[1] + passed]
        told = "; ".join(f"{count} x {reason}" for reason, count in why.most_common())
        lines.append(f"| {provider} | {len(names)} | {passed} | {told.replace('|', ' ')} |")
    share = 100 * total[1] / max(1, total[0])
    return HEAD + "\n".join([*lines, f"| total | {total[0]} | {total[1]} | {share:.1f} % passed |", ""])


def _reason(name: str, endpoint: str, provider: str, found: dict[str, str]) -> str:
    if name in found:
        return found[name]
    if name in LEFT_OUT:
        return LEFT_OUT[name]
    if endpoint == "models":
        return "a page of the hub about a model, which no inference API has"
    if (provider, endpoint) in NOT_CHAT or endpoint not in {**DIALECTS, **DOORS}:
        return f"{endpoint}: not spoken yet"
    return "not kept whole by its recorder"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(index(), asyncio.run(results())))
