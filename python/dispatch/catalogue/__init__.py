"""What is known of models: how much they read and write, what they can, what they cost. Data with a source and a date (`models.json`).

A price that the configuration does not say comes from here, for providers whose list prices these are. A server of one's own that speaks
somebody's dialect has none: an address in numbers, `localhost`, `openai_compatible`. `price: {}` of an endpoint says that it costs nothing.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from dispatch.config import Price

if TYPE_CHECKING:
    from dispatch.config import Config

__all__ = ["OWN", "Catalogue", "Known", "Prices", "catalogue", "find", "with_prices"]

_HOSTS = {"azure": "openai"}
"""Providers that sell another one's models at its list prices."""
_MAKERS = (("claude", "anthropic"), ("gemini", "gemini"))
"""Of hosts of many makers, by the beginning of the model's name."""
OWN = re.compile(r"https?://(localhost|[\d.]+|\[[\da-fA-F:]+\])(:\d+)?(/|$)")
"""Addresses of servers of one's own: whoever they are called after, their prices are not the list's."""
_MANY = frozenset(("vertex", "bedrock"))
_PLACE = re.compile(r"^(models/|publishers/[^/]+/models/)|^((us|eu|apac|jp|au|global)\.)?anthropic\.")
_VERSION = re.compile(r"(-v\d+(:\d+)?|@default)$")
_DATE = re.compile(r"[-@](\d{8}|\d{4}-\d\d-\d\d|latest|\d\d-\d{4})$")


class Prices(Struct, frozen=True, kw_only=True):
    """List prices in US dollars: per million tokens, of images each, of sound per second."""

    input: float = 0.0
    output: float = 0.0
    cached_input: float | None = None
    cache_write: float | None = None
    image_output: float | None = None
    audio_input_s: float | None = None


class Known(Struct, frozen=True, kw_only=True):
    """One model."""

    context: int = 0
    """Tokens that it reads at most; 0: not known."""
    output: int = 0
    """Tokens that it writes at most; 0: not known."""
    reads: frozenset[str] = frozenset(("text",))
    """Of `text`, `image`, `document`, `audio`, `video`."""
    writes: frozenset[str] = frozenset(("text",))
    can: frozenset[str] = frozenset()
    """Of `tools`, `schema`, `reasoning`."""
    price: Prices = Prices()


class Catalogue(Struct, frozen=True, kw_only=True):
    """All of them."""

    source: str
    date: str
    """The day on which the prices were taken."""
    models: dict[str, dict[str, Known]] = field(default_factory=dict)
    """By provider and name."""


@cache
def catalogue() -> Catalogue:
    """Read the data, once."""
    return msgspec.json.decode((Path(__file__).parent / "models.json").read_bytes(), type=Catalogue)


def find(provider: str, model: str) -> Known | None:
    """Look up a model by the name that it has at a provider; None where nothing is known.

    Marks of a place and of a version are left aside (`us.anthropic.claude-x-v1:0`, `claude-x@20250929`), a date only where the
    dated name is not known by itself.
    """
    name = _VERSION.sub("", _PLACE.sub("", model))
    maker = _HOSTS.get(provider, provider)
    if provider in _MANY:
        maker = next((made for begin, made in _MAKERS if name.startswith(begin)), "")
    models = catalogue().models.get(maker, {})
    return models.get(name) or models.get(name.replace("@", "-")) or models.get(_DATE.sub("", name))


def with_prices(config: Config) -> Config:
    """Give the endpoints that say no price that of the catalogue."""
    endpoints = []
    for endpoint in config.endpoints:
        is_told = endpoint.price is not None or OWN.match(endpoint.base_url)
        known = None if is_told else find(endpoint.provider, endpoint.model)
        if known is None or not (known.price.input or known.price.output):
            endpoints.append(endpoint)
            continue
        price = Price(input=known.price.input, output=known.price.output, cached_input=known.price.cached_input)
        endpoints.append(msgspec.structs.replace(endpoint, price=price))
    return msgspec.structs.replace(config, endpoints=type(config.endpoints)(endpoints))
