"""The workloads' lanes: their users, with a new connection for each request.

With `node_port` the lane plays the load balancer that a cloud puts before NodePorts: it knows the
nodes that are Ready and not being taken away (read through the API each second), and gives a
request whose connection was refused to the next node. That is a connection retry, not a request
retry: once bytes were sent, a failure is a failure.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from pawl.core.config import ServiceProbe
from pawl.core.evidence import Request
from pawl.probes.apiclient import ApiClient
from pawl.probes.http1 import Http1Connection
from pawl.probes.pacing import every
from pawl.probes.sink import Sink
from pawl.probes.transport import Ask, DialFailed, NotProcessed, TryFailed

DIAL_SECONDS = 0.5
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"


class NodeList:
    """Addresses that a cloud's load balancer would use now."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.addresses: tuple[str, ...] = ()

    async def run(self) -> None:
        while True:
            outcome = await self._client.request("nodes", Ask("GET", "/api/v1/nodes?limit=500"))
            if outcome.record.ok and outcome.answer is not None:
                document = msgspec.json.decode(outcome.answer.body)
                found = tuple(a for n in document.get("items", []) if (a := eligible(n)))
                if found:
                    self.addresses = found
            await asyncio.sleep(1.0)


def eligible(node: dict[str, Any]) -> str:
    """The node's internal address if a load balancer would send new connections to it, else ""."""
    metadata, spec, status = node.get("metadata", {}), node.get("spec", {}), node.get("status", {})
    if EXCLUDED in metadata.get("labels", {}) or metadata.get("deletionTimestamp"):
        return ""
    if any(t.get("key") == TO_BE_DELETED for t in spec.get("taints", [])):
        return ""
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions", [])}
    if conditions.get("Ready") != "True":
        return ""
    for address in status.get("addresses", []):
        if address.get("type") == "InternalIP":
            return str(address.get("address", ""))
    return ""


class ServiceLane:
    def __init__(
        self,
        probe: ServiceProbe,
        nodes: NodeList,
        sink: Sink,
        *,
        per_second: float,
        deadline: float,
    ) -> None:
        self._probe = probe
        self._nodes = nodes
        self._sink = sink
        self._per_second = per_second
        self._deadline = deadline
        self._turn = 0

    async def run(self) -> None:
        if self._per_second > 0:
            await every(1 / self._per_second, self._once)

    def _targets(self) -> list[tuple[str, int, str]]:
        if self._probe.node_port:
            addresses, port = self._nodes.addresses, self._probe.node_port
            found = [(a, port, self._probe.path) for a in addresses]
        else:
            parts = [urlsplit(u) for u in self._probe.urls]
            found = [(p.hostname or "", p.port or 80, p.path or "/") for p in parts]
        self._turn += 1
        cut = self._turn % len(found) if found else 0
        return found[cut:] + found[:cut]

    async def _once(self) -> None:
        targets = self._targets()
        if not targets:
            return
        began_wall, began = time.time(), time.monotonic()
        status, error, rules, tries, where = 0, "", [], 0, ""
        try:
            async with asyncio.timeout(self._deadline):
                for host, port, path in targets:
                    tries += 1
                    where = f"{host}:{port}"
                    try:
                        last = tries == len(targets)
                        status = await self._get(host, port, path, last=last)
                        error = "" if status == 200 else f"status {status}"
                        break
                    except (DialFailed, NotProcessed) as failure:
                        error = f"{type(failure).__name__}: {failure}"
                        rules.append("next-node")
                    except TryFailed as failure:
                        error = f"{type(failure).__name__}: {failure}"
                        break
        except TimeoutError:
            error = f"no answer within {self._deadline:g} s"
        self._sink.write(
            Request(
                at=round(began_wall, 4),
                lane=f"service {self._probe.name}",
                op="get",
                ms=round((time.monotonic() - began) * 1000, 2),
                status=status,
                tries=tries,
                rules=tuple(rules),
                error=error,
                target=where,
            )
        )

    async def _get(self, host: str, port: int, path: str, *, last: bool) -> int:
        """`last`: there is no other address to turn to, so the dial may take the whole deadline."""
        try:
            async with asyncio.timeout(None if last else DIAL_SECONDS):
                connection = await Http1Connection.open(host, port, None)
        except TimeoutError as error:
            raise DialFailed("no connection within 0.5 s") from error
        try:
            headers = {"connection": "close", "user-agent": "pawl-probe"}
            return (await connection.request(Ask("GET", path, headers=headers))).status
        finally:
            connection.close()
