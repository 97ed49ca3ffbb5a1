"""A program in place of a model: a Python callable in this process, or an HTTP endpoint that is sent the chat as JSON.

```yaml
endpoints:
  - name: calculator
    provider: function
    options: {handler: "tools.calculator:answer", timeout_s: 5}
```

The handler gets an `Ask` and returns text, a message (`{"content": ..., "tool_calls": [...]}`), any other value, which is answered as
JSON, or an iterator of pieces, which is a stream. It may be `async`, or a plain function or generator: that runs in a thread, so that it
never holds up the loop. It refuses a request by raising `Fault(400, "why")`; any other exception is a failure like that of a model's
server: another endpoint is asked. Programs belong to whoever writes the configuration: they are trusted, and share the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from dispatch.errors import BadRequest, ConfigError
from dispatch.extensions import imported
from dispatch.providers.base import build_head, options_of, plain_target, split_url
from dispatch.providers.classify import classify
from dispatch.schema import Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.config import Endpoint
    from dispatch.dialects.target import Target
    from dispatch.errors import Failure

__all__ = ["PROVIDER", "Ask", "Fault", "Options", "load_handler"]

_NOWHERE = "http://function"
_PATH = "/v1/chat/completions"


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which program, and how much it may take. Left out `handler`: `base_url` is its whole address, to which the chat is posted."""

    handler: Annotated[str, Meta(pattern=r"\A([\w.]+:[\w.]+)?\Z")] = ""
    """`module:callable`, importable from the working directory or from what is installed."""
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 30.0
    """For the whole answer; of a stream, for each piece."""
    concurrency: Annotated[int, Meta(ge=1, le=1024)] = 32
    """Calls at once in one worker; for a plain function that many threads. What comes on top is refused as overloaded, and another
    endpoint is asked. A plain function that runs out of its time keeps its place until it returns."""
    max_bytes: Annotated[int, Meta(ge=1)] = 4 * 1024 * 1024
    """Longest answer."""


class Fault(Exception):
    """A program fails, by the status and in the words of an HTTP answer: 400 is the client's to mend, 429 and 503 are worth a later try.

    Args:
        status: 400 to 599.
        message: for the client.
        code: the machine-readable name.
    """

    def __init__(self, status: int, message: str, code: str = "program_failed") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Ask(Struct, frozen=True, kw_only=True):
    """What a handler gets."""

    model: str
    """The endpoint's `model`, or the name that the client asked for where that is `*`."""
    messages: tuple[dict[str, Any], ...]
    """OpenAI's form, whatever the client's."""
    text: str
    """Text of the last message of the user."""
    stream: bool
    body: dict[str, Any]
    """The whole request: `tools`, `response_format`, fields of one's own."""

    credential: str = ""
    """The endpoint's `api_key`, if it has one."""

    @classmethod
    def read(cls, request: bytes) -> Ask:
        """Read a whole HTTP request. Raises `BadRequest`."""
        head, _, body = request.partition(b"\r\n\r\n")
        tree = msgspec.json.decode(body)
        messages = tree.get("messages")
        if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
            raise BadRequest("messages: expected a list of messages", code="invalid_request", param="messages")
        asked: dict[str, Any] = next((one for one in reversed(messages) if one.get("role") == "user"), {})
        return cls(
            model=str(tree.get("model") or ""),
            messages=tuple(messages),
            text=_text(asked.get("content")),
            stream=tree.get("stream") is True,
            body=tree,
            credential=head.partition(b"\r\nauthorization: Bearer ")[2].partition(b"\r\n")[0].decode("latin-1"),
        )


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text") or "") for part in parts if isinstance(part, dict) and part.get("type") == "text")


class Function:
    """Needs neither key nor address."""

    name = "function"
    capabilities = frozenset({"stream_usage"})

    def check(self, endpoint: Endpoint) -> None:
        """Check that there is one program, and that it can be imported."""
        options = options_of(endpoint, Options)
        if bool(options.handler) == bool(endpoint.base_url):
            raise ConfigError("options.handler", "expected either a handler or a base_url")
        if options.handler:
            load_handler(options.handler)
        else:
            split_url(endpoint.base_url)

    def head(self, endpoint: Endpoint, door: str, secret: str) -> bytes | None:
        """Build a head like any other; a program behind HTTP gets the secret as a bearer token."""
        if door != "chat":
            return None
        fields = [("authorization", f"Bearer {secret}")] if secret else []
        return build_head(_NOWHERE, _PATH, fields, endpoint)

    def target(self, endpoint: Endpoint) -> Target:
        """Tell that a program gets every field: it may make something of it, and no model refuses it."""
        return plain_target(self.name, endpoint, unknown_ok=True)

    def origin(self, endpoint: Endpoint) -> Origin:
        """Tell that the transport runs it: one of its own for each endpoint and its settings."""
        settings = msgspec.json.encode((endpoint.name, endpoint.base_url, options_of(endpoint, Options))).decode()
        return Origin("program", settings, 0)

    def classify(self, status: int, content_type: bytes, body: bytes) -> Failure:
        """Name what an answer means."""
        return classify(status, content_type, body)


def load_handler(name: str) -> Callable[[Ask], Any]:
    """Import `module:callable`; the working directory is looked in as well.

    Raises:
        ConfigError: it cannot be imported, or cannot be called.
    """
    module, _, path = name.partition(":")
    try:
        found: Any = imported(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:  # what a module of somebody else raises when it is imported
        raise ConfigError("options.handler", f"{name!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ConfigError("options.handler", f"{name!r} cannot be called")
    return found  # type: ignore[no-any-return]  # anything that can be called


PROVIDER = Function()
