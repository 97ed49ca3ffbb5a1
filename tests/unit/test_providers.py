"""Providers: the bytes that they put before a request."""

from __future__ import annotations

from typing import Any

import pytest
from dispatch import extensions
from dispatch.config import Endpoint, build
from dispatch.config.checks import PROVIDERS
from dispatch.errors import ConfigError
from dispatch.providers.base import DOORS, find_provider, has_capability, target_of
from dispatch.schema import Origin


def endpoint(**fields: Any) -> Endpoint:
    return build({"endpoints": [{"name": "e", **fields}]}).endpoints[0]


def refusal(**fields: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        endpoint(**fields)
    return str(caught.value)


def head(one: Endpoint, door: str = "chat", secret: str = "SECRET") -> list[str]:
    built = find_provider(one.provider).head(one, door, secret)
    assert built is not None
    assert built.endswith(b"\r\n")
    return built.decode().split("\r\n")[:-1]


def openai(**fields: Any) -> Endpoint:
    return endpoint(**{"provider": "openai", "model": "gpt-4o", "api_key": "env:A", **fields})


def compatible(**fields: Any) -> Endpoint:
    return endpoint(**{"provider": "openai_compatible", "model": "m", "base_url": "http://127.0.0.1:8000/v1", **fields})


def azure(**fields: Any) -> Endpoint:
    return endpoint(**{"provider": "azure", "model": "gpt-4o", "api_key": "env:A", "base_url": "https://n.openai.azure.com", **fields})


@pytest.mark.parametrize("name", extensions.names(PROVIDERS))
def test_a_provider_is_called_as_its_module(name: str) -> None:
    provider = find_provider(name)

    assert provider.name == name
    assert provider.capabilities <= {"stream_usage"}


def test_openai() -> None:
    one = openai(options={"organization": "org-1", "project": "proj_1"}, headers={"X-Team": "a b"})

    assert head(one) == [
        "POST /v1/chat/completions HTTP/1.1",
        "host: api.openai.com",
        "accept-encoding: identity",
        "authorization: Bearer SECRET",
        "openai-organization: org-1",
        "openai-project: proj_1",
        "x-team: a b",
    ]
    assert find_provider("openai").origin(one) == Origin("https", "api.openai.com", 443)
    assert [head(one, door)[0].split()[1] for door in DOORS] == [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
    ]
    assert find_provider("openai").head(one, "rerank", "SECRET") is None


def test_openai_needs_a_key_and_a_model() -> None:
    assert (
        refusal(provider="openai", model="m") == "endpoints[0].api_key: missing; a server that needs none is `provider: openai_compatible`"
    )
    assert refusal(provider="openai", api_key="env:A").startswith("endpoints[0].model: missing")


def test_a_compatible_server_needs_no_key() -> None:
    one = compatible(base_url="http://[::1]:8000/api/v1/")

    assert head(one, secret="")[:3] == ["POST /api/v1/chat/completions HTTP/1.1", "host: [::1]:8000", "accept-encoding: identity"]
    assert not any(line.startswith("authorization") for line in head(one, secret=""))
    assert find_provider("openai_compatible").origin(one) == Origin("http", "::1", 8000)


def test_a_capability_can_be_switched() -> None:
    provider = find_provider("openai_compatible")

    assert has_capability(provider, compatible(), "stream_usage")
    assert not has_capability(provider, compatible(capabilities={"stream_usage": False}), "stream_usage")


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({}, "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        ({"base_url": "https://n.openai.azure.com/openai/"}, "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        (
            {"options": {"deployment": "d-1", "api_version": "2025-01-01-preview"}},
            "/openai/deployments/d-1/chat/completions?api-version=2025-01-01-preview",
        ),
        ({"base_url": "https://apim.example/team"}, "/team/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        ({"base_url": "https://n.openai.azure.com/openai/v1/"}, "/openai/v1/chat/completions"),
        (
            {"base_url": "https://n.openai.azure.com/openai/v1", "options": {"api_version": "preview"}},
            "/openai/v1/chat/completions?api-version=preview",
        ),
    ],
)
def test_azure_in_its_two_forms(fields: dict[str, Any], target: str) -> None:
    lines = head(azure(**fields))

    assert lines[0] == f"POST {target} HTTP/1.1"
    assert "api-key: SECRET" in lines


def test_azure_takes_a_token_as_bearer() -> None:
    assert "authorization: Bearer SECRET" in head(azure(options={"auth": "bearer"}))


def test_the_responses_api_of_azure_needs_a_version_that_has_it() -> None:
    provider = find_provider("azure")

    assert provider.head(azure(), "responses", "x") is None
    assert (
        head(azure(options={"api_version": "2025-04-01-preview"}), "responses")[0].split()[1]
        == "/openai/responses?api-version=2025-04-01-preview"
    )
    assert head(azure(base_url="https://n.openai.azure.com/openai/v1"), "responses")[0].split()[1] == "/openai/v1/responses"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"api_key": ""}, "endpoints[0].api_key: missing"),
        ({"base_url": ""}, "endpoints[0].base_url: missing"),
        ({"model": "*"}, "endpoints[0].model: the deployment stands in the path"),
        ({"model": "a/b"}, "endpoints[0].model: expected the name of a deployment"),
        ({"options": {"deployment": "a/../b"}}, "endpoints[0].options.deployment: found 'a/../b', expected text matching"),
        ({"options": {"deployment": "a\n"}}, "endpoints[0].options.deployment: found"),
        ({"options": {"api_version": "1&x=y"}}, "endpoints[0].options.api_version: found"),
        ({"options": {"api_verion": "1"}}, "endpoints[0].options.api_verion: unknown key; did you mean 'api_version'?"),
        ({"base_url": "https://n/openai/v1", "options": {"deployment": "d"}}, "endpoints[0].options.deployment: under /openai/v1"),
    ],
)
def test_azure_refuses_what_would_not_be_a_deployment(fields: dict[str, Any], says: str) -> None:
    assert refusal(
        **{"provider": "azure", "model": "gpt-4o", "api_key": "env:A", "base_url": "https://n.openai.azure.com", **fields}
    ).startswith(says)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "host/v1",
        "//host/v1",
        "http://",
        "http:///v1",
        "http://user:pass@host/v1",
        "http://host:0/v1",
        "http://host:99999/v1",
        "http://host:8x/v1",
        "http://host/v1?x=1",
        "http://host/v1#x",
        "http://host/a b",
        "http://host/v1\r\nx: y",
        "http://host\t/v1",
        "http://ho st/v1",
        "http://hö.st/v1",
        'http://host/"v1"',
        "http://[::1/v1",
    ],
)
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    assert refusal(provider="openai_compatible", model="m", base_url=url).startswith("endpoints[0].base_url: ")


@pytest.mark.parametrize("secret", ["a\r\nb: c", "a\nb", "a\0", "ä"])
@pytest.mark.parametrize("one", [openai(), compatible(), azure()], ids=lambda one: one.provider)
def test_no_credential_ends_its_line(one: Endpoint, secret: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a header field") as caught:
        find_provider(one.provider).head(one, "chat", secret)
    assert secret not in str(caught.value)


def test_an_option_that_would_end_its_line_is_refused() -> None:
    assert refusal(provider="openai", model="m", api_key="env:A", options={"organization": "a\r\nb: c"}).startswith(
        "endpoints[0].options.organization: "
    )


ROWS = [
    "cerebras",
    "deepseek",
    "fireworks",
    "groq",
    "huggingface",
    "llamacpp",
    "mistral",
    "openrouter",
    "perplexity",
    "together",
    "vllm",
    "xai",
]


@pytest.mark.parametrize("name", ROWS)
def test_a_vendor_like_openai_is_a_row_of_data(name: str) -> None:
    one = endpoint(provider=name, model="m", api_key="env:A")
    lines = head(one)

    assert lines[0].startswith("POST /")
    assert lines[0].endswith("/chat/completions HTTP/1.1")
    assert "authorization: Bearer SECRET" in lines
    assert find_provider(name).head(one, "unheard_of", "") is None
    assert find_provider(name).origin(one).scheme in {"http", "https"}


def test_writers_chat_stands_at_a_path_of_its_own() -> None:
    assert head(endpoint(provider="writer", model="palmyra-x5", api_key="env:A"))[0] == "POST /v1/chat HTTP/1.1"


def test_a_vendors_quirks_reach_translated_requests() -> None:
    quirky = target_of(find_provider("mistral"), endpoint(provider="mistral", model="m", api_key="env:A"))
    told = target_of(
        find_provider("openrouter"), endpoint(provider="openrouter", model="m", api_key="env:A", capabilities={"reasoning": False})
    )

    assert (quirky.renames, quirky.stream_usage) == ((("seed", "random_seed"),), False)
    assert told.takes_reasoning is False


def test_ollama_is_asked_by_its_own_api_or_as_openai_is() -> None:
    native = endpoint(provider="ollama", model="m", options={"keep_alive": "10m", "options": {"num_ctx": 16_384}})
    copied = endpoint(provider="ollama", model="m", options={"api": "openai"}, base_url="http://gpu-box:11434")

    assert head(native, "ollama", "")[0] == "POST /api/chat HTTP/1.1"
    assert find_provider("ollama").head(native, "chat", "") is None
    assert target_of(find_provider("ollama"), native).body == {"keep_alive": "10m", "options": {"num_ctx": 16_384}}
    assert head(copied, "chat", "")[:2] == ["POST /v1/chat/completions HTTP/1.1", "host: gpu-box:11434"]
    assert head(copied, "ollama_generate", "")[0] == "POST /api/generate HTTP/1.1"
    assert head(native, "embeddings", "")[0] == "POST /v1/embeddings HTTP/1.1"


def test_cohere_is_asked_in_version_two() -> None:
    one = endpoint(provider="cohere", model="command-a-03-2025", api_key="env:A")

    assert head(one, "cohere")[:2] == ["POST /v2/chat HTTP/1.1", "host: api.cohere.com"]
    assert head(one, "rerank")[0] == "POST /v2/rerank HTTP/1.1"
    assert head(one, "cohere_embed")[0] == "POST /v2/embed HTTP/1.1"
    assert find_provider("cohere").head(one, "chat", "") is None
    assert refusal(provider="cohere", model="m") == "endpoints[0].api_key: missing"


def test_a_vendor_that_needs_a_key_says_so() -> None:
    assert refusal(provider="groq", model="m") == "endpoints[0].api_key: missing"
    assert endpoint(provider="vllm", model="m").api_key == ""
