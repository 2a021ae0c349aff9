"""The landed inventory: what each object ran before, and what it runs after."""

from __future__ import annotations

import msgspec

from pawl.core.model import ClusterState


class InventoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One object. None: not read; "absent": read, and it was not there."""

    kind: str
    name: str
    before: str | None
    after: str | None

    @property
    def changed(self) -> bool:
        return self.before != self.after


def compare(before: ClusterState | None, after: ClusterState | None) -> tuple[InventoryRow, ...]:
    """One row for each object that stands in either; empty when neither was kept."""
    old = _objects(before) if before else {}
    new = _objects(after) if after else {}
    return tuple(
        InventoryRow(
            kind=kind,
            name=name,
            before=old.get((kind, name), "absent") if before else None,
            after=new.get((kind, name), "absent") if after else None,
        )
        for kind, name in dict.fromkeys([*old, *new])
    )


def _objects(state: ClusterState) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for m in state.members:
        cluster = f", cluster version {m.cluster_version}" if m.cluster_version else ""
        role = ", learner" if m.learner else ""
        found["etcd member", m.host or m.name] = (
            f"{m.version or 'not read'}{cluster}, id {m.member_id}{role}"
            f"{'' if m.healthy else ', not healthy'}"
        )
    for a in state.api_servers:
        emulated = (
            f" as {a.emulation_version}"
            if a.emulation_version and not (a.version or "").startswith(a.emulation_version + ".")
            else ""
        )
        ready = "" if a.ready else ", not ready"
        found["API server", a.host] = f"{a.version or 'not read'}{emulated}{ready}"
    for c in state.controllers:
        ok = "" if c.healthy else ", not healthy"
        found[c.component, c.host] = f"{c.version or 'not read'}{ok}"
    for n in state.nodes:
        marks = [] if n.ready else ["not ready"]
        marks += ["cordoned"] if n.unschedulable else []
        marks += [f"taint {t.key}" for t in n.taints if t.key.startswith("pawl")]
        proxy = f", kube-proxy {n.kube_proxy}" if n.kube_proxy else ""
        tail = f", {', '.join(marks)}" if marks else ""
        found["node", n.name] = f"kubelet {n.kubelet or 'not read'}{proxy}{tail}"
    for b in state.balancer:
        found["balancer member", b.host or b.name] = f"{b.admin}, {b.check}"
    for w in state.workloads:
        found["workload", f"{w.namespace}/{w.name}"] = f"{w.ready} of {w.desired} ready"
    return found
