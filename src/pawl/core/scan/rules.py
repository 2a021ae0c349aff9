"""What a scan may find: lint's rules and its own, each with the code that `pawl plan` shows."""

from __future__ import annotations

from collections.abc import Iterable

from pawl.core.findings import Finding, Severity
from pawl.core.lint.finding import RULES as LINT_RULES
from pawl.core.lint.finding import LintFinding, Report
from pawl.core.model import Unread

OWN_RULES = {
    "kind-dropped": "Objects are stored whose kind the target does not serve in any version.",
    "crd-stored-version": "A custom resource is still stored in a version that goes away.",
    "crd-conversion-dead": "A conversion webhook does not answer: objects cannot be read.",
    "apiservice-dead": "An aggregated API is unavailable: discovery and clean-up stall.",
    "webhook-rule-gone": "A webhook names only API versions that are gone: it is never called.",
    "certificate-expiring": "A CA bundle that the API server trusts a backend by is near its end.",
    "finalizer-stuck": "An object waits for its finalizers and is never deleted.",
    "stored-unreadable": "Objects lie in etcd in a version that the target cannot read.",
}

RULES = {**LINT_RULES, **OWN_RULES}

CODES = {
    "api-removed": "PAWL-S001",
    "api-too-new": "PAWL-S002",
    "api-off-by-default": "PAWL-S003",
    "api-deprecated": "PAWL-S004",
    "api-unknown": "PAWL-S005",
    "field-removed": "PAWL-S006",
    "field-required": "PAWL-S007",
    "configuration-removed": "PAWL-S008",
    "volume-removed": "PAWL-S009",
    "kind-dropped": "PAWL-S010",
    "crd-stored-version": "PAWL-S011",
    "crd-conversion-dead": "PAWL-S012",
    "apiservice-dead": "PAWL-S013",
    "webhook-rule-gone": "PAWL-S014",
    "certificate-expiring": "PAWL-S015",
    "finalizer-stuck": "PAWL-S016",
    "stored-unreadable": "PAWL-S017",
}
"""Rule -> the code of its finding in a plan. docs/findings.md holds them all."""

REMEDIES = {
    "kind-dropped": "Move what they do elsewhere and delete them before the upgrade.",
    "crd-stored-version": "Rewrite every object (a storage migration), then drop the version from "
    "status.storedVersions.",
    "crd-conversion-dead": "Bring the webhook's pods back before anything else.",
    "apiservice-dead": "Bring its backend back, or delete the APIService if it is left over.",
    "webhook-rule-gone": "Add the versions that the target serves to the webhook's rules.",
    "certificate-expiring": "Renew the certificate and its CA bundle.",
    "finalizer-stuck": "Bring back the controller that owns the finalizer; remove it by hand only "
    "when that controller is gone for good.",
    "stored-unreadable": "Write every object once more before the hop, which stores it anew: "
    "`kubectl get RESOURCE -A -o json | kubectl replace -f -`, or a StorageVersionMigration.",
}


def lowered(severity: Severity) -> Severity:
    """One notch down: what a stale hint counts."""
    return Severity.WARNING if severity is Severity.BLOCKER else Severity.INFO


def remedy(finding: LintFinding) -> str:
    if text := REMEDIES.get(finding.rule):
        return text
    where = "the release" if finding.path.startswith("helm/") else "whoever writes or calls it"
    match finding.change:
        case "version":
            return f"Change {where} to {finding.replacement}: only the apiVersion."
        case "fields":
            to = finding.replacement or "the fields of the target"
            return f"Change {where} to {to}; fields change too."
        case "none":
            return f"Nothing takes its place: {where} must do without it."
        case _:
            return f"Correct {where}."


def plan_findings(findings: Iterable[LintFinding]) -> tuple[Finding, ...]:
    """The findings as a plan carries them. What the plan's own checks find (deadlocks and hosts,
    whose rule is their code) and what is only information is left out."""
    return tuple(
        Finding(
            code=CODES[f.rule],
            severity=f.severity,
            subject=f.object,
            message="; ".join([f.message, *f.evidence]) + ".",
            remedy=remedy(f),
            minor=f.minor,
            where=f.place,
            waived=f.waived,
        )
        for f in findings
        if f.rule in CODES and f.severity is not Severity.INFO
    )


def plan_unread(report: Report) -> tuple[Unread, ...]:
    """What the scan could not read, as an observation names it: a plan on it is incomplete. What
    the observation has not read either is left out, a check of its own tells it (PAWL-H001)."""
    return tuple(
        Unread(source=n.path, why=n.why)
        for n in report.not_read
        if not n.path.startswith("status/")
    )
