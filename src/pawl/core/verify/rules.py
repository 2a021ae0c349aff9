"""Alerting rules as gates: their expressions, not their notifications.

Nearly every useful rule of kubernetes-mixin waits `for: 15m` before it fires, and the swap of a
machine takes three. So the expression itself is evaluated, and two samples in a row are enough.
Of a workload it must be true for as long as a pod warms up: what moves is Pending for a while, and
its Deployment short of a replica (KubePodNotReady, KubeDeploymentReplicasMismatch). A rule whose
expression is empty proves nothing (that is what no data looks like too), so a silent rule never
counts as a pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise

import msgspec

from pawl.core.verify.curve import curve
from pawl.core.verify.reading import Reading
from pawl.core.verify.series import Line, Series

MOVING = frozenset({"pod", "instance", "node", "uid", "pod_ip", "host_ip", "endpoint", "id"})
"""Labels that change when a pod moves: without them, the same trouble is told from a new one."""
WORKLOADS = frozenset(
    {"pod", "container", "deployment", "statefulset", "daemonset", "replicaset", "job_name"}
)
"""Labels of what an upgrade moves; a series with one of them tells of a workload."""
HUSHED = frozenset({"info", "none"})
"""Severities that nobody is woken for."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """An alerting rule. `hold` is its `for` in seconds, which is not waited for; `source` the file
    that it comes from, or "server"."""

    name: str
    expr: str
    hold: float = 0.0
    labels: dict[str, str] = {}
    summary: str = ""
    source: str = ""

    @property
    def hushed(self) -> bool:
        return self.labels.get("severity", "") in HUSHED


def judge_rule(
    rule: Rule,
    now: Sequence[Series],
    before: Sequence[Series],
    *,
    step: float,
    excused: Collection[str] = (),
    warm_up: float = 0.0,
) -> Reading:
    """`now` and `before` are the expression's series, with points where it was true. `excused`
    are names and addresses of machines that are being worked on: alerts about them are expected.
    `warm_up` is how long a workload's trouble may last, in seconds, unless the rule's own `for` is
    shorter.
    """
    true = [
        s for s in now if _lasts(s, step, _patience(rule, s, warm_up)) and not _about(s, excused)
    ]
    was = Counter(_trouble(s) for s in before if _lasts(s, step))
    fresh = []
    for series in true:
        if was[_trouble(series)] > 0:
            was[_trouble(series)] -= 1
        else:
            fresh.append(series)
    if fresh and not rule.hushed:
        first = fresh[0]
        more = f" and {len(fresh) - 1} more" if len(fresh) > 1 else ""
        what = f" ({rule.summary})" if rule.summary else ""
        why = (
            f"the expression of {rule.name}{what} is true for {_told(first)}{more}, "
            f"{len(first.at)} samples; the alert itself would wait {rule.hold / 60:.0f} min."
        )
        return _made(rule, _told(first), "fail", why, first)
    if fresh:
        why = f"{rule.name} is true for {_told(fresh[0])}; its severity asks nobody."
        return _made(rule, "", "absent", why, fresh[0])
    if true:
        why = f"{rule.name} is true for {_told(true[0])}, and was before: recorded, not blamed."
        return _made(rule, "", "absent", why, true[0], known=True)
    return _made(rule, "", "absent", f"{rule.name} is not true, which alone proves nothing.", None)


def _patience(rule: Rule, series: Series, warm_up: float) -> float:
    if WORKLOADS.isdisjoint(series.labels):
        return 0.0
    return warm_up if rule.source == "server" else min(rule.hold, warm_up)


def _lasts(series: Series, step: float, least: float = 0.0) -> bool:
    """True at two samples that follow each other, and for `least` seconds in a row."""
    since = series.at[0] if series.at else 0.0
    for a, b in pairwise(series.at):
        if b - a > 1.5 * step:
            since = b
        elif b - since >= least:
            return True
    return False


def _about(series: Series, names: Collection[str]) -> bool:
    for key in ("node", "instance", "host", "nodename"):
        value = series.labels.get(key, "")
        if value and (value in names or value.rsplit(":", 1)[0] in names):
            return True
    return False


def _trouble(series: Series) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, v) for k, v in series.labels.items() if k not in MOVING))


def _told(series: Series) -> str:
    hidden = {"__name__", "alertname", "alertstate", "severity", "job", "prometheus"}
    told = [f"{k}={v}" for k, v in sorted(series.labels.items()) if k not in hidden and v]
    return ", ".join(told[:4]) or "the cluster"


def _made(
    rule: Rule, group: str, verdict: str, why: str, series: Series | None, *, known: bool = False
) -> Reading:
    line = Line(subject="", at=series.at, values=series.values) if series else None
    return Reading(
        gate=f"rule {rule.name}",
        group=group or "the cluster",
        kind="limit",
        unit="count",
        verdict="fail" if verdict == "fail" else "absent",
        why=why,
        treated=series.values[-1] if series else None,
        samples=(len(series.at) if series else 0, 0),
        known=known,
        new=curve(line) if line else None,
    )
