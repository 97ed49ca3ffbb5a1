"""What this machine offers when nothing is configured: keys in the environment, a local Ollama, and always `echo`.

Models found this way are patterns (`openai/*`): nobody has to list a provider's models, and no bare name is taken. The part behind
the slash is the name that the provider gets.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["discovered", "is_listening"]

_PROBE_S = 0.1
"""Loopback answers or refuses at once; only a firewall that swallows packets takes longer."""

_OLLAMA_PORT = 11_434

# Prefix, variable with the key, provider.
_HOSTED: tuple[tuple[str, str, str], ...] = (
    ("openai", "OPENAI_API_KEY", "openai"),
    ("anthropic", "ANTHROPIC_API_KEY", "anthropic"),
    ("groq", "GROQ_API_KEY", "groq"),
    ("deepseek", "DEEPSEEK_API_KEY", "deepseek"),
    ("mistral", "MISTRAL_API_KEY", "mistral"),
    ("openrouter", "OPENROUTER_API_KEY", "openrouter"),
)


def discovered(environ: Mapping[str, str], probe: Callable[[str, int], bool]) -> dict[str, Any]:
    """Return, as it would be written, a configuration of what is found.

    Args:
        environ: where keys and `OLLAMA_HOST` are looked for.
        probe: tells whether something listens on a host and port; asked for loopback only.
    """
    endpoints: list[dict[str, Any]] = [{"name": "builtin.echo", "provider": "echo"}]
    models: dict[str, Any] = {"echo": "builtin.echo"}
    for prefix, variable, provider in _HOSTED:
        if not environ.get(variable, "").strip():
            continue
        endpoint: dict[str, Any] = {"name": prefix, "provider": provider, "model": "*", "api_key": f"env:{variable}"}
        if prefix == "openai":
            endpoint |= _openai_extras(environ)
        endpoints.append(endpoint)
        models[f"{prefix}/*"] = prefix
    if url := _ollama(environ, probe):
        endpoints.append({"name": "ollama", "provider": "ollama", "model": "*", "base_url": url})
        models["ollama/*"] = "ollama"
    return {"endpoints": endpoints, "models": models}


def is_listening(host: str, port: int) -> bool:
    """Whether something accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=_PROBE_S):
            return True
    except OSError:
        return False


def _openai_extras(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what OpenAI's SDK reads from the environment beside the key."""
    variables = {"organization": "OPENAI_ORG_ID", "project": "OPENAI_PROJECT_ID"}
    options = {key: environ[name] for key, name in variables.items() if environ.get(name)}
    return {"base_url": environ.get("OPENAI_BASE_URL", ""), "options": options}


def _ollama(environ: Mapping[str, str], probe: Callable[[str, int], bool]) -> str:
    """Return the base URL of an Ollama, empty if there is none. `OLLAMA_HOST` is taken at its word, without a probe."""
    given = environ.get("OLLAMA_HOST", "").strip()
    if given:
        parts = urlsplit(given if "//" in given else f"//{given}")
        # A server is told 0.0.0.0 by the same variable; a client reaches that on loopback.
        host = "127.0.0.1" if parts.hostname in (None, "0.0.0.0") else parts.hostname
        return f"{parts.scheme or 'http'}://{host}:{_port(parts.netloc)}"
    return f"http://127.0.0.1:{_OLLAMA_PORT}" if probe("127.0.0.1", _OLLAMA_PORT) else ""


def _port(netloc: str) -> int:
    _, _, digits = netloc.rpartition(":")
    return int(digits) if digits.isdecimal() else _OLLAMA_PORT
