"""Public test doubles.

```python
async with MockProvider(output_tokens=8, errors={429: 0.5}) as mock:
    client = openai.AsyncOpenAI(base_url=mock.base_url, api_key="sk-test")
    ...
    assert [entry.outcome for entry in mock.journal] == ["ok"]
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from dispatch.mock.journal import Entry, Journal
from dispatch.mock.scenario import Scenario, build
from dispatch.mock.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

__all__ = ["Entry", "Journal", "MockProvider"]


class MockProvider:
    """A simulated provider on a port of its own, in the caller's event loop.

    Attributes:
        journal: what it received, with headers and bodies; see `Entry`.
    """

    def __init__(
        self,
        *,
        scenario: dict[str, Any] | Scenario | None = None,
        unix: Path | None = None,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        port: int = 0,
        **defaults: object,
    ) -> None:
        """Take a behaviour as keywords, or a whole scenario in the form of the YAML file.

        Args:
            scenario: as in a scenario file; `defaults` are patched by the keywords.
            unix: listen on this Unix socket instead.
            tls_cert: certificate chain (PEM); speaks TLS if given.
            tls_key: its key, if not in the same file.
            port: 0 lets the system choose.
            defaults: fields of `dispatch.mock.Behaviour`, such as `first_token_s="lognormal:0.1,0.5"` or `script=[500, "ok"]`.

        Raises:
            ConfigError: an unknown field or a bad value.
        """
        if isinstance(scenario, Scenario):
            self._scenario = scenario
        else:
            plain = dict(scenario or {})
            plain["defaults"] = {**plain.get("defaults", {}), **defaults}
            self._scenario = build(plain)
        self.journal = Journal()
        self._service = Service(
            self._scenario, port=port, unix=unix, tls_cert=tls_cert, tls_key=tls_key, journal=self.journal, keep_requests=True
        )

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return self._service.url

    @property
    def base_url(self) -> str:
        """What an OpenAI SDK takes: ends in `/v1`."""
        return f"{self._service.url}/v1"

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._service.port

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._service.provider.connections)

    def configure(self, **defaults: object) -> None:
        """Behave like this from now on; limits and scripts start afresh.

        Raises:
            ConfigError: an unknown field or a bad value.
        """
        self._service.provider.configure(build({"seed": self._scenario.seed, "defaults": defaults}))

    def drop_connections(self) -> None:
        """Reset every open connection, idle or not."""
        for connection in list(self._service.provider.connections):
            connection.reset()

    async def until(self, condition: Callable[[Journal], bool], timeout_s: float = 5.0) -> None:
        """Wait until a condition on the journal is true; asked again after each change, so that tests need no sleep.

        Raises:
            TimeoutError: it did not become true in time.
        """
        await self.journal.until(condition, timeout_s)

    async def until_over(self, count: int, timeout_s: float = 5.0) -> None:
        """Wait until `count` requests have come and all of them are over.

        Raises:
            TimeoutError: it did not happen in time.
        """
        await self.until(lambda journal: len(journal) >= count and all(entry.outcome != "open" for entry in journal), timeout_s)

    async def __aenter__(self) -> Self:
        await self._service.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._service.__aexit__(kind, error, trace)
