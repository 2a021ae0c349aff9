"""The shipped experiments on a real lab: they happen, can be measured, and are taken back."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import pytest

from pawl.core.errors import PawlError, Refused
from pawl.core.verify.pack import Check
from pawl.lab import workloads
from pawl.lab.chaos import Chaos
from pawl.lab.cluster import Lab
from pawl.lab.probe import Prober, wait


def during(lab: Lab, look: Callable[[], object], **check: object) -> tuple[object, str]:
    """What `look` sees while the experiment lasts, and what the experiment says of itself."""

    async def go() -> tuple[object, str]:
        async with Chaos(lab)(Check(name="x", **check)) as said:  # type: ignore[arg-type]
            return await asyncio.to_thread(look), said

    return asyncio.run(go())


def connects(lab: Lab, machine: str, timeout: float = 5.0) -> float | None:
    """Milliseconds until its SSH port takes a connection, the best of three; None if it never
    does."""
    best: float | None = None
    for _ in range(3):
        began = time.monotonic()
        try:
            socket.create_connection((lab.machine(machine).address(), 22), timeout).close()
        except OSError:
            continue
        took = (time.monotonic() - began) * 1000
        best = took if best is None else min(best, took)
    return best


def worker(lab: Lab) -> str:
    return next(m.name for m in lab.dir.machines() if m.role == "worker")


def api(lab: Lab, method: str, path: str) -> dict[str, object]:
    prober = Prober(lab.spec, lab.pki)
    try:
        return prober.request(str(lab.spec.network.load_balancer), method, path)
    finally:
        prober.close()


def test_delay_on_one_machine_and_none_afterwards(small_lab: Lab) -> None:
    name = worker(small_lab)
    slow, said = during(
        small_lab, lambda: connects(small_lab, name), chaos="network-delay", machine=name,
        milliseconds=80.0,
    )  # fmt: skip
    assert isinstance(slow, float)
    assert slow > 75
    assert said == f"80 ms of delay to {name}"
    back = connects(small_lab, name)
    assert back is not None
    assert back < 60


def test_all_packets_lost_and_none_afterwards(small_lab: Lab) -> None:
    name = worker(small_lab)
    got, _ = during(
        small_lab, lambda: connects(small_lab, name, 1.0), chaos="network-loss", machine=name,
        percent=100.0,
    )  # fmt: skip
    assert got is None
    assert connects(small_lab, name) is not None


def test_the_api_is_slow_for_a_while(small_lab: Lab) -> None:
    def took() -> float:
        began = time.monotonic()
        api(small_lab, "GET", "/api/v1/nodes")
        return time.monotonic() - began

    slow, said = during(small_lab, took, chaos="api-latency", milliseconds=300.0)
    assert isinstance(slow, float)
    assert slow > 0.3
    assert "delay to the API" in said
    assert min(took() for _ in range(3)) < slow


def test_a_machine_without_power_comes_back(small_lab: Lab) -> None:
    name = worker(small_lab)
    running, _ = during(
        small_lab, lambda: small_lab.machine(name).running(), chaos="node-power-off", machine=name
    )
    assert running is False
    assert small_lab.machine(name).running()
    small_lab.up()  # returns when all of it serves again


def test_a_pod_is_killed_and_replaced(small_lab: Lab) -> None:
    path = f"/api/v1/namespaces/{workloads.NAMESPACE}/pods?labelSelector=app%3Dredis"

    def uids() -> set[str]:
        found = api(small_lab, "GET", path)["items"]
        return {
            p["metadata"]["uid"]
            for p in found  # type: ignore[attr-defined]
            if any(
                c["type"] == "Ready" and c["status"] == "True"
                for c in p.get("status", {}).get("conditions", ())
            )
        }

    before: set[str] = set()
    after: set[str] = set()
    wait("redis", lambda: bool(before.update(uids()) or before), 60)
    _, said = during(small_lab, lambda: None, chaos="redis-restart", namespace=workloads.NAMESPACE)
    assert "was killed" in said
    wait("another redis", lambda: bool(after.update(uids() - before) or after), 120)
    assert len(after) == 1


def test_what_does_not_exist_is_refused(small_lab: Lab) -> None:
    with pytest.raises(Refused, match="no machine nowhere"):
        during(small_lab, lambda: None, chaos="network-delay", machine="nowhere")
    with pytest.raises(PawlError, match="no ready pod matches"):
        during(small_lab, lambda: None, chaos="pod-kill", selector="app=nothing")
