"""Translation between the HTTP APIs of providers: what comes in one dialect goes out in another.

`form` is what all of them mean: a request, an answer, the events of a stream. Each dialect is a package that reads and writes the three;
`table` lists them. Pure: bytes and trees in, bytes and trees out. Where both sides speak the same dialect nothing here is called.
"""

from __future__ import annotations

__all__ = ["Tree"]

from typing import Any

Tree = dict[str, Any]
"""A JSON object."""
