"""What plans are good at: by the profiles of their endpoints, configured or measured by `dispatch profile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.config import plans
    from dispatch.config.plans.builder import Builder

__all__ = ["Measured", "profile_of", "read_profiles"]


class Measured(Struct):
    """What `dispatch profile` found of an endpoint."""

    profile: dict[str, Annotated[float, Meta(ge=0, le=1)]]


def read_profiles(path: str | None, where: str) -> dict[str, Measured]:
    """Profiles by endpoint, from a file of `dispatch profile`; none without one. Raises `ConfigError`."""
    if path is None:
        return {}
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=dict[str, Measured])
    except OSError as error:
        raise ConfigError(where, f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(where, f"{path}: {error}") from None


def profile_of(builder: Builder, plan: plans.Plan, measured: Mapping[str, Measured]) -> dict[str, float]:
    """The mean of what the plan's endpoints say of each axis; what was measured wins, axis by axis."""
    said: dict[str, list[float]] = {}
    for endpoint in builder.reached(plan):
        own = measured[endpoint.name].profile if endpoint.name in measured else {}
        for axis, value in (endpoint.profile | own).items():
            said.setdefault(axis, []).append(value)
    return {axis: sum(values) / len(values) for axis, values in said.items()}
