"""`python -m dispatch.catalogue.update SOURCE.json NAME DATE > models.json`: the catalogue out of litellm's table (MIT licence).

`SOURCE.json` is `model_prices_and_context_window_backup.json` of the package `litellm`; NAME its name and version, DATE the day it was
taken. Only models of chat, of the providers that are spoken here by name, and only list prices.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["reduced", "written"]

PROVIDERS = {
    "openai",
    "anthropic",
    "gemini",
    "mistral",
    "cohere_chat",
    "deepseek",
    "xai",
    "groq",
    "cerebras",
    "perplexity",
    "zai",
    "moonshot",
}
FLAGS = {"tools": "function_calling", "schema": "response_schema", "reasoning": "reasoning"}
INPUTS = {"image": "vision", "document": "pdf_input", "audio": "audio_input", "video": "video_input"}
PRICES = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "image_output": "output_cost_per_image",
    "audio_input_s": "input_cost_per_audio_per_second",
}
PER_TOKEN = {"input", "output", "cached_input", "cache_write"}


def reduced(table: dict[str, dict[str, Any]], source: str, date: str) -> dict[str, Any]:
    """Keep what is used here. Prices become dollars per million tokens, per image, per second."""
    models: dict[str, dict[str, Any]] = {}
    for name, row in sorted(table.items()):
        provider = row.get("litellm_provider", "")
        if provider not in PROVIDERS or row.get("mode") not in {"chat", "responses"} or "ft:" in name:
            continue
        prices = {ours: row[theirs] for ours, theirs in PRICES.items() if row.get(theirs)}
        models.setdefault(provider.removesuffix("_chat"), {})[name.rpartition("/")[2] if provider != "groq" else name.partition("/")[2]] = {
            "context": row.get("max_input_tokens") or row.get("max_tokens") or 0,
            "output": row.get("max_output_tokens") or 0,
            "reads": ["text", *(kind for kind, flag in INPUTS.items() if row.get(f"supports_{flag}"))],
            "writes": row.get("supported_output_modalities") or ["text"],
            "can": [ours for ours, flag in FLAGS.items() if row.get(f"supports_{flag}")],
            "price": {kind: round(price * 1e6, 6) if kind in PER_TOKEN else price for kind, price in prices.items()},
        }
    return {"source": source, "date": date, "models": models}


def written(catalogue: dict[str, Any]) -> str:
    """Write it with one model a line."""
    parts = []
    for provider, models in catalogue["models"].items():
        rows = ",\n".join(f"   {json.dumps(name)}: {json.dumps(row)}" for name, row in models.items())
        parts.append(f"  {json.dumps(provider)}: {{\n{rows}\n  }}")
    head = f' "source": {json.dumps(catalogue["source"])},\n "date": {json.dumps(catalogue["date"])},\n'
    return f'{{\n{head} "models": {{\n' + ",\n".join(parts) + "\n }\n}\n"


if __name__ == "__main__":
    sys.stdout.write(written(reduced(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], sys.argv[3])))
