"""The tables of a configuration as a worker would build them: on a board of their own, with nothing opened that others write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from dispatch.config import Secret, Secrets
from dispatch.dispatcher import Dispatcher
from dispatch.generation import build
from dispatch.routing import Board, Sizes, Slots

if TYPE_CHECKING:
    from dispatch.config import Config
    from dispatch.generation import Generation

__all__ = ["tables"]


def tables(config: Config, secrets: Secrets | None = None) -> Generation:
    """Build them.

    Args:
        config: what a sidecar would start with.
        secrets: None: made up, for what needs none.

    Raises:
        ConfigError: something that shows only here: an index, a function or a pattern of a plan, a certificate.
    """
    made_up = Secrets(
        endpoints={endpoint.name: Secret("") for endpoint in config.endpoints},
        keys={},
        stores={name: Secret("redis://") for name in config.models},
    )
    # A ledger belongs to the workers that write it.
    alone = replace(config, server=replace(config.server, ledger=None))
    sizes = Sizes.of(alone)
    return build(alone, secrets or made_up, Slots.of(alone, sizes), Board.heap(sizes), 0, Dispatcher())
