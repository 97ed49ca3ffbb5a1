"""Tokens counted before a request is sent: by the provider where it does that, by our own estimate where it does not.

An estimate says that it is one, in `x-dispatch-estimated`. It goes by what was learned from the usage that answers of the model reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dispatch.server.answers import page
from dispatch.server.openai_api import Door, check_type, identify

if TYPE_CHECKING:
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound, Scan

__all__ = ["Counting"]


class Counting(Door):
    """A door that counts."""

    __slots__ = ()

    member = ""
    """Name of the count in the answer."""

    def __call__(self, front: Front, client: ClientConnection, inbound: Inbound, scan: Scan | None = None) -> None:
        """Pass the question on, or answer it."""
        check_type(inbound)
        key = identify(front, inbound)
        scan = inbound.scan() if scan is None else scan
        generation = front.dispatcher.generation
        assert generation is not None
        model, _ = generation.find(scan.model, key)
        if self.name in model.doors:
            super().__call__(front, client, inbound, scan)
            return
        tokens, _ = generation.expect(model, scan.text_bytes, 0, 1)
        body = msgspec.json.encode({self.member: tokens})
        client.answer(page(200, body, extra=b"x-dispatch-estimated: true\r\n", keep=client.keeps))
