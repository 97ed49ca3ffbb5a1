"""Verdicts: pure functions from what is known to what is done. No clock, no socket, no `async`."""

from __future__ import annotations
