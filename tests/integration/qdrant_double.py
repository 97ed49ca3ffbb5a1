"""A Qdrant server: what its REST API means is done by the in-process mode of Qdrant's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from aiohttp import web
from qdrant_client import QdrantClient
from qdrant_client.models import PointStruct, VectorParams

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Qdrant"]

KEY = "qdrant-key-0123456789"


class Qdrant:
    """`async with Qdrant() as server:`; `server.url`, and what it holds in `server.inside`."""

    def __init__(self) -> None:
        self.inside = QdrantClient(":memory:")

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[_checked])
        place = "/collections/{name}"
        app.router.add_get(place + "/exists", self._exists)
        app.router.add_put(place, self._create)
        app.router.add_put(place + "/points", self._upsert)
        app.router.add_post(place + "/points/query", self._query)
        app.router.add_post(place + "/points/count", self._count)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        self.inside.close()

    async def _exists(self, request: web.Request) -> Any:
        return {"exists": self.inside.collection_exists(request.match_info["name"])}

    async def _create(self, request: web.Request) -> Any:
        vectors = (await request.json())["vectors"]
        params = VectorParams(**vectors) if "size" in vectors else {name: VectorParams(**one) for name, one in vectors.items()}
        return self.inside.create_collection(request.match_info["name"], vectors_config=params)

    async def _upsert(self, request: web.Request) -> Any:
        points = [PointStruct(**point) for point in (await request.json())["points"]]
        self.inside.upsert(request.match_info["name"], points=points)
        return {"operation_id": 1, "status": "completed"}

    async def _query(self, request: web.Request) -> Any:
        asked = await request.json()
        query = asked["query"]
        nearest = query["nearest"] if isinstance(query, dict) else query
        kept = {"query": nearest, "limit": asked["limit"], "with_payload": asked["with_payload"], "using": asked.get("using")}
        return self.inside.query_points(request.match_info["name"], **kept).model_dump()

    async def _count(self, request: web.Request) -> Any:
        return self.inside.count(request.match_info["name"]).model_dump()


@web.middleware
async def _checked(request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> web.Response:
    """The key, the envelope, and faults as Qdrant tells them."""
    if request.headers.get("api-key") != KEY:
        return web.json_response({"status": {"error": "forbidden"}}, status=403)
    try:
        return web.json_response({"result": await handler(request), "status": "ok", "time": 0.0})
    except ValueError as error:
        return web.json_response({"status": {"error": str(error)}}, status=400)
