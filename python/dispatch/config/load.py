"""From a file, the environment and the command line to one `Config`, checked.

A flag wins over `DISPATCH_*`, that over the file. Nothing here reads a secret's value: the same file can be checked on a machine
that has none of them (`config.secrets` resolves them).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from dispatch.config.checks import check_endpoints, check_keys, check_server, check_stores
from dispatch.config.decode import decode, join, nearest, shown
from dispatch.config.discover import discovered, is_listening
from dispatch.config.plans import Model, Pool, build_models, pools
from dispatch.config.structs import Defaults, Endpoint, Key, Server
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DEFAULT_FILE", "SECTIONS", "Config", "build", "discover", "load", "locate"]

DEFAULT_FILE = "dispatch.yaml"
T = TypeVar("T")

SECTIONS = ("server", "defaults", "keys", "endpoints", "models")


class Config(Struct, frozen=True, kw_only=True):
    """A whole configuration, valid and resolved; it survives msgspec's encoders, for the way from supervisor to worker."""

    server: Server = Server()
    defaults: Defaults = Defaults()
    keys: tuple[Key, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    models: dict[str, Model] = {}

    @property
    def endpoint_by_name(self) -> dict[str, Endpoint]:
        """Endpoints by their name, built at each call."""
        return {endpoint.name: endpoint for endpoint in self.endpoints}

    @property
    def patterns(self) -> tuple[Model, ...]:
        """Models whose name ends in `*`, the longest (most particular) first."""
        found = (model for model in self.models.values() if model.is_pattern)
        return tuple(sorted(found, key=lambda model: len(model.name), reverse=True))

    def find(self, name: str) -> tuple[Model, str] | None:
        """Find the model that a client asks for.

        Returns:
            The model, and the name that an endpoint with `model: "*"` gets: what the pattern's star stands for, or `name` itself.
            None if there is no such model.
        """
        model = self.models.get(name)
        if model is not None and not model.is_pattern:
            return model, name
        for pattern in self.patterns:
            stem = pattern.name[:-1]
            if name.startswith(stem) and len(name) > len(stem):
                return pattern, name[len(stem) :]
        return None


def locate(given: str | Path | None, environ: Mapping[str, str], folder: Path | None = None) -> Path | None:
    """Find the file to read: `given`, else `DISPATCH_CONFIG`, else `dispatch.yaml` in the folder if it is there."""
    if given:
        return Path(given)
    if environ.get("DISPATCH_CONFIG"):
        return Path(environ["DISPATCH_CONFIG"])
    default = (folder or Path()) / DEFAULT_FILE
    return default if default.exists() else None


def load(source: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Config:
    """Read and check a configuration; without a file, use what the machine offers (`discover`).

    Args:
        source: the file, as `locate` finds it.
        environ: where `DISPATCH_*` and, without a file, providers' keys are looked for.
        overrides: what flags say, by path: `{"server.port": 9000}`. None as a value means "not given".

    Raises:
        ConfigError: the first thing that is wrong.
    """
    if source is None:
        return discover(environ, overrides)
    # YAML takes 12 ms to import; workers, and a start without a file, have no use for it.
    from dispatch.config.read import read  # noqa: PLC0415  # see above

    return build(read(source), environ, overrides)


def discover(
    environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None, probe: Callable[[str, int], bool] = is_listening
) -> Config:
    """Make a configuration of what is there: `echo` always, `openai/NAME` and the like for each key or server found.

    Args:
        environ: where keys are looked for.
        overrides: as in `load`.
        probe: tells whether a server listens on a loopback port.

    Raises:
        ConfigError: the environment or an override holds a wrong value.
    """
    return build(discovered(environ, probe), environ, overrides)


def build(raw: Mapping[str, Any], environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Check plain data and turn it into a `Config`.

    Raises:
        ConfigError: the first thing that is wrong.
    """
    for key in raw:
        if key not in SECTIONS:
            raise ConfigError(key, f"unknown key{nearest(key, SECTIONS)}; there are {', '.join(SECTIONS)}")
    server = _section(raw, "server", dict) | _from_environ(environ or {})
    sections = {"server": server, "defaults": _section(raw, "defaults", dict)}
    _override(sections, overrides or {})
    defaults = decode(sections["defaults"], Defaults, "defaults")
    endpoints = _all(raw, "endpoints", Endpoint)
    config = Config(
        server=decode(server, Server, "server"),
        defaults=defaults,
        keys=_all(raw, "keys", Key),
        endpoints=endpoints,
        models=_models(raw, endpoints, defaults),
    )
    check_keys(config.keys, config.models)
    check_server(config.server, has_keys=bool(config.keys))
    check_stores(config.models.values())
    _check_stored(config.server, config.models)
    return config


def _check_stored(server: Server, models: Mapping[str, Model]) -> None:
    """Refuse a `server.stored` that names no model, or one whose plan may ask twice: then two things are made, and one is lost."""
    name = server.stored
    if name is None:
        return
    model = models.get(name)
    if model is None or model.is_pattern:
        raise ConfigError("server.stored", f"found {shown(name)}, expected a model{nearest(name, [*models])}")
    if not isinstance(model.plan, Pool) and len({endpoint for pool in pools(model.plan) for endpoint in pool.endpoints}) > 1:
        kind = model.plan.__struct_config__.tag
        raise ConfigError("server.stored", f"{shown(name)} is a plan of the kind {kind!r}, expected endpoints: a thing is to be made once")


def _section(raw: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = raw.get(name, kind())
    if not isinstance(value, kind):
        raise ConfigError(name, f"found {shown(value)}, expected a {'mapping' if kind is dict else 'list'}")
    return value


def _all(raw: Mapping[str, Any], name: str, kind: type[Any]) -> tuple[Any, ...]:
    return tuple(decode(item, kind, f"{name}[{place}]") for place, item in enumerate(_section(raw, name, list)))


def _models(raw: Mapping[str, Any], endpoints: tuple[Endpoint, ...], defaults: Defaults) -> dict[str, Model]:
    forms = _section(raw, "models", dict)
    check_endpoints(endpoints, forms)
    return build_models(forms, endpoints, defaults)


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    """`DISPATCH_PORT=9000` and the like: one variable for each key of `server` that holds a number or text."""
    found: dict[str, Any] = {}
    for name, default in _environ_keys().items():
        text = environ.get(f"DISPATCH_{name.upper()}", "")
        # Kubernetes sets DISPATCH_PORT=tcp://10.0.0.1:80 in every pod beside a service of the name "dispatch".
        if not text or text.startswith("tcp://"):
            continue
        found[name] = text if default is str else _number(text, f"DISPATCH_{name.upper()}", default)
    return found


def _environ_keys() -> dict[str, type[Any]]:
    kinds: dict[str, type[Any]] = {"workers": int, "unix": str}
    server = Server()
    for name in Server.__struct_fields__:
        default = getattr(server, name)
        if isinstance(default, (int, float, str)):
            kinds[name] = type(default)
    return kinds


def _number(text: str, name: str, kind: type) -> object:
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(name, f"found {shown(text)}, expected {kind.__name__}") from None


def _override(sections: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    for path, value in overrides.items():
        if value is None:
            continue
        *way, last = path.split(".")
        if not way or way[0] not in sections:
            raise ConfigError(path, "only keys of server and defaults can be overridden")
        node = sections
        for place, name in enumerate(way):
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise ConfigError(join("", ".".join(way[: place + 1])), f"found {shown(node)}, expected a mapping")
        node[last] = value
