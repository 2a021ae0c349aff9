"""A simulated twin of an observed cluster: the recording target of a dry run.

The dry run takes the same path as a run (runner, decision, executors, guard), only its ports lead
into this twin. So plan and run cannot drift apart, and what it prints is what a run would do to a
cluster in this state. It is a model: it knows no disk that is slow and no image that is missing.
"""

from __future__ import annotations

from msgspec.structs import replace

from pawl.core.config import Config
from pawl.core.events import Approved, RunEnded
from pawl.core.model import ClusterState
from pawl.core.plan import Plan
from pawl.core.version import Minor
from pawl.engine.record import Narrator
from pawl.engine.runner import Runner
from pawl.testing.cluster import SimCluster
from pawl.testing.etcd import Member
from pawl.testing.machine import SimHost, Unit
from pawl.testing.pods import Deployment, SimNode
from pawl.testing.virtual import EPOCH, run_virtual
from pawl.testing.world import Change, Entry

RUN = "dry-run"


def twin(state: ClusterState, config: Config) -> SimCluster:
    """Must be called inside a virtual loop."""
    cluster = SimCluster(etcd=0, control_planes=0, workers=0)
    cluster.config = replace(config, policy=replace(config.policy, approvals=()))
    world = cluster.world
    world.has_balancer = config.load_balancer is not None and bool(state.balancer)
    world.machines_provider = config.machines.provider != "none"
    for host in state.hosts:
        copy = SimHost(
            name=host.name,
            address=host.address,
            roles=host.roles,
            pool=host.pool,
            up=host.reachable,
            machine_id=host.machine_id,
            boot_id=host.boot_id,
            current=dict(host.current),
            staged={c: list(v) for c, v in host.staged.items()},
            flags=dict(host.flags),
        )
        for component, version in host.current.items():
            copy.staged.setdefault(component, [])
            if version not in copy.staged[component]:
                copy.staged[component].append(version)
            unit = copy.units.setdefault(component, Unit())
            found = host.unit(config.layout.unit_of(component))
            if found is None or found.active == "active":
                unit.active = "active"
                unit.version = host.running.get(component, version)
                unit.flags = host.flags.get(component, ())
                unit.ready_at = EPOCH - 3600.0
        world.hosts[host.name] = copy
    for member in state.members:
        world.etcd.members[member.host] = Member(host=member.host, member_id=member.member_id)
        if member.cluster_version:
            world.etcd.cluster = world.etcd.storage = Minor.parse(member.cluster_version)
        if member.leader:
            world.etcd.leader = member.host
    for entry in state.balancer:
        world.balancer[entry.host or entry.name] = Entry(
            host=entry.host or entry.name, admin="ready" if entry.admin == "ready" else "drain"
        )
    if config.load_balancer is not None:
        world.balancer_host = config.load_balancer.host
    for node in state.nodes:
        world.nodes[node.name] = SimNode(
            name=node.name,
            host=node.host or node.name,
            kubelet=node.kubelet or "",
            kube_proxy=node.kube_proxy or "",
            taints=list(node.taints),
            unschedulable=node.unschedulable,
            cordoned_by=node.cordoned_by,
        )
    world.pods.deployments.extend(
        Deployment(
            namespace=b.namespace,
            name=b.name,
            replicas=b.expected,
            minimum=b.desired_healthy,
        )
        for b in state.budgets
    )
    world.settle()
    for pod in world.pods.pods.values():
        pod.ready_at = EPOCH
    world.violations.clear()
    return cluster


def rehearse(
    plan: Plan, state: ClusterState, config: Config, narrator: Narrator | None = None
) -> tuple[RunEnded, tuple[Change, ...], tuple[str, ...]]:
    """Run the plan against a twin; returns how it ended, what it changed, invariants it broke."""

    async def go() -> tuple[RunEnded, tuple[Change, ...], tuple[str, ...]]:
        cluster = twin(state, config)
        for name in sorted({s.approval for s in plan.steps if s.approval}):
            # Nobody is there to give it; a run would wait for a person here.
            given = Approved(at=EPOCH, run=RUN, digest=plan.digest, name=name, by=RUN)
            cluster.journal.append(given)
        runner = Runner(
            tools=cluster.session("rehearsal"),
            plan=plan,
            run=RUN,
            holder="rehearsal",
            known_dead=lambda _: True,
            lock=cluster.lock,
            narrator=narrator,
        )
        ended = await runner.run()
        return ended, tuple(cluster.world.changes), tuple(cluster.world.violations)

    return run_virtual(go())
