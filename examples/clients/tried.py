"""What the scripts beside this one share: where the sidecar is, what to ask, and how a try is told.

Each function that is tried stands for itself: it raises, or what it returns is shown. Lines on stdout are JSON for `run.py`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BROKEN", "KEY", "MODEL", "PNG", "PNG_URL", "QUESTION", "ROOT", "URL", "report"]

ROOT = os.environ.get("DISPATCH_URL", "http://127.0.0.1:8080")
"""What Anthropic's and Google's SDKs take as a base URL."""
URL = f"{ROOT}/v1"
"""What OpenAI's SDK takes."""
KEY = "sk-client"
MODEL = "m"
"""A model that answers, calls the first tool that it is offered, and keeps to a schema."""
BROKEN = "broken"
"""A model whose provider answers 400."""
QUESTION = "What is the weather in Köln?"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PNG_URL = f"data:image/png;base64,{PNG}"


def report(package: str, *tries: Callable[[], Any]) -> None:
    """Run the tries one after the other and print one line for each."""
    print(json.dumps({"client": package, "version": version(package)}), flush=True)
    for one in tries:
        print(json.dumps({"try": one.__name__, **_outcome(one)}), flush=True)


def _outcome(one: Callable[[], Any]) -> dict[str, Any]:
    try:
        found = one()
        if inspect.iscoroutine(found):
            found = asyncio.run(found)
    except Exception as error:  # whatever a client raises is what is to be shown
        return {"ok": False, "shown": f"{type(error).__name__}: {error}"[:600]}
    return {"ok": True, "shown": str(found)[:200]}
