"""Providers: one module for each API dialect. Translation only: no socket, no clock, no retry, no log."""

from __future__ import annotations

__all__ = ["SUPPORT"]

SUPPORT = ("base", "chat", "classify", "echo_answers", "echo_request", "identity", "openai_like")
"""Modules of this folder that are no providers."""
