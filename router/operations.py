"""/healthz, /readyz and /metrics."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from router.admin.call import Call, answer
from stoker import __version__


async def healthz(call: Call) -> Response:
    """This process lives."""
    return answer({"status": "ok"})


async def readyz(call: Call) -> Response:
    """200 while requests may come: there is a route table (with the store or without), and this router is not leaving."""
    context = call.context
    words = {"store": "up" if context.mirror.connected else "away", "leader": context.pulse.leader, "version": __version__}
    return answer(words | ({"draining": True} if context.life.draining else {}), 503 if context.life.draining else 200)


async def metrics(call: Call) -> Response:
    """Prometheus' text: the cluster's figures, all routers' traffic among them."""
    return Response(await call.context.figures.text(), media_type=CONTENT_TYPE_LATEST)
