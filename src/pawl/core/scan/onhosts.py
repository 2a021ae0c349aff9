"""What the hosts have in use, from the same checks that a plan runs: their rule is their code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pawl.core.beforehand import Beforehand
from pawl.core.checks import CODES, demands, in_use
from pawl.core.checks.facts import Check, Facts
from pawl.core.config import Config
from pawl.core.inuse.facts import HostUse
from pawl.core.knowledge.store import Knowledge
from pawl.core.lint.finding import LintFinding
from pawl.core.model import ClusterState
from pawl.core.plan import Target
from pawl.core.scan.facts import Missed

CHECKS: tuple[Check, ...] = (
    in_use.feature_gates,
    in_use.removed_flags,
    in_use.admission_plugins,
    in_use.configuration,
    in_use.served_apis,
    demands.runtimes,
    demands.cgroups,
    demands.kernels,
    demands.providers,
)
MEANINGS = {code: CODES[code] for code in CODES if code.startswith("PAWL-U")}
"""Code -> meaning of everything that may be found here."""


def findings(
    state: ClusterState, uses: Sequence[HostUse], target: str, config: Config, tables: Knowledge
) -> Iterator[LintFinding]:
    facts = Facts(
        state=state,
        target=Target(kubernetes=f"{target}.0"),
        config=config,
        beforehand=Beforehand(uses=tuple(uses)),
        knowledge=tables,
    )
    for check in CHECKS:
        for found in check(facts):
            host, _, rest = found.where.partition(":")
            file, _, line = rest.rpartition(":")
            if not line.isdigit():
                file, line = rest, "0"
            component, _, _ = found.subject.partition(" on ")
            yield LintFinding(
                rule=found.code,
                severity=found.severity,
                path=f"hosts/{host}/{file.lstrip('/')}".rstrip("/"),
                line=int(line),
                api_version="",
                kind=component,
                name=host,
                message=f"{found.message} {found.remedy}",
                minor=found.minor,
                grade="proven",
            )


def missed(uses: Sequence[HostUse]) -> Iterator[Missed]:
    """What a component reads and this scan could not."""
    for use in uses:
        for unread in use.unread:
            yield Missed(where=f"hosts/{use.host}/{unread.source.lstrip('/')}", why=unread.why)
