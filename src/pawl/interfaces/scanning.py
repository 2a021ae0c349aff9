"""A scan of one cluster, for every command that wants one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pawl.core.config import Config
from pawl.core.errors import Unreachable
from pawl.core.inuse.facts import HostUse
from pawl.core.knowledge.answer import demand_known
from pawl.core.knowledge.store import Knowledge
from pawl.core.lint.finding import Report
from pawl.core.lint.judge import Judge
from pawl.core.model import ClusterState
from pawl.core.scan import deadlocks, onhosts
from pawl.core.scan.collect import Collector
from pawl.core.scan.facts import Missed
from pawl.core.scan.lens import Lens
from pawl.core.scan.requests import AUDIT_DAYS
from pawl.core.version import Version
from pawl.engine.scan import scan
from pawl.ports.scan import ScanSource

ELSEWHERE = ("etcd", "load balancer", "machines")
"""Sources of an observation that a scan does not need: that one was not read is not its matter."""


class Cluster(Protocol):
    """What a scan needs of a session."""

    config: Config

    def scan_source(
        self, lens: Lens, state: ClusterState, files: Sequence[Path] = (), days: float = AUDIT_DAYS
    ) -> ScanSource: ...


async def scanned(
    cluster: Cluster,
    state: ClusterState,
    tables: Knowledge,
    to: str = "",
    *,
    files: Sequence[Path] = (),
    audit_days: float = AUDIT_DAYS,
    uses: Sequence[HostUse] = (),
) -> Report:
    """Scan the cluster of which `state` is a fresh observation, for minor `to` ("": the next one).

    `uses` is what the hosts have in use, where they were read.

    Raises ConfigError for a target that the tables do not know. A plan takes
    `core.scan.rules.plan_findings` and `plan_unread` of the report.
    """
    target = demand_known(tables, to or next_minor(state))
    collector = Collector(
        Judge(tables, target),
        now=state.taken_at,
        audit_days=audit_days,
        certificate_days=cluster.config.policy.limits.certificate_days,
    )
    collector.keep(deadlocks.findings(state, target, cluster.config))
    collector.keep(onhosts.findings(state, uses, target, cluster.config, tables))
    collector.add(onhosts.missed(uses))
    collector.add(
        Missed(where=f"status/{u.source}", why=u.why)
        for u in state.unread
        if not u.source.startswith(ELSEWHERE)
    )
    return await scan(cluster.scan_source(collector.lens, state, files, audit_days), collector)


def next_minor(state: ClusterState) -> str:
    """The minor after that of the oldest API server."""
    minors = [Version.parse(a.version).minor_line for a in state.api_servers if a.version]
    if not minors:
        raise Unreachable("no API server told its version: say the target with --to")
    return str(min(minors) + 1)
