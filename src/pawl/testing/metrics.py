"""A metrics server over the simulated cluster: one pod of a workload on each node, with latency,
errors and CPU that are worse on new nodes when a test says so.

Noise is a function of pod and time, so two runs measure the same. `down` makes the server
unreachable, `empty` lets it answer with nothing, `takes` is how long a query over a range takes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial

import anyio

from pawl.core.errors import Unreachable
from pawl.core.verify.series import Series
from pawl.ports.metrics import Alert, AlertingRule
from pawl.testing.world import World

LATENCY = 0.1


class SimMetrics:
    def __init__(self, world: World, old: str) -> None:
        self.world = world
        self.old = old
        """The kubelet version that is not new."""
        self.latency_on_new = 1.0
        """Factor."""
        self.down = False
        self.empty = False
        self.takes = 0.0
        """Seconds."""
        self.queries = 0
        self._births: dict[str, tuple[str, float]] = {}

    def _pods(self, now: float) -> dict[str, tuple[str, float, bool]]:
        """Pod -> (node, since, whether its node is new). A node's pod is another one as soon as its
        kubelet is."""
        found = {}
        for node in self.world.nodes.values():
            version, since = self._births.get(node.name, ("", 0.0))
            if version != node.kubelet:
                since = now if version or node.kubelet != self.old else 1.0
                self._births[node.name] = (node.kubelet, since)
            new = node.kubelet != self.old
            found[f"web-{node.name}-{node.kubelet}"] = (node.name, since, new)
        return found

    def _value(self, query: str, pod: str, new: bool, at: float) -> float | None:
        noise = random.Random(f"{pod}/{round(at)}").gauss(0, 0.04)
        if "duration_seconds_sum" in query:
            return LATENCY * (self.latency_on_new if new else 1.0) * (1 + noise)
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
        for pod, (node, since, new) in self._pods(end).items():
            labels = {"namespace": "shop", "pod": pod}
            if query.startswith("kube_pod_info"):
                labels |= {
                    "node": node,
                    "created_by_kind": "DaemonSet",
                    "created_by_name": "web",
                }
                made += self._line(labels, max(start, since), end, step, lambda at: 1.0)
                continue
            made += self._line(
                labels,
                max(start, since),
                end,
                step,
                partial(self._value, query, pod, new),
            )
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
                labels={"namespace": "shop", "pod": pod, "node": node, **owner},
                at=(at,),
                values=(since,),
            )
            for pod, (node, since, _) in self._pods(at).items()
        )

    async def rules(self) -> tuple[AlertingRule, ...]:
        return ()

    async def alerts(self) -> tuple[Alert, ...]:
        return ()
