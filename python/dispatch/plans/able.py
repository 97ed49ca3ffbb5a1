"""A pool some of whose models cannot take everything: an image, tools, a schema, a long prompt go to those that can.

Only where it can make a difference: where the models of a pool differ by what is known of them, or the configuration says what one cannot
do. All other pools are started as they are, and what their models cannot take their providers refuse in their own words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.attempt import Attempts
from dispatch.catalogue.abilities import abilities
from dispatch.dialects.form import Media, ToolResult
from dispatch.dialects.table import DIALECTS
from dispatch.errors import BadRequest
from dispatch.routing import MASK_BITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatch.dialects.form import Part, Request
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Start
    from dispatch.pools import Pool

__all__ = ["Able", "chosen"]

_WORDS = {"image": "images", "document": "documents", "schema": "a JSON schema of the answer"}
_MARGIN = 1.5
"""A prompt's tokens are an estimate: only one that is so many times too long is refused, and not sent to the model that reads most."""


def chosen(pool: Pool, start: Start) -> Start:
    """What is started in place of `start`: the same, where nothing that is known of the pool's models tells them apart."""
    known = [abilities(link.endpoint) for link in pool.links]
    names = {name for one in known for name in one.lacks}
    contexts = [one.context for one in known]
    differ = any(0 < sum(name in one.lacks for one in known) < len(known) for name in names) or len({*contexts} - {0}) > 1
    if not differ and not any(one.is_told for one in known):
        return start
    lacks = {name: _mask(at for at, one in enumerate(known) if name in one.lacks) for name in names}
    return Able(pool, start, lacks, contexts).start


class Able:
    """See the module.

    Args:
        start: makes the tries of a call that all of the pool can take.
        lacks: by what a request may need, the positions that cannot take it.
        contexts: by position, the tokens that it reads at most; 0: not known.
    """

    __slots__ = ("_contexts", "_lacks", "_pool", "_start")

    def __init__(self, pool: Pool, start: Start, lacks: dict[str, int], contexts: list[int]) -> None:
        self._pool = pool
        self._start = start
        self._lacks = lacks
        self._contexts = contexts

    def start(self, call: Call, failed: Failed) -> None:
        """Make the tries of `call` where they can succeed."""
        pool = self._pool
        if call.home:
            # It has no choice.
            self._start(call, failed)
            return
        offered = pool.all & ~pool.cannot.get(call.door, -1)
        needs = [name for name in sorted(_needs(call)) if name in self._lacks] if self._lacks else []
        barred = 0
        for name in needs:
            barred |= self._lacks[name]
        if offered and not offered & ~barred:
            told = ", ".join(_WORDS.get(name, name) for name in needs)
            failed(call, BadRequest(f"no endpoint of {pool.name!r} takes {told}", code="unsupported_parameter"))
            return
        most = max((size for at, size in enumerate(self._contexts) if offered & ~barred & _bit(at)), default=0)
        short = self._short(call.tokens_in)
        if offered & ~barred & ~short:
            barred |= short
        elif offered and call.tokens_in > most * _MARGIN:
            reason = f"the prompt has about {call.tokens_in} tokens, and no endpoint of {pool.name!r} reads more than {most}"
            failed(call, BadRequest(reason, code="context_length_exceeded"))
            return
        else:
            barred |= short & ~_mask(at for at, size in enumerate(self._contexts) if size == most)
        if not barred:
            self._start(call, failed)
            return
        attempts = Attempts(call, pool, failed)
        attempts.bar(barred)
        attempts.start()

    def _short(self, tokens: int) -> int:
        """The positions whose models do not read so much."""
        return _mask(at for at, size in enumerate(self._contexts) if 0 < size < tokens)


def _bit(at: int) -> int:
    return 1 << (at & MASK_BITS)


def _mask(positions: Iterable[int]) -> int:
    mask = 0
    for at in positions:
        mask |= _bit(at)
    return mask


def _needs(call: Call) -> set[str]:
    """What a request asks of a model beside text; nothing where it cannot be read, which its endpoint will say."""
    dialect = DIALECTS.get(call.door.removesuffix("_stream"))
    if dialect is None or call.body is None:
        return set()
    try:
        request: Request = dialect.read_request(call.body.compose(b"", b"", False).partition(b"\r\n\r\n")[2])
    except BadRequest:
        return set()
    needs = {kind for message in request.messages for kind in _media(message.parts)}
    if request.tools:
        needs.add("tools")
    if request.format is not None and request.format.kind == "schema":
        needs.add("schema")
    return needs


def _media(parts: Iterable[Part]) -> Iterable[str]:
    for part in parts:
        if isinstance(part, Media):
            yield part.kind
        elif isinstance(part, ToolResult):
            yield from _media(part.parts)
