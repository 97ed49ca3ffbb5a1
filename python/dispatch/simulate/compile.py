"""From a file to what the core simulates: one run, complete and in numbers."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.config.decode import decode
from dispatch.config.read import parse, read
from dispatch.distribution import Distribution
from dispatch.errors import ConfigError
from dispatch.simulate.policy import Policy
from dispatch.simulate.scenario import Hosted, Replica, Requests, Scenario, Servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatch.simulate.scenario import Endpoint

__all__ = ["capacity_per_s", "compiled", "load", "rate_per_s", "shipped"]

_MOST_ENDPOINTS = 4096
PICO_PER_MILLION = 1e6
"""Picodollars for a token, at a dollar for a million."""


def shipped() -> dict[str, Scenario]:
    """Give the scenarios that come with dispatch, by name."""
    folder = files("dispatch.simulate") / "scenarios"
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".yaml"))
    return {name.removesuffix(".yaml"): _checked(parse((folder / name).read_text(encoding="utf-8"), ".yaml")) for name in names}


def load(name: str) -> Scenario:
    """Read a file, or a shipped scenario by its name.

    Raises:
        ConfigError: there is none, or something is wrong in it.
    """
    path = Path(name)
    if path.suffix:
        return _checked(read(path))
    known = shipped()
    if name not in known:
        raise ConfigError("", f"no scenario {name!r}, expected a file or one of: {', '.join(known)}")
    return known[name]


def _checked(raw: dict[str, Any]) -> Scenario:
    scenario = decode(raw, Scenario, "")
    endpoints = sum(endpoint.count for endpoint in scenario.endpoints)
    if endpoints > _MOST_ENDPOINTS:
        raise ConfigError("endpoints", f"found {endpoints}, expected at most {_MOST_ENDPOINTS}")
    if bool(scenario.arrivals.rate_per_s) + bool(scenario.arrivals.load) > 1:
        raise ConfigError("arrivals", "found rate_per_s and load, expected one of them")
    if scenario.arrivals.load and not capacity_per_s(scenario):
        raise ConfigError("arrivals.load", "the endpoints have no limit, so there is no share of it; set rate_per_s")
    for strategy in scenario.strategies:
        Policy.parse(strategy)
    for at, fault in enumerate(scenario.faults):
        if fault.endpoint + fault.count > endpoints:
            raise ConfigError(f"faults[{at}].endpoint", f"found {fault.endpoint + fault.count - 1}, expected less than {endpoints}")
        if fault.to_s < fault.from_s:
            raise ConfigError(f"faults[{at}].to_s", f"found {fault.to_s:g}, expected at least from_s")
    _table(scenario)
    return scenario


def capacity_per_s(scenario: Scenario) -> float:
    """Requests per second that the endpoints can do, all caches warm; 0 if nothing bounds them."""
    return sum(endpoint.count * _capacity(endpoint, scenario.requests) for endpoint in scenario.endpoints)


def _capacity(endpoint: Endpoint, requests: Requests) -> float:
    prompt, output = Distribution.parse(requests.prompt).mean, Distribution.parse(requests.output).mean
    match endpoint.server:
        case Replica() as replica:
            # A full batch: each step's own time is shared by all of its sequences.
            per_token_ms = replica.decode_ms + replica.step_ms / replica.sequences
            return 1e3 * replica.speed / (prompt * replica.prefill_ms + output * per_token_ms)
        case Servers(servers=servers, service_s=service_s):
            return servers / Distribution.parse(service_s).mean
        case Hosted(quota=quota):
            whole = prompt + output + requests.prefix_tokens
            rates = (quota.requests_per_min / 60, quota.tokens_per_min / 60 / whole)
            return min((rate for rate in rates if rate), default=0.0)


def rate_per_s(scenario: Scenario) -> float:
    """Requests that arrive per second in calm times."""
    return scenario.arrivals.rate_per_s or scenario.arrivals.load * capacity_per_s(scenario)


def compiled(scenario: Scenario, policy: Policy, *, seed: int, workers: int = 1, shared: bool = True, each: bool = False) -> bytes:
    """Write one run for the core, as JSON; with `each`, its outcome has the wait of each request."""
    run = {**_table(scenario), "policy": policy.table(), "seed": seed, "workers": workers, "shared": shared, "each": each}
    return msgspec.json.encode(run)


def _table(scenario: Scenario) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(scenario)
    arrivals = {key: value for key, value in plain["arrivals"].items() if key != "load"}
    requests = plain["requests"]
    for field in ("prompt", "output"):
        requests[field] = _spread(requests[field], f"requests.{field}")
    return {
        "seconds": scenario.seconds,
        "warmup_s": scenario.warmup_s,
        "arrivals": arrivals | {"rate_per_s": rate_per_s(scenario)},
        "requests": requests,
        "tenants": plain["tenants"],
        "endpoints": list(_endpoints(plain["endpoints"])),
        "faults": list(_faults(plain["faults"])),
        "client": plain["client"],
    }


def _endpoints(groups: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for at, group in enumerate(groups):
        server = group["server"]
        for field in ("first_token_s", "service_s"):
            if field in server:
                server[field] = _spread(server[field], f"endpoints[{at}].server.{field}")
        price = group["price"]
        dollars = (price["input"], price["input"] if price["cached"] is None else price["cached"], price["output"])
        rates = [round(per_million * PICO_PER_MILLION) for per_million in dollars]
        one = {"weight": group["weight"], "limits": group["limits"], "rates": rates, "tier": group["tier"], "server": server}
        yield from [one] * group["count"]


def _faults(faults: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for fault in faults:
        count, every_s = fault.pop("count"), fault.pop("every_s")
        for step in range(count):
            later = step * every_s
            yield fault | {"endpoint": fault["endpoint"] + step, "from_s": fault["from_s"] + later, "to_s": fault["to_s"] + later}


def _spread(text: str, path: str) -> dict[str, Any]:
    try:
        kind, _, numbers = repr(Distribution.parse(text)).rpartition(":")
    except ValueError as error:
        raise ConfigError(path, str(error)) from None
    a, _, b = numbers.partition(",")
    return {"kind": kind or "constant", "a": float(a)} | ({"b": float(b)} if b else {})
