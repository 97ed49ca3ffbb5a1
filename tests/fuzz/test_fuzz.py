"""`make fuzz`: the core's fuzzer (`tests/fuzz/main.rs`) for as long as `DISPATCH_FUZZ_SECONDS` says. `cargo test` runs its short form."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SECONDS = os.environ.get("DISPATCH_FUZZ_SECONDS", "")


@pytest.mark.skipif(not SECONDS, reason="DISPATCH_FUZZ_SECONDS is not set")
def test_no_bytes_break_a_law_of_the_parsers() -> None:
    root = Path(__file__).parents[2]

    subprocess.run(["cargo", "test", "--locked", "--test", "fuzz"], cwd=root, check=True)
