"""What boto3 reads in an answer of Converse: by botocore's own parsers."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

import botocore.session  # type: ignore[import-untyped]  # botocore has no types
from botocore.eventstream import EventStreamBuffer  # type: ignore[import-untyped]  # the same
from botocore.parsers import EventStreamJSONParser, create_parser  # type: ignore[import-untyped]  # the same

from tests.contract.facts import CONVERSE_STOPS, Facts, whole

__all__ = ["boto_sdk"]


@cache
def _shape(name: str) -> Any:
    return botocore.session.get_session().get_service_model("bedrock-runtime").operation_model(name).output_shape


def _events(body: bytes) -> list[dict[str, Any]]:
    parser = EventStreamJSONParser()
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    return [parser.parse(event.to_response_dict(), _shape("ConverseStream").members["stream"]) for event in buffer]


def boto_sdk(body: bytes, stream: bool) -> Facts:
    if not stream:
        given = {"status_code": 200, "headers": {}, "body": body}
        tree = create_parser("rest-json").parse(given, _shape("Converse"))
        return _facts(tree["output"]["message"]["content"], tree["stopReason"], tree["usage"])
    place: dict[int, dict[str, Any]] = {}
    order = []
    stop, usage = "", dict[str, Any]()
    for event in _events(body):
        ((name, inside),) = ((name, inside) for name, inside in event.items() if name != "ResponseMetadata")
        order.append(name)
        block = place.setdefault(inside.get("contentBlockIndex", -1), {"text": "", "json": "", "thinking": {}, "start": {}})
        if name == "contentBlockStart":
            block["start"] = inside["start"]
        elif name == "contentBlockDelta":
            delta = inside["delta"]
            block["text"] += delta.get("text", "")
            block["json"] += (delta.get("toolUse") or {}).get("input", "")
            for key, value in (delta.get("reasoningContent") or {}).items():
                block["thinking"][key] = block["thinking"][key] + value if key in block["thinking"] else value
        stop = inside.get("stopReason", stop)
        usage = inside.get("usage", usage)
    assert (order[0], order[-2:]) == ("messageStart", ["messageStop", "metadata"])
    return _facts([whole(block) for block in place.values()], stop, usage)


def _facts(blocks: list[dict[str, Any]], stop: str, usage: dict[str, Any]) -> Facts:
    facts = Facts()
    for block in blocks:
        cited = block.get("citationsContent") or {}
        facts.text += block.get("text") or "".join(one["text"] for one in cited.get("content") or ())
        thought = block.get("reasoningContent") or {}
        shown = thought.get("reasoningText") or {}
        facts.thinking += shown.get("text") or ""
        facts.signatures += [one for one in (shown.get("signature"), _text(thought.get("redactedContent"))) if one]
        if "toolUse" in block:
            facts.tools.append((block["toolUse"]["name"], block["toolUse"]["input"]))
    assert usage["totalTokens"] == sum(usage[f"{name}Tokens"] for name in ("input", "output", "cacheReadInput", "cacheWriteInput"))
    facts.usage = (usage["totalTokens"] - usage["outputTokens"], usage["outputTokens"], usage["cacheReadInputTokens"])
    facts.finish = CONVERSE_STOPS[stop]
    return facts


def _text(blob: bytes | None) -> str:
    """What a model hides, as its provider says it: in base64, which boto3 decodes, or in a form of its own, which stands in the bytes."""
    if blob is None:
        return ""
    own = blob.removeprefix(b"dispatch:")
    return base64.b64encode(blob).decode() if own == blob else own.decode()
