"""`dispatch why ID`: a decision that a sidecar made."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from dispatch.errors import BadRequest, DispatchError
from dispatch.why.text import decision_text

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `dispatch why`."""
    parser.add_argument("id", help="of the decision, from the header x-dispatch-decision (or x-request-id, where it begins with req-)")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="of the sidecar (default: %(default)s)")
    parser.add_argument(
        "--key", default=os.environ.get("DISPATCH_KEY", ""), help="an admin key, from another machine (default: $DISPATCH_KEY)"
    )
    parser.add_argument("--json", action="store_true", help="print all of it, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Ask the sidecar and print what it says."""
    try:
        found = asyncio.run(_decision(arguments))
    except (DispatchError, OSError) as error:
        print(f"dispatch: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found, indent=2) if arguments.json else decision_text(found))
    return 0


async def _decision(arguments: argparse.Namespace) -> dict[str, Any]:
    import aiohttp  # noqa: PLC0415  # off the path that requests take

    headers = {"x-dispatch-key": arguments.key} if arguments.key else {}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{arguments.url}/admin/decision", params={"id": arguments.id}) as answer,
    ):
        body = await answer.json()
        if answer.status != 200:
            raise BadRequest(body["error"]["message"], code=body["error"]["code"])
        return dict(body)
