"""Experiments on a lab's machines: power, delay and loss on their cables, pods that die.

Each is a context: what was begun is taken back on leaving. Delay and loss are rules in the
machine's own network namespace, so they touch nothing but this machine of this lab.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote

import anyio
import anyio.to_thread

from pawl.core.errors import PawlError, Refused
from pawl.core.verify.pack import Check
from pawl.lab.cluster import Lab
from pawl.lab.delayline import QUEUE
from pawl.lab.network import netns
from pawl.lab.probe import Prober
from pawl.lab.shell import ToolFailed, run

IPTABLES = ("iptables", "-w", "5", "-t", "raw")
ANY: tuple[str, ...] = ()
API = ("-p", "tcp", "--dport", "6443")
START = 120.0
"""Seconds for a small Python program to start on a busy machine."""


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
                async with self._delayed([check.machine], check.milliseconds, ANY):
                    yield f"{check.milliseconds:g} ms of delay to {check.machine}"
            case "network-loss":
                async with self._lossy(check.machine, check.percent):
                    yield f"{check.percent:g} % of the packets to {check.machine} lost"
            case "api-latency":
                machines = [m.name for m in self._lab.dir.machines() if m.role == "control-plane"]
                async with self._delayed(machines, check.milliseconds, API):
                    yield f"{check.milliseconds:g} ms of delay to the API of {', '.join(machines)}"
            case None:
                raise Refused([f"{check.name} is no experiment"])

    def _known(self, machine: str) -> None:
        known = [m.name for m in self._lab.dir.machines()]
        if machine not in known:
            raise Refused([f"the lab has no machine {machine}; it has {', '.join(known)}"])

    @asynccontextmanager
    async def _rule(self, machine: str, *rule: str) -> AsyncIterator[None]:
        """An iptables rule for what comes in, in the machine's namespace alone. One that a killed
        pawl has left is taken away first."""
        self._known(machine)
        try:
            await self._aside(self._clean, machine, rule)
            await self._aside(self._iptables, machine, "-I", rule)
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await self._aside(self._clean, machine, rule)

    def _iptables(self, machine: str, verb: str, rule: tuple[str, ...]) -> None:
        run([*self._inside(machine), *IPTABLES, verb, "PREROUTING", "-i", "eth0", *rule])

    def _clean(self, machine: str, rule: tuple[str, ...]) -> None:
        with contextlib.suppress(ToolFailed):
            while True:
                self._iptables(machine, "-D", rule)

    def _inside(self, machine: str) -> list[str]:
        return ["ip", "netns", "exec", netns(self._lab.name, machine)]

    @asynccontextmanager
    async def _lossy(self, machine: str, percent: float) -> AsyncIterator[None]:
        share = f"{percent / 100:.6f}"
        how = ("-m", "statistic", "--mode", "random", "--probability", share, "-j", "DROP")
        async with self._rule(machine, *how):
            yield

    @asynccontextmanager
    async def _delayed(
        self, machines: list[str], milliseconds: float, what: tuple[str, ...]
    ) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for machine in machines:
                self._known(machine)
                await stack.enter_async_context(self._line(machine, milliseconds))
                queue = ("-j", "NFQUEUE", "--queue-num", str(QUEUE), "--queue-bypass")
                await stack.enter_async_context(self._rule(machine, *what, *queue))
            yield

    @asynccontextmanager
    async def _line(self, machine: str, milliseconds: float) -> AsyncIterator[None]:
        """The delay line in the machine's namespace; it ends with its standard input."""
        process = await anyio.open_process(
            [*self._inside(machine), sys.executable, "-m", "pawl.lab.delayline", str(milliseconds)],
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        try:
            assert process.stdout is not None
            try:
                with anyio.fail_after(START):
                    await process.stdout.receive()
            except (anyio.EndOfStream, TimeoutError) as error:
                raise PawlError(f"packets to {machine} cannot be delayed here") from error
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await process.aclose()

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
