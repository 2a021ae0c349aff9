"""What moving does to pods, seen from outside by watches: pure bookkeeping over their events.

Feed each event with the moment at which it came; the figures are those of the whole stretch. A pod
counts as Ready while its condition says so and nobody has asked it to end, which is when a Service
stops sending it anything new.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Pod:
    name: str
    app: str
    node: str = ""
    ready: bool = False
    leaving: bool = False
    new: bool = False
    """Made after the measurement began."""
    began: float = 0.0
    ready_at: float | None = None
    asked_at: float | None = None
    """When it was asked to end."""

    @property
    def serves(self) -> bool:
        return self.ready and not self.leaving


@dataclass
class Movement:
    """`old`: nodes that go. `desired`: app -> replicas. `budgets`: app -> healthy pods it asks for.
    `surging`: apps that can surge. Apps are told by the label `app`."""

    old: frozenset[str]
    desired: dict[str, int]
    budgets: dict[str, int]
    surging: frozenset[str]
    began: float
    pods: dict[str, Pod] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """app -> pod-seconds of desired − ready."""
    gaps: list[tuple[float, float, str]] = field(default_factory=list)
    """(from, until, app): moments in which pods were missing."""
    breaches: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    """Moves onto an old node."""
    peak: int = 0
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """app -> each new pod's time from its first sight to Ready."""
    ends: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """app -> each old pod's time from being asked to end until it is gone."""
    moving: int = 0
    starts: int = 0
    _at: float = 0.0
    _breached: set[str] = field(default_factory=set)

    def first(self, items: list[dict[str, Any]]) -> None:
        """The pods that are there when it begins."""
        self._at = self.began
        for item in items:
            self._take(self.began, item, new=False)
        self.moving = sum(p.node in self.old and p.app in self.desired for p in self.pods.values())

    def event(self, at: float, kind: str, item: dict[str, Any]) -> None:
        """One event of the watch ("ADDED", "MODIFIED", "DELETED")."""
        self.until(at)
        if kind == "DELETED":
            gone = self.pods.pop(item["metadata"]["uid"], None)
            if gone is not None and not gone.new and gone.asked_at is not None:
                self.ends[gone.app].append(at - gone.asked_at)
        else:
            self._take(at, item, new=True)
        self._look(at)

    def until(self, at: float) -> None:
        """Time passes with the pods as they are."""
        span, self._at = max(0.0, at - self._at), max(at, self._at)
        for app, wanted in self.desired.items():
            short = max(0, wanted - self.serving(app))
            self.missing[app] += span * short
            if span and short:
                self.gaps.append((at - span, at, app))

    def serving(self, app: str) -> int:
        return sum(p.app == app and p.serves for p in self.pods.values())

    def _take(self, at: float, item: dict[str, Any], *, new: bool) -> None:
        meta, status = item["metadata"], item.get("status", {})
        pod = self.pods.get(meta["uid"])
        if pod is None:
            app = (meta.get("labels") or {}).get("app", "")
            pod = self.pods[meta["uid"]] = Pod(meta["name"], app, new=new, began=at)
        node = item.get("spec", {}).get("nodeName", "")
        if node and not pod.node:
            pod.node = node
            if pod.new:
                self.starts += 1
                if node in self.old:
                    self.back.append(f"{pod.name} on {node}")
        pod.leaving = bool(meta.get("deletionTimestamp"))
        if pod.leaving and pod.asked_at is None:
            pod.asked_at = at
        conditions = status.get("conditions") or ()
        pod.ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        if pod.ready and pod.ready_at is None:
            pod.ready_at = at
            if pod.new:
                self.seconds[pod.app].append(at - pod.began)

    def _look(self, at: float) -> None:
        flying = sum(p.new and p.ready_at is None and not p.leaving for p in self.pods.values())
        self.peak = max(self.peak, flying)
        for app, least in self.budgets.items():
            healthy = self.serving(app)
            if healthy < least and app not in self._breached:
                self.breaches.append(
                    f"{app} had {healthy} of {least} healthy after {at - self.began:.1f} s"
                )
            (self._breached.add if healthy < least else self._breached.discard)(app)

    # -- the figures

    @property
    def dip(self) -> float:
        """Pod-seconds that were missing of what can surge."""
        return sum(s for app, s in self.missing.items() if app in self.surging)

    @property
    def amplification(self) -> float:
        return self.starts / self.moving if self.moving else 0.0
