from collections.abc import Sequence
from typing import Protocol, final

__all__ = [
    "DURATION_BOUNDS_S",
    "FAILURES",
    "FIRST_TOKEN_BOUNDS_S",
    "OVERHEAD_BOUNDS_S",
    "Board",
    "EndpointState",
    "Engine",
    "Gauge",
    "Histogram",
    "KeyState",
    "Lease",
    "ModelState",
    "PairState",
    "Pool",
    "Refusal",
    "Ticket",
    "TlsConfig",
    "TlsError",
    "TlsSession",
    "__version__",
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

# --- Routing (rust/src/engine.rs); used through dispatch.routing ---
#
# Instants are `now_ns`: nanoseconds of one monotonic clock (CLOCK_MONOTONIC) that all workers of the machine share.
# Token counts above 2^32 - 1 count as that. Negative numbers, and numbers beyond 64 bits, raise OverflowError everywhere.

FAILURES: list[str]
"""Names of the ways in which an attempt ends, by the number of `dispatch.errors.Failure`."""
FIRST_TOKEN_BOUNDS_S: list[float]
"""Upper bounds of the buckets of `PairState.first_token`, seconds; one bucket without bound follows."""
DURATION_BOUNDS_S: list[float]
"""The same for `PairState.duration`."""
OVERHEAD_BOUNDS_S: list[float]
"""The same for `Board.overhead()`."""

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

class _GateTable(Protocol):
    @property
    def slot(self) -> int: ...
    @property
    def limits(self) -> _Limits: ...

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

class _Tables(Protocol):
    @property
    def endpoints(self) -> Sequence[_EndpointTable]: ...
    @property
    def keys(self) -> Sequence[_GateTable]: ...
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

    def reclaim(self, worker: int, /) -> None:
        """Zero what a dead worker held: requests in flight, queued tokens, probes, waiters. Counters stay.

        Only after the worker has been reaped, and before a successor gets its column.
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

    def overhead(self) -> Histogram:
        """Read the histogram of our own time per request."""

@final
class Engine:
    """The routing of one configuration over a board, as one worker sees it. A reload makes another; leases of the old one stay valid."""

    def __new__(cls, board: Board, worker: int, tables: _Tables, /) -> Engine:
        """Check the tables and make them ready.

        Args:
            board: where the state is.
            worker: this worker's column.
            tables: the configuration in slots.

        Raises:
            ConfigError: something does not fit the board (a restart is needed then), or no strategy can work with it.
        """

    def pool(self, index: int, /) -> Pool:
        """Return a pool by its place in the tables.

        Raises:
            IndexError: there is none.
        """

    def admit(self, model: int, key: int, tokens_in: int, tokens_out: int, now_ns: int, /) -> Ticket | Refusal:
        """Take a client's request in: a place and units on its key and its model, all or nothing. Once per request.

        A refusal is counted for model (outcome `REFUSED`) and key.

        Args:
            model: its slot.
            key: its slot, or -1 for none.
            tokens_in: estimated prompt tokens.
            tokens_out: estimated answer tokens.
            now_ns: now.

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

    def enqueue(self, model: int, /) -> None:
        """Count a request that waits for a place from now on.

        Raises:
            IndexError: no such model.
        """

    def dequeue(self, model: int, /) -> None:
        """End what one `enqueue` began.

        Raises:
            IndexError: no such model.
        """

    def gauges(self, now_ns: int, /) -> list[Gauge]:
        """Read what each endpoint of the configuration allows now."""

@final
class Pool:
    """Endpoints that can stand in for each other, as one worker sees them."""

    def acquire(self, tried: int, tokens_in: int, tokens_out: int, now_ns: int, draw: int, hash: int, /) -> Lease | Refusal:  # noqa: A002 - positional
        """Choose an endpoint and take a place on it and on each of its limits, or nothing. Never waits.

        Breakers that hold back every endpoint are ignored once (`Lease.is_panic`); limits and pauses never are.

        Args:
            tried: positions to leave out, bit `position % 128` each; not 0 counts as a retry of the endpoint that is chosen.
            tokens_in: estimated prompt tokens.
            tokens_out: estimated answer tokens.
            now_ns: now.
            draw: 64 random bits; the same bits over the same board give the same choice.
            hash: of the affinity key, 64 bits; 0 for none.
        """

    def retry_allowed(self, now_ns: int, /) -> bool:
        """Spend one retry of the pool's budget: a fifth of its requests and ten a second. False, if there is none left, is counted."""

    def __len__(self) -> int: ...

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
    def is_panic(self) -> bool:
        """Whether it was given out although the endpoint's breaker was open, since all were."""

    def first_byte(self, now_ns: int, /) -> None:
        """Tell that the first token came: samples the time to first token. Further calls do nothing; a whole answer needs none."""

    def settle(self, failure: int, now_ns: int, tokens_in: int, tokens_out: int, tokens_cached: int, cool_ms: int, /) -> bool:
        """End the attempt. A success is reconciled with the tokens used; a failure is refunded while younger than the limit's `burst_s`.

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
        """The name of the limit (`requests_per_min`, ..., `concurrency`), or `breaker`, `cooling`, `draining`, `tried`."""

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
    def trips(self) -> int:
        """How often its breaker opened."""

    @property
    def tokens(self) -> list[int]:
        """Used tokens: input, output, cached."""

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
    def tokens(self) -> list[int]:
        """Delivered tokens: input, output, cached."""

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
