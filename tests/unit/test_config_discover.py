"""Without a configuration: what the machine offers."""

from __future__ import annotations

import pytest
from dispatch.config import discover, load, resolve
from dispatch.errors import ConfigError


def nothing(host: str, port: int) -> bool:
    return False


def ollama(host: str, port: int) -> bool:
    return (host, port) == ("127.0.0.1", 11434)


def test_there_is_always_an_echo() -> None:
    found = discover({}, probe=nothing)

    assert list(found.models) == ["echo"]
    assert found.endpoints[0].provider == "echo"


def test_each_key_found_offers_its_provider_under_a_prefix() -> None:
    environ = {"OPENAI_API_KEY": "x", "ANTHROPIC_API_KEY": "y", "OPENAI_ORG_ID": "org-1", "GROQ_API_KEY": " "}
    found = discover(environ, probe=nothing)

    assert list(found.models) == ["echo", "openai/*", "anthropic/*"]
    model, name = found.find("openai/gpt-4o") or pytest.fail("not found")
    assert (model.name, name) == ("openai/*", "gpt-4o")
    openai = found.endpoint_by_name["openai"]
    assert (openai.passes_name, openai.options) == (True, {"organization": "org-1"})
    assert found.find("gpt-4o") is None
    assert resolve(found, environ).endpoints["anthropic"].reveal() == "y"


def test_a_local_ollama_is_found() -> None:
    found = discover({}, probe=ollama).endpoint_by_name["ollama"]
    assert (found.provider, found.base_url) == ("ollama", "http://127.0.0.1:11434")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("gpu-box:8000", "http://gpu-box:8000"),
        ("http://gpu-box", "http://gpu-box:11434"),
        ("https://gpu-box:443/", "https://gpu-box:443"),
    ],
)
def test_ollama_is_taken_where_its_variable_says(given: str, url: str) -> None:
    assert discover({"OLLAMA_HOST": given}, probe=nothing).endpoint_by_name["ollama"].base_url == url


def test_flags_and_variables_hold_without_a_file_too() -> None:
    assert load(None, {"DISPATCH_PORT": "7", "OLLAMA_HOST": "x"}).server.port == 7
    with pytest.raises(ConfigError, match="which other machines can reach"):
        discover({}, {"server.host": "0.0.0.0"}, nothing)
