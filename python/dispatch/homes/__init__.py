"""Where ids are at home: which account gave the id of a stored response, a file, a batch, and who can be asked for it.

An id means something only to the account that gave it. Where a model's endpoints have several accounts, the ids in answers are
remembered, and a request that names one goes to an endpoint of that account and to no other. Models whose endpoints have one account
cost nothing of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.config import pools
from dispatch.errors import BadRequest, ConfigError
from dispatch.homes.file import Ids, default_path
from dispatch.routing import MASK_BITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from dispatch.config import Config, Endpoint
    from dispatch.links import Link

__all__ = ["Homes", "default_path"]

_KEEPING = ("responses_stored", "stored")
"""Doors whose answers hold ids that somebody may come back with."""
NOTHING: frozenset[str] = frozenset()
_FORGOTTEN = "the endpoint that gave this id is not there any more, or this model does not have its account"


class Homes:
    """See the module. One for each generation of tables; what it remembers is carried over.

    Args:
        links: every endpoint.
        before: of the generation before.
        path: where ids are remembered unless `server.stored_ids` says it; None: in memory.
        say: told once if that cannot be had.

    Raises:
        ConfigError: `server.stored_ids` is no file for this.

    Attributes:
        ids: what is remembered; None: nobody needs it.
        keepers: the endpoints that keep things under ids.
    """

    __slots__ = ("_homes", "_models", "_off_lane", "ids", "keepers")

    def __init__(
        self, config: Config, links: Mapping[str, Link], before: Homes | None, path: Path | None, say: Callable[[str, str], None] | None
    ) -> None:
        numbers: dict[object, int] = {}
        self._homes = {one.name: numbers.setdefault(_account(one), len(numbers) + 1) for one in config.endpoints}
        self.keepers = frozenset(name for name, link in links.items() if any(door in link.heads for door in _KEEPING))
        reached = {model.name: frozenset(name for pool in pools(model.plan) for name in pool.endpoints) for model in config.models.values()}
        files = self._of(reached.get(config.server.stored or "", frozenset()))
        self._models: dict[str, frozenset[int]] = {}
        self._off_lane: dict[str, frozenset[str]] = {}
        for name, endpoints in reached.items():
            homes = self._of(endpoints)
            has_files = len(homes) > 1 and bool(homes & files)
            if has_files or len(self._of(endpoints & self.keepers)) > 1:
                self._models[name] = homes
                self._off_lane[name] = frozenset(("responses", "chat") if has_files else ("responses",))
        if self._models and config.server.stored is not None:
            self._models.setdefault(config.server.stored, files)
        self.ids = self._opened(config.server.stored_ids, before, path, say) if self._models else None

    def of(self, model: str) -> Homes | None:
        """Itself for a model where it makes a difference which endpoint is asked; else None."""
        return self if model in self._models else None

    def off_lane(self, model: str) -> frozenset[str]:
        """The doors of a model whose requests may name ids."""
        return self._off_lane.get(model, NOTHING)

    def others(self, endpoints: Sequence[str]) -> dict[int, int]:
        """By account, the positions in a pool that have another one, as a bit mask."""
        homes = [self._homes[name] for name in endpoints] if self._models else []
        return {home: sum({1 << (at & MASK_BITS) for at, one in enumerate(homes) if one != home}) for home in homes}

    def home_of(self, named: Mapping[str, str | None], model: str) -> int:
        """The account to be asked by a request that names ids; 0: nothing is known of them.

        Args:
            named: the ids, and in which field each stands; None for the path.
            model: the one that is asked.

        Raises:
            BadRequest: there is no such account here, or ids of several.
        """
        found = {} if self.ids is None else self.ids.endpoints(named)
        home = 0
        for name, endpoint in found.items():
            where, field = self._homes.get(endpoint, 0), named[name]
            if where not in self._models[model]:
                raise _gone(field)
            if home and where != home:
                reason = f"{field or 'the path'}: it names what lies at another account than what else the request names"
                raise BadRequest(reason, param=field)
            home = where
        return home

    def remember(self, ids: Iterable[str], endpoint: str) -> None:
        """Remember who gave these ids, if it keeps what they stand for."""
        if self.ids is not None and endpoint in self.keepers:
            self.ids.add(ids, endpoint)

    def _of(self, endpoints: Iterable[str]) -> frozenset[int]:
        return frozenset(self._homes[name] for name in endpoints)

    @staticmethod
    def _opened(wanted: str | None, before: Homes | None, path: Path | None, say: Callable[[str, str], None] | None) -> Ids:
        place = str(path or "") if wanted is None else wanted
        if before is not None and before.ids is not None and before.ids.wanted == place:
            return before.ids
        try:
            return Ids(place)
        except OSError as error:
            if wanted is not None:
                raise ConfigError("server.stored_ids", f"found {wanted!r}, expected a file of ids or none yet: {error}") from None
            if say is not None:
                say("stored_ids", f"{path}: {error}; each worker remembers ids of stored responses for itself")
            return Ids("", wanted=place)


def _account(endpoint: Endpoint) -> object:
    """What two endpoints have in common that know each other's ids."""
    place = (endpoint.provider, endpoint.base_url)
    if endpoint.account:
        return (*place, endpoint.account)
    return (*place, endpoint.api_key, repr(sorted(endpoint.options.items())), repr(sorted(endpoint.headers.items())))


def _gone(field: str | None) -> BadRequest:
    if field == "previous_response_id":
        return BadRequest(f"Previous response not found: {_FORGOTTEN}", code="previous_response_not_found", param=field)
    return BadRequest(f"Not found: {_FORGOTTEN}", code="not_found", status=404 if field is None else 400, param=field)
