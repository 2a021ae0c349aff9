"""Each risk is found, and a healthy cluster has none. Every code is proven and documented."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from pawl.core import checks
from pawl.core.checks import CODES, Facts, FlagComplaint
from pawl.core.config import BackupConfig, MachinesConfig, MetricsConfig, SoakConfig
from pawl.core.errors import Refused
from pawl.core.findings import Severity
from pawl.core.model import (
    Certificate,
    ClusterState,
    DisruptionBudget,
    Taint,
    UnitState,
    Unread,
    Webhook,
    Workload,
)
from pawl.core.plan import Target
from pawl.core.planner import plan
from pawl.core.scan.rules import CODES as SCAN_CODES
from pawl.testing.clusters import TAKEN_AT, cluster, config

ROOT = Path(__file__).parents[2]
GOAL = Target(kubernetes="1.37.0", etcd="3.6.14")


def member(index: int = 1, **changes: object) -> Callable[[], ClusterState]:
    def make() -> ClusterState:
        s = cluster()
        members = list(s.members)
        members[index] = replace(members[index], **changes)
        return replace(s, members=tuple(members))

    return make


def server(**changes: object) -> Callable[[], ClusterState]:
    def make() -> ClusterState:
        s = cluster()
        first, *rest = s.api_servers
        return replace(s, api_servers=(replace(first, **changes), *rest))

    return make


def host(name: str, **changes: object) -> Callable[[], ClusterState]:
    def make() -> ClusterState:
        s = cluster()
        return replace(
            s, hosts=tuple(replace(h, **changes) if h.name == name else h for h in s.hosts)
        )

    return make


def node(**changes: object) -> Callable[[], ClusterState]:
    def make() -> ClusterState:
        s = cluster()
        first, *rest = s.nodes
        return replace(s, nodes=(replace(first, **changes), *rest))

    return make


def of(**changes: object) -> Callable[[], ClusterState]:
    return lambda: replace(cluster(), **changes)


def sized(**sizes: object) -> Callable[[], ClusterState]:
    return lambda: cluster(**sizes)  # type: ignore[arg-type]


def drained() -> ClusterState:
    s = cluster()
    first, *rest = s.balancer
    return replace(s, balancer=(replace(first, admin="maint"), *rest))


def stopped_mid_swap(component: str, name: str, versions: tuple[str, ...]) -> ClusterState:
    s = cluster()
    unit = UnitState(name=f"{component}.service", active="inactive")
    return replace(
        s,
        hosts=tuple(
            replace(h, units=(unit,), staged={component: versions}) if h.name == name else h
            for h in s.hosts
        ),
        members=tuple(
            replace(m, healthy=False, version=None) if component == "etcd" and m.host == name else m
            for m in s.members
        ),
        api_servers=tuple(
            replace(a, ready=False, version=None)
            if component == "kube-apiserver" and a.host == name
            else a
            for a in s.api_servers
        ),
    )


def budget(**changes: object) -> DisruptionBudget:
    whole: dict[str, object] = {
        "namespace": "shop",
        "name": "web",
        "allowed": 1,
        "healthy": 3,
        "desired_healthy": 2,
        "expected": 3,
        "selected": ("shop/web-1",),
    }
    return DisruptionBudget(**{**whole, **changes})  # type: ignore[arg-type]


def unseen(**changes: object) -> DisruptionBudget:
    """A budget over two pods that its controller has not computed yet."""
    pods = ("default/web-1", "default/web-2")
    return budget(observed=False, expected=0, desired_healthy=0, selected=pods, **changes)


HOOK = Webhook(name="w", service="a/b", nodes=("worker-1",))


def workload(desired: int, ready: int) -> Workload:
    return Workload(kind="Deployment", namespace="shop", name="web", desired=desired, ready=ready)


def breached() -> ClusterState:
    s = cluster()
    first, *rest = s.controllers
    return replace(s, controllers=(replace(first, version="1.37.0"), *rest))


def sick_controller() -> ClusterState:
    s = cluster()
    first, *rest = s.controllers
    return replace(s, controllers=(replace(first, healthy=False), *rest))


def two_clusters() -> ClusterState:
    return member(cluster_id="c2")()


ETCD_REPLACE = replace(GOAL, etcd_strategy="replace")
CP_REPLACE = replace(GOAL, control_plane_strategy="replace")
NODE_REPLACE = replace(GOAL, node_strategy="replace")

B, W = Severity.BLOCKER, Severity.WARNING
CASES: list[tuple[str, Severity, Callable[[], ClusterState], Target]] = [
    ("E001", B, member(healthy=False), GOAL),
    ("E002", B, member(version=None), GOAL),
    ("E003", B, member(alarms=("NOSPACE",)), GOAL),
    ("E003", B, member(alarms=("CORRUPT",)), GOAL),
    ("E004", B, member(learner=True), GOAL),
    ("E005", B, member(leader=True), GOAL),
    ("E005", B, member(term=9), GOAL),
    ("E006", B, member(raft_index=9000, applied_index=1), GOAL),
    ("E007", B, member(db_size=2_000_000_000), GOAL),
    ("E008", B, sized(members=2), GOAL),
    ("E009", W, sized(members=1), GOAL),
    ("E010", W, sized(etcd="3.5.25"), GOAL),
    ("E011", B, sized(), replace(GOAL, etcd="3.6.4")),
    ("E012", B, host("etcd-1", flags={"etcd": ("--enable-v2=true",)}), GOAL),
    ("E013", B, member(downgrade_target="3.4.0"), Target(kubernetes="1.37.0")),
    ("E014", B, sized(), GOAL),
    ("E015", B, two_clusters, GOAL),
    ("E016", B, member(host="stranger"), GOAL),
    ("E018", W, sized(members=4), GOAL),
    ("E019", W, lambda: stopped_mid_swap("etcd", "etcd-2", ("3.5.33", "3.6.14")), GOAL),
    ("E020", B, member(version="3.3.27"), GOAL),
    ("E021", B, sized(stacked=True), ETCD_REPLACE),
    ("C001", B, server(ready=False), GOAL),
    ("C002", B, drained, GOAL),
    ("C002", B, sized(control_planes=2), GOAL),
    ("C003", W, sized(control_planes=1), GOAL),
    ("C004", B, breached, GOAL),
    ("C005", W, sized(), replace(GOAL, two_step=False)),
    ("C005", W, sized(kubernetes="1.29.0"), Target(kubernetes="1.30.0")),
    ("C007", B, sick_controller, GOAL),
    (
        "C008",
        W,
        lambda: stopped_mid_swap("kube-apiserver", "cp-1", ("1.36.0", "1.37.0")),
        replace(GOAL, only=("control-plane",)),
    ),
    (
        "C008",
        B,
        lambda: stopped_mid_swap("kube-apiserver", "cp-1", ("1.36.0", "1.37.0")),
        GOAL,
    ),
    ("C009", W, of(balancer=()), GOAL),
    ("C010", B, sized(), GOAL),
    ("C011", W, host("cp-1", flags={"kube-apiserver": ("--etcd-servers=https://e:2379",)}), GOAL),
    ("C012", W, host("cp-1", flags={"kube-apiserver": ("--v=2",)}), GOAL),
    ("C013", B, sized(stacked=True), CP_REPLACE),
    ("C013", B, sized(control_plane_nodes=True), CP_REPLACE),
    ("C014", W, host("cp-1", current={"kubectl": "1.34.0"}), GOAL),
    (
        "C015",
        W,
        host("cp-1", flags={"kube-apiserver": ("--runtime-config=api/alpha=true",)}),
        GOAL,
    ),
    (
        "C015",
        W,
        host("cp-1", flags={"kube-apiserver": ("--feature-gates=A=true,AllAlpha=true",)}),
        GOAL,
    ),
    ("H001", B, of(unread=(Unread(source="kube-apiserver cp-1", why="timed out"),)), GOAL),
    ("H002", B, host("worker-1", reachable=False), GOAL),
    (
        "H003",
        B,
        host(
            "cp-1",
            certificates=(Certificate(where="/x.crt", subject="x", not_after=TAKEN_AT + 86400),),
        ),
        GOAL,
    ),
    ("H004", B, host("etcd-1", disk_free={"/": 1_000_000}), GOAL),
    ("H005", B, host("cp-1", clock_offset=-4.0), GOAL),
    ("H006", W, host("cp-1", clock_offset=None), GOAL),
    ("H007", W, host("etcd-1", current={"etcd": "3.6.14"}), GOAL),
    ("H009", B, host("etcd-1", units=(UnitState(name="etcd.service", active="failed"),)), GOAL),
    ("N001", B, node(ready=False), GOAL),
    ("N001", W, node(ready=False), replace(GOAL, only=("etcd",))),
    ("N002", W, node(unschedulable=True, cordoned_by="kubectl"), GOAL),
    ("N003", W, node(unschedulable=True, cordoned_by="pawl:r1", ready=False), GOAL),
    ("N004", W, node(conditions=("DiskPressure",)), GOAL),
    ("N005", B, node(kubelet=None), GOAL),
    ("N006", B, sized(), NODE_REPLACE),
    ("N007", W, sized(workers=1), GOAL),
    ("N008", W, cluster, GOAL),
    ("W001", B, of(budgets=(budget(max_unavailable="0", allowed=0),)), GOAL),
    ("W001", B, of(budgets=(budget(desired_healthy=3, allowed=0),)), GOAL),
    ("W001", B, of(budgets=(unseen(min_available="2"),)), GOAL),
    ("W001", B, of(budgets=(unseen(min_available="100%"),)), GOAL),
    ("W001", B, of(budgets=(budget(sync_failed="no controller", allowed=0, expected=0),)), GOAL),
    ("W002", B, of(budgets=(budget(), budget(name="other"))), GOAL),
    ("W003", B, of(workloads=(workload(3, 2),)), GOAL),
    ("W004", B, of(webhooks=(Webhook(name="w", service="a/b", nodes=("worker-1",)),)), GOAL),
    ("W004", B, of(webhooks=(Webhook(name="w", service="a/b"),)), Target(etcd="3.6.14")),
    ("W004", W, of(webhooks=(replace(HOOK, holds=()),)), GOAL),
    ("W004", W, of(webhooks=(replace(HOOK, own_namespace=False),)), GOAL),
    ("W005", W, of(workloads=(workload(1, 1),)), GOAL),
    ("W006", W, of(budgets=(budget(allowed=0, healthy=2),)), GOAL),
]


def found(code: str, state: ClusterState, target: Target) -> dict[str, Severity]:
    conf = config(state)
    if code == "E014":
        conf = replace(conf, backup=BackupConfig())
    if code == "N006":
        conf = replace(conf, machines=MachinesConfig())
    if code == "N008":
        policy = replace(conf.policy, soak=SoakConfig(node=224.0))
        conf = replace(conf, policy=policy, metrics=MetricsConfig(url="http://m"))
    complaints = (
        (FlagComplaint("cp-1", "kubelet", "1.37.0", "unknown flag --x"),) if code == "C010" else ()
    )
    facts = Facts(state=state, target=target, config=conf, complaints=complaints)
    return {f.code: f.severity for f in checks.run(facts)}


@pytest.mark.parametrize(
    ("code", "severity", "make", "target"),
    CASES,
    ids=[f"{c}-{i}" for i, (c, *_) in enumerate(CASES)],
)
def test_the_risk_is_found(
    code: str, severity: Severity, make: Callable[[], ClusterState], target: Target
) -> None:
    assert found(code, make(), target).get(f"PAWL-{code}") is severity


def test_a_healthy_cluster_has_no_findings() -> None:
    state = cluster()
    assert checks.run(Facts(state=state, target=GOAL, config=config(state))) == ()


def test_a_soak_lasts_for_as_long_as_the_gates_need() -> None:
    state = cluster()
    conf = replace(config(state), metrics=MetricsConfig(url="http://m"))
    assert checks.run(Facts(state=state, target=GOAL, config=conf)) == ()
    for soak, named in (
        (SoakConfig(last=224.0), ["policy.soak.last"]),
        (SoakConfig(last=0.0), []),
        (SoakConfig(node=0.0, last=1.0), ["policy.soak.last", "policy.soak.node"]),
    ):
        short = replace(conf, policy=replace(conf.policy, soak=soak))
        told = checks.run(Facts(state=state, target=GOAL, config=short))
        assert sorted(f.subject for f in told) == named


def test_every_code_is_proven_here() -> None:
    """But for what is found out beforehand: test_in_use.py and test_accept.py."""
    assert {f"PAWL-{c}" for c, *_ in CASES} == {c for c in CODES if c[5] in "ECHNW"}


def test_every_code_is_documented_with_its_meaning() -> None:
    page = (ROOT / "docs" / "findings.md").read_text()
    sections = set(re.findall(r"^### (PAWL-\w+)", page, re.MULTILINE))
    assert sections == set(CODES) | set(SCAN_CODES.values())
    for code, meaning in CODES.items():
        assert f"### {code}: {meaning}" in page


def test_a_refusal_lists_every_reason_at_once_with_its_remedy() -> None:
    s = cluster()
    state = replace(
        s,
        members=(s.members[0], replace(s.members[1], alarms=("NOSPACE",)), s.members[2]),
        balancer=s.balancer[:2],
        workloads=(workload(3, 1),),
        hosts=(replace(s.hosts[0], clock_offset=9.0), *s.hosts[1:]),
    )
    with pytest.raises(Refused) as caught:
        plan(state, GOAL, config(state))
    text = str(caught.value)
    for code in ("E003", "C002", "W003", "H005"):
        assert f"PAWL-{code}" in text
    assert "etcdctl alarm disarm" in text


def test_what_a_crash_left_is_planned_first() -> None:
    """A member that was stopped in the middle of its swap does not refuse the plan: it leads it."""
    state = stopped_mid_swap("etcd", "etcd-3", ("3.5.33", "3.6.14"))
    swaps = [s.id for s in plan(state, GOAL, config(state)).steps if "/swap/etcd" in s.id]
    assert swaps[0] == "etcd/3.6.14/swap/etcd-3"


def test_what_an_earlier_upgrade_left_behind_is_no_evidence() -> None:
    """Somebody stopped this member; 3.5.32 lies there since the last patch release."""
    state = stopped_mid_swap("etcd", "etcd-3", ("3.5.32", "3.5.33"))
    assert found("", state, GOAL)["PAWL-E001"] is B


def test_a_failed_unit_is_a_fault_and_not_a_left_over() -> None:
    s = stopped_mid_swap("etcd", "etcd-3", ("3.5.33", "3.6.14"))
    failed = UnitState(name="etcd.service", active="failed")
    state = replace(
        s, hosts=tuple(replace(h, units=(failed,)) if h.name == "etcd-3" else h for h in s.hosts)
    )
    codes = found("", state, GOAL)
    assert codes["PAWL-E001"] is B
    assert codes["PAWL-H009"] is B


def test_a_workload_that_pawls_own_drain_moves_is_no_refusal() -> None:
    s = cluster()
    closed = replace(s.nodes[0], taints=(Taint(key="pawl/closed"),))
    state = replace(s, nodes=(closed, *s.nodes[1:]), workloads=(workload(3, 2),))
    assert found("", state, GOAL)["PAWL-W003"] is W
