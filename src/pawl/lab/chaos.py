"""Experiments on a lab's machines: power, delay and loss on their cables, pods that die.

Each is a context: what was begun is taken back on leaving. Delay and loss are `tc netem` on the
machine's own interface, inside its namespace, so they touch nothing but this machine of this lab.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import anyio
import anyio.to_thread

from pawl.core.errors import PawlError, Refused
from pawl.core.verify.pack import Check
from pawl.lab.cluster import Lab
from pawl.lab.network import netns
from pawl.lab.probe import Prober
from pawl.lab.shell import run


class Chaos:
    """Experiments on one lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @asynccontextmanager
    async def __call__(self, check: Check) -> AsyncIterator[str]:
        match check.chaos:
            case "pod-kill":
                yield await self._kill_pod(check.namespace, check.selector)
            case "redis-restart":
                selector = check.selector or "app=redis"
                yield await self._kill_pod(check.namespace, selector)
            case "node-power-off":
                self._known(check.machine)
                await self._aside(self._lab.power_off, check.machine)
                try:
                    yield f"{check.machine} was without power"
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._aside(self._lab.power_on, check.machine)
            case "network-delay":
                how = ("delay", f"{check.milliseconds:g}ms")
                said = f"{check.milliseconds:g} ms of delay on {check.machine}"
                async with self._netem([check.machine], how):
                    yield said
            case "network-loss":
                async with self._netem([check.machine], ("loss", f"{check.percent:g}%")):
                    yield f"{check.percent:g} % of packets lost on {check.machine}"
            case "api-latency":
                machines = [m.name for m in self._lab.dir.machines() if m.role == "control-plane"]
                how = ("delay", f"{check.milliseconds:g}ms")
                async with self._netem(machines, how):
                    yield f"{check.milliseconds:g} ms of delay on {', '.join(machines)}"
            case None:
                raise Refused([f"{check.name} is no experiment"])

    def _known(self, machine: str) -> None:
        known = [m.name for m in self._lab.dir.machines()]
        if machine not in known:
            raise Refused([f"the lab has no machine {machine}; it has {', '.join(known)}"])

    @asynccontextmanager
    async def _netem(self, machines: list[str], how: tuple[str, ...]) -> AsyncIterator[None]:
        """Replaced rather than added, so that one left over by a killed pawl is taken over."""
        for machine in machines:
            self._known(machine)
        try:
            for machine in machines:
                await self._aside(self._tc, machine, "replace", "netem", *how)
            yield
        finally:
            with anyio.CancelScope(shield=True):
                for machine in machines:
                    await self._aside(self._tc, machine, "del")

    def _tc(self, machine: str, verb: str, *how: str) -> None:
        inside = ["ip", "netns", "exec", netns(self._lab.name, machine)]
        run([*inside, "tc", "qdisc", verb, "dev", "eth0", "root", *how], check=verb != "del")

    async def _kill_pod(self, namespace: str, selector: str) -> str:
        """Without grace, as a crash would; the first ready one in the order of names."""
        base = f"/api/v1/namespaces/{namespace}/pods"
        query = quote(selector, safe="")
        listed = await anyio.to_thread.run_sync(self._api, "GET", f"{base}?labelSelector={query}")
        ready = sorted(
            p["metadata"]["name"]
            for p in listed["items"]
            if any(
                c["type"] == "Ready" and c["status"] == "True"
                for c in p.get("status", {}).get("conditions", ())
            )
        )
        if not ready:
            raise PawlError(f"no ready pod matches {selector} in {namespace}")
        path = f"{base}/{ready[0]}?gracePeriodSeconds=0"
        await anyio.to_thread.run_sync(self._api, "DELETE", path)
        return f"pod {namespace}/{ready[0]} was killed"

    def _api(self, method: str, path: str) -> dict[str, Any]:
        """As an administrator, through the lab's balancer."""
        prober = Prober(self._lab.spec, self._lab.pki)
        try:
            return prober.request(str(self._lab.spec.network.load_balancer), method, path)
        finally:
            prober.close()

    @staticmethod
    async def _aside(call: Callable[..., object], *arguments: object) -> None:
        await anyio.to_thread.run_sync(call, *arguments)
