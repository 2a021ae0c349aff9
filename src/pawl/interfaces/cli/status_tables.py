"""The facts of one observation as tables, problems first. Decides nothing: the checks of a plan
do that; here only what is plainly not as it should be is put on top."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pawl.core.config import COMPONENTS, LimitConfig
from pawl.core.model import ClusterState

DAY = 86400.0


def render(state: ClusterState, limits: LimitConfig, seconds: float) -> list[RenderableType]:
    """Title, problems, then one table for each layer that has anything to show."""
    complete = "complete" if state.complete else "[bold red]incomplete[/]"
    title = Text.from_markup(
        f"[bold]{escape(state.cluster)}[/] read in {seconds:.1f} s, {complete}"
    )
    parts: list[RenderableType] = [title]
    if found := [*problems(state, limits)]:
        table = _table("Problems", "what", "why")
        for what, why in found:
            table.add_row(f"[red]{escape(what)}[/]", escape(why))
        parts.append(table)
    parts += [t for t in _layers(state) if t.row_count]
    return parts


def problems(state: ClusterState, limits: LimitConfig) -> Iterator[tuple[str, str]]:
    """Everything that a person should look at, worst first: not read, then not well."""
    for u in state.unread:
        yield u.source, f"not read: {u.why}"
    for m in state.members:
        label = f"etcd member {m.name or m.member_id}"
        if not m.healthy:
            yield label, "gives no linearizable read: it is down, or without quorum"
        if m.learner:
            yield label, "is a learner, without a vote"
        for alarm in m.alarms:
            yield label, f"alarm {alarm}"
    for a in state.api_servers:
        bad = [c.name for c in a.checks if not c.ok]
        if not a.ready:
            yield f"kube-apiserver {a.host}", f"not ready: {', '.join(bad) or 'no answer'}"
    for b in state.balancer:
        if b.admin != "ready" or b.check != "up":
            yield f"balancer member {b.name}", f"ordered {b.admin}, check {b.check}"
    for c in state.controllers:
        if not c.healthy:
            yield f"{c.component} {c.host}", "its unit is not active"
    for component in sorted({c.component for c in state.controllers}):
        if not any(c.leader for c in state.controllers if c.component == component):
            yield component, "no instance holds its lease"
    for n in state.nodes:
        if not n.ready:
            yield f"node {n.name}", "not Ready"
        for condition in n.conditions:
            yield f"node {n.name}", f"condition {condition}"
        if n.unschedulable:
            yield f"node {n.name}", f"cordoned by {n.cordoned_by or 'somebody (not pawl)'}"
    for h in state.hosts:
        for unit in h.units:
            if unit.active == "failed":
                yield f"host {h.name}", f"unit {unit.name} failed"
        if h.clock_offset is not None and abs(h.clock_offset) > limits.clock_offset:
            yield f"host {h.name}", f"clock is off by {h.clock_offset:+.1f} s"
        for disk, free in h.disk_free.items():
            if free < limits.disk_free_bytes:
                yield f"host {h.name}", f"{size(free)} free on {disk}"
        for certificate in h.certificates:
            days = (certificate.not_after - state.taken_at) / DAY
            if days < limits.certificate_days:
                yield (
                    f"host {h.name}",
                    f"certificate {certificate.where} ({certificate.subject}) "
                    + (f"ends in {days:.0f} days" if days > 0 else "has expired"),
                )
    for w in state.workloads:
        if w.ready < w.desired:
            yield f"{w.kind} {w.namespace}/{w.name}", f"{w.ready} of {w.desired} ready"
    for p in state.budgets:
        if p.allowed == 0 and p.expected:
            yield (
                f"budget {p.namespace}/{p.name}",
                f"allows no eviction now ({p.healthy} healthy, {p.desired_healthy} wanted)",
            )


def _layers(state: ClusterState) -> Iterator[Table]:
    etcd = _table(
        "etcd", "member", "host", "version", "cluster", "storage", "role", "term", "applied", "db"
    )
    for m in state.members:
        role = "leader" if m.leader else "learner" if m.learner else "follower"
        etcd.add_row(
            f"{m.name} {m.member_id}",
            m.host,
            m.version or "?",
            m.cluster_version or "?",
            m.storage_version or "-",
            role,
            str(m.term),
            f"{m.applied_index}/{m.raft_index}",
            f"{size(m.db_in_use)} of {size(m.db_size)}",
        )
    yield etcd
    api = _table("API servers", "host", "version", "emulates", "compatible from", "ready", "load")
    for a in state.api_servers:
        good = sum(c.ok for c in a.checks)
        api.add_row(
            a.host,
            a.version or "?",
            a.emulation_version or "-",
            a.min_compatibility_version or "-",
            f"{'yes' if a.ready else 'NO'} {good}/{len(a.checks)}",
            "-" if a.inflight is None else str(a.inflight),
        )
    yield api
    balancer = _table("Load balancer", "member", "address", "ordered", "check", "sessions")
    for b in state.balancer:
        balancer.add_row(b.name, b.address, b.admin, b.check, str(b.sessions))
    yield balancer
    controllers = _table("Controllers", "component", "host", "version", "unit", "leads")
    for c in state.controllers:
        controllers.add_row(
            c.component,
            c.host,
            c.version or "?",
            "active" if c.healthy else "NOT ACTIVE",
            "yes" if c.leader else "",
        )
    yield controllers
    nodes = _table(
        "Nodes", "node", "kubelet", "kube-proxy", "runtime", "kernel", "ready", "pods", "taints"
    )
    for n in state.nodes:
        closed = " cordoned" if n.unschedulable else ""
        nodes.add_row(
            n.name,
            n.kubelet or "?",
            n.kube_proxy or "-",
            n.runtime,
            n.kernel,
            f"{'yes' if n.ready else 'NO'}{closed}",
            str(n.pods),
            " ".join(f"{t.key}:{t.effect}" for t in n.taints),
        )
    yield nodes
    hosts = _table(
        "Hosts", "host", "roles", "runs", "cgroup", "clock", "least free", "next expiry", "epoch"
    )
    for h in state.hosts:
        expiry = min((c.not_after for c in h.certificates), default=None)
        offset = h.clock_offset
        hosts.add_row(
            h.name if h.reachable else f"{h.name} (silent)",
            " ".join(h.roles),
            _units(h.running, h.current),
            f"v{h.cgroup_version}" if h.cgroup_version else "?",
            "?" if offset is None else "ok" if offset == 0 else f"{offset:+.2f} s",
            size(min(h.disk_free.values())) if h.disk_free else "?",
            "-" if expiry is None else f"{(expiry - state.taken_at) / DAY:.0f} d",
            str(h.epoch),
        )
    yield hosts


def _units(running: dict[str, str], current: dict[str, str]) -> str:
    """What runs; with "next" where the link names another version than the one that runs."""
    return ", ".join(
        f"{c} {running[c]}"
        + (f" (next {current[c]})" if current.get(c, running[c]) != running[c] else "")
        for c in COMPONENTS
        if c in running
    )


def size(count: float) -> str:
    """Bytes for a person, in powers of 1024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, header_style="dim", overflow="fold")
    return table
