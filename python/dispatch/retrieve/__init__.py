"""Passages of documents, found by words and by meaning, for the plan `retrieve`.

`store` reads and writes an index, one SQLite file; `passages` cuts documents; `qdrant` and `lance` ask the bases of
others, by `fields`; `embeddings` and `static` give vectors.
"""

from __future__ import annotations
