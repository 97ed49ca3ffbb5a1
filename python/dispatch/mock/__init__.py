"""`dispatch mock`: a simulated provider that speaks OpenAI's dialect, with the latencies, limits and faults one asks for.

It shares no code with the data path, so that it can judge it: plain `asyncio.Protocol`, httptools, one timer wheel.
`dispatch.testing.MockProvider` is the same thing inside a test.
"""

from __future__ import annotations

from dispatch.mock.journal import Entry, Journal
from dispatch.mock.provider import Provider
from dispatch.mock.scenario import Behaviour, Scenario
from dispatch.mock.scenario import load as load_scenario

__all__ = ["Behaviour", "Entry", "Journal", "Provider", "Scenario", "load_scenario"]
