"""What would make a drain wait for ever, from the same checks that a plan runs.

One judge for both: a scan shows the plan's findings on budgets, webhooks, replicas and certificates
beside its own, long before anybody plans. Their rule is their code.
"""

from __future__ import annotations

from collections.abc import Iterator

from pawl.core.checks import CODES
from pawl.core.checks.facts import Facts
from pawl.core.checks.hosts import certificates
from pawl.core.checks.workloads import budgets, overlapping, webhooks, workloads
from pawl.core.config import Config
from pawl.core.lint.finding import LintFinding
from pawl.core.model import ClusterState
from pawl.core.plan import Target

CHECKS = (budgets, overlapping, workloads, webhooks, certificates)

MEANINGS = {code: CODES[code] for code in ("PAWL-H003", *(c for c in CODES if "-W" in c))}
"""Code -> meaning of everything that may be found here."""

_API = {
    "PodDisruptionBudget": "policy/v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "pod": "v1",
}


def findings(state: ClusterState, target: str, config: Config) -> Iterator[LintFinding]:
    """What would hold up an upgrade of the whole cluster to minor `target`."""
    facts = Facts(state=state, target=Target(kubernetes=f"{target}.0"), config=config)
    for check in CHECKS:
        for found in check(facts):
            kind, _, rest = found.subject.partition(" ")
            namespace, slash, name = rest.partition("/")
            if kind == "certificate":
                name, _, host = rest.rpartition(" on ")
                path = f"hosts/{host}/{name.lstrip('/')}"
            elif slash and kind in _API:
                path = f"live/{namespace}/{kind}/{name}"
            else:
                path = f"live/{kind}/{rest}"
            if kind not in _API:
                namespace, name = "", rest
            yield LintFinding(
                rule=found.code,
                severity=found.severity,
                path=path,
                line=0,
                api_version=_API.get(kind, ""),
                kind=kind,
                namespace=namespace,
                name=name,
                message=f"{found.message} {found.remedy}",
                grade="proven",
            )
