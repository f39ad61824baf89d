"""What nodes know of a model that no service names yet: asked over the workers' own HTTP, before something is said of a spec."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import httpx2
import msgspec

from model_variants.offers import may_go
from router.admin.worker_logs import why_not
from stoker.keyring import worker_key
from stoker.planning.vitals import Vital, Watch
from stoker.records import NodeRecord
from stoker.specs import ServiceSpec

SECONDS = 5.0
"""For all nodes together."""

_AT_ONCE = 32
_MOST_BYTES = 4 * 2**20


class Unheard(Exception):
    """A node did not say what it knows; the message says why."""


class WorkerFacts:
    """`http` and the cluster's key as in WorkerLogs."""

    def __init__(self, http: httpx2.AsyncClient, cluster_key: bytes) -> None:
        self._http, self._key = http, cluster_key
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def fill(
        self, spec: ServiceSpec, nodes: Mapping[str, NodeRecord], seen: Mapping[str, float], now: float
    ) -> tuple[dict[str, NodeRecord], dict[str, str]]:
        """The nodes with their facts of the spec's model, and why those that could not say are without, by name.

        Asked are the living ones that the spec may go to and that have published none. Takes at most SECONDS.
        """
        asked = [node for node in nodes.values() if _may_know(spec, node) and Watch(now=now, seen=seen).vital(node) is Vital.ALIVE]
        filled, unheard = dict(nodes), {}
        answers = await asyncio.gather(*(self._ask(node, spec.model) for node in asked))
        for node, answer in zip(asked, answers, strict=True):
            if isinstance(answer, str):
                unheard[node.name] = answer
            else:
                filled[node.name] = msgspec.structs.replace(node, facts={**node.facts, spec.model: answer})
        return filled, unheard

    async def _ask(self, node: NodeRecord, model: str) -> dict[str, object] | str:
        """Its facts, or a sentence."""
        if not node.worker_url:
            return f"the worker of {node.name} says no address to be asked at"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS), self._slots:
                try:
                    return await self._get(node, model)
                except Unheard as why:
                    return str(why)
                except httpx2.HTTPError as error:
                    return f"the worker of {node.name} does not answer ({type(error).__name__})"
        return f"the worker of {node.name} did not answer within {SECONDS:g} s"

    async def _get(self, node: NodeRecord, model: str) -> dict[str, object]:
        headers = {"authorization": f"Bearer {worker_key(self._key, node.name)}"}
        url = f"{node.worker_url.rstrip('/')}/facts"
        async with self._http.stream("GET", url, params={"model": model}, headers=headers, timeout=SECONDS) as answer:
            if answer.status_code != 200:
                raise Unheard(_why(answer.status_code, node.name))
            body = bytearray()
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > _MOST_BYTES:
                    raise Unheard(f"the worker of {node.name} says more than {_MOST_BYTES // 2**20} MiB of the model")
        try:
            return msgspec.json.decode(body, type=dict[str, object])
        except msgspec.DecodeError:
            raise Unheard(f"the worker of {node.name} answers something that is not understood here") from None


def _may_know(spec: ServiceSpec, node: NodeRecord) -> bool:
    here = node.group == spec.resource_group and not node.removed
    return here and spec.model not in node.facts and may_go(spec, node) and not (spec.model == "demo" or spec.model.startswith("hf:"))


def _why(status: int, node: str) -> str:
    if status == 404:
        return f"the worker of {node} is of an older version, and is not asked about models that no service names"
    if status == 503:
        return f"the worker of {node} is still reading the model: ask again"
    return why_not(status, node)
