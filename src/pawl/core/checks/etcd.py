"""Risks of etcd: what must be well before a member may stop, and what a target binary refuses."""

from __future__ import annotations

from collections.abc import Iterator

from pawl.core import etcd_rules, flags, interrupted, quorum, skew
from pawl.core.checks.facts import Facts, check, finding
from pawl.core.findings import Finding
from pawl.core.model import EtcdMember
from pawl.core.version import Version

DEFAULT_QUOTA = 2 * 1024**3
"""etcd's `--quota-backend-bytes` when it is 0 or absent (etcd docs, system limits)."""


def _on(member: EtcdMember) -> str:
    return f"etcd member {member.name}"


@check(
    E001="an etcd member is down",
    E002="an etcd member's version is not known",
    E019="an etcd member was left stopped by an interrupted step",
)
def members_up(facts: Facts) -> Iterator[Finding]:
    """A voluntary stop needs all others healthy. Asked for every plan: each step writes to etcd."""
    for m in facts.state.members:
        if m.learner:
            continue
        if interrupted.member(m, facts.state, facts.target):
            yield finding(
                "E019",
                _on(m),
                "is stopped in the middle of an upgrade.",
                "Nothing to do: the plan finishes it first.",
                warn=True,
            )
        elif not m.healthy:
            yield finding(
                "E001",
                _on(m),
                "does not answer a linearizable read.",
                f"Look at its log (journalctl -u etcd on {m.host}) and bring it back first.",
            )
        elif m.version is None:
            yield finding(
                "E002",
                _on(m),
                "is healthy, but its version could not be read.",
                f"Check that {m.client_url} answers with the configured certificate.",
            )


@check(E003="an etcd alarm is raised", E004="an etcd learner is left over")
def clean(facts: Facts) -> Iterator[Finding]:
    """With NOSPACE every member's health is bad, so no wait would ever end; CORRUPT is worse."""
    for m in facts.state.members:
        for alarm in m.alarms:
            remedy = (
                "Compact, defragment each member, then `etcdctl alarm disarm`."
                if alarm.upper() == "NOSPACE"
                else "Compare HashKV of all members and rebuild the one that differs."
            )
            yield finding("E003", _on(m), f"has raised the alarm {alarm}.", remedy)
        if m.learner:
            yield finding(
                "E004",
                _on(m),
                "is a learner.",
                "Promote it, or remove it with `etcdctl member remove`; learners block the next "
                "membership change.",
            )


@check(E005="etcd members disagree about the leader", E015="etcd members are of two clusters")
def agreed(facts: Facts) -> Iterator[Finding]:
    voters = [m for m in facts.state.voters if m.healthy]
    if not voters:
        return
    leaders = [m.name for m in voters if m.leader]
    terms = {m.term for m in voters if m.term}
    if len(leaders) != 1 or len(terms) > 1:
        yield finding(
            "E005",
            "etcd",
            f"leader {', '.join(leaders) or 'none'}, terms {sorted(terms)}.",
            "An election is going on or the network is split: wait, then look again.",
        )
    clusters = sorted({m.cluster_id for m in voters if m.cluster_id})
    if len(clusters) > 1:
        yield finding(
            "E015",
            "etcd",
            f"members report the cluster ids {', '.join(clusters)}.",
            "pawl.yaml names endpoints of different clusters: correct it.",
        )


@check(E006="an etcd member lags behind")
def caught_up(facts: Facts) -> Iterator[Finding]:
    """Healthy is not caught up (etcd#6019): a lagging member is no support while one is away."""
    ahead = max((m.raft_index for m in facts.state.voters), default=0)
    limit = facts.config.policy.limits.etcd_lag_entries
    for m in facts.state.voters:
        if m.healthy and ahead - m.applied_index > limit:
            yield finding(
                "E006",
                _on(m),
                f"has applied {ahead - m.applied_index} entries less than the leader has "
                f"(limit {limit}).",
                "Wait until it has caught up; if it does not, look at its disk.",
            )


@check(E007="an etcd database is near its quota")
def quota(facts: Facts) -> Iterator[Finding]:
    ratio = facts.config.policy.limits.etcd_quota_ratio
    for m in facts.state.members:
        host = facts.state.host(m.host)
        said = flags.value_of(host.flags.get("etcd", ()), "--quota-backend-bytes") if host else None
        limit = int(said) if said and said.isdigit() and int(said) else DEFAULT_QUOTA
        if m.db_size > ratio * limit:
            yield finding(
                "E007",
                _on(m),
                f"uses {m.db_size / 1e6:.0f} MB of {limit / 1e6:.0f} MB "
                f"(limit {ratio:.0%}); {m.db_in_use / 1e6:.0f} MB are in use.",
                "Compact and defragment, one member at a time, or raise --quota-backend-bytes.",
            )


@check(
    E008="etcd has two members",
    E009="etcd has a single member",
    E018="etcd has an even number of members",
)
def size(facts: Facts) -> Iterator[Finding]:
    if not facts.touches_etcd:
        return
    voters = len(facts.state.voters)
    if voters == 2:
        yield finding(
            "E008",
            "etcd",
            "has two members, of which none may stop.",
            "Add a third member first.",
        )
    elif voters == 1:
        yield finding(
            "E009",
            "etcd",
            "has a single member: its restart is an outage of a few seconds.",
            "Announce it; a backup is made and proven before.",
            warn=True,
        )
    elif voters and voters % 2 == 0:
        yield finding(
            "E018",
            "etcd",
            f"has {voters} members, which tolerate no more faults than {voters - 1} "
            f"(quorum {quorum.size(voters)}).",
            "Remove or add one when it suits.",
            warn=True,
        )


@check(
    E010="an etcd release in use has a known fault",
    E011="the etcd target has a known fault",
    E012="a flag in use is refused by the etcd target",
    E020="etcd members are more than one minor apart",
)
def releases(facts: Facts) -> Iterator[Finding]:
    if not facts.touches_etcd:
        return
    target = Version.parse(facts.target.etcd)
    for row in etcd_rules.bad(target):
        if row.never_target:
            yield finding(
                "E011",
                f"etcd {target}",
                f"{row.fault} ({row.source}).",
                "Take the latest release of that minor.",
            )
    running = {}
    for m in facts.state.members:
        if m.version is not None:
            running[m.host] = Version.parse(m.version)
    for version in sorted(set(running.values())):
        for row in etcd_rules.bad(version):
            if row.as_source and version.minor_line <= target.minor_line and version != target:
                yield finding(
                    "E010",
                    f"etcd {version}",
                    f"{row.fault} ({row.source}).",
                    f"{row.as_source[0].upper()}{row.as_source[1:]}.",
                    warn=True,
                )
    minors = {v.minor_line for v in running.values()}
    if minors and max(minors) - min(minors) > 1:
        yield finding(
            "E020",
            "etcd",
            f"members run {min(minors)} to {max(minors)}.",
            "Bring all members to one minor by hand; only one step apart is supported.",
        )
    for host in facts.state.hosts:
        for flag, dropped in etcd_rules.dropped_flags(host.flags.get("etcd", ()), target):
            yield finding(
                "E012",
                f"etcd on {host.name}",
                f"{flags.name_of(flag)} stops etcd {dropped.since} and later from starting.",
                f"{dropped.remedy[0].upper()}{dropped.remedy[1:]}, in the flags file.",
            )


@check(E013="an etcd downgrade is in progress")
def downgrade(facts: Facts) -> Iterator[Finding]:
    """The cluster version stays pinned until it is completed or cancelled."""
    going = sorted({m.downgrade_target for m in facts.state.members if m.downgrade_target})
    if not going:
        return
    to = skew.minor_of(going[0])
    if facts.touches_etcd:
        target = Version.parse(facts.target.etcd).minor_line
        if to is None or target >= to:
            return  # the plan completes it, or cancels it first
    yield finding(
        "E013",
        "etcd",
        f"a downgrade to {going[0]} is enabled.",
        f"Complete it (pawl plan --only etcd --etcd {to}), or cancel it "
        "(etcdctl downgrade cancel).",
    )


@check(E014="there is no place for etcd backups")
def backup(facts: Facts) -> Iterator[Finding]:
    if facts.touches_etcd and not facts.config.backup.directory:
        yield finding(
            "E014",
            "pawl.yaml",
            "names no directory for etcd snapshots.",
            "Set backup.directory to a place outside the etcd hosts.",
        )


@check(E016="an etcd member runs on no known host")
def known_hosts(facts: Facts) -> Iterator[Finding]:
    for m in facts.state.members:
        if facts.state.host(m.host) is None:
            yield finding(
                "E016",
                _on(m),
                f"({m.client_url}) belongs to no host of pawl.yaml.",
                "Add the host with the role etcd, or remove the member.",
            )


@check(E021="the etcd machines cannot be replaced")
def replaceable(facts: Facts) -> Iterator[Finding]:
    if not facts.touches_etcd or facts.target.etcd_strategy != "replace":
        return
    if facts.config.machines.provider == "none":
        yield finding(
            "E021",
            "etcd",
            "machines shall be replaced, but pawl.yaml names no machine provider.",
            "Set machines.provider, or use --strategy etcd=in-place.",
        )
    for host in facts.state.hosts:
        if "etcd" in host.roles and len(set(host.roles)) > 1:
            yield finding(
                "E021",
                f"host {host.name}",
                f"carries {', '.join(sorted(host.roles))}: replacing it would stop all of them.",
                "Use --strategy etcd=in-place.",
            )
