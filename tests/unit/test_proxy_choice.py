"""Which proxy an origin is reached by."""

from __future__ import annotations

import subprocess
import sys

import pytest
from dispatch.transport.connect import proxy_for


@pytest.mark.parametrize(
    ("environ", "scheme", "host", "expected"),
    [
        ({}, "https", "api.example", ""),
        ({"HTTPS_PROXY": "http://p:1"}, "https", "api.example", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:2"}, "https", "api.example", "http://q:2"),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": ""}, "https", "api.example", ""),
        ({"HTTPS_PROXY": "http://p:1"}, "http", "api.example", ""),
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http", "api.example", ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other, .example"}, "https", "api.example", ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, "https", "api.example", ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example"}, "https", "notexample", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "https", "127.0.0.1", ""),
    ],
)
def test_the_environment_names_the_proxy(environ: dict[str, str], scheme: str, host: str, expected: str) -> None:
    assert proxy_for(scheme, host, None, environ) == expected


@pytest.mark.parametrize("configured", ["", "http://mine:3"])
def test_what_the_endpoint_says_wins(configured: str) -> None:
    assert proxy_for("https", "api.example", configured, {"HTTPS_PROXY": "http://p:1"}) == configured


def test_a_worker_imports_only_what_the_path_needs() -> None:
    heavy = {"aiohttp", "openai", "httpx2", "urllib.request", "http.client", "prometheus_client", "anyio", "httptools"}
    program = f"import sys, dispatch.server.worker_main; print(*({heavy!r} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert done.stdout.split() == []
