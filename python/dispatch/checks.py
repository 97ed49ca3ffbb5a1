"""Checks: is an endpoint there? Asked from time to time by a GET that costs nothing, without waiting for a request to find out.

One prober asks for all workers, since what it finds stands on the board; and once for all endpoints that would be asked the same (host,
path, credential), so that twenty models of one host are one question. Users of other gateways pay for theirs: there probes are prompts,
from every replica (LiteLLM #13668, #13782).

A check that fails `unhealthy` times in a row opens the breaker and keeps it open until after the next check is due; should the prober die,
breakers are back to what requests tell them within two intervals. One that passes again lets requests try.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import aiohttp
from msgspec import Struct

from dispatch.config import FROM_CLIENT, Certificate, Check
from dispatch.links import DOORS
from dispatch.providers.base import fields_of, find_provider, free_target
from dispatch.providers.identity import identity_of
from dispatch.transport.connect import proxy_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.config import Config, Endpoint, Secrets
    from dispatch.routing import Board, Slots
    from dispatch.telemetry.log import Log

__all__ = ["Prober", "Question", "questions"]

JITTER = 0.1
REFUSED = frozenset((401, 402, 403))
_MS = 1_000

Endpoints = tuple[tuple[str, int], ...]
"""Names and slots."""


class Question(Struct, frozen=True, kw_only=True):
    """One question, and how often it is asked. Endpoints with equal ones share the answer."""

    url: str
    fields: tuple[tuple[str, str], ...]
    proxy: str
    ca_file: str | None
    client_cert: Certificate | None
    is_ours: bool
    """It shows a credential of ours: a refusal of that would meet every request."""
    check: Check


def questions(config: Config, secrets: Secrets, slots: Slots) -> dict[Question, Endpoints]:
    """Return what is to be asked, each with the names and slots of the endpoints that it is asked for."""
    asked: dict[Question, Endpoints] = {}
    for endpoint in config.endpoints:
        if endpoint.check:
            question = _question(endpoint, secrets.endpoints[endpoint.name].reveal())
            asked[question] = (*asked.get(question, ()), (endpoint.name, slots.endpoints[endpoint.name]))
    return asked


def _question(endpoint: Endpoint, secret: str) -> Question:
    provider = find_provider(endpoint.provider)
    where = provider.origin(endpoint)
    heads = (provider.head(endpoint, door, secret) for door in DOORS)
    head = next((head for head in heads if head is not None), b"")
    host = f"[{where.host}]" if ":" in where.host else where.host
    return Question(
        url=f"{where.scheme}://{host}:{where.port}{free_target(provider, endpoint)}",
        fields=tuple(fields_of(head).items()),
        proxy=proxy_for(where.scheme, where.host, endpoint.proxy),
        ca_file=endpoint.ca_file,
        client_cert=endpoint.client_cert,
        # Signatures and tokens that are fetched are for requests; a check goes without.
        is_ours=bool(secret) and endpoint.api_key != FROM_CLIENT and identity_of(provider, endpoint) is None,
        check=Check() if isinstance(endpoint.check, bool) else endpoint.check,
    )


class Prober:
    """Asks all questions until it is closed.

    Args:
        board: where it writes what it finds.
        log: told when an endpoint is lost and when it is found again.
    """

    def __init__(self, board: Board, log: Log | None = None) -> None:
        self._board = board
        self._log = log
        self._asking: dict[tuple[Question, Endpoints], asyncio.Task[None]] = {}
        self._trusted: dict[tuple[str | None, Certificate | None], ssl.SSLContext] = {}
        # A connection of its own for each check: whether one can be made is half of what is asked.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    def use(self, asked: Mapping[Question, Endpoints]) -> None:
        """Ask these from now on. What was asked before goes on undisturbed."""
        self._trusted.clear()
        wanted = set(asked.items())
        for gone in self._asking.keys() - wanted:
            self._asking.pop(gone).cancel()
        for question, endpoints in wanted - self._asking.keys():
            self._asking[question, endpoints] = asyncio.create_task(self._ask_on(question, endpoints))

    async def close(self) -> None:
        """Stop asking."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        await self._session.close()

    async def _ask_on(self, question: Question, endpoints: Endpoints) -> None:
        check = question.check
        # Passes in a row, or failures in a row below zero.
        run = 0
        is_doubted = is_lost = False
        while True:
            reason = await self._ask(question)
            run = min(run, 0) - 1 if reason else max(run, 0) + 1
            is_doubted = is_doubted or bool(reason)
            for _, slot in endpoints:
                self._board.count_check(slot, not reason)
            if run <= -check.unhealthy:
                self._lose(endpoints, check)
                if not is_lost:
                    is_lost = True
                    self._tell("endpoint_lost", endpoints, f"checks fail: {reason}")
            elif is_doubted and run >= check.healthy:
                is_doubted = False
                self._find(endpoints)
                if is_lost:
                    is_lost = False
                    self._tell("endpoint_found", endpoints, "checks pass again")
            await asyncio.sleep(check.interval_s * (1 - JITTER * random.random()))  # keeps checks apart

    def _lose(self, endpoints: Endpoints, check: Check) -> None:
        time_ms = int(2 * (check.interval_s + check.timeout_s) * _MS)
        for _, slot in endpoints:
            self._board.lose(slot, time_ms, monotonic_ns())

    def _find(self, endpoints: Endpoints) -> None:
        for _, slot in endpoints:
            self._board.find(slot, monotonic_ns())

    async def _ask(self, question: Question) -> str:
        """Ask once. Returns why it failed; empty: it passed."""
        options: dict[str, Any] = {"proxy": question.proxy or None, "allow_redirects": False}
        try:
            if question.url.startswith("https:"):
                options["ssl"] = self._trust(question)
            async with (
                asyncio.timeout(question.check.timeout_s),
                self._session.get(question.url, headers=dict(question.fields), **options) as reply,
            ):
                status = reply.status
        except TimeoutError:
            return f"no answer within {question.check.timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"no answer: {type(error).__name__}"
        return f"status {status}" if status >= 500 or (question.is_ours and status in REFUSED) else ""

    def _trust(self, question: Question) -> ssl.SSLContext:
        whom = question.ca_file, question.client_cert
        if whom not in self._trusted:
            self._trusted[whom] = context = ssl.create_default_context(cafile=question.ca_file)
            if question.client_cert is not None:
                context.load_cert_chain(question.client_cert.cert, question.client_cert.key)
        return self._trusted[whom]

    def _tell(self, event: str, endpoints: Endpoints, text: str) -> None:
        for name, _ in endpoints:
            if self._log is not None:
                self._log.event(event, f"{name}: {text}", endpoint=name)
