"""One generation of tables: everything that a configuration says, joined with the connections and the board it works on.

Built whole or not at all; a `Dispatcher` takes it with one assignment. Connections to origins that the generation before used
as well are carried over; limits, breakers, averages and loads live on the board and carry over by name.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from dispatch.cache.build import stores
from dispatch.cache.plan import Caching
from dispatch.catalogue import with_prices
from dispatch.catalogue.budgets import check_budgets
from dispatch.coalesce import Coalescer
from dispatch.config import FROM_CLIENT, Coalesce, Route, pools
from dispatch.config.plans import Pool as PoolPlan
from dispatch.config.plans.conditions import DECLARED, SIGNALS
from dispatch.connections import links_of, users_of
from dispatch.errors import ModelNotAllowed, ModelNotFound
from dispatch.homes import Homes
from dispatch.lane import NOBODY, Entry, KeyEntry, Lane
from dispatch.noted import PoolNames
from dispatch.plans.able import chosen
from dispatch.plans.base import Site
from dispatch.plans.fallback import Fallback
from dispatch.plans.hedge import Delay, Hedge, Shares
from dispatch.plans.keep import Guard, Local, keeps
from dispatch.plans.live import Live
from dispatch.plans.recover import Recover
from dispatch.plans.remembered import Remembered
from dispatch.plans.single import Single
from dispatch.plans.table import make
from dispatch.policy.cost import OUTPUT_TOKENS, estimate_tokens, expect_output_tokens, rates
from dispatch.pools import Pool
from dispatch.routing import SHARED, Hedges, Routing
from dispatch.served import Model
from dispatch.telemetry.ledger import Ledger
from dispatch.telemetry.renewals import Renewals
from dispatch.trails import ToldPool

if TYPE_CHECKING:
    from dispatch.cache.build import Stores
    from dispatch.config import Config, Defaults, Secrets
    from dispatch.config.plans import Composite
    from dispatch.config.plans import Model as ModelConfig
    from dispatch.config.plans import Plan as PlanConfig
    from dispatch.dispatcher import Dispatcher
    from dispatch.links import Link
    from dispatch.plans.base import Plan, Replayed, Start
    from dispatch.plans.route import Route as RoutePlan
    from dispatch.pools import Book
    from dispatch.providers.identity import Identity
    from dispatch.routing import Board, Router, Slots
    from dispatch.transport.connection import Owner
    from dispatch.transport.credentials.keeper import Keeper

__all__ = ["Generation", "KeyEntry", "Model", "build"]

_NS = 1_000_000_000


class Generation:
    """See the module."""

    __slots__ = (
        "_expect",
        "_patterns",
        "admit",
        "by_name",
        "caches",
        "config",
        "homes",
        "keepers",
        "keys",
        "lane",
        "listed",
        "live",
        "mishaps",
        "models",
        "nobody",
        "noted",
        "origins",
        "remembered",
        "replayed",
        "routes",
        "routing",
    )

    homes: Homes

    def __init__(self, config: Config, routing: Routing) -> None:
        self.config = config
        self.routing = routing
        self.admit = routing.admit
        self._expect = routing.expect
        self.origins: dict[tuple[object, ...], Owner] = {}
        self.keepers: dict[Identity, Keeper] = {}
        self.models: dict[str, Model] = {}
        self.caches: dict[str, Stores] = {}
        self.keys: dict[bytes | None, KeyEntry] = {}
        self.by_name: dict[str, KeyEntry] = {}
        self.lane: Lane | None = None
        self.live = Live(routing.snapshot)
        self.routes: dict[str, RoutePlan] = {}
        self.replayed: dict[str, Replayed] = {}
        self.remembered = Remembered(None)
        self.mishaps: Counter[tuple[str, str, str]] = Counter()
        self.nobody = NOBODY
        self.noted: dict[int, PoolNames] = {}
        self.listed = [model.name for model in config.models.values() if not model.is_pattern]
        self._patterns = [pattern.name for pattern in config.patterns]

    def find(self, name: str, key: KeyEntry) -> tuple[Model, str]:
        """The model of that name, and the name for endpoints that pass it on. Raises `ModelNotFound`, `ModelNotAllowed`."""
        model = self.models.get(name)
        upstream_name = name
        if model is None or name[-1:] == "*":
            found = self.config.find(name)
            if found is None:
                raise ModelNotFound(f"the model {name[:200]!r} is not configured", param="model")
            model, upstream_name = self.models[found[0].name], found[1]
        if key.models is not None and name not in key.models and model.name not in key.models:
            raise ModelNotAllowed(f"key {key.name!r} may not use the model {name[:200]!r}", param="model")
        return model, upstream_name

    def expect(self, model: Model, text_bytes: int, max_tokens: int, n: int) -> tuple[int, int]:
        """Estimate the tokens of a prompt and of its answers, by what was learned of the model; see `policy.cost`."""
        guess = estimate_tokens(text_bytes)
        if not model.learns:
            return guess, expect_output_tokens(max_tokens, n)
        return self._expect(model.slot, guess, max_tokens, OUTPUT_TOKENS, n)

    def key_named(self, name: str) -> KeyEntry | None:
        """The key of that name."""
        return self.by_name.get(name)


def build(config: Config, secrets: Secrets, slots: Slots, board: Board, worker: int, dispatcher: Dispatcher) -> Generation:
    """Build the tables of `config` for one worker.

    Raises:
        ConfigError: something that shows only here (a certificate that cannot be read); nothing has changed then.
    """
    routing = Routing(board, worker, config := with_prices(config), slots, dispatcher.decisions.records)
    check_budgets(config)
    generation = Generation(config, routing)
    before = dispatcher.generation
    generation.remembered = Remembered.beside(config.server.ledger, worker, None if before is None else before.remembered)
    if before is not None:
        generation.mishaps = before.mishaps
    ledger = _ledger(config, worker, routing)
    links = links_of(config, secrets, generation, before)
    generation.homes = Homes(config, links, None if before is None else before.homes, dispatcher.ids_path, dispatcher.say)
    for whose, keeper in generation.keepers.items():
        keeper.told = Renewals(board, [(name, slots.endpoints[name]) for name in users_of(config, whose)], dispatcher.say)
    added = [_add_model(generation, model, links, secrets, dispatcher, ledger) for model in config.models.values()]
    _add_keys(generation, secrets, slots)
    rows = [(digest, generation.keys[digest]) for digest in secrets.keys if not generation.keys[digest].secret]
    if ledger is None and (rows or not secrets.keys):
        # The lane keeps no books and knows no users; without keys it would let everybody in.
        generation.lane = Lane(routing, [entry for entry in added if entry is not None], rows, config.server.hosts)
    return generation


def _add_model(
    generation: Generation, model: ModelConfig, links: dict[str, Link], secrets: Secrets, dispatcher: Dispatcher, ledger: Book | None
) -> Entry | None:
    """Make a model callable. Returns its entry in the lane, if it may be one."""
    routing, settings = generation.routing, model.settings
    slot = routing.models[model.name]
    has_records = settings.decisions is True or decides(model.plan)
    book = dispatcher.decisions.booking(ledger) if has_records else ledger
    builder = _PlanBuilder(generation, links, dispatcher, model, book)
    plan = builder.plan_of(model.plan)
    old_caches = {} if dispatcher.generation is None else dispatcher.generation.caches
    reached = {name: links[name].endpoint for pool in pools(model.plan) for name in pool.endpoints}
    kept = stores(model, [*reached.values()], secrets, old_caches)
    if kept is not None:
        generation.caches[model.name] = kept
    start: Start = plan.run
    if keeps(model.plan):
        builder.first = None
        start = Guard(start, [route for name, route in generation.routes.items() if name.startswith(f"{model.name} ")]).run
    start = dispatcher.decisions.recorded(start) if has_records else start
    from_client = any(endpoint.api_key == FROM_CLIENT for endpoint in reached.values())
    run = _shared(start, model, kept, routing, dispatcher)
    added = Model(model.name, slot, settings, run, from_client=from_client)
    added.declares = {name: f"x-dispatch-{name}".encode() for name in _declared(model.plan)}
    added.homes = generation.homes.of(model.name)
    added.reads_head |= bool(added.declares) or "chat" in generation.homes.off_lane(model.name)
    added.learns = not decides(model.plan)
    added.is_noted = has_records or settings.decisions is not False
    added.pool = builder.first
    added.doors = frozenset(door for name in reached for door in links[name].heads)
    generation.models[model.name] = added
    is_single = settings.hedge is None and not settings.coalesce and kept is None and settings.decisions is not True and builder.is_plain
    if builder.first is None or model.is_pattern or not is_single or not isinstance(plan, (Single, Fallback)):
        return None
    return Entry(added, builder.first, plan.after_first(dispatcher.fail), generation.homes.off_lane(model.name))


def _add_keys(generation: Generation, secrets: Secrets, slots: Slots) -> None:
    named = {key.name: key for key in generation.config.keys}
    for digest, name in secrets.keys.items():
        key = named[name]
        models = None if key.models is None else frozenset(key.models)
        slot = generation.routing.keys[name]
        secret = slots.secret if key.limits.per_user else b""
        entry = KeyEntry(name, slot, models, admin=key.admin, weight=key.weight, priority=key.priority, secret=secret)
        generation.keys[digest] = generation.by_name[name] = entry


def decides(plan: PlanConfig) -> bool:
    """Whether requests of a plan get a record of why they went where they went: it has more in it than pools and fallbacks."""
    if isinstance(plan, PoolPlan):
        return False
    return plan.__struct_config__.tag != "fallback" or any(decides(part) for part in plan.parts)


def _declared(plan: PlanConfig) -> set[str]:
    """What clients may say that a plan looks at."""
    if isinstance(plan, PoolPlan):
        return set()
    names = {name for part in plan.parts for name in _declared(part)}
    if isinstance(plan, Route):
        names.update(DECLARED)
        names.update(condition.name for rule in plan.rules for condition in rule if condition.name not in SIGNALS)
    return names


def _ledger(config: Config, worker: int, routing: Routing) -> Book | None:
    path = config.server.ledger
    if path is None:
        return None
    return Ledger(path, worker, {endpoint.name: rates(endpoint.price) for endpoint in config.endpoints}, routing.book)


def _shared(run: Start, model: ModelConfig, kept: Stores | None, routing: Routing, dispatcher: Dispatcher) -> Start:
    """The plan as it is run for a model whose answers may be shared: joined before they are looked up, so that one is kept once."""
    settings = model.settings
    slot = routing.models[model.name]
    count = {name: partial(routing.share, slot, place) for place, name in enumerate(SHARED)}
    if settings.cache is not None and kept is not None:
        finish, watch = dispatcher.finish, dispatcher.watch
        run = Caching(run, settings.cache, kept.memory, kept.redis, finish=finish, watch=watch, count=count).run
    coalesce = Coalesce() if settings.coalesce is True else settings.coalesce
    if not coalesce:
        return run
    deadline_ns = int(settings.deadline_s * _NS)
    return Coalescer(run, coalesce, deadline_ns=deadline_ns, finish=dispatcher.finish, watch=dispatcher.watch, count=count).run


class _PlanBuilder:
    """Turns one model's plan into callables. Its routers come in the order of `pools()`, left to right."""

    def __init__(
        self, generation: Generation, links: dict[str, Link], dispatcher: Dispatcher, model: ModelConfig, book: Book | None
    ) -> None:
        self._generation = generation
        self._routers = iter(generation.routing.routers(model.name))
        self._links = links
        self._dispatcher = dispatcher
        self._model = model
        self._max_answer_bytes = generation.config.server.max_answer_bytes
        self._book = book
        self._pools: list[Pool] = []
        self._keeps = keeps(model.plan)
        self.first: Pool | None = None
        self.is_plain = True
        """The first takes whatever comes, in any order."""

    def plan_of(self, plan: PlanConfig, *, is_last: bool = True, path: str = "") -> Plan:
        """Build the plan; `first` is its first pool, if that is its first step. `is_last`: nothing is asked after it."""
        if not isinstance(plan, PoolPlan):
            return self._composed(plan, is_last=is_last, path=path)
        router = next(self._routers)
        settings = self._model.settings
        pool = self._pool(plan, router, settings, is_last=is_last, path=path)
        self.first = self.first or pool
        self._pools.append(pool)
        built = self._hedged(pool, plan, router)
        is_local = all(self._links[name].endpoint.offline_ok for name in plan.endpoints)
        return built if is_local or not self._keeps else Local(built, plan)

    def _composed(self, plan: Composite, *, is_last: bool, path: str) -> Plan:
        kind = plan.__struct_config__.tag
        here = f"{path}.{kind}".removeprefix(".")
        parts: list[Start] = []
        reached: list[list[Pool]] = []
        for place, part in enumerate(plan.parts):
            before = len(self._pools)
            parts.append(self.plan_of(part, is_last=is_last and plan.is_end(place), path=f"{here}[{place}]").run)
            reached.append(self._pools[before:])
        if kind != "fallback" or not isinstance(plan.parts[0], PoolPlan):
            # Whatever else chooses its own way to begin, and to go on.
            self.first = None
        dispatcher, model = self._dispatcher, self._model
        site = Site(
            model=model.name,
            settings=model.settings,
            path=here,
            pools=reached,
            finish=dispatcher.finish,
            watch=dispatcher.watch,
            room=dispatcher,
            max_bytes=self._max_answer_bytes,
            decisions=dispatcher.decisions,
            live=self._generation.live,
            routes=self._generation.routes,
            replayed=self._generation.replayed,
            remembered=self._generation.remembered,
            pacer=partial(self._generation.routing.pacer, model.name),
            mishaps=self._generation.mishaps,
        )
        return make(plan, parts, site)

    def _hedged(self, pool: Pool, plan: PoolPlan, router: Router) -> Single | Hedge:
        settings = self._model.settings
        hedge = settings.hedge
        if hedge is None or len(pool.links) == 1:
            return Single(self._around(pool, pool.start))
        hedges = Hedges(router.core)
        once = msgspec.structs.replace(settings, retry=msgspec.structs.replace(settings.retry, attempts=1))
        spare = self._pool(plan, router, once, is_last=pool.is_last)
        spare.acquire = hedges.acquire
        prices = {link.name: rates(link.endpoint.price) for link in pool.links}
        hedged = Hedge(pool, spare, Delay(hedge.after, router), Shares(hedges, hedge, pool, prices))
        start = self._around(pool, hedged.run)
        return hedged if start == hedged.run else Single(start)

    def _around(self, pool: Pool, start: Start) -> Start:
        """What plans start in place of `start`: the same, where nothing is held or recovered."""
        settings = self._model.settings
        able = chosen(pool, start)
        if pool is self.first:
            self.is_plain = able == start
        start = able
        if settings.commit == "first" and not settings.recover:
            return start
        return Recover(
            pool=pool,
            start=start,
            commit=settings.commit,
            recover=settings.recover,
            max_bytes=self._max_answer_bytes,
            room=self._dispatcher,
        ).start

    def _pool(self, plan: PoolPlan, router: Router, settings: Defaults, *, is_last: bool, path: str | None = None) -> Pool:
        told = (
            partial(ToldPool, path, plan.strategy, self._dispatcher.decisions) if settings.decisions is True and path is not None else None
        )
        pool = (told or Pool)(
            name=self._model.name,
            router=router,
            links=[self._links[name] for name in plan.endpoints],
            settings=settings,
            is_last=is_last,
            finish=self._dispatcher.finish,
            watch=self._dispatcher.watch,
            book=self._book,
        )
        pool.others = self._generation.homes.others(plan.endpoints)
        if path is not None:
            self._generation.noted[router.core.tag] = PoolNames(router.core, path, plan.strategy, tuple(pool.links))
        return pool
