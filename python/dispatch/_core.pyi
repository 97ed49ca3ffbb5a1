from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, final

__all__ = [
    "BOOKINGS",
    "DURATION_BOUNDS_S",
    "FAILURES",
    "FIRST_TOKEN_BOUNDS_S",
    "FLOWS",
    "HEDGES",
    "LANGUAGES",
    "LEFT_OUT",
    "MODALITIES",
    "OVERHEAD_BOUNDS_S",
    "PERSONAL",
    "QUESTIONS",
    "RECORDS_KEPT",
    "SHARED",
    "SIMULATED_GROWTH",
    "SIMULATED_LEAST_S",
    "VERDICTS",
    "Answer",
    "Board",
    "BodyError",
    "Choice",
    "EndpointState",
    "Engine",
    "Express",
    "Gauge",
    "Hedges",
    "Histogram",
    "Inbound",
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
    "Pool",
    "PoolState",
    "ProtocolError",
    "Records",
    "Refusal",
    "RequestReader",
    "ResponseReader",
    "Scan",
    "Signals",
    "Ticket",
    "TlsConfig",
    "TlsError",
    "TlsSession",
    "Told",
    "Trail",
    "Turns",
    "Vectors",
    "Weights",
    "__version__",
    "affinity",
    "priced_points",
    "read_answer",
    "read_question",
    "resampled_gaps",
    "sign_rs256",
    "simulate",
    "simulated_retry",
]

__version__: str

# --- TLS to providers (rust/src/tls.rs); used through dispatch.transport.tls ---

class TlsError(ConnectionError):
    """A TLS session that cannot be, or cannot go on. The text names the server and the reason, never a secret."""

@final
class TlsConfig:
    """Whom we trust and who we are. Immutable; sessions of one config to the same name resume each other.

    TLS 1.2 and 1.3, ALPN `http/1.1`, no early data; certificates and names are always verified.
    Building one reads the system's certificates from disk (some milliseconds): build one per set of settings.
    """

    def __new__(cls, roots: bytes | None, use_system_roots: bool, client_cert_pem: bytes | None, client_key_pem: bytes | None) -> TlsConfig:
        """Check and prepare.

        Args:
            roots: PEM certificates of further authorities (`ca_file`).
            use_system_roots: trust the system's store (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured); Mozilla's list where it is empty.
            client_cert_pem: our certificate and its chain, for servers that ask for one.
            client_key_pem: its unencrypted private key.

        Raises:
            ConfigError: at `ca_file`, `client_cert` or `client_key`.
        """

@final
class TlsSession:
    """The client's side of one TLS connection, without a socket. For one thread at a time."""

    def __new__(cls, config: TlsConfig, server_name: str) -> TlsSession:
        """Begin; the first flight waits in `outgoing()`.

        Args:
            config: whom to trust.
            server_name: DNS name (sent as SNI) or IP address that the certificate must be for.

        Raises:
            TlsError: `server_name` is neither.
        """
    def receive(self, data: bytes) -> bytes:
        """Take bytes from the network; return the plaintext in them, `b""` if there is none yet.

        Raises:
            TlsError: the session is over. `outgoing()` then has the alert for the peer. Plaintext before the fault is never lost:
                the call that has some returns it, and the next one raises.
        """
    def send(self, data: bytes) -> bytes:
        """Encrypt; what is pending comes first, so that `outgoing()` need not be called before.

        Raises:
            TlsError: handshaking, closed by us, failed, or the keys are spent.
        """
    def outgoing(self) -> bytes:
        """Take the bytes that the peer must get now: handshake, key update, alert. Resets `needs_attention`."""
    def close(self) -> bytes:
        """End our side: pending bytes and a close_notify; `b""` the second time. `receive()` still works."""
    @property
    def server_name(self) -> str:
        """Whom we want to talk to."""
    @property
    def needs_attention(self) -> bool:
        """Something other than plaintext happened since `outgoing()` was called; always while handshaking."""
    @property
    def is_handshaking(self) -> bool:
        """The peer is not verified yet; nothing can be sent."""
    @property
    def peer_closed(self) -> bool:
        """The peer sent close_notify: everything has arrived. A connection that ends without it was cut."""
    @property
    def is_resumed(self) -> bool:
        """The handshake took up an earlier session."""
    @property
    def version(self) -> str:
        """`TLSv1.3`, `TLSv1.2`, or empty while not agreed on."""

def sign_rs256(key: bytes, text: bytes, /) -> bytes:
    """Sign `text` with an RSA key in DER, PKCS #8 or PKCS #1 (rust/src/rs256.rs); used through dispatch.transport.credentials.

    Raises:
        ValueError: it is no key, or one of less than 2,048 bits. Nothing of it is repeated.
    """

# --- Routing (rust/src/engine.rs); used through dispatch.routing ---
#
# Instants are `now_ns`: nanoseconds of one monotonic clock (CLOCK_MONOTONIC) that all workers of the machine share.
# Token counts above 2^32 - 1 count as that. Negative numbers, and numbers beyond 64 bits, raise OverflowError everywhere.

FLOWS: int
"""How many flows the queue of a model tells apart."""

FAILURES: list[str]
"""Names of the ways in which an attempt ends, by the number of `dispatch.errors.Failure`."""
VERDICTS: list[tuple[str, int]]
"""By the same number: what the breaker learns (`good`, `bad`, `silent`), and the ms that an endpoint is left alone which names no time."""
FIRST_TOKEN_BOUNDS_S: list[float]
"""Upper bounds of the buckets of `PairState.first_token`, seconds; one bucket without bound follows."""
DURATION_BOUNDS_S: list[float]
"""The same for `PairState.duration`."""
OVERHEAD_BOUNDS_S: list[float]
"""The same for `Board.overhead()`."""
BOOKINGS: list[str]
"""How an attempt can stand in the ledger, in the order of `EndpointState.booked`."""
LEFT_OUT: list[str]
"""Where a translation meets what it cannot say, in the order of `EndpointState.left_out`."""
HEDGES: list[str]
"""Names of the ways in which a hedge ends or is not made, in the order of `PoolState.hedges`."""
RECORDS_KEPT: int
"""Requests that `Records` hold."""
SHARED: list[str]
"""Names of what becomes of requests whose answer may be shared, in the order of `ModelState.shared`."""

class _Sizes(Protocol):
    @property
    def workers(self) -> int: ...
    @property
    def endpoints(self) -> int: ...
    @property
    def keys(self) -> int: ...
    @property
    def models(self) -> int: ...
    @property
    def pairs(self) -> int: ...
    @property
    def pools(self) -> int: ...
    @property
    def users(self) -> int: ...
    @property
    def sessions(self) -> int: ...

class _Limits(Protocol):
    """0 is "no limit" everywhere."""

    @property
    def requests_per_min(self) -> int: ...
    @property
    def tokens_per_min(self) -> int: ...
    @property
    def input_tokens_per_min(self) -> int: ...
    @property
    def uncached_input_tokens_per_min(self) -> int: ...
    @property
    def output_tokens_per_min(self) -> int: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def burst_s(self) -> float: ...

class _EndpointTable(Protocol):
    @property
    def slot(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def weight(self) -> int: ...
    @property
    def draining(self) -> bool: ...
    @property
    def limits(self) -> _Limits: ...
    @property
    def account(self) -> int:
        """The same for all endpoints of an account; its own slot for one that shares none."""
    @property
    def adaptive(self) -> bool: ...

class _GateTable(Protocol):
    @property
    def slot(self) -> int: ...
    @property
    def limits(self) -> _Limits: ...

class _Health(Protocol):
    """Spans in ms, shares in thousandths."""

    @property
    def consecutive(self) -> int: ...
    @property
    def ratio_permille(self) -> int: ...
    @property
    def min_requests(self) -> int: ...
    @property
    def window_ms(self) -> int: ...
    @property
    def open_ms(self) -> int: ...
    @property
    def longest_ms(self) -> int: ...
    @property
    def probes(self) -> int: ...
    @property
    def slow_start_ms(self) -> int: ...
    @property
    def outlier_permille(self) -> int: ...
    @property
    def ejected_permille(self) -> int: ...
    @property
    def panic_permille(self) -> int: ...

class _Modifiers(Protocol):
    """By position; empty lists where nothing reads them."""

    @property
    def tiers(self) -> Sequence[int]: ...
    @property
    def rates(self) -> Sequence[tuple[int, int, int]]:
        """Of a token of the prompt, one in the cache, and one of the answer, picodollars."""
    @property
    def sticky_s(self) -> int: ...
    @property
    def affinity(self) -> tuple[int, float, int, float] | None:
        """`ttl_s`, `kept`, `least_tokens`, and picodollars for a second of waiting."""
    @property
    def lowest_cost(self) -> float | None: ...
    @property
    def lowest_latency(self) -> float | None: ...

class _PoolTable(Protocol):
    @property
    def slot(self) -> int: ...
    @property
    def strategy(self) -> str: ...
    @property
    def choices(self) -> int: ...
    @property
    def bounded_load(self) -> float: ...
    @property
    def endpoints(self) -> Sequence[int]: ...
    @property
    def pairs(self) -> Sequence[int]: ...
    @property
    def retry_percent(self) -> int: ...
    @property
    def retry_per_s(self) -> int: ...
    @property
    def health(self) -> _Health: ...
    @property
    def modifiers(self) -> _Modifiers: ...

class _Tables(Protocol):
    @property
    def endpoints(self) -> Sequence[_EndpointTable]: ...
    @property
    def keys(self) -> Sequence[_GateTable]: ...
    @property
    def users(self) -> Sequence[_GateTable]:
        """By the slot of the key: what each of its users may."""
    @property
    def models(self) -> Sequence[_GateTable]: ...
    @property
    def pools(self) -> Sequence[_PoolTable]: ...

@final
class Board:
    """The memory that all workers share. Methods that read it are for metrics: exact, and off the path that requests take."""

    @staticmethod
    def heap(sizes: _Sizes) -> Board:
        """Make a board for this process alone.

        Raises:
            ValueError: a size is out of range.
        """

    @staticmethod
    def create(sizes: _Sizes) -> Board:
        """Make a board in an unnamed file, sealed against shrinking and growing where the system can (Linux).

        Raises:
            ValueError: a size is out of range.
            OSError: no memory, no descriptors.
        """

    @staticmethod
    def attach(fd: int, worker: int, /) -> Board:
        """Map the board behind an inherited descriptor, which is duplicated and may be closed afterwards.

        Args:
            fd: as `fd` of the board that the supervisor created.
            worker: the column that this process will write.

        Raises:
            ValueError: it is no board, not sealed, of another layout version, not as long as its sizes need, or has no such column.
            OSError: the descriptor cannot be mapped.
        """

    @property
    def fd(self) -> int:
        """Descriptor to pass on, close-on-exec until somebody makes it inheritable; -1 on the heap."""

    def hang_bells(self, fds: list[int], /) -> None:
        """Take the descriptors by which workers are woken, one for each; they are duplicated.

        Args:
            fds: eventfds or writing ends of pipes, not blocking, in the order of the columns.

        Raises:
            OSError: one is no descriptor, or there are bells already.
        """

    def reclaim(self, worker: int, /) -> None:
        """Zero what a dead worker held: requests in flight, queued tokens, probes, waiters. Counters stay.

        Only after the worker has been reaped, and before a successor gets its column.
        """

    def leave_out(self, slot: int, place: int, count: int, /) -> None:
        """Count what a translation for an endpoint could not say; `place` is one in `LEFT_OUT`. Raises `IndexError`."""

    def book(self, endpoint: int, model: int, key: int | None, outcome: int, cost_pico: int, /) -> None:
        """Count an attempt that stands in the ledger.

        Args:
            endpoint: slot.
            model: slot.
            key: slot of who pays for what is delivered.
            outcome: place in `BOOKINGS`.
            cost_pico: picodollars.

        Raises:
            IndexError: there is no such row.
            ValueError: there is no such outcome.
        """

    def count_check(self, slot: int, passed: bool, /) -> None:
        """Count a check of an endpoint (`dispatch.checks`).

        Raises:
            IndexError: there is no such row.
        """

    def count_renewal(self, slot: int, issued: bool, /) -> None:
        """Count that a credential of an endpoint was had, or was not (`transport.credentials`).

        Raises:
            IndexError: there is no such row.
        """

    def lose(self, slot: int, time_ms: int, now_ns: int, /) -> None:
        """Open an endpoint's breaker, or keep it open: a check found nobody there.

        Args:
            slot: of the endpoint.
            time_ms: for how long, at least, unless it is said again; at most 300 000.
            now_ns: now.

        Raises:
            IndexError: there is no such row.
        """

    def find(self, slot: int, now_ns: int, /) -> None:
        """Let requests try an endpoint whose breaker is open: a check found somebody there.

        Raises:
            IndexError: there is no such row.
        """

    def endpoint(self, slot: int, /) -> EndpointState:
        """Read an endpoint's row.

        Raises:
            IndexError: there is no such row.
        """

    def key(self, slot: int, /) -> KeyState:
        """Read a key's row.

        Raises:
            IndexError: there is no such row.
        """

    def model(self, slot: int, /) -> ModelState:
        """Read a model's row.

        Raises:
            IndexError: there is no such row.
        """

    def pair(self, slot: int, /) -> PairState:
        """Read the row of a model on an endpoint.

        Raises:
            IndexError: there is no such row.
        """

    def pool(self, slot: int, /) -> PoolState:
        """Read a pool's row.

        Raises:
            IndexError: there is no such row.
        """

    def overhead(self) -> Histogram:
        """Read the histogram of our own time per request."""

@final
class Engine:
    """The routing of one configuration over a board, as one worker sees it. A reload makes another; leases of the old one stay valid."""

    def __new__(cls, board: Board, worker: int, tables: _Tables, records: Records | None = None, /) -> Engine:
        """Check the tables and make them ready.

        Args:
            board: where the state is.
            worker: this worker's column.
            tables: the configuration in slots.
            records: where requests are noted; None: in some of its own.

        Raises:
            ConfigError: something does not fit the board (a restart is needed then), or no strategy can work with it.
        """

    def pool(self, index: int, /) -> Pool:
        """Return a pool by its place in the tables.

        Raises:
            IndexError: there is none.
        """

    def admit(self, model: int, key: int, tokens_in: int, tokens_out: int, now_ns: int, request: int = ..., /) -> Ticket | Refusal:
        """Take a client's request in: a place and units on its key and its model, all or nothing.

        Where requests of the model wait, the refusal says so: `whose` is `queue`. No refusal is counted.

        Args:
            model: its slot.
            key: its slot, or -1 for none; above its 16 bits the hash of a user of the key (112 bits), 0 for none.
            tokens_in: estimated prompt tokens.
            tokens_out: estimated answer tokens.
            now_ns: now.
            request: its number in the records; 0: it is not noted.

        Raises:
            IndexError: no such model or key in this configuration.
        """

    def admit_next(self, model: int, key: int, tokens_in: int, tokens_out: int, now_ns: int, request: int = ..., /) -> Ticket | Refusal:
        """Take in a request that has waited and whose turn it is: `admit`, whoever else waits.

        Raises:
            IndexError: no such model or key in this configuration.
        """

    def refuse(self, model: int, key: int, /) -> None:
        """Count a request that was refused for good, for its model (outcome `REFUSED`) and its key.

        Args:
            model: its slot.
            key: its slot, or -1 for none.

        Raises:
            IndexError: no such model or key in this configuration.
        """

    def count(self, model: int, outcome: int, /) -> None:
        """Count a request that ended without a ticket.

        Args:
            model: its slot.
            outcome: a number of `Failure`, or `REFUSED`.

        Raises:
            IndexError: no such model.
            ValueError: no such outcome.
        """

    def expect(self, model: int, guess: int, most: int, usual: int, choices: int, /) -> tuple[int, int]:
        """What a request will use, by what was learned of its model: tokens of the prompt, and of the answer.

        Args:
            model: its slot.
            guess: tokens of the prompt, by its length alone.
            most: tokens that the answer may have; 0: as many as it wants.
            usual: tokens of an answer while nothing is learned.
            choices: answers that are asked for.

        Raises:
            IndexError: no such model.
        """

    def share(self, model: int, at: int, /) -> None:
        """Count a request whose answer may be shared.

        Args:
            model: its slot.
            at: place in `SHARED`.

        Raises:
            IndexError: no such model.
            ValueError: no such place.
        """

    def turns(self, model: int, /) -> Turns:
        """Return the queue of a model. It outlives this engine.

        Raises:
            IndexError: no such model.
        """

    def gauges(self, now_ns: int, /) -> list[Gauge]:
        """Read what each endpoint of the configuration allows now."""

@final
class Turns:
    """Whose turn it is at one model: start-time fair queueing over all workers (`rust/src/engine/turns.rs`).

    A *flow* is a number below `FLOWS`: the requests of one key and one priority. The flow with the smallest start is next. Each worker
    keeps its own waiting requests, and shows here which flow it would serve next.
    """

    def join(self, flow: int, /) -> None:
        """One more request of a flow waits at this worker."""

    def leave(self) -> None:
        """One request waits no more: it was served, or it left. Once for each `join`."""

    def start(self, flow: int, /) -> int:
        """Return where the next request of a flow begins, in virtual time."""

    def show(self, flow: int, since_ns: int, alone: bool, /) -> None:
        """Tell all workers what this one would serve next.

        Args:
            flow: which flow.
            since_ns: since when its first request waits; the oldest of one flow is served first.
            alone: no other flow waits at this worker.
        """

    def hide(self) -> None:
        """Tell all workers that this one has nothing to serve."""

    def serve(self, flow: int, tokens: int, weight: int, waited_ns: int, /) -> None:
        """Move a flow on by a request that got its place.

        Args:
            flow: whose it was.
            tokens: what it cost.
            weight: share of the flow, against others' weights.
            waited_ns: how long it waited.
        """

    def block(self, more: int, /) -> None:
        """So many more (or fewer) flows are left out at this worker until some key has a place more, of which its bell tells."""

    @property
    def is_next(self) -> bool:
        """Whether no other worker shows something that comes before what this one shows."""

    def ring(self) -> None:
        """Wake the worker whose turn it is: there may be a place."""

    def take_ring(self) -> bool:
        """Return whether this worker was woken for this model since it last asked."""

    @property
    def depth(self) -> int:
        """Requests that wait, over all workers."""

    @property
    def served(self) -> int:
        """Tokens of all requests served from this queue so far, over all workers."""

@final
class Pool:
    """Endpoints that can stand in for each other, as one worker sees them."""

    def acquire(
        self,
        tried: int,
        tokens_in: int,
        tokens_out: int,
        now_ns: int,
        draw: int,
        hash: int,  # noqa: A002 - positional
        request: int = ...,
        /,
    ) -> Lease | Refusal:
        """Choose an endpoint and take a place on it and on each of its limits, or nothing. Never waits.

        Where less of the pool is usable than `panic_permille` and has no room, each endpoint whose breaker is open gets a request a second
        all the same (`Lease.is_panic`); limits and pauses are never ignored.

        Args:
            tried: positions to leave out, bit `position % 128` each.
            tokens_in: estimated prompt tokens.
            tokens_out: estimated answer tokens.
            now_ns: now.
            draw: 64 random bits; the same bits over the same board give the same choice.
            hash: of the affinity key, 64 bits; 0 for none.
            request: its number in the records, where what the strategy reads is noted; 0: it is not.
        """

    def acquire_told(
        self,
        tried: int,
        tokens_in: int,
        tokens_out: int,
        now_ns: int,
        draw: int,
        hash: int,  # noqa: A002 - positional
        /,
    ) -> tuple[Lease | Refusal, Trail]:
        """As `acquire`, with how it came to it, at length; not in the records."""

    def trail(self, choice: Choice, /) -> Trail:
        """Return how a choice of this pool was made that stands in the records."""

    @property
    def tag(self) -> int:
        """By which records name it."""

    def retry_allowed(self, now_ns: int, /) -> bool:
        """Spend one retry of the pool's budget, a fifth of its first attempts and ten a second. False, when none is left, is counted."""

    def has_sound(self, tried: int, now_ns: int, /) -> bool:
        """Whether an endpoint beside those `tried`, a bit mask, seems to work: its breaker is closed, and nobody asked for a pause."""

    def __len__(self) -> int: ...

@final
class Records:
    """What became of the last requests of one worker, and how their endpoints were chosen, in rings of fixed size.

    Numbers only: names are the caller's to know. Memory is taken as requests come.
    """

    def __new__(cls, prefix: str, /) -> Records:
        """Make empty ones; `prefix` is what all ids of this worker begin with."""

    def begin(self) -> int:
        """Return the number of a request that begins, from 1 on."""

    @property
    def begun(self) -> int:
        """Numbers that were given."""

    def lines(self, number: int, is_noted: bool, /) -> bytes:
        """Return the header lines that name a request: `x-request-id`, and where it is noted `x-dispatch-decision`, each with its CRLF."""

    def named(self, number: int, given: bytes, /) -> None:
        """Keep the id that its client gave a request, 88 bytes of it at most; before it is let in."""

    def failed(self, number: int, outcome: int, now_ns: int, error: str, /) -> None:
        """Note that a request ended without an answer.

        Args:
            number: of the request; one that is gone, or 0, is left alone.
            outcome: of `dispatch.errors.Failure`.
            now_ns: now.
            error: the code that its client was told, 32 bytes of it at most.
        """

    def judged(self, number: int, score: int, /) -> bool:
        """Keep how good an answer was, in millionths. False: its record is gone."""

    def find(self, number: int, /) -> dict[str, Any] | None:
        """Return what is known of a request; None: it is gone, or never was.

        Slots of `model` and `key` (None: nobody's); `received_ns`, `admitted_ns` (the last time), `ended_ns`, `overhead_ns`; `outcome`
        (a failure's number, None: under way), `refused` (why and whose it is, empty: it was let in), `error`, `given`, `score` (millionths
        or None).
        """

    def choices(self, number: int, /) -> tuple[list[Choice], bool]:
        """Return the choices of pools for a request, in order, and whether these are all: the first ones may be gone."""

@final
class Choice:
    """One choice of a pool for a request, as it stands in the records."""

    @property
    def tag(self) -> int:
        """The pool's."""
    @property
    def position(self) -> int | None:
        """Who was chosen; None: nobody."""
    @property
    def refused(self) -> str:
        """What held all back, if nobody was chosen."""
    @property
    def outcome(self) -> int | None:
        """A failure's number; None: the attempt is under way, or there was none."""
    @property
    def draw(self) -> int: ...
    @property
    def is_soft(self) -> bool:
        """Slow starts or breakers gave way."""
    @property
    def is_retry(self) -> bool:
        """The attempt followed another one."""
    @property
    def taken_ns(self) -> int: ...
    @property
    def ended_ns(self) -> int: ...
    @property
    def used(self) -> tuple[int, int, int]:
        """Tokens of the input, of the output, and those of the input from the provider's cache."""

@final
class Trail:
    """How a pool's choice was made, and whether it comes out the same again. It keeps its pool."""

    @property
    def held(self) -> list[tuple[int, str]]:
        """Positions that could not take the request, and why, as far as somebody looked."""
    @property
    def is_soft(self) -> bool:
        """Slow starts or breakers gave way in the end."""
    @property
    def picks(self) -> list[dict[str, Any]] | None:
        """Each question to the strategy, in order; None: more was read than there was room for.

        `chosen`, `taken` (its limits had room), `home` (position, tokens, age in seconds) of the session,
        `turns` of the shared cursor, and `seen`: by position, only what was read.
        """
    def replays(self) -> bool | None:
        """Make the choices again from what was noted. Whether each came out the same; None as of `picks`."""

@final
class Hedges:
    """Second sends of a pool, within a share of its requests and of their cost that all workers keep together.

    A cap is a debt: spending is allowed while nothing is owed, so over any span no more than the share is spent, and one more.
    """

    def __new__(cls, pool: Pool, /) -> Hedges: ...
    def acquire(
        self,
        tried: int,
        tokens_in: int,
        tokens_out: int,
        now_ns: int,
        draw: int,
        hash: int,  # noqa: A002 - positional
        request: int = ...,
        /,
    ) -> Lease | Refusal:
        """As `Pool.acquire`, but breakers are never ignored: an attempt that is not needed does not panic."""

    def earn(self, millionths: int, cost: int, /) -> None:
        """Pay debts off.

        Args:
            millionths: of a hedge, for each request that the pool is asked.
            cost: for each answer that it gave, the share of what that cost.
        """

    def spend(self, cost: int, /) -> bool:
        """Spend one hedge of this cost, if both caps allow it. False is counted as `capped`."""

    def give_back(self, cost: int, /) -> None:
        """Undo a `spend` whose hedge was not sent."""

    def count(self, outcome: int, /) -> None:
        """Count a hedge.

        Args:
            outcome: place in `HEDGES`.

        Raises:
            ValueError: no such outcome.
        """

@final
class Lease:
    """A place on an endpoint. Settled exactly once; dropped without it counts as cancelled, and nothing is refunded."""

    @property
    def slot(self) -> int:
        """The endpoint's row on the board."""

    @property
    def position(self) -> int:
        """The endpoint's place in the pool."""

    @property
    def account(self) -> int:
        """Places of the pool on the endpoint's account as bits, its own included: what a 429 here speaks for."""

    @property
    def is_panic(self) -> bool:
        """Whether it was given out although the endpoint's breaker was open."""

    def mark_retry(self) -> None:
        """Count this attempt as a retry, in the metrics of its endpoint."""

    def drop_events(self, count: int, /) -> None:
        """Count malformed events of its stream that were left out, in the metrics of its endpoint."""

    def first_byte(self, now_ns: int, /) -> None:
        """Tell that the first token came: samples the time to first token. Further calls do nothing; a whole answer needs none."""

    def learn(self, kind: int, remaining: int, limit: int, reset_ns: int, now_ns: int, /) -> None:
        """Take over what the provider says of one of its limits: the bucket holds no more than that, a lower rate is kept.

        Args:
            kind: 0 requests, 1 tokens, 2 input, 3 uncached input, 4 output tokens; another one is ignored.
            remaining: units left; 0, with a reset, leaves the endpoint alone until then.
            limit: units a minute; 0: not said.
            reset_ns: time until it is whole again; 0: not said. At most 300 s count.
            now_ns: now.
        """

    def charge(self, now_ns: int, tokens_in: int, tokens_out: int, tokens_cached: int, /) -> None:
        """Charge what a part has used of something that lasts, such as a session; nothing once it has ended."""

    def settle(self, failure: int, now_ns: int, tokens_in: int, tokens_out: int, tokens_cached: int, cool_ms: int, /) -> bool:
        """End the attempt. A success is reconciled with the tokens used.

        What the provider never had or refused is given back as far as it has not drained by itself (decision record 0018).

        Args:
            failure: number of `dispatch.errors.Failure`.
            now_ns: now.
            tokens_in: prompt tokens used, cached ones included; 0 is unknown, and keeps the estimate after a success.
            tokens_out: the same of the answer.
            tokens_cached: of `tokens_in`, those that the provider had in its cache.
            cool_ms: leave the endpoint alone for so long (Retry-After), at most 300 s.
                0 means 1 s after RATE_LIMITED, 60 s after QUOTA_EXHAUSTED, and else no pause.

        Returns:
            False, without any effect, if it was settled before.

        Raises:
            ValueError: no such failure. Nothing is settled.
        """

@final
class Ticket:
    """A client's request, let in. Settled exactly once; dropped without it counts as cancelled, and nothing is refunded."""

    def charge(self, now_ns: int, tokens_in: int, tokens_out: int, tokens_cached: int, /) -> Refusal | None:
        """Charge what a part has used of something that lasts and is paid as it goes on; nothing once it has ended.

        Returns:
            A limit of tokens that is spent now: no further part should begin before its time. What was used is charged all the same.
        """

    def count_exactly(self) -> None:
        """From here on what is settled is what was used: 0 tokens are none, and not unknown. For a request that shares an answer."""

    def settle(self, outcome: int, now_ns: int, overhead_ns: int, tokens_in: int, tokens_out: int, tokens_cached: int, /) -> bool:
        """End the request. The key pays for a delivered answer only.

        Args:
            outcome: 0 for a delivered answer, else the number of `dispatch.errors.Failure`.
            now_ns: now.
            overhead_ns: our own time on it.
            tokens_in: prompt tokens delivered for; 0 is unknown and keeps the estimate.
            tokens_out: the same of the answer.
            tokens_cached: of `tokens_in`, those from the provider's cache.

        Returns:
            False, without any effect, if it was settled before.

        Raises:
            ValueError: no such failure. Nothing is settled.
        """

    def withdraw(self, now_ns: int, /) -> bool:
        """Give everything back as if the request had not been let in. It is not counted.

        Returns:
            False, without any effect, if it was settled before.
        """

@final
class Refusal:
    """Not now. Nothing was taken."""

    @property
    def retry_after_ns(self) -> int:
        """After this time there is a place, if nobody else takes it; -1 when waiting cannot help or nobody can know.

        Exact: one nanosecond earlier the answer is the same refusal.
        """

    @property
    def why(self) -> str:
        """The name of the limit (`requests_per_min`, ..., `concurrency`), or `breaker`, `cooling`, `draining`, `tried`, `queue`."""

    @property
    def whose(self) -> str:
        """At whose door: `key` or `model` for their limits, `queue` where others wait already, `pool` for its endpoints."""

@final
class Histogram:
    """Values in buckets."""

    @property
    def counts(self) -> list[int]:
        """Per bucket, not cumulated; the last has no bound."""

    @property
    def sum_ns(self) -> int:
        """Sum of all values."""

@final
class EndpointState:
    """What is known of one endpoint, over all workers."""

    @property
    def in_flight(self) -> int: ...
    @property
    def prefill_tokens(self) -> int:
        """Estimated prompt tokens that wait for their first token."""

    @property
    def decode_tokens(self) -> int:
        """Estimated answer tokens of requests in flight."""

    @property
    def probes(self) -> int:
        """Half-open probes on their way."""

    @property
    def attempts(self) -> list[int]:
        """Ended attempts, by the number of `Failure`."""

    @property
    def retries(self) -> int:
        """Attempts that followed another one of the same request."""

    @property
    def checks(self) -> list[int]:
        """Checks that passed, and that failed."""

    @property
    def renewals(self) -> list[int]:
        """Credentials that were had for it, and that were not."""

    @property
    def trips(self) -> int:
        """How often its breaker opened."""

    @property
    def panics(self) -> int:
        """Attempts that it got in spite of its breaker."""

    @property
    def dropped(self) -> int:
        """Malformed events of its streams that were left out."""
    @property
    def tokens(self) -> list[int]:
        """Used tokens: input, output, cached."""

    @property
    def booked(self) -> list[int]:
        """Attempts in the ledger, in the order of `BOOKINGS`."""

    @property
    def cost(self) -> list[int]:
        """What they cost, picodollars, in the same order."""

    @property
    def left_out(self) -> list[int]:
        """What translations could not say, in the order of `LEFT_OUT`."""

@final
class KeyState:
    """What is known of one key, over all workers."""

    @property
    def in_flight(self) -> int: ...
    @property
    def requests(self) -> int:
        """Requests that were let in and have ended."""

    @property
    def refused(self) -> int:
        """Requests that a limit of the key or the model refused."""

    @property
    def overflows(self) -> int:
        """Requests of users for whom no cell was free: they share one."""

    @property
    def tokens(self) -> list[int]:
        """Delivered tokens: input, output, cached."""

    @property
    def cost(self) -> int:
        """What was delivered, picodollars, by the ledger."""

@final
class ModelState:
    """What is known of one model, over all workers."""

    @property
    def in_flight(self) -> int: ...
    @property
    def queued(self) -> int:
        """Requests that wait for a place."""

    @property
    def outcomes(self) -> list[int]:
        """Ended requests, by the number of `Failure`; the last is `REFUSED`."""

    @property
    def waits(self) -> Histogram:
        """How long requests waited for a place, of those that got one."""

    @property
    def shared(self) -> list[int]:
        """Requests whose answer may be shared, in the order of `SHARED`."""

    @property
    def cost(self) -> list[int]:
        """What its attempts in the ledger cost, picodollars, in the order of `BOOKINGS`."""

@final
class PoolState:
    """What is known of one pool, over all workers."""

    @property
    def exhausted(self) -> int:
        """Retries that its budget refused."""

    @property
    def hedges(self) -> list[int]:
        """Hedges, in the order of `HEDGES`."""

@final
class PairState:
    """One model on one endpoint, over all workers."""

    @property
    def first_token(self) -> Histogram:
        """Time from the reservation to the first token."""

    @property
    def duration(self) -> Histogram:
        """Time from the reservation to the end of whole answers."""

@final
class Gauge:
    """What one endpoint allows now."""

    @property
    def slot(self) -> int: ...
    @property
    def remaining(self) -> list[tuple[str, int]]:
        """Units that fit at once, by limit; limits that are not set are left out."""

    @property
    def breaker(self) -> str:
        """`closed`, `open` or `half_open`."""

    @property
    def open_ns(self) -> int:
        """Time until an open breaker lets probes through."""

    @property
    def cooling_ns(self) -> int:
        """Time for which the provider asked to be left alone."""

    @property
    def latency_s(self) -> float | None:
        """Learned time to first token; None before the first."""

    @property
    def pace_s(self) -> float | None:
        """Learned seconds per token of work at dispatch; None before the first."""

    @property
    def found_share(self) -> float | None:
        """The share of its configured rates that it was found to bear; None: all of them."""

    @property
    def found_places(self) -> int | None:
        """Requests at once that it, or its account, was found to bear; None: no bound was found."""

# --- HTTP messages and streams (rust/src/http1, sse, json); used through dispatch.wire, where the bits of `flags` have names ---

@final
class ProtocolError(Exception):
    """A message that breaks HTTP or our limits. The connection is of no use afterwards.

    Attributes:
        status: what to answer; 0: answer nothing, close. 502 for an upstream's answer.
        code: the machine-readable name; of an upstream's answer `upstream_error` or `answer_too_large`.
        message: what is wrong, for a person.
    """

    def __new__(cls, status: int, code: str, message: str) -> ProtocolError: ...
    @property
    def status(self) -> int: ...
    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...

@final
class BodyError(Exception):
    """A request's body that is refused with status 400.

    Attributes:
        code: `invalid_json`, `missing_parameter`, `duplicate_parameter` or `unsupported_parameter`.
        message: what is wrong, for a person.
        param: the field at fault, if one is.
    """

    def __new__(cls, code: str, message: str, param: str | None) -> BodyError: ...
    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def param(self) -> str | None: ...

@final
class RequestReader:
    """Requests of one client connection, in order, one at a time."""

    def __new__(cls, max_head_bytes: int, max_fields: int, max_body_bytes: int, forward: Sequence[bytes]) -> RequestReader:
        """Before the first byte.

        Args:
            max_head_bytes: longest head, with its empty line.
            max_fields: most fields of a head, at most 256.
            max_body_bytes: longest body.
            forward: lowercased names of fields for `Inbound.forward`; one that ends in `*` stands for all that begin so.
        """

    def feed(self, data: bytes, /) -> Inbound | None:
        """Take input. Returns a request as soon as its head is whole, and the same object again once its body is, if that came later.

        While a request is being answered (until `next()`), input is kept.

        Raises:
            ProtocolError: the request is not valid or too large; more than 64 KiB are pipelined (status 0).
        """

    def next(self) -> Inbound | None:
        """Go on after an answer, with the input that was kept. Does nothing while a body is still awaited.

        Raises:
            ProtocolError: as `feed`.
        """

    @property
    def pending(self) -> int:
        """Bytes held: of an unfinished request, and beyond the current one."""

@final
class Inbound:
    """One request. Immutable but for its body, which may come later."""

    @property
    def line(self) -> bytes:
        """Method, a space, and the path as sent, without the query: `b"POST /v1/chat/completions"`."""

    @property
    def query(self) -> bytes:
        """What follows the question mark."""

    @property
    def minor(self) -> int:
        """HTTP/1.`minor`."""

    @property
    def flags(self) -> int:
        """Bits of `dispatch.wire.http1`: COMPLETE, KEEP_ALIVE, JSON, HAS_..."""

    @property
    def is_complete(self) -> bool:
        """Whether the body is whole."""

    @property
    def forward(self) -> bytes:
        """The fields to copy upstream, as lines with lowercased names; without those that `Connection` names."""

    @property
    def body(self) -> bytes:
        """A copy of the body; empty while it is not whole, and of a large form, which comes in pieces."""

    def pieces(self) -> list[bytes]:
        """The body in pieces, one at least."""

    @property
    def content_length(self) -> int:
        """-1 for chunks; 0 without a body."""

    def header(self, name: bytes, /) -> bytes | None:
        """The first value of the field of this lowercased name."""

    def key_digest(self) -> bytes | None:
        """SHA-256 of the key for us: `x-dispatch-key`, else `credential()`."""

    def credential(self) -> bytes | None:
        """The credential in the provider's own place: `Authorization: Bearer`, `x-api-key`, `api-key`, `x-goog-api-key` or `?key=`.

        For `api_key: from_client` only; never log it.
        """

    def scan(self) -> Scan:
        """Validate and read the body. Does not copy it.

        Raises:
            BodyError: it is not what an API takes.
        """

@final
class Scan:
    """What routing reads of a JSON body. Keeps the body alive."""

    def __new__(cls, body: bytes, /) -> Scan:
        """Validate (RFC 8259, UTF-8, at most 128 deep, nothing after it) and read.

        Raises:
            BodyError: it is not JSON, no object, has no `model`, repeats a key that is read, or one has the wrong type.
        """

    @property
    def model(self) -> str:
        """The model's name."""

    @property
    def stream(self) -> bool:
        """Whether a stream is asked for."""

    @property
    def flags(self) -> int:
        """Bits of `dispatch.wire.http1`: INCLUDE_USAGE_TRUE, HAS_TOOLS, HAS_IMAGES, HAS_AUDIO, HAS_FILES, HAS_FORMAT, HAS_LOGPROBS."""

    @property
    def text_bytes(self) -> int:
        """Bytes of text in the prompt as written, 4 for a token given as a number; images, sound and files are not counted."""

    @property
    def max_tokens(self) -> int:
        """Most tokens of one answer (the largest of the three names); 0 when not given."""

    @property
    def n(self) -> int:
        """Answers asked for, at least 1."""

    @property
    def affinity(self) -> int:
        """`affinity()` of `prompt_cache_key`, else `user`, else `metadata.user_id`; 0: none."""

    @property
    def facts(self) -> tuple[str, bool, int, int, int, int, int]:
        """All at once: `model`, `stream`, `flags`, `text_bytes`, `max_tokens`, `n`, `affinity`."""

    def compose(self, prefix: bytes, model: bytes, inject_usage: bool, /) -> bytes:
        """The whole request for the upstream, in one allocation; `Inbound.forward` follows `prefix`.

        Args:
            prefix: request line and fields, each with its CR LF.
            model: the new name as a JSON string with its quotes; empty: leave it.
            inject_usage: merge `stream_options.include_usage`; ignored unless the request streams, and where it is true already.
        """

    def rewritten(self, body: bytes, /) -> Scan:
        """Another body in this one's place, under the same forwarded fields but `idempotency-key`.

        Raises:
            BodyError: as of the constructor.
        """

    def body(self, model: bytes, inject_usage: bool, /) -> bytes:
        """The body alone, changed as by `compose`."""

@final
class ResponseReader:
    """Answers of one upstream connection: one request, one answer."""

    def __new__(cls, max_head_bytes: int, max_fields: int, max_answer_bytes: int, forward: Sequence[bytes]) -> ResponseReader:
        """For a new connection; nothing is expected yet.

        Args:
            max_head_bytes: longest head, with its empty line.
            max_fields: most fields of a head, at most 256.
            max_answer_bytes: longest body that is no stream.
            forward: lowercased names of fields for `Answer.head`; one that ends in `*` stands for all that begin so.
        """

    def expect(self) -> None:
        """A request was written: forget the answer before."""

    def feed(self, data: bytes, /) -> Answer | None:
        """Take input. Returns the answer once it is whole, or at its head when it is an event stream; 1xx are skipped.

        Raises:
            ProtocolError: the answer is not valid or too large, or nobody asked for one.
        """

    def eof(self) -> Answer | None:
        """The connection ended. An answer that only the end completes is whole now if its JSON is; a stream sets its `state`.

        Raises:
            ProtocolError: an answer had begun and is not whole.
        """

    @property
    def has_bytes(self) -> bool:
        """Whether a byte of this answer has come."""

    @property
    def is_reusable(self) -> bool:
        """Whether the connection may carry another request: one whole answer, keep-alive, nothing left over."""

    @property
    def keep_alive_s(self) -> int:
        """`Keep-Alive: timeout`, as last said; -1: never."""

    def start_stream(self, inject: bool, chunked: bool, dialect: int, /) -> None:
        """Relay the stream whose head `feed` returned. Call `forward(b"")` next, for the bytes that came with the head.

        Args:
            inject: the usage event was asked for by us alone: withhold it, and the `usage: null` fields.
            chunked: frame the output as chunks (the client speaks HTTP/1.1).
            dialect: a number of a dialect of `dispatch.wire.sse`.

        Raises:
            ValueError: no dialect has this number.
        """

    def forward(self, data: bytes, /) -> bytes:
        """Take a network chunk of the stream; returns what may go to the client now, framed.

        Until the first delta, or a finished answer without one, everything is held (`state & COMMITTED`). The last chunk follows by itself
        when the stream is complete and closed by its dialect or its HTTP message (`state & CLOSED`). Never raises: see `state`.
        """

    def release(self) -> bytes:
        """Give out the comments that are held, framed, and hold none from now on: the keep-alive before the first delta. Events stay."""

    def finish(self) -> bytes:
        """Give out all that is held, with the last chunk if the stream is complete: after `eof()`, or when no more is waited for."""

    @property
    def state(self) -> int:
        """Bits of `dispatch.wire.sse`; 0 without a stream."""

    @property
    def usage(self) -> tuple[int, int, int, int]:
        """Input (cached included), output (reasoning included), cached and reasoning tokens of the stream so far; zeros: unknown."""

    @property
    def deltas(self) -> int:
        """Events of the stream with a part of the answer's substance, so far: of most providers about its output tokens."""

    @property
    def text(self) -> int:
        """Bytes of them, as they are written in JSON."""

    @property
    def dropped(self) -> int:
        """Malformed events that were left out."""

    @property
    def error_event(self) -> bytes:
        """The data of the error event that ended the stream; empty: none."""

@final
class Answer:
    """The head of an answer, and its body unless that is a stream."""

    @property
    def status(self) -> int:
        """The status code, never 1xx."""

    @property
    def flags(self) -> int:
        """Bits of `dispatch.wire.http1`: COMPLETE, STREAM, JSON_OK, CLOSE, HAS_RETRY_AFTER, ENCODED."""

    @property
    def is_stream(self) -> bool:
        """Whether STREAM is set."""

    @property
    def head(self) -> bytes:
        """The fields for the client, as lines with lowercased names."""

    @property
    def body(self) -> bytes:
        """A copy of the body; empty for a stream."""

    @property
    def usage(self) -> tuple[int, int, int, int] | None:
        """Input (cached included), output (reasoning included), cached and reasoning tokens; None when the body does not say."""

    def header(self, name: bytes, /) -> bytes | None:
        """The first value of the field of this lowercased name."""

    def compose(self, head: bytes, extra: bytes, overhead_us: int, /) -> bytes:
        """The whole answer for the client: status line, `Answer.head`, the lines `extra`, `x-dispatch-overhead-us`, length and body."""

@final
class Told:
    """What a client has of a stream, and how another answer goes on from there (rust/src/sse/told.rs)."""

    def __new__(cls, dialect: int, max_bytes: int, /) -> Told:
        """Nothing told yet.

        Args:
            dialect: CHAT, RESPONSES or ANTHROPIC of `dispatch.wire.sse`; of the latter two only deltas are counted.
            max_bytes: text beyond this is not remembered, and `is_opaque` set.

        Raises:
            ValueError: no dialect has this number.
        """

    def take(self, events: bytes, /) -> bytes:
        """Take whole events; returns what may go to the client: of the first stream the very same, of one that follows what is new."""

    def restart(self, tokens_in: int, tokens_out: int, /) -> None:
        """Another answer to the same request follows; the tokens are added to what it reports."""

    def resume(self, sent: int, tokens_in: int, tokens_out: int, /) -> None:
        """A continuation follows, which was asked for with the first `sent` bytes of `content`; the rest of it must come again."""

    @property
    def content(self) -> bytes:
        """The content told so far, UTF-8."""

    @property
    def deltas(self) -> int:
        """Events with a part of the answer's substance that the client has."""

    @property
    def size(self) -> int:
        """Bytes of all texts told."""

    @property
    def is_opaque(self) -> bool:
        """Something was told that another answer cannot be held against: several choices, sound, log probabilities, too much."""

    @property
    def is_prose(self) -> bool:
        """Content was told, and beside it reasoning at most: a continuation can go on from it."""

    @property
    def is_aligned(self) -> bool:
        """The answer that follows has said all that was told."""

    @property
    def has_diverged(self) -> bool:
        """The answer that follows says something else; nothing more of it goes out."""

def affinity(value: bytes, /) -> int:
    """The hash (64 bit, never 0) by which what belongs together finds the same endpoint; 0 for an empty value, which is none."""

def read_answer(body: bytes, /) -> tuple[bool, tuple[int, int, int, int] | None]:
    """Whether a body is JSON, and its usage as of `Answer.usage`: for bodies that had to be decoded first."""

# --- the express lane (rust/src/py/express.rs); used through dispatch.lane and server/plain ---

@final
class Express:
    """What most requests need, in one call when they come: key, body, model, admission, endpoint and the request upstream."""

    def __new__(
        cls,
        engine: Engine,
        doors: Sequence[object],
        keys: Sequence[object],
        models: Sequence[object],
        estimate: tuple[int, int, int],
        hosts: Sequence[bytes],
        /,
    ) -> Express:
        """Build the tables of one generation, whose rows are read by attribute.

        Args:
            engine: of the same generation.
            doors: `path`, `generates`.
            keys: `digest` (SHA-256), `slot`, `models` (names, or None for all), `affinity`.
            models: `name`, `slot`, `pool` (of the same engine), `links` (per position `heads` by door and `model` as JSON), `cannot`
                (per door, the mask of positions without it; all bits: none has it), `noted` (whether its requests stand in the records).
            estimate: bytes of text to a token, tokens besides for a request, output tokens of an answer.
            hosts: without keys, the names that `Host` may carry.
        """

    def take(self, inbound: Inbound, now_ns: int, draw: int, /) -> Job | Scan | None:
        """Take a request as far as its endpoint.

        Returns:
            A job; or the scanned body of a request that is not for the lane; or None where not even that was looked at, or is wrong.
        """

@final
class Job:
    """A request on the lane. Dropped without `deliver` or `settle` it is settled as cancelled."""

    @property
    def number(self) -> int:
        """Of the request, as of `Records.begin`."""

    @property
    def door(self) -> int: ...
    @property
    def key(self) -> int:
        """Place in `keys`; -1: none are configured."""

    @property
    def model(self) -> int: ...
    @property
    def position(self) -> int:
        """The endpoint's place in the pool."""

    @property
    def request(self) -> bytes | None:
        """What to send upstream; None: `refusal` says why not; with a lease: the endpoint has no head for the door."""

    @property
    def scan(self) -> Scan: ...
    @property
    def ticket(self) -> Ticket | None:
        """None: its key or model is at its limit."""

    @property
    def lease(self) -> Lease | None: ...
    @property
    def refusal(self) -> Refusal | None: ...
    @property
    def tokens(self) -> tuple[int, int]:
        """Estimated input and output tokens, as reserved."""

    def deliver(self, answer: object, now_ns: int, overhead_ns: int, extra: bytes, /) -> bytes:
        """Settle lease and ticket by a good answer (an `Answer`), and compose it for the client (`Answer.compose` with status 200).

        Before `extra` come the lines by which the answer is named (`Records.lines`).
        """

    def settle(self, now_ns: int, overhead_ns: int, tokens_in: int, tokens_out: int, tokens_cached: int, /) -> None:
        """Settle lease and ticket by a good answer that is composed elsewhere."""

# --- simulation (rust/src/simulate); used through dispatch.simulate ---

SIMULATED_LEAST_S: float
"""Where the first bucket of a report's histograms begins."""
SIMULATED_GROWTH: float
"""Each next one begins so many times later."""

def simulate(scenario: str, /) -> str:
    """Simulate a scenario around the engine, in virtual time. Releases the interpreter's lock.

    Args:
        scenario: JSON of `rust/src/simulate/scenario.rs`, complete: nothing has a default there.

    Returns:
        JSON of `rust/src/simulate/record.rs`; the same for the same scenario, to the last bit.

    Raises:
        ConfigError: what is wrong with the scenario.
    """

def simulated_retry(
    failure: int,
    attempt: int,
    committed: bool,
    left_s: float,
    draw: float,
    retry_after_s: float,
    others: bool,
    elsewhere: bool,
    fresh: bool,
    pauses: tuple[int, float, float],
    /,
) -> float | None:
    """The wait before a retry as the simulation judges it, or None: arguments as of `dispatch.policy.retry.judge`.

    `pauses` are most attempts, first and longest wait.
    """

# --- Routers learned from scores (rust/src/learn); used through dispatch.learn ---

MODALITIES: Final[list[str]]
"""Kinds of content."""
PERSONAL: Final[list[str]]
"""Kinds of personal data."""
QUESTIONS: Final[list[str]]
"""Kinds of questions."""
LANGUAGES: Final[list[str]]
"""Languages that are told apart, ISO 639-1."""

def read_question(body: bytes, /) -> str:
    """The text of the last turn of the user, which is what a `Judge` reads; empty: there is none, or `body` is no JSON."""

@final
class Judge:
    """What a route asks of each request. Frozen; a call reads everything it wants in one pass."""

    def __new__(
        cls,
        signals: Sequence[str],
        rules: Sequence[Sequence[tuple[str, float, float, Sequence[str], bool]]],
        difficulty: LearnedRouter | None,
        topic: LearnedRouter | None,
        learned: LearnedRouter | None,
        routes: Sequence[Sequence[str]],
        /,
    ) -> Judge:
        """Prepare.

        Args:
            signals: names of those to read beside what a body says outright.
            rules: conditions (signal, low, high, texts, negated), all of which must hold; without texts, a number from low to high.
            difficulty: tells how hard a prompt is.
            topic: tells its class.
            learned: tells the expected score of each model.
            routes: utterances of each route.
        """

    def read(self, body: bytes, declared: Sequence[tuple[str, str]], /) -> Signals:
        """Read a body. `declared`: what header fields say, before what its metadata say."""

    def first(self, signals: Signals, /) -> int:
        """The place of the first rule that holds; -1: none."""

@final
class Signals:
    """What a request is."""

    @staticmethod
    def recorded(facts: dict[str, Any], /) -> Signals:
        """The signals whose `facts` were recorded. Raises `TypeError` for others."""

    def near(self, route: int, similarity: float, /) -> Signals:
        """The same with another nearest route, found by other means."""

    @property
    def facts(self) -> dict[str, Any]:
        """All of them, as JSON can hold them."""

    @property
    def is_read(self) -> bool:
        """Whether all text was found and could be read."""

    @property
    def language(self) -> str:
        """ISO 639-1; empty: unknown."""

    @property
    def question(self) -> str:
        """One of `QUESTIONS`, or `other`."""

    @property
    def difficulty(self) -> float:
        """From 0, easy, to 1."""

    @property
    def topic(self) -> tuple[int, float] | None:
        """The class by its place, and its score."""

    @property
    def scores(self) -> list[float]:
        """Expected score of each model."""

    @property
    def nearest(self) -> tuple[int, float] | None:
        """The nearest route by its place, and its similarity, 0 to 1."""

    @property
    def declared(self) -> list[tuple[str, str]]:
        """What header fields and metadata say, in that order."""

    @property
    def personal(self) -> list[str]:
        """Kinds of personal data that were found."""

@final
class Pacer:
    """Spends a budget evenly by moving the price of quality: one price for all workers of a board."""

    def __new__(cls, rate: float, window: float, *, is_share: bool, board: Board | None = None, row: int = 0) -> Pacer:
        """Make one.

        Args:
            rate: units of money a second, or the share of dear calls.
            window: seconds, or calls, over which deviations are made good.
            is_share: of calls.
            board: where it stands; None: it is this worker's alone.
            row: of the pools' rows, the one that it has instead of a pool.

        Raises:
            IndexError: there is no such slot.
        """

    def spend(self, amount: int, /) -> None:
        """Add money, or one call: 1 for a dear one, else 0."""

    def restore(self, windows: float, base: float, /) -> None:
        """Go on from how a pacer stood before; without effect once there is a price."""

    def standing(self, now_ns: int, /) -> tuple[float, float, float] | None:
        """Return the price, the windows of budget that are left, and the logarithm of the price at none; None before anything is known."""

@final
class Weights:
    """Candidates of a learned route, weighed: expected quality less the price of cost. Frozen."""

    def __new__(cls, rows: Sequence[int], costs: Sequence[float], /) -> Weights:
        """Take of each candidate its place in the router, and what a call of it costs, in any unit.

        Raises:
            ValueError: there are not as many of both, or none.
        """

    def weigh(self, signals: Signals, price: float, bias: Sequence[float], is_there: Sequence[bool], /) -> tuple[int, list[float]] | None:
        """Return the best candidate, the first of equals, and what each is worth; None: the prompt has no text.

        Args:
            signals: with the expected score of each model.
            price: what the cost of the dearest candidate counts for in quality.
            bias: of each candidate, how far its score lies above the router's.
            is_there: of each; who is not is passed over, unless nobody is.
        """

@final
class Pieces:
    """Words cut into pieces, as BERT's tokenizer does. Safe to use from several threads."""

    def __new__(cls, starts: Mapping[str, int], rest: Mapping[str, int], /, *, unknown: int, lowered: bool, longest: int) -> Pieces:
        """Take a vocabulary.

        Args:
            starts: tokens of pieces that begin a word.
            rest: of those that follow, without their prefix.
            unknown: the token of a word that has no pieces.
            lowered: whether capitals are lowered.
            longest: characters of a word beyond which it is not known.
        """

    def cut(self, text: str, /) -> list[int] | None:
        """Return the tokens of a text; None if it has more than ASCII."""

@final
class Merges:
    """Words whose pairs are merged, as Llama's tokenizer does, where no token reaches over a space. Safe to use from several threads."""

    def __new__(cls, chars: Mapping[str, int], octets: Sequence[int], pairs: Mapping[tuple[int, int], tuple[int, int]], /) -> Merges:
        """Take a vocabulary.

        Args:
            chars: tokens of single characters.
            octets: those of the 256 bytes, for characters that have none.
            pairs: the rank of each pair, and what it becomes.
        """

    def cut(self, text: str, /) -> list[int] | None:
        """Return the tokens of a text, before which a mark is set; None if a word is very long."""

@final
class Vectors:
    """Dense vectors, each taken at length 1. Safe to use from several threads."""

    def __new__(cls, rows: bytes, dims: int, /) -> Vectors:
        """Take little-endian float32, row after row.

        Raises:
            ValueError: these are no whole rows of `dims` floats.
        """

    def __len__(self) -> int:
        """How many rows there are."""

    def nearest(self, query: bytes, most: int, /) -> list[tuple[int, float]]:
        """Rows with the largest cosine to `query`, with it, best first. Other threads run meanwhile.

        Raises:
            ValueError: `query` has another size than the rows.
        """

@final
class Pattern:
    """A regular expression that is sought in time linear to the text, whatever both are. Safe to use from several threads."""

    def __new__(cls, pattern: str, /, *, by_line: bool) -> Pattern:
        """Read Rust's syntax (https://docs.rs/regex/#syntax), nearly Python's.

        Args:
            pattern: what is sought.
            by_line: `^` and `$` stand at the ends of lines as well, not of the text alone.

        Raises:
            ValueError: it is none, goes back in the text (look-around, references to groups), or would need too much memory.
        """

    def is_in(self, text: str, /) -> bool:
        """Whether it is found anywhere. Other threads run meanwhile."""

@final
class LearnedRouter:
    """Which model answers which prompt how well, learned from a table of scores. Safe to use from several threads."""

    def __new__(cls, artefact: bytes, /) -> LearnedRouter:
        """Read what `encode` wrote.

        Raises:
            ValueError: it is something else, of another version, or damaged; says which.
        """

    @staticmethod
    def train(models: Sequence[str], prompts: Sequence[str], scores: Sequence[Sequence[float]], groups: Sequence[str], /) -> LearnedRouter:
        """Train. The same table gives the same router. Other threads run meanwhile.

        Args:
            models: their names, two or more.
            prompts: twenty or more.
            scores: for each prompt the score of each model, 0 to 1.
            groups: for each prompt the name of its kind; empty if none are known.

        Raises:
            ValueError: the table cannot be learned from; says why.
        """

    @property
    def models(self) -> list[str]:
        """Names in the order of `scores`."""

    @property
    def groups(self) -> list[str]:
        """Kinds of prompts that it was trained with."""

    def scores(self, prompt: str, /) -> list[float]:
        """Expected score of each model; some tens of microseconds at most, whatever the prompt's length."""

    def encode(self) -> bytes:
        """The artefact, below 3 MB: of more than 44 models and groups the words that say little are left out."""

def resampled_gaps(weak: Sequence[float], strong: Sequence[float], resamples: int, seed: int, /) -> list[list[float]]:
    """APGR, CPT50 and CPT80 of resamples of prompts, which come in the order in which they go to the strong model; NaN for none.

    Raises:
        ValueError: not as many scores of the one as of the other.
    """

def priced_points(
    expected: Sequence[Sequence[float]],
    scores: Sequence[Sequence[float]],
    costs: Sequence[float],
    prices: Sequence[float],
    resamples: int,
    seed: int,
    /,
) -> list[list[tuple[float, float]]]:
    """Mean cost and score at each price, where each prompt goes to the model with the most expected quality less cost.

    Args:
        expected: quality of each model, by prompt.
        scores: what they scored.
        costs: of a call to each model.
        prices: of the dearest model's cost in quality; infinite: the cheapest model.
        resamples: how many draws of the prompts follow the points of all of them.
        seed: of these draws.

    Raises:
        ValueError: rows of different lengths.
    """
