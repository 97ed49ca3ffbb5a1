"""The configuration: `load` a file, `discover` without one, `resolve` the secrets that it names."""

from __future__ import annotations

from dispatch.config.answers import Cache, Coalesce, Hedge
from dispatch.config.load import Config, build, discover, load, locate
from dispatch.config.plans import Budget, Cascade, Chain, Ensemble, Fallback, Fanout, Model, Plan, Pool, pools
from dispatch.config.secrets import FROM_CLIENT, Secret, Secrets, resolve
from dispatch.config.structs import (
    Capabilities,
    Certificate,
    Check,
    Defaults,
    Endpoint,
    Health,
    Key,
    Limits,
    MinSpeed,
    Price,
    Queue,
    Retry,
    Server,
)

__all__ = [
    "FROM_CLIENT",
    "Budget",
    "Cache",
    "Capabilities",
    "Cascade",
    "Certificate",
    "Chain",
    "Check",
    "Coalesce",
    "Config",
    "Defaults",
    "Endpoint",
    "Ensemble",
    "Fallback",
    "Fanout",
    "Health",
    "Hedge",
    "Key",
    "Limits",
    "MinSpeed",
    "Model",
    "Plan",
    "Pool",
    "Price",
    "Queue",
    "Retry",
    "Secret",
    "Secrets",
    "Server",
    "build",
    "discover",
    "load",
    "locate",
    "pools",
    "resolve",
]
