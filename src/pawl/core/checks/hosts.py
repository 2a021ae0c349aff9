"""Risks of the machines below: what was not read, certificates, disks, clocks, links."""

from __future__ import annotations

from collections.abc import Iterator

from pawl.core import interrupted
from pawl.core.checks.facts import Facts, check, finding
from pawl.core.findings import Finding

_DAY = 86_400.0


@check(H001="something could not be read")
def complete(facts: Facts) -> Iterator[Finding]:
    """Not read is not clean: no plan on facts that are missing."""
    for u in facts.state.unread:
        if not interrupted.explained(u, facts.state, facts.target):
            yield finding(
                "H001",
                u.source,
                f"could not be read: {u.why}",
                "Mend that, until `pawl status` is complete.",
            )


@check(H002="a host cannot be reached")
def reachable(facts: Facts) -> Iterator[Finding]:
    for host in facts.state.hosts:
        if host.reachable:
            continue
        m = facts.state.member(host.name)
        if m is not None and interrupted.member(m, facts.state, facts.target):
            continue
        a = facts.state.api_server(host.name)
        if a is not None and interrupted.server(a, facts.state):
            continue
        yield finding(
            "H002",
            f"host {host.name}",
            f"does not answer over SSH at {host.address}.",
            "Check that it is up, and the user, key and known_hosts in pawl.yaml.",
        )


@check(H003="a certificate is near its end")
def certificates(facts: Facts) -> Iterator[Finding]:
    """A component that restarts with an expired certificate does not come back."""
    limit = facts.config.policy.limits.certificate_days
    for host in facts.state.hosts:
        for c in host.certificates:
            days = (c.not_after - facts.state.taken_at) / _DAY
            if days < limit:
                when = "has expired" if days < 0 else f"expires in {days:.0f} days"
                yield finding(
                    "H003",
                    f"certificate {c.where} on {host.name}",
                    f"({c.subject}) {when}; {limit:.0f} days are asked for.",
                    "Renew it first, and restart what uses it.",
                )


@check(H004="a disk is too full")
def disks(facts: Facts) -> Iterator[Finding]:
    """Room for the new binaries everywhere, and for three databases beside etcd's own."""
    limits = facts.config.policy.limits
    for host in facts.state.hosts:
        m = facts.state.member(host.name)
        for path, free in sorted(host.disk_free.items()):
            need = limits.disk_free_bytes
            if m is not None and facts.config.etcd.data_dir.startswith(path.rstrip("/") or "/"):
                need = max(need, int(limits.disk_free_ratio_of_db * m.db_size))
            if free < need:
                yield finding(
                    "H004",
                    f"disk {path} on {host.name}",
                    f"has {free / 1e9:.1f} GB free; {need / 1e9:.1f} GB are needed.",
                    "Make room: old versions under the layout's root, logs, unused images.",
                )


@check(H005="a clock is wrong", H006="a clock was not read")
def clocks(facts: Facts) -> Iterator[Finding]:
    """Leases and certificates are judged by each host's own clock."""
    limit = facts.config.policy.limits.clock_offset
    for host in facts.state.hosts:
        if not host.reachable:
            continue
        if host.clock_offset is None:
            yield finding(
                "H006",
                f"host {host.name}",
                "did not tell its clock.",
                "Read it again; leases depend on it.",
                warn=True,
            )
        elif abs(host.clock_offset) > limit:
            yield finding(
                "H005",
                f"host {host.name}",
                f"is {host.clock_offset:+.1f} s off (limit {limit:.1f} s).",
                "Set up time synchronisation (chrony or systemd-timesyncd) first.",
            )


@check(H007="a component would come back as another version")
def links(facts: Facts) -> Iterator[Finding]:
    """A `current` link that names another version than the one that runs."""
    state = facts.state
    running: list[tuple[str, str, str]] = [
        ("etcd", m.host, m.version) for m in state.members if m.version
    ]
    running += [("kube-apiserver", a.host, a.version) for a in state.api_servers if a.version]
    running += [(c.component, c.host, c.version) for c in state.controllers if c.version]
    running += [("kubelet", n.host or n.name, n.kubelet) for n in state.nodes if n.kubelet]
    for component, name, version in running:
        host = state.host(name)
        linked = host.current.get(component) if host else None
        if linked and linked != version:
            yield finding(
                "H007",
                f"{component} on {name}",
                f"runs {version}, but its `current` link names {linked}.",
                "Somebody switched it without a restart, or a step was interrupted; the plan "
                "brings both to the target.",
                warn=True,
            )


@check(H009="a unit has failed")
def units(facts: Facts) -> Iterator[Finding]:
    for host in facts.state.hosts:
        for component in host.current:
            unit = host.unit(facts.config.layout.unit_of(component))
            if unit is not None and unit.active == "failed":
                yield finding(
                    "H009",
                    f"{unit.name} on {host.name}",
                    "has failed.",
                    f"Look at journalctl -u {unit.name}, and start it.",
                )
