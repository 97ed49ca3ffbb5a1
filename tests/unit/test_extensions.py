"""The loader: one module of a folder, one thing."""

from __future__ import annotations

import pytest
from dispatch import extensions


def test_a_folder_offers_its_modules_but_not_its_support() -> None:
    names = extensions.names("dispatch.providers")

    assert {"azure", "echo", "openai", "openai_compatible"} <= set(names)
    assert [*names] == sorted(names)
    assert "base" not in names


def test_a_thing_is_loaded_by_its_modules_name() -> None:
    assert getattr(extensions.load("dispatch.providers", "echo", "PROVIDER"), "name", "") == "echo"


def test_what_is_not_there_is_told_with_what_is() -> None:
    with pytest.raises(LookupError, match=r"no 'nothing' in dispatch.providers; there is: .*azure.*, echo"):
        extensions.load("dispatch.providers", "nothing", "PROVIDER")
    with pytest.raises(TypeError, match=r"dispatch.providers.echo has no Nothing"):
        extensions.load("dispatch.providers", "echo", "Nothing")
