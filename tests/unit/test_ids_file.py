"""The file of ids: what it forgets, whose it is, and what happens when it cannot be written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dispatch.config import Server
from dispatch.homes import file
from dispatch.homes.file import Ids, default_path

if TYPE_CHECKING:
    import pytest


def test_an_id_belongs_to_who_gave_it_first(tmp_path: Path) -> None:
    """Or a client could move ids of others, by writing them into what is given back to it."""
    path = str(tmp_path / "ids")
    ids, other = Ids(path), Ids(path)
    ids.add(["resp_1", "resp_2"], "a")
    other.add(["resp_2", "resp_3"], "b")

    assert ids.endpoints(["resp_1", "resp_2", "resp_3", "resp_4"]) == {"resp_1": "a", "resp_2": "a", "resp_3": "b"}
    assert Path(path).stat().st_mode & 0o777 == 0o600


def test_the_oldest_of_too_many_are_forgotten_and_those_not_used_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1_000_000_000.0
    monkeypatch.setattr(file, "time", lambda: now_s)
    monkeypatch.setattr(file, "KEPT_MOST", 10)
    monkeypatch.setattr(file, "PRUNE_EVERY", 4)
    ids = Ids(str(tmp_path / "ids"))
    for number in range(40):
        now_s += 1
        ids.add([f"resp_{number}"], "a")

    kept = ids.endpoints([f"resp_{number}" for number in range(40)])
    assert "resp_0" not in kept
    assert "resp_39" in kept
    assert 10 <= len(kept) <= 15
    now_s += 60 * 86_400
    ids.endpoints(["resp_39"])
    now_s += 60 * 86_400
    ids.add(["a", "b", "c", "d"], "a")
    assert [*ids.endpoints(["resp_38", "resp_39"])] == ["resp_39"], "what is used stays"


def test_a_file_that_is_held_loses_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "ids")
    ids = Ids(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        ids.add(["resp_1"], "a")
        assert ids.endpoints(["resp_1"]) == {"resp_1": "a"}
        holder.execute("COMMIT")
    ids.add(["resp_2"], "b")

    assert Ids(path).endpoints(["resp_1", "resp_2"]) == {"resp_1": "a", "resp_2": "b"}


def test_without_a_path_it_lies_where_only_this_user_looks_and_is_named_after_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    paths = [default_path(Server(port=port)) for port in (8080, 8080, 8081)]
    assert paths[0] is not None
    assert paths[0] == paths[1] != paths[2]
    assert paths[0].parent.stat().st_mode & 0o777 == 0o700
    paths[0].parent.chmod(0o755)

    assert default_path(Server()) is None
