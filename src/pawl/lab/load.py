"""Bounded traffic to the lab's workloads, to see with one's own eyes that they serve.

The proof of an upgrade is the prober's business; this is a look, with a fixed rate and an end.
"""

from __future__ import annotations

import time

import anyio
import httpx
import msgspec

from pawl.lab.roles.load_balancer import NODE_PORTS
from pawl.lab.spec import LabSpec

MAX_RATE = 200
"""Requests a second and workload that may be asked for: the lab shares two cores with them."""


class Traffic(msgspec.Struct, kw_only=True):
    """What one workload answered. Times in milliseconds."""

    workload: str
    url: str
    requests: int = 0
    failed: int = 0
    median_ms: float = 0.0
    worst_ms: float = 0.0
    pods: dict[str, int] = {}
    """Answers by pod."""
    last_error: str = ""


async def send(lab: LabSpec, *, rate: int, seconds: float) -> list[Traffic]:
    """`rate` (1 to MAX_RATE) requests a second to each workload through the load balancer for
    `seconds`."""
    found = [
        Traffic(workload=name, url=f"http://{lab.network.load_balancer}:{port}/")
        for name, port in NODE_PORTS.items()
    ]
    async with (
        httpx.AsyncClient(timeout=10, trust_env=False) as client,
        anyio.create_task_group() as group,
    ):
        for traffic in found:
            group.start_soon(_one, client, traffic, rate, seconds)
    return found


async def _one(client: httpx.AsyncClient, traffic: Traffic, rate: int, seconds: float) -> None:
    times: list[float] = []

    async def ask() -> None:
        began = time.monotonic()
        try:
            answer = await client.get(traffic.url)
            answer.raise_for_status()
            pod = str(answer.json()["pod"])
            traffic.pods[pod] = traffic.pods.get(pod, 0) + 1
        except (httpx.HTTPError, ValueError, KeyError) as error:
            traffic.failed += 1
            traffic.last_error = f"{type(error).__name__}: {error}"
        times.append((time.monotonic() - began) * 1000)

    began = time.monotonic()
    async with anyio.create_task_group() as group:
        for number in range(int(rate * seconds)):
            await anyio.sleep(max(0.0, began + number / rate - time.monotonic()))
            traffic.requests += 1
            group.start_soon(ask)
    times.sort()
    if times:
        traffic.median_ms = round(times[len(times) // 2], 1)
        traffic.worst_ms = round(times[-1], 1)
