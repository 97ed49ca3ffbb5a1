"""Passages of documents, found by words and by meaning, for the plan `retrieve`.

`store` reads and writes an index, one SQLite file; `passages` cuts documents.
"""

from __future__ import annotations
