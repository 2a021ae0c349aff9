"""What stands in the way of a move: one finding each, with its way out.

`forever` means that a plain drain (evict and wait) would never end. The plan resolves what it can,
in the order of RESOLUTIONS, and each of those is recorded and taken back afterwards; the rest needs
a person, and refuses the plan until somebody has decided. There is no wait that turns into force.
"""

from __future__ import annotations

from typing import Literal

from pawl.core.findings import Finding, Severity
from pawl.core.workloads.facts import Part

Resolution = Literal["surge", "scale", "always-allow", "operator", "wait", ""]
RESOLUTIONS: dict[Resolution, str] = {
    "surge": "a new pod is Ready before the old one goes",
    "scale": "one replica more for the time of the move, taken back afterwards",
    "always-allow": "unhealthyPodEvictionPolicy: AlwaysAllow for the time of the move",
    "operator": "its operator moves it",
    "wait": "it is waited for",
}
"""In the order in which they are considered. All else is a person's to do: its remedy says what."""

CODES: dict[str, str] = {
    "W101": "a disruption budget can never allow an eviction",
    "W102": "two disruption budgets select one pod",
    "W103": "pods that are not healthy use up a budget",
    "W104": "a pod fits on no new node",
    "W105": "a pod without a controller",
    "W106": "data that stays on the node",
    "W107": "a claim is not there",
    "W108": "a job that an eviction would fail",
    "W109": "a webhook's only backend must move",
    "W110": "a finalizer holds a pod",
    "W111": "a pod asks not to be evicted",
    "W112": "a pod may take longer to end than a drain waits",
    "W113": "a workload dips while it moves",
    "W114": "an operator decides over its pods",
    "W115": "a webhook decides over evictions",
    "W116": "a dependency that names nothing",
    "W117": "a workload is degraded already",
    "W118": "a job without an end",
    "W119": "nothing tells when a new pod serves",
    "W120": "a scheduler that cannot be simulated",
}
"""Codes of `pawl workloads`, each described in docs/workloads.md."""


class Obstacle(Part, frozen=True, kw_only=True):
    """`subject` is a workload, pod or budget. `resolution` is what the plan does about it."""

    code: str
    subject: str
    message: str
    remedy: str
    workload: str = ""
    forever: bool = False
    resolution: Resolution = ""
    severity: Severity = Severity.BLOCKER

    def finding(self) -> Finding:
        done = f" The plan resolves it: {RESOLUTIONS[self.resolution]}." if self.resolution else ""
        return Finding(
            code=f"PAWL-{self.code}",
            severity=self.severity,
            subject=self.subject,
            message=self.message + done,
            remedy=self.remedy,
        )


def order(o: Obstacle) -> tuple[object, ...]:
    worst = {Severity.BLOCKER: 0, Severity.WARNING: 1, Severity.INFO: 2}
    return (worst[o.severity], not o.forever, o.code, o.subject, o.message)
