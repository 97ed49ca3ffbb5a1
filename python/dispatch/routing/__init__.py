"""Where a request may go: the core's engine, built from the configuration.

Three objects, from the longest life to the shortest:

- `Board`: the memory of all workers. Made once by the supervisor (or on the heap by a single process), never replaced.
- `Slots`: which row of the board belongs to which name. A reload keeps the rows of names that stay and gives new names fresh rows. No row
  is used twice in the life of a board, so a counter never changes its owner. The supervisor keeps it and hands it to workers as text.
- `Routing`: one generation of the configuration over both. A reload makes another; leases of the old one stay valid.

Hot calls are the core's own bound methods: `router.acquire(...)`, `lease.settle(...)`, `routing.admit(...)`; see `_core.pyi`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dispatch._core import (
    BOOKINGS,
    DURATION_BOUNDS_S,
    FAILURES,
    FIRST_TOKEN_BOUNDS_S,
    FLOWS,
    HEDGES,
    LEFT_OUT,
    OVERHEAD_BOUNDS_S,
    RECORDS_KEPT,
    SHARED,
    VERDICTS,
    Board,
    Choice,
    EndpointState,
    Engine,
    Express,
    Gauge,
    Hedges,
    Histogram,
    Job,
    Judge,
    KeyState,
    LearnedRouter,
    Lease,
    Merges,
    ModelState,
    Pacer,
    PairState,
    Pattern,
    Pieces,
    Records,
    Refusal,
    Signals,
    Ticket,
    Trail,
    Turns,
    Vectors,
    Weights,
    priced_points,
    read_question,
    resampled_gaps,
)
from dispatch._core import Pool as CorePool
from dispatch.config import pools
from dispatch.routing.learned import read_router
from dispatch.routing.pace import pace
from dispatch.routing.slots import MASK_BITS, Names, Sizes, Slots
from dispatch.routing.tables import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dispatch.config import Config, Endpoint, Pool

__all__ = [
    "BOOKINGS",
    "DURATION_BOUNDS_S",
    "FAILURES",
    "FIRST_TOKEN_BOUNDS_S",
    "FLOWS",
    "HEDGES",
    "LEFT_OUT",
    "MASK_BITS",
    "OVERHEAD_BOUNDS_S",
    "RECORDS_KEPT",
    "REFUSED",
    "SHARED",
    "VERDICTS",
    "Board",
    "Choice",
    "CorePool",
    "EndpointState",
    "Express",
    "Gauge",
    "Hedges",
    "Histogram",
    "Job",
    "Judge",
    "KeyState",
    "LearnedRouter",
    "Lease",
    "Merges",
    "ModelState",
    "Pacer",
    "PairState",
    "Pattern",
    "Pieces",
    "Records",
    "Refusal",
    "Router",
    "Routing",
    "Signals",
    "Sizes",
    "Slots",
    "Snapshot",
    "Ticket",
    "Trail",
    "Turns",
    "Vectors",
    "Weights",
    "priced_points",
    "read_question",
    "read_router",
    "resampled_gaps",
]

REFUSED = len(FAILURES)
"""The outcome of a request that a limit of its key or model refused; the other outcomes are the numbers of `Failure`."""


class Router:
    """One pool of a model, as this worker sees it.

    Attributes:
        core: the core's pool.
        acquire: `_core.Pool.acquire`, bound.
        retry_allowed: `_core.Pool.retry_allowed`, bound.
        endpoints: by position, as `Lease.position` names them.
        pool: as configured.
    """

    __slots__ = ("_pairs", "acquire", "core", "endpoints", "pool", "retry_allowed")

    def __init__(
        self, engine: Engine, index: int, pool: Pool, endpoints: tuple[Endpoint, ...], pairs: Callable[[], Iterable[PairState]]
    ) -> None:
        self._pairs = pairs
        self.core = core = engine.pool(index)
        self.acquire = core.acquire
        self.retry_allowed = core.retry_allowed
        self.endpoints = endpoints
        self.pool = pool

    def times(self) -> tuple[list[int], list[int]]:
        """Counts of the times to first token and of the durations of all its answers.

        By the buckets of `FIRST_TOKEN_BOUNDS_S` and `DURATION_BOUNDS_S`; they only grow.
        """
        pairs = [*self._pairs()]
        first = [sum(counts) for counts in zip(*(pair.first_token.counts for pair in pairs), strict=True)]
        return first, [sum(counts) for counts in zip(*(pair.duration.counts for pair in pairs), strict=True)]

    def __repr__(self) -> str:
        return f"Router({self.pool.strategy}, {', '.join(endpoint.name for endpoint in self.endpoints)})"


class Snapshot(Struct, frozen=True, kw_only=True):
    """What the board says now, by name. Exact over all workers; read off the path that requests take."""

    endpoints: dict[str, EndpointState]
    gauges: dict[str, Gauge]
    """Of the endpoints: limits, breaker, averages."""
    keys: dict[str, KeyState]
    models: dict[str, ModelState]
    pairs: dict[tuple[str, str], PairState]
    """By (model, endpoint)."""
    hedges: dict[str, list[int]]
    """By model, in the order of `HEDGES`, over all its pools."""
    overhead: Histogram


class Routing:
    """One generation of the configuration over the board.

    Attributes:
        admit: `_core.Engine.admit`, bound.
        count: `_core.Engine.count`, bound.
        expect: `_core.Engine.expect`, bound.
        admit_next: `_core.Engine.admit_next`, bound.
        refuse: `_core.Engine.refuse`, bound.
        turns: `_core.Engine.turns`, bound.
        share: `_core.Engine.share`, bound.
        models: slots by name.
        keys: slots by name.
    """

    __slots__ = (
        "_board",
        "_config",
        "_engine",
        "_routers",
        "_slots",
        "admit",
        "admit_next",
        "count",
        "expect",
        "keys",
        "models",
        "refuse",
        "share",
        "turns",
    )

    def __init__(self, board: Board, worker: int, config: Config, slots: Slots, records: Records | None = None) -> None:
        """Build the tables.

        Args:
            board: where the state is.
            worker: this worker's column.
            config: what is to be served.
            slots: as `Slots.of` gave for this configuration; equal in all workers.
            records: of this worker; left out: of this generation alone.

        Raises:
            ConfigError: the core refuses a value, such as a strategy that it does not have.
        """
        self._board, self._config, self._slots = board, config, slots
        self._engine = Engine(board, worker, build(config, slots), records)
        self._routers = self._build_routers()
        self.admit = self._engine.admit
        self.count = self._engine.count
        self.expect = self._engine.expect
        self.admit_next = self._engine.admit_next
        self.refuse = self._engine.refuse
        self.turns = self._engine.turns
        self.share = self._engine.share
        self.models = {name: slots.models[name] for name in config.models}
        self.keys = {key.name: slots.keys[key.name] for key in config.keys}

    @property
    def slots(self) -> Slots:
        """Which row belongs to which name."""
        return self._slots

    @classmethod
    def alone(cls, config: Config) -> Routing:
        """Build for a single process: a board on the heap.

        Raises:
            ConfigError: as the constructor.
        """
        sizes = Sizes.of(config)
        return cls(Board.heap(sizes), 0, config, Slots.of(config, sizes))

    def reloaded(self, worker: int, config: Config, slots: Slots | None = None) -> Routing:
        """Return the next generation over the same board.

        Args:
            worker: this worker's column.
            config: what is to be served from now on.
            slots: as the supervisor gave them; left out, they are carried over from this generation.

        Raises:
            ConfigError: it does not fit; this generation goes on.
        """
        return Routing(self._board, worker, config, slots or Slots.of(config, self._slots.sizes, self._slots))

    def _build_routers(self) -> dict[str, tuple[Router, ...]]:
        by_name = self._config.endpoint_by_name
        routers: dict[str, tuple[Router, ...]] = {}
        index = 0
        for name, model in self._config.models.items():
            plan = list(pools(model.plan))
            routers[name] = tuple(
                Router(self._engine, index + number, pool, tuple(by_name[one] for one in pool.endpoints), self._pairs_of(name, pool))
                for number, pool in enumerate(plan)
            )
            index += len(plan)
        return routers

    def _pairs_of(self, model: str, pool: Pool) -> Callable[[], Iterable[PairState]]:
        slots = [self._slots.pairs[f"{model} {endpoint}"] for endpoint in pool.endpoints]
        return lambda: map(self._board.pair, slots)

    def routers(self, model: str) -> tuple[Router, ...]:
        """Return the pools of a model's plan, left to right as `config.pools` yields them.

        Raises:
            KeyError: there is no such model.
        """
        return self._routers[model]

    def express(self, doors: list[Any], keys: list[Any], models: list[Any], estimate: tuple[int, int, int], hosts: list[bytes]) -> Express:
        """Build the core's express lane over this generation; the rows are read by attribute (`lane`)."""
        return Express(self._engine, doors, keys, models, estimate, hosts)

    def pace(self, model: str) -> tuple[int, float]:
        """Return the requests of a model in flight, and the mean time of its whole answers, s."""
        return pace(self._board, self._slots, self._config, model)

    def book(self, endpoint: str, model: str, key: str, outcome: int, cost_pico: int) -> None:
        """Count an attempt that stands in the ledger; `outcome` is a place in `BOOKINGS`, an empty `key` is nobody's."""
        slots = self._slots
        self._board.book(slots.endpoints[endpoint], slots.models[model], slots.keys.get(key), outcome, cost_pico)

    def pacer(self, model: str, path: str, rate: float, window: float, *, is_share: bool) -> Pacer:
        """Make the pacer of the budget of a model's route, one for all workers; see `_core.Pacer`."""
        return Pacer(rate, window, is_share=is_share, board=self._board, row=self._slots.pools[f"{model} {path}"])

    def leave_out(self, endpoint: str, place: int, count: int) -> None:
        """Count what a translation for an endpoint could not say; `place` is one in `LEFT_OUT`."""
        self._board.leave_out(self._slots.endpoints[endpoint], place, count)

    def snapshot(self, now_ns: int) -> Snapshot:
        """Read the rows of everything that is configured.

        Args:
            now_ns: `clock.now_ns()`.
        """
        board, slots, config = self._board, self._slots, self._config
        names = Names.of(config)
        by_slot = {slots.endpoints[name]: name for name in names.endpoints}
        pairs = (tuple(pair.split(" ")) for pair in names.pairs)
        return Snapshot(
            endpoints={name: board.endpoint(slots.endpoints[name]) for name in names.endpoints},
            gauges={by_slot[gauge.slot]: gauge for gauge in self._engine.gauges(now_ns)},
            keys={name: board.key(slots.keys[name]) for name in names.keys},
            models={name: board.model(slots.models[name]) for name in names.models},
            pairs={(model, endpoint): board.pair(slots.pairs[f"{model} {endpoint}"]) for model, endpoint in pairs},
            hedges=self._hedges(),
            overhead=board.overhead(),
        )

    def _hedges(self) -> dict[str, list[int]]:
        found = {name: [0] * len(HEDGES) for name in self._config.models}
        for name, model in self._config.models.items():
            for number, _ in enumerate(pools(model.plan)):
                counts = self._board.pool(self._slots.pools[f"{name} {number}"]).hedges
                found[name] = [one + other for one, other in zip(found[name], counts, strict=True)]
        return found
