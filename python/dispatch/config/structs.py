"""The configuration as it is written: frozen structs, unknown keys refused, units in the names.

The text under a field is its entry in `docs/configuration.md` (`python -m dispatch.config.reference`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from dispatch.config.answers import Cache, Coalesce, Hedge
from dispatch.config.capabilities import Capabilities
from dispatch.config.price import Price

__all__ = [
    "AfterTokens",
    "Capabilities",
    "Certificate",
    "Check",
    "Count",
    "Defaults",
    "DoorName",
    "Endpoint",
    "Health",
    "Key",
    "KeyLimits",
    "Limits",
    "MinSpeed",
    "Price",
    "Queue",
    "Retry",
    "Seconds",
    "Server",
]

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400 * 7)]
DoorName = Literal[
    "chat",
    "completions",
    "embeddings",
    "responses",
    "messages",
    "count_tokens",
    "generate",
    "converse",
    "invoke_model",
    "moderations",
    "rerank",
    "images",
    "image_edits",
    "image_variations",
    "speech",
    "transcriptions",
    "audio_translations",
    "realtime",
    "stored",
    "ollama",
    "ollama_generate",
    "ollama_embed",
    "cohere",
    "cohere_embed",
    "cohere_v1",
    "cohere_generate",
]


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be asked of an endpoint or a model, or by a key. A limit that is left out does not exist."""

    requests_per_min: Count | None = None
    """Requests in any 60 seconds."""
    tokens_per_min: Count | None = None
    """Input and output tokens together in any 60 seconds, reserved by estimate and corrected by the provider's count."""
    input_tokens_per_min: Count | None = None
    """Input tokens in any 60 seconds."""
    uncached_input_tokens_per_min: Count | None = None
    """Input tokens that the provider's cache did not hold, in any 60 seconds."""
    output_tokens_per_min: Count | None = None
    """Output tokens in any 60 seconds."""
    concurrency: Count | None = None
    """Requests in flight at once."""
    burst_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    """Seconds of the rate that may be used at one moment. Buckets run at limit / (60 + `burst_s`), so no minute exceeds the limit.
    A larger request waits for the whole burst, and at an endpoint until the last minute has room for it."""


class KeyLimits(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be asked with a key: the limits above for all of it, and for each of its users."""

    per_user: Limits | None = None
    """What each user of the key may ask for besides: the header `x-dispatch-user`, else `user` or `metadata.user_id` of the body.
    Requests that name none count as those of one user."""


class Certificate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate chain and its private key, PEM files."""

    cert: str
    """Path of the chain."""
    key: str
    """Path of the private key."""


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a failed attempt is made again, inside one pool."""

    attempts: Annotated[int, Meta(ge=1, le=16)] = 3
    """Tries in all, the first one included; unless this is 1, a 429 is no reason to stop while there is an account that was not asked.
    A retry budget (20 % of requests) bounds those in vain."""
    base_s: Seconds = 0.25
    """The wait before retry k (0 for the first) is drawn from 0 to min(`cap_s`, `base_s` * 2^k)."""
    cap_s: Seconds = 8.0
    """Longest wait that is drawn. A provider's Retry-After is kept even if it is longer."""
    unknown: bool = False
    """Send again what may have been executed and billed already: a connection that ended without an answer byte."""
    fallback_on: tuple[Literal["context_length", "content_filter"], ...] = ()
    """Refusals of the prompt itself that go on to the next step of a `fallback`; without it the client gets them at once."""


class Health(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an endpoint is left alone for a while, and how it comes back. A 429 never counts: it is a pause, not a failure."""

    consecutive: Annotated[int, Meta(ge=1, le=15)] = 5
    """Failures in a row that open an endpoint's breaker."""
    ratio: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Share of failures in a window that opens it."""
    min_requests: Annotated[int, Meta(ge=1, le=2_000)] = 20
    """Attempts in a window below which their ratio says nothing."""
    window_s: Annotated[float, Meta(ge=1, le=300)] = 10.0
    """Length of a window."""
    open_s: Annotated[float, Meta(ge=0.01, le=300)] = 1.0
    """For how long it is open the first time; four times as long each time it fails again, less up to a quarter by chance.
    A provider's Retry-After is kept instead."""
    open_max_s: Annotated[float, Meta(ge=0.01, le=300)] = 10.0
    """Longest time that it is open."""
    probes: Annotated[int, Meta(ge=1, le=100)] = 2
    """Requests at once, over all workers, that try it after that time. The first token of one closes it."""
    slow_start_s: Annotated[float, Meta(ge=0, le=300)] = 10.0
    """For how long its share of the traffic grows after it has closed, or after a reload has added it; 0: none."""
    outlier: Annotated[float, Meta(gt=0, le=1)] = 0.25
    """It is opened too when its share of failures lies this much above that of the other endpoints of the pool; 1: never."""
    max_ejected: Annotated[float, Meta(ge=0, le=1)] = 0.34
    """Most of a pool that may be open before one more is opened as an outlier; one always may."""
    panic_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """When less of a pool is usable and has no room, each endpoint with an open breaker is asked once a second all the same; 0: never."""


class Check(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether an endpoint is there, asked without a request of a client: by a GET that costs nothing, never by a prompt.

    The sidecar asks once for all workers (so does each process that uses the library), and once for all endpoints that share host, path
    and credential. What it does not find gets no request; what it finds again is tried by requests before it has its share back.
    """

    path: str = ""
    """What is asked for, from the root of the host, such as `/health`. Left out: its provider's list of models.
    No answer in time, 5xx, and a refused credential (401, 402, 403 to an `api_key`) are failures; any other answer says that somebody is
    there."""
    interval_s: Annotated[float, Meta(ge=0.1, le=300)] = 10.0
    """Time between the end of a check and the next one, less up to a tenth by chance."""
    timeout_s: Annotated[float, Meta(ge=0.01, le=60)] = 5.0
    """Longest wait for an answer, connecting included."""
    unhealthy: Annotated[int, Meta(ge=1, le=100)] = 2
    """Failures in a row that open the breaker; it stays open as long as they go on."""
    healthy: Annotated[int, Meta(ge=1, le=100)] = 1
    """Passes in a row, after a failure, that let requests try an open breaker at once."""


class AfterTokens(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A commit that waits for some content."""

    after_tokens: Annotated[int, Meta(ge=1, le=100_000)]
    """Pieces of content (of most providers: tokens) that are held."""


Recovery = Literal["continue", "restart"]


class Queue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where requests wait that find no place: each key gets its share of the places that become free, in estimated tokens."""

    max: Annotated[int, Meta(ge=0, le=100_000)] = 1000
    """Requests of one model that may wait, over all workers; 0: none, a request without a place is refused at once."""
    wait_s: Seconds = 30.0
    """Longest wait. A request that cannot be served by then is refused when it comes, with a Retry-After."""
    keys: bool = False
    """Also wait where the limit is the key's own."""


class MinSpeed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a stream must bring, from its first content to its finish. One that brings less has failed as if it had broken.

    Before the commit another endpoint is asked; after it the stream is taken over as `recover` says, or ends with an error event. Time in
    which its client reads slowly does not count.
    """

    chars_per_s: Annotated[float, Meta(gt=0, le=1_000_000)]
    """Characters of content, reasoning and arguments a second. Some models write four for a token."""
    window_s: Annotated[float, Meta(ge=0.5, le=300)] = 10.0
    """Over which they are counted."""


class Defaults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Held for every model; each key may be repeated in a model."""

    deadline_s: Seconds = 600.0
    """One deadline over waiting, retries, fallback and the whole stream. A client may shorten it, never extend it."""
    connect_s: Seconds = 5.0
    """Name lookup, TCP and TLS together."""
    first_token_s: Seconds = 60.0
    """Longest wait for the first content of a stream; at most half of the time left while another endpoint could still be asked."""
    answer_s: Seconds | None = None
    """Longest wait for an answer that is no stream. Left out: the deadline, or half of the time left while another endpoint could still be
    asked. Such an answer says nothing before it is whole, so that a long one and none look the same."""
    stall_s: Seconds = 30.0
    """Longest silence inside an answer."""
    min_speed: MinSpeed | None = None
    """Least speed of a stream; left out: none."""
    decisions: bool | Literal["brief"] = "brief"
    """What is recorded of each request (`dispatch why`). `brief`: its tries, and what its pools read, as far as there is room. `true`: more
    of that, and what held back each endpoint that was not looked at; a plain model leaves the express lane. `false`: nothing, and
    answers have no `x-dispatch-decision`; plans that decide have their records all the same."""
    retry: Retry = Retry()
    """Retries."""
    queue: Queue = Queue()
    """Waiting for a place."""
    hedge: Hedge | None = None
    """Send a late request a second time, elsewhere; left out: never. Pools of one endpoint have nowhere else."""
    health: Health = Health()
    """Breakers, outliers, recovery."""
    limits: Limits = Limits()
    """What may be asked of a model, whoever asks; a request over it gets 429."""
    cache: Cache | None = None
    """Keep answers and give them again; left out: never."""
    coalesce: bool | Coalesce = False
    """Ask once for identical requests that are under way at the same time; `true` for the values below."""
    commit: Literal["first", "whole"] | AfterTokens = "first"
    """When a stream can no longer be taken back: `first`, with its first piece of content; `whole`, not before it is complete: it is held
    until then, comments keep the client awake, and whatever breaks is tried again; `{after_tokens: n}`, with the n-th piece of content."""
    recover: tuple[Recovery, ...] = ()
    """How another endpoint takes over a stream that breaks after its commit, in order: `continue` asks one whose `prefill` capability
    allows it to go on where the text ends; `restart` asks anew and passes on what follows the text already delivered, if the new answer
    begins with it. Left out: the client gets an error event."""


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sidecar itself."""

    host: str = "127.0.0.1"
    """Address to listen on. One that is not loopback needs `keys`."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    """TCP port; 0 lets the system choose."""
    workers: Annotated[int, Meta(ge=1, le=16)] | None = None
    """Processes. Left out: as many as the machine or the container gives CPUs, 16 at most."""
    unix: str | None = None
    """Path of a Unix socket to listen on in place of TCP."""
    tls: Certificate | None = None
    """Serve HTTPS with this certificate."""
    max_body_bytes: Count = 32 * 1024 * 1024
    """Longest request body; more is 413."""
    max_answer_bytes: Count = 64 * 1024 * 1024
    """Longest answer that is held; more is 502."""
    buffer_bytes: Count = 256 * 1024 * 1024
    """Memory of one worker for bodies and held answers. When it is spent, new bodies wait 1 s, then get 503."""
    keepalive_s: Seconds = 15.0
    """Silence before the head of a stream, and comments after it, go to a client that still waits for content."""
    idle_s: Seconds = 75.0
    """A client's connection without a request is closed after this."""
    read_timeout_s: Seconds = 30.0
    """A client that has begun a request and sends nothing more for this long gets 408; so does one that sends less than 1000 bytes
    a second on average beyond it."""
    write_timeout_s: Seconds = 30.0
    """A client that takes nothing for this long is dropped."""
    session_s: Seconds = 3600.0
    """Longest realtime session; OpenAI ends its own after an hour."""
    session_idle_s: Seconds = 600.0
    """A realtime session in which neither side says anything for this long is ended."""
    users_max: Annotated[int, Meta(ge=1, le=65_536)] = 16_384
    """Users of keys with `per_user` limits that are told apart at once, 128 bytes each; when more come within a minute, those too many of a
    key share one limit. A change needs a restart."""
    sessions_max: Annotated[int, Meta(ge=8, le=524_288)] = 65_536
    """Sessions whose endpoint is remembered for `sticky` and `affinity`, 8 bytes each. A change needs a restart."""
    drain_s: Annotated[float, Meta(ge=0, le=86_400)] = 5.0
    """After SIGTERM, further seconds in which connections are still accepted (and told to close)."""
    stored: str | None = None
    """Model to whose accounts files, batches, conversations and stored responses belong: `/v1/files` and the like go there.
    Left out: there are no such paths. A key that may use this model may use whatever lies there."""
    stored_ids: str | None = None
    """File in which it is remembered which endpoint gave which id, where a model's endpoints have several accounts. It holds digests, and
    may be deleted while nothing runs. Left out: one below `XDG_RUNTIME_DIR` or the folder for temporary files, named after the address that
    is listened on, which outlives a restart of the sidecar but maybe not one of the machine."""
    ledger: str | None = None
    """File to which each worker appends a JSON line for every attempt: who pays, tokens, cost. The worker's number is added: `PATH.0`.
    What a killed worker had sent is booked as `unknown` by the next one, from hidden files beside it (`.NAME.0.PID-0.open`)."""
    cors_origins: tuple[str, ...] = ()
    """Web origins that may call from a browser, such as `http://localhost:3000`."""
    hosts: tuple[str, ...] = ()
    """Names beside loopback that `Host` may carry while no keys are configured."""


class Endpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model at one base URL under one credential."""

    name: str
    """Name in plans, metrics and logs. Endpoints and models share one namespace."""
    provider: str
    """The API that it speaks: a module of `dispatch.providers`, or an entry point of that group."""
    model: str = ""
    """The model's name at the provider; `*` passes on the name that the client asked for."""
    base_url: str = ""
    """What that provider's own SDK takes (OpenAI: with `/v1`). Left out: the provider's public address, if it has one."""
    api_key: str = ""
    """`env:NAME`, `file:/path`, or `from_client` to send the client's own credential. A literal key is refused."""
    weight: Annotated[int, Meta(ge=0, le=65_535)] = 1
    """Share under the weighted strategies; 0 takes no new requests."""
    draining: bool = False
    """Take no new requests, finish those in flight."""
    limits: Limits = Limits()
    """What may be asked of it."""
    account: str = ""
    """Endpoints with the same account share what it bears; left out: its own."""
    adaptive: bool = True
    """Find what it bears where `limits` do not say it, or say too much: a 429 cuts the rates that are configured by a tenth, else the
    requests in flight; both grow back with time. So does a time to first token that is several seconds and four times the usual one."""
    check: bool | Check = False
    """Ask from time to time whether it is there, without traffic; `true` for the values below."""
    price: Price | None = None
    """What it costs. Left out: as the catalogue of models says (`dispatch.catalogue`), for models and providers that it knows, unless
    `base_url` is a server of one's own; `{}`: nothing."""
    profile: dict[str, Annotated[float, Meta(ge=0, le=1)]] = field(default_factory=dict)
    """How good it is, by name, each from 0 to 1: `{accuracy: 0.9, creativity: 0.95}`."""
    offline_ok: bool = False
    """It is on this side of the way out: it can be reached while the outside cannot, and what is private may go there."""
    capabilities: Capabilities = Capabilities()
    """What it can do, where that differs from its provider's normal case."""
    doors: tuple[DoorName, ...] | None = None
    """Those of its provider's doors that it has, as `[chat, embeddings]`; left out: all. Of `chat`, `messages`, `generate`, `converse` and
    `responses` those that it lacks are translated to one that it has."""
    drop_unsupported: bool = False
    """What a request of another dialect asks and the provider cannot do is left out and named in `x-dispatch-dropped`; else it is 400.
    A client may ask for it with `x-dispatch-drop-unsupported: true`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings that only its provider has."""
    headers: dict[str, str] = field(default_factory=dict)
    """Header fields added to each request. No credentials: those belong in `api_key`."""
    forward_headers: tuple[str, ...] = ()
    """Further request header fields that are passed on from the client."""
    proxy: str | None = None
    """`http://host:port` to reach it through (CONNECT). Left out: `HTTPS_PROXY` and `NO_PROXY`; empty: none."""
    ca_file: str | None = None
    """PEM file of the authorities to trust in place of the system's."""
    client_cert: Certificate | None = None
    """Certificate to show to it."""
    idle_s: Seconds = 4.0
    """A kept connection is dropped after this; below the 5 s after which uvicorn and Node close theirs."""

    @property
    def passes_name(self) -> bool:
        """Whether the client's model name travels on."""
        return self.model == "*"


class Key(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that clients present to the sidecar."""

    name: str
    """Name in metrics and logs."""
    key: str
    """`env:NAME`, `file:/path`, or `sha256:` and the 64 hex digits of the key's digest. A literal key is refused."""
    models: tuple[str, ...] | None = None
    """Models it may use; left out: all."""
    limits: KeyLimits = KeyLimits()
    """What may be asked with it, and by each of its users."""
    weight: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Its share, against that of others, of places that several keys wait for."""
    priority: Literal["high", "normal", "low"] = "normal"
    """Each class gets eight times the share of the one below. A request may ask for less by the header `x-dispatch-priority`."""
    admin: bool = False
    """May read `/metrics` and `/admin` from other machines."""

    def may_use(self, asked: str, model: str) -> bool:
        """Whether it may use a model: `asked` is the name that the client gave, `model` that of the model found (maybe a pattern)."""
        return self.models is None or asked in self.models or model in self.models
