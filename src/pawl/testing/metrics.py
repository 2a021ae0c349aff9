"""A metrics server over the simulated cluster: one pod of a workload on each node, with latency,
errors and CPU that are worse on new nodes when a test says so.

Noise is a function of pod and time, so two runs measure the same. `down` makes the server
unreachable, `empty` lets it answer with nothing, `takes` is how long a query over a range takes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import anyio

from pawl.core.errors import Unreachable
from pawl.core.verify.series import Series
from pawl.ports.metrics import Alert, AlertingRule
from pawl.testing.world import World

LATENCY = 0.1


@dataclass(frozen=True)
class _Ran:
    """A pod: where, from when until when, and whether its node's kubelet is new."""

    node: str
    since: float
    new: bool
    until: float = math.inf


class SimMetrics:
    def __init__(self, world: World, old: str) -> None:
        self.world = world
        self.old = old
        """The kubelet version that is not new."""
        self.latency_on_new = 1.0
        """Factor."""
        self.worse = ""
        """Which new nodes have it, by the beginning of their names; all of them."""
        self.since = 1.0
        """From when on the old pods are there, and measured."""
        self.down = False
        self.empty = False
        self.takes = 0.0
        """Seconds."""
        self.queries = 0
        self._ran: dict[str, _Ran] = {}

    def _pods(self) -> dict[str, _Ran]:
        """Every pod that ever was, by name. A node's pod is another as soon as its kubelet is."""
        now = self.world.now
        there = {f"web-{n.name}-{n.kubelet}": n for n in self.world.nodes.values()}
        for name in self._ran.keys() - there.keys():
            if self._ran[name].until == math.inf:
                self._ran[name] = replace(self._ran[name], until=now)
        for name, node in there.items():
            if name not in self._ran:
                new = node.kubelet != self.old
                self._ran[name] = _Ran(node=node.name, since=now if new else self.since, new=new)
        return self._ran

    def _there(self) -> dict[str, _Ran]:
        return {name: ran for name, ran in self._pods().items() if ran.until == math.inf}

    def _value(self, query: str, pod: str, ran: _Ran, at: float) -> float | None:
        noise = random.Random(f"{pod}/{round(at)}").gauss(0, 0.04)
        if "duration_seconds_sum" in query:
            slow = ran.new and ran.node.startswith(self.worse)
            return LATENCY * (self.latency_on_new if slow else 1.0) * (1 + noise)
        if "container_cpu_usage" in query:
            return 0.5 * (1 + noise)
        if "kube_pod_status_ready" in query:
            return 0.0
        return None

    async def range(self, query: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        self.queries += 1
        if self.takes:
            await anyio.sleep(self.takes)
        if self.down:
            raise Unreachable("the metrics server at http://sim cannot be reached: it is down")
        if self.empty:
            return ()
        if "histogram_quantile(0.99, sum by (instance, le) (rate(etcd_disk_wal" in query:
            return self._line({"instance": "etcd-1"}, start, end, step, lambda at: 0.01)
        made: list[Series] = []
        for pod, ran in self._pods().items():
            labels = {"namespace": "shop", "pod": pod}
            first, last = max(start, ran.since), min(end, ran.until)
            if query.startswith("kube_pod_info"):
                labels |= {
                    "node": ran.node,
                    "created_by_kind": "DaemonSet",
                    "created_by_name": "web",
                }
                made += self._line(labels, first, last, step, lambda at: 1.0)
                continue
            made += self._line(labels, first, last, step, partial(self._value, query, pod, ran))
        return tuple(made)

    @staticmethod
    def _line(
        labels: dict[str, str],
        start: float,
        end: float,
        step: float,
        value: Callable[[float], float | None],
    ) -> tuple[Series, ...]:
        first = math.ceil(start / step) * step
        at = [first + i * step for i in range(int((end - first) // step) + 1)]
        points = [(t, v) for t in at if (v := value(t)) is not None]
        if not points:
            return ()
        return (
            Series(
                labels=labels, at=tuple(t for t, _ in points), values=tuple(v for _, v in points)
            ),
        )

    async def query(self, query: str, at: float) -> tuple[Series, ...]:
        if self.down:
            raise Unreachable("the metrics server at http://sim cannot be reached: it is down")
        if self.empty or not ("start_time" in query or query.startswith("kube_pod_info")):
            return ()
        owner = {"created_by_kind": "DaemonSet", "created_by_name": "web"}
        return tuple(
            Series(
                labels={"namespace": "shop", "pod": pod, "node": ran.node, **owner},
                at=(at,),
                values=(ran.since,),
            )
            for pod, ran in self._there().items()
        )

    async def rules(self) -> tuple[AlertingRule, ...]:
        return ()

    async def alerts(self) -> tuple[Alert, ...]:
        return ()
