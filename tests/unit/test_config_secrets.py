"""Secrets: read once, named when missing, shown by nothing."""

from __future__ import annotations

import hashlib
import pickle
from typing import TYPE_CHECKING

import msgspec
import pytest
from dispatch.config import Config, build, resolve
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def config(api_key: str = "env:A", *keys: str) -> Config:
    return build(
        {
            "endpoints": [{"name": "east", "provider": "openai", "model": "m", "api_key": api_key}],
            "keys": [{"name": f"k{place}", "key": key} for place, key in enumerate(keys)],
        }
    )


def test_a_secret_is_read_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\n")

    assert resolve(config("env:A"), {"A": "from-env"}).endpoints["east"].reveal() == "from-env"
    assert resolve(config(f"file:{file}"), {}).endpoints["east"].reveal() == "from-file"
    assert resolve(config("from_client"), {}).endpoints["east"].reveal() == ""


def test_a_missing_secret_names_its_endpoint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"endpoints\[0\].api_key: endpoint 'east': the environment variable A is not set"):
        resolve(config(), {})
    with pytest.raises(ConfigError, match=r"endpoint 'east': cannot read .*: No such file"):
        resolve(config(f"file:{tmp_path}/none"), {})


@pytest.mark.parametrize("value", ["", "  ", "a\r\nx: y", "a\nb", "ä", "a\0b"])
def test_a_secret_that_could_end_its_header_line_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="endpoint 'east': env:A is empty or holds characters that no key has") as caught:
        resolve(config(), {"A": value})
    assert "x: y" not in str(caught.value)


def test_nothing_shows_a_secret() -> None:
    secrets = resolve(config(), {"A": "hush-hush"})

    assert "hush" not in repr(secrets)
    assert "hush" not in f"{secrets.endpoints['east']}"
    with pytest.raises(TypeError):
        pickle.dumps(secrets.endpoints["east"])
    with pytest.raises(TypeError):
        msgspec.json.encode(secrets)


def test_keys_are_known_by_their_digest() -> None:
    digest = hashlib.sha256(b"open sesame").digest()

    assert resolve(config("from_client", "env:K"), {"K": "open sesame"}).keys == {digest: "k0"}
    assert resolve(config("from_client", f"sha256:{digest.hex().upper()}"), {}).keys == {digest: "k0"}


def test_one_key_under_two_names_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"keys\[1\].key: key 'k1' and key 'k0' are the same"):
        resolve(config("from_client", "env:K", "env:L"), {"K": "x", "L": "x"})
