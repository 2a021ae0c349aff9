"""One pure function per risk: facts in, findings with stable codes out.

A new risk is one function in the module of its subject, with `@check(CODE="meaning")`, and one
section in docs/findings.md.
"""

from __future__ import annotations

from pawl.core.checks import control_plane, demands, etcd, hosts, in_use, nodes, notes, workloads
from pawl.core.checks.facts import REGISTRY, Facts, FlagComplaint
from pawl.core.findings import Finding, Severity

__all__ = ["CODES", "Facts", "FlagComplaint", "run"]

SUBJECTS = (hosts, etcd, control_plane, nodes, workloads, in_use, demands, notes)
"""The modules whose import has registered their checks."""

CODES: dict[str, str] = {
    **REGISTRY.codes,
    "PAWL-K004": "a waiver covers nothing",
    "PAWL-K005": "a waiver is over",
}
"""Every code with its meaning in a few words; the last two come from `pawl.core.accept`."""

_ORDER = {Severity.BLOCKER: 0, Severity.WARNING: 1, Severity.INFO: 2}


def run(facts: Facts) -> tuple[Finding, ...]:
    """All findings of all checks, and of the moves (PAWL-W103 and on, in docs/workloads.md):
    blockers first, each once."""
    found = {f for check in REGISTRY.checks for f in check(facts)}
    found.update(facts.moves.findings() if facts.moves else ())
    return tuple(sorted(found, key=lambda f: (_ORDER[f.severity], f)))
