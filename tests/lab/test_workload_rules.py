"""pawl's predictions beside the real thing: the disruption controller's, ReplicaSet's, scheduler's.

One control plane without kubelets (`scheduling_rig`); no lab, no root.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from scheduling_rig import Cluster, control_plane

from pawl.adapters.clock import SystemClock
from pawl.adapters.kube import ApiKube
from pawl.adapters.kube.leeway import DELETION_COST, ApiLeeway
from pawl.adapters.kube.objects import BudgetObject
from pawl.adapters.kube.workloads import gather_workloads
from pawl.core import marks
from pawl.core.errors import PawlError
from pawl.core.workloads.budgets import study
from pawl.core.workloads.facts import Workloads
from pawl.core.workloads.gather import PARTS
from pawl.core.workloads.methods import HASH
from pawl.core.workloads.planner import plan
from pawl.core.workloads.scenario import Scenario
from pawl.engine.executors.turns import workload_of
from pawl.ports.kube import Pod, Standing

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    try:
        with control_plane() as made:
            yield made
    except PawlError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
async def cluster(kubeconfig: Path) -> AsyncIterator[Cluster]:
    async with Cluster(kubeconfig) as made:
        await made.apply("---".join(node(f"old-{i}", f"zone-{i % 3}") for i in range(3)))
        yield made


def node(name: str, zone: str, pods: int = 110, role: str = "worker") -> str:
    return f"""
apiVersion: v1
kind: Node
metadata:
  name: {name}
  labels: {{kubernetes.io/hostname: {name}, topology.kubernetes.io/zone: {zone}, role: {role}}}
status:
  allocatable: {{cpu: "4", memory: 8Gi, pods: "{pods}", ephemeral-storage: 50Gi}}
  capacity: {{cpu: "4", memory: 8Gi, pods: "{pods}", ephemeral-storage: 50Gi}}
  conditions: [{{type: Ready, status: "True"}}]
"""


def workload(kind: str, app: str, replicas: int, pod: str = "", cpu: str = "10m") -> str:
    more = "serviceName: x, " if kind == "StatefulSet" else ""
    return f"""
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {app}}}
spec:
  {{{more}replicas: {replicas}, selector: {{matchLabels: {{app: {app}}}}},
    template: {{metadata: {{labels: {{app: {app}}}}}, spec: {{{pod}
      terminationGracePeriodSeconds: 0,
      containers: [{{name: c, image: none, resources: {{requests: {{cpu: {cpu}}}}}}}]}}}}}}
"""


def bare(app: str, name: str) -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {app}}}}}
spec: {{containers: [{{name: c, image: none}}]}}
"""


def job(app: str) -> str:
    return f"""
apiVersion: batch/v1
kind: Job
metadata: {{name: {app}-job}}
spec:
  template:
    metadata: {{labels: {{app: {app}}}}}
    spec: {{restartPolicy: Never, containers: [{{name: c, image: none}}]}}
"""


def budget(app: str, rule: str) -> str:
    return f"""
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: {app}}}
spec: {{selector: {{matchLabels: {{app: {app}}}}}{rule}}}
"""


BUDGETS = (
    (workload("Deployment", "b0", 3), ", maxUnavailable: 1", 3),
    (workload("Deployment", "b1", 3), ", maxUnavailable: 0", 3),
    (workload("Deployment", "b2", 3), ", minAvailable: 2", 3),
    (workload("Deployment", "b3", 3), ", minAvailable: 100%", 3),
    (workload("Deployment", "b4", 3), ", minAvailable: 50%", 3),
    (workload("Deployment", "b5", 3), ", maxUnavailable: 1%", 3),
    (workload("Deployment", "b6", 3), ", minAvailable: 5", 3),
    (workload("Deployment", "b7", 3), "", 3),
    (workload("StatefulSet", "b8", 2), ", maxUnavailable: 50%", 2),
    (bare("b9", "b9-0") + "---" + bare("b9", "b9-1"), ", maxUnavailable: 1", 2),
    (bare("b10", "b10-0") + "---" + bare("b10", "b10-1"), ", minAvailable: 1", 2),
    (job("b11"), ", maxUnavailable: 1", 1),
    (job("b12") + "---" + workload("Deployment", "b12", 3), ", maxUnavailable: 1", 4),
    (job("b13") + "---" + workload("Deployment", "b13", 3), ", minAvailable: 2", 4),
)


async def facts(cluster: Cluster) -> Workloads:
    made = (await gather_workloads(cluster.client, 0.0)).facts()
    assert made.complete, made.unread
    return made


async def running(cluster: Cluster, app: str, count: int) -> list[Any]:
    async def all_of_them() -> list[Any]:
        found = await cluster.pods(app)
        return found if sum(p.status.phase == "Running" for p in found) == count else []

    return await cluster.until(f"{count} pods of {app} run", all_of_them)


async def test_budgets_allow_what_was_worked_out(cluster: Cluster) -> None:
    for i, (what, rule, _) in enumerate(BUDGETS):
        await cluster.apply(what + "---" + budget(f"b{i}", rule))
    for i, (_, _, count) in enumerate(BUDGETS):
        await running(cluster, f"b{i}", count)

    async def settled() -> dict[str, tuple[int, int]]:
        read = await facts(cluster)
        reached = study(read.budgets, read.pods, {c.key: c for c in read.controllers}).reach
        said = {b.key: (b.allowed or 0, reached[b.key].now) for b in read.budgets}
        return said if all(real == ours for real, ours in said.values()) else {}

    said = await cluster.until("every budget's status is what was worked out", settled)
    assert len(said) == len(BUDGETS)
    assert [said[f"default/b{i}"][0] for i in range(14)] == [
        1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 2,
    ]  # fmt: skip


async def test_a_released_pod_serves_until_its_successor_is_ready(cluster: Cluster) -> None:
    """The way of `surge`: a single replica under a budget of one moves without a gap, and its
    Deployment is as it was."""
    await cluster.apply(workload("Deployment", "s", 1) + "---" + budget("s", ", minAvailable: 1"))
    (old,) = await running(cluster, "s", 1)
    kube = ApiKube(cluster.client)
    (mine,) = [p for p in await kube.pods_on(old.spec.node_name) if p.uid == old.metadata.uid]
    before = await kube.evict(mine)
    assert not before.ok
    assert before.budget == "s"
    assert mine.owner.startswith("ReplicaSet/s-")
    assert await kube.standing("default", mine.owner) == Standing(ready=1, wanted=1)
    for _ in range(2):
        assert await kube.release(mine, "pawl:r1")
    now = await kube.standing("default", mine.owner)
    assert (now.wanted, now.ready) in ((1, 0), (1, 1))

    async def let_go() -> Pod | None:
        """The ReplicaSet's controller takes its name off the pod a moment later."""
        (found,) = await kube.released()
        return found if not found.owner else None

    loose = await cluster.until("the ReplicaSet lets go of the pod", let_go)
    assert (loose.uid, loose.owner, loose.released) == (mine.uid, "", mine.owner)
    assert workload_of(loose) == workload_of(mine) == "default/Deployment/s"
    both = await running(cluster, "s", 2)
    await cluster.until("the successor is Ready", lambda: full(kube, mine.owner))

    async def evicted() -> bool:
        return (await kube.evict(mine)).ok

    await cluster.until("the budget lets the old pod go", evicted)
    (new,) = await running(cluster, "s", 1)
    assert new.metadata.uid != old.metadata.uid
    await cluster.until("the old pod is gone", lambda: none_released(kube))
    assert not await kube.release(mine, "pawl:r1")
    assert {p.metadata.uid for p in both} <= cluster.started
    sets = await cluster.client.every(
        "/apis/apps/v1/namespaces/default/replicasets", PARTS["ReplicaSet"],
        {"labelSelector": "app=s"},
    )  # fmt: skip
    assert [s.spec.replicas for s in sets] == [1]


async def gone(kube: ApiKube, pod: Pod) -> bool:
    return (await kube.evict(pod)).ok


async def none_released(kube: ApiKube) -> bool:
    return await kube.released() == ()


async def full(kube: ApiKube, owner: str) -> bool:
    return (await kube.standing("default", owner)).full


async def test_the_label_given_back_ends_the_surplus(cluster: Cluster) -> None:
    """The way back of a surge that is not wanted any more."""
    await cluster.apply(workload("Deployment", "g", 2))
    before = await running(cluster, "g", 2)
    first = before[0]
    kube = ApiKube(cluster.client)
    (mine,) = [p for p in await kube.pods_on(first.spec.node_name) if p.uid == first.metadata.uid]
    assert await kube.release(mine, "pawl:r1")
    three = await running(cluster, "g", 3)
    # Of pods of much the same age any may be the one too many: let it be the successor.
    known = {p.metadata.uid for p in before}
    (successor,) = [p for p in three if p.metadata.uid not in known]
    await cheapest(cluster, successor.metadata.name)
    (loose,) = await kube.released()
    await kube.take_back(loose)
    left = await running(cluster, "g", 2)
    assert await kube.released() == ()
    (again,) = [p for p in left if p.metadata.uid == mine.uid]
    assert again.metadata.labels[HASH] == mine.template
    assert not [k for k in again.metadata.annotations or {} if k.startswith("pawl.dev/")]


async def cheapest(cluster: Cluster, pod: str) -> None:
    """The pod that a ReplicaSet ends first, known to its controller's own watch by then."""
    path = f"/api/v1/namespaces/default/pods/{pod}"
    body = {"metadata": {"annotations": {DELETION_COST: "-100"}}}
    await cluster.client.send("PATCH", path, body, dict[str, Any], patch=True)
    await noticed()


async def noticed() -> None:
    """Controllers hear of a change a moment after it was answered, and nothing tells when."""
    await asyncio.sleep(2.0)


def spread(app: str, more: str = "") -> str:
    return (
        f"topologySpreadConstraints: [{{maxSkew: 1, topologyKey: kubernetes.io/hostname, {more}"
        f"whenUnsatisfiable: DoNotSchedule, labelSelector: {{matchLabels: {{app: {app}}}}}}}],"
    )


def apart(app: str, key: str) -> str:
    return (
        "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
        f"[{{labelSelector: {{matchLabels: {{app: {app}}}}}, topologyKey: {key}}}]}}}},"
    )


PLACED = (
    ("p0", 6, spread("p0")),
    ("p1", 6, spread("p1", "nodeTaintsPolicy: Honor, ")),
    ("p2", 3, apart("p2", "kubernetes.io/hostname")),
    ("p3", 3, apart("p3", "topology.kubernetes.io/zone")),
    ("p4", 2, "nodeSelector: {kubernetes.io/hostname: old-1},"),
    ("p5", 2, ""),
)


async def test_what_finds_no_place_stays_pending_for_real(cluster: Cluster) -> None:
    """All old nodes closed, each pod evicted once, three new nodes: exactly what the simulation
    refused is Pending at the end."""
    for app, replicas, pod in PLACED:
        await cluster.apply(workload("Deployment", app, replicas, pod))
    for app, replicas, _ in PLACED:
        await running(cluster, app, replicas)
    await cluster.apply("---".join(node(f"new-{i}", f"zone-{i % 3}") for i in range(3)))
    kube = ApiKube(cluster.client)
    old = tuple(f"old-{i}" for i in range(3))
    for name in old:
        await kube.taint(name, marks.CLOSED)
    read = await facts(cluster)
    fresh = tuple(n for n in read.nodes if n.name.startswith("new-"))
    made = plan(read, Scenario(old=old, new=fresh))
    moved = {m.pod for m in made.moves}
    wanted = {
        app: sum(p.owner.endswith(f"/{app}") and p.key not in moved for p in read.pods)
        for app, _, _ in PLACED
    }
    # One pod of p0 more finds a place when the first three to go come from three nodes.
    assert wanted["p0"] in (2, 3)
    assert {**wanted, "p0": 3} == {"p0": 3, "p1": 0, "p2": 0, "p3": 0, "p4": 2, "p5": 0}
    for app, replicas, _ in PLACED:
        for pod in await cluster.pods(app):
            (mine,) = [
                p for p in await kube.pods_on(pod.spec.node_name) if p.uid == pod.metadata.uid
            ]
            await cluster.until("it is evicted", lambda pod=mine: gone(kube, pod))
            await asyncio.sleep(0.3)

        async def replaced(app: str = app, replicas: int = replicas) -> bool:
            found = await cluster.pods(app)
            return len(found) == replicas and not any(p.spec.node_name in old for p in found)

        await cluster.until(f"{app} has its pods again", replaced)

    async def pending() -> dict[str, int]:
        return {
            app: sum(not p.spec.node_name for p in await cluster.pods(app)) for app, _, _ in PLACED
        }

    async def as_worked_out() -> bool:
        left = await pending()
        # A pod that is ending counts for the skew until it is gone, so by the moment of its
        # eviction one pod more or less of p0 finds a place.
        return abs(left["p0"] - wanted["p0"]) <= 1 and {**left, "p0": 0} == {**wanted, "p0": 0}

    await cluster.until("what has no place is left, and nothing else", as_worked_out)
    await asyncio.sleep(3.0)  # what finds a place late would be scheduled by now
    assert await as_worked_out(), (await pending(), wanted)


async def test_two_budgets_on_one_pod_are_refused_always(cluster: Cluster) -> None:
    await cluster.apply(workload("Deployment", "t", 2))
    pods = await running(cluster, "t", 2)
    for name in ("t1", "t2"):
        await cluster.apply(
            budget("t", ", maxUnavailable: 1").replace("{name: t}", f"{{name: {name}}}")
        )

    async def known() -> bool:
        """To the cache from which the server judges evictions."""
        path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
        found = await cluster.client.every(path, BudgetObject, {"resourceVersion": "0"})
        return {"t1", "t2"} <= {b.metadata.name for b in found}

    await cluster.until("both budgets are known", known)
    kube = ApiKube(cluster.client)
    (mine,) = [
        p for p in await kube.pods_on(pods[0].spec.node_name) if p.uid == pods[0].metadata.uid
    ]
    answer = await kube.evict(mine)
    assert not answer.ok
    assert not answer.retry


async def test_one_replica_more_and_the_old_pod_is_the_one_that_goes(cluster: Cluster) -> None:
    """A scale of one, the victim chosen by deletion cost, and back: one start, nothing missing."""
    await cluster.apply(
        workload("Deployment", "one", 2) + "---" + budget("one", ", minAvailable: 2")
    )
    old, other = await running(cluster, "one", 2)
    kube, leeway = ApiKube(cluster.client), ApiLeeway(cluster.client, SystemClock())
    (mine,) = [p for p in await kube.pods_on(old.spec.node_name) if p.uid == old.metadata.uid]
    assert not (await kube.evict(mine)).ok
    await leeway.scale("default", "Deployment/one", "pawl:r1")
    three = await running(cluster, "one", 3)

    async def allows() -> bool:
        return (await kube.allowances(mine)) == {"one": 1}

    await cluster.until("the budget has one to spare", allows)
    await leeway.choose(mine)
    await noticed()
    (lent,) = [x for x in await leeway.lent() if x.what == "scale"]
    await leeway.give_back(lent)
    left = await running(cluster, "one", 2)
    gone = {p.metadata.uid for p in three} - {p.metadata.uid for p in left}
    assert gone == {mine.uid}
    assert other.metadata.uid in {p.metadata.uid for p in left}
    assert await leeway.lent() == ()
    assert await kube.standing("default", "Deployment/one") == Standing(ready=2, wanted=2)
    for kind in ("deployments", "replicasets"):
        path = f"/apis/apps/v1/namespaces/default/{kind}"
        for o in (await cluster.client.get(path, dict[str, Any]))["items"]:
            marks = {**o["metadata"].get("labels", {}), **o["metadata"].get("annotations", {})}
            assert not [k for k in marks if k.startswith("pawl.dev/")], o["metadata"]["name"]


async def test_its_own_rolling_update_is_begun_once(cluster: Cluster) -> None:
    await cluster.apply(workload("Deployment", "r", 2))
    before = {p.metadata.uid for p in await running(cluster, "r", 2)}
    leeway = ApiLeeway(cluster.client, SystemClock())
    for _ in range(3):
        await leeway.restart("default", "Deployment/r", "pawl:r1")

    async def done() -> bool:
        return not await leeway.rolled_out("default", "Deployment/r")

    await cluster.until("the rolling update is complete", done)
    (lent,) = [x for x in await leeway.lent() if x.what == "restart"]
    await leeway.give_back(lent)
    await noticed()
    now = {p.metadata.uid for p in await running(cluster, "r", 2)}
    assert not now & before
    sets = await cluster.client.every(
        "/apis/apps/v1/namespaces/default/replicasets", PARTS["ReplicaSet"],
        {"labelSelector": "app=r"},
    )  # fmt: skip
    assert sorted(s.spec.replicas for s in sets) == [0, 2], "one restart, not three"
