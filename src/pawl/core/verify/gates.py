"""What a gate is: a measurement, what counts as worse, and how much of it is too much.

Three kinds:
  compare   the level on new nodes against the level on old nodes in the same minutes, or, where no
            old node is left and for the whole cluster, against the same hour of earlier weeks
  trend     a level that keeps rising on new nodes while it does not on old ones (a leak)
  limit     a bound that must not be passed twice in a row, whatever it was compared with

A difference is too much only when it passes the relative bound and the absolute one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from pawl.core.config import GateConfig, MetricsConfig

Kind = Literal["compare", "trend", "limit"]
By = Literal["pod", "node", "cluster"]
Worse = Literal["up", "down", "both"]
Unit = Literal["s", "bytes", "ratio", "cores", "1/s", "count"]

WINDOW = "$window"
"""Stands in a query for the range that rates are taken over."""
LAG = 3
"""Steps after it could first be measured in which nothing is called missing."""


def due_after(metrics: MetricsConfig) -> float:
    """Seconds after a pod's start from which it must have been measured: its warm-up, and the first
    rate of it, seen."""
    return metrics.warm_up + metrics.rate_window + LAG * metrics.step


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One declared gate.

    `query` is PromQL, evaluated over a range; its result has the labels namespace and pod for
    `by="pod"` (averaged over the pods of a workload on one node), a node's label for "node" (see
    `metrics.node_label`), and anything for "cluster", where each resulting series is judged.
    `ratio` and `ratio_down` are treatment / control; for a trend, `ratio` is the growth allowed
    within an hour. `change` and `limit` are in the query's unit. `level` is how samples are summed
    up: "mean" where most of them are zero, as with errors. `spread` is how much equal nodes are
    expected to differ, as a share of the level. `required`: no data holds the run even if this
    was never measured.
    """

    name: str
    kind: Kind
    query: str
    by: By = "pod"
    worse: Worse = "up"
    ratio: float = 1.25
    ratio_down: float = 0.5
    change: float = 0.0
    limit: float = 0.0
    level: Literal["median", "mean"] = "median"
    spread: float = 0.05
    unit: Unit = "ratio"
    required: bool = False
    why: str = ""

    @property
    def title(self) -> str:
        return self.name.replace("-", " ")

    def beyond(self, value: float) -> bool:
        """Whether a value passes the limit (kind "limit")."""
        return value < self.limit if self.worse == "down" else value > self.limit


def effective(shipped: tuple[Gate, ...], changes: Mapping[str, GateConfig]) -> tuple[Gate, ...]:
    """The gates that hold: the shipped ones with the user's numbers over them, and the user's own.
    Raises ValueError with a sentence for each mistake, one a line."""
    known = {g.name: g for g in shipped}
    problems: list[str] = []
    for name, change in changes.items():
        given = {
            f.name: value
            for f in msgspec.structs.fields(change)
            if f.name != "enabled" and (value := getattr(change, f.name)) is not None
        }
        if not change.enabled:
            if known.pop(name, None) is None:
                problems.append(f"metrics.gates.{name}: no such gate, so it cannot be switched off")
        elif name in known:
            known[name] = msgspec.structs.replace(known[name], **given)
        elif not change.query or change.kind is None:
            problems.append(
                f"metrics.gates.{name}: is none of the shipped gates ({', '.join(known)}), so it "
                "needs `kind` and `query`"
            )
        else:
            known[name] = Gate(**{"name": name, "required": True, **given})
    problems += [p for g in known.values() for p in _problems(g)]
    if problems:
        raise ValueError("\n".join(problems))
    return tuple(known.values())


def _problems(gate: Gate) -> list[str]:
    here = f"metrics.gates.{gate.name}"
    found = []
    if gate.kind != "limit" and gate.ratio <= 1:
        found.append(f"{here}.ratio: {gate.ratio:g} allows no difference at all; write above 1")
    if gate.kind != "limit" and gate.worse != "up" and not 0 < gate.ratio_down < 1:
        found.append(f"{here}.ratio_down: write a number between 0 and 1, not {gate.ratio_down:g}")
    if gate.kind == "limit" and gate.worse == "both":
        found.append(f"{here}.worse: a limit is passed upwards or downwards, not both")
    if gate.kind == "trend" and (gate.worse != "up" or gate.by == "cluster"):
        found.append(f"{here}: a trend is judged upwards, by pod or by node")
    return found


def shown(value: float, unit: Unit) -> str:
    """A value as a person reads it: "231 ms", "0.50 %", "312 MiB"."""
    size = abs(value)
    match unit:
        case "s":
            return f"{value:.2f} s" if size >= 1 else f"{value * 1000:.3g} ms"
        case "ratio":
            return f"{value * 100:.3g} %"
        case "bytes":
            for name, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
                if size >= scale:
                    return f"{value / scale:.4g} {name}"
            return f"{value:.0f} B"
        case "cores":
            return f"{value * 1000:.3g} mCPU" if size < 1 else f"{value:.3g} CPU"
        case "1/s":
            return f"{value:.3g}/s"
        case "count":
            return f"{value:.4g}"
