"""What hosts have in use, judged against the tables: each risk is found with its file and line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from pawl.core import checks
from pawl.core.beforehand import Beforehand
from pawl.core.changelog.item import Item, Judged
from pawl.core.checks import CODES, Facts
from pawl.core.findings import Finding, Severity
from pawl.core.inuse.facts import Document, FlagUse, HostUse, Setting, Variable
from pawl.core.model import ClusterState, Unread
from pawl.core.plan import Target
from pawl.testing.clusters import cluster, config

GOAL = Target(kubernetes="1.37.0")
B, W = Severity.BLOCKER, Severity.WARNING


def flag(text: str, component: str = "kube-apiserver", host: str = "cp-1") -> HostUse:
    path = f"/etc/kubernetes/{component}.env"
    return HostUse(host=host, flags=(FlagUse(component=component, flag=text, path=path, line=3),))


def kubelet(text: str) -> HostUse:
    return flag(text, "kubelet", "worker-1")


def document(
    api_version: str,
    kind: str,
    *settings: tuple[str, str],
    component: str = "kubelet",
    role: str = "config",
    host: str = "worker-1",
) -> HostUse:
    made = Document(
        component=component,
        role=role,
        path="/etc/x.yaml",
        api_version=api_version,
        kind=kind,
        line=1,
        settings=tuple(Setting(key=k, value=v, line=7) for k, v in settings),
    )
    return HostUse(host=host, documents=(made,))


def config_of_kubelet(*settings: tuple[str, str]) -> HostUse:
    return document("kubelet.config.k8s.io/v1beta1", "KubeletConfiguration", *settings)


def proxy(**changes: str) -> HostUse:
    return document(
        "kubeproxy.config.k8s.io/v1alpha1",
        "KubeProxyConfiguration",
        *changes.items(),
        component="kube-proxy",
    )


def variable(name: str, value: str) -> HostUse:
    made = Variable(component="kube-apiserver", name=name, value=value, path="/etc/x.conf", line=2)
    whole = flag("--v=2")
    return replace(whole, variables=(made,))


def nodes(**changes: object) -> Callable[[], ClusterState]:
    def make() -> ClusterState:
        s = cluster()
        first, *rest = s.nodes
        return replace(s, nodes=(replace(first, **changes), *rest))

    return make


def hosts(**changes: object) -> Callable[[], ClusterState]:
    def make() -> ClusterState:
        s = cluster()
        return replace(s, hosts=tuple(replace(h, **changes) for h in s.hosts))

    return make


def found(
    use: HostUse | None,
    make: Callable[[], ClusterState] = cluster,
    target: Target = GOAL,
    **more: object,
) -> tuple[Finding, ...]:
    state = make()
    known = Beforehand(uses=(use,) if use else (), **more)  # type: ignore[arg-type]
    facts = Facts(state=state, target=target, config=config(state), beforehand=known)
    return checks.run(facts)


OLD = "1.23.0"

CASES: list[tuple[str, Severity, HostUse | None, Callable[[], ClusterState], Target, str]] = [
    ("U001", B, flag("--feature-gates=A=true,SidecarContainers=true"), cluster, GOAL, "1.37"),
    ("U001", B, flag("--feature-gates=kube:SidecarContainers=true"), cluster, GOAL, "1.37"),
    ("U001", B, config_of_kubelet(("featureGates.SidecarContainers", "true")), cluster, GOAL,
     "1.37"),
    ("U001", B, flag("--feature-gates=StreamingProxyRedirects=false"),
     lambda: cluster(kubernetes=OLD), Target(kubernetes="1.24.0"), "1.24"),
    ("U002", B, kubelet("--feature-gates=HostnameOverride=false"), cluster, GOAL, "1.37"),
    ("U003", B, kubelet("--containerd=/run/x.sock"), cluster, GOAL, "1.37"),
    ("U003", B, flag("--concurrent-service-syncs=2", "kube-controller-manager"), cluster, GOAL,
     "1.37"),
    ("U003", B, kubelet("--pod_infra_container_image=x"), cluster, GOAL, "1.35"),
    ("U004", B, flag("--enable-admission-plugins=NodeRestriction,JobValidation"), cluster, GOAL,
     "1.37"),
    ("U004", B, flag("--disable-admission-plugins=PodSecurityPolicy"), cluster, GOAL, "1.25"),
    ("U005", B, document("audit.k8s.io/v1beta1", "Policy", component="kube-apiserver",
                         role="audit policy", host="cp-1"), cluster, GOAL, "1.24"),
    ("U005", B, document("kubescheduler.config.k8s.io/v1beta3", "KubeSchedulerConfiguration",
                         component="kube-scheduler", host="cp-1"), cluster, GOAL, "1.29"),
    ("U005", B, document("apiserver.config.k8s.io/v1", "AdmissionConfiguration",
                         ("plugins[0].configuration.apiVersion",
                          "apiserver.config.k8s.io/v1alpha1"),
                         ("plugins[0].configuration.kind", "WebhookAdmission"),
                         component="kube-apiserver", role="admission", host="cp-1"),
     cluster, GOAL, "1.36"),
    ("U005", B, document("v1", "Config",
                         ("exec.apiVersion", "client.authentication.k8s.io/v1alpha1"),
                         role="exec plugin"), cluster, GOAL, "1.24"),
    ("U005", B, proxy(udpIdleTimeout="250ms"), cluster, GOAL, "1.26"),
    ("U006", B, flag("--runtime-config=api/all=false,storage.k8s.io/v1beta1=true"), cluster, GOAL,
     "1.37"),
    ("U006", B, flag("--runtime-config=networking.k8s.io/v1beta1/ipaddresses"), cluster, GOAL,
     "1.37"),
    ("U007", B, variable("KUBE_APISERVER_SERVE_REMOVED_APIS_FOR_ONE_RELEASE", "true"), cluster,
     GOAL, "1.37"),
    ("U008", B, None, nodes(runtime="docker://20.10.7"), GOAL, "1.24"),
    ("U008", B, None, nodes(runtime="containerd://1.5.18"), GOAL, "1.26"),
    ("U008", W, None, nodes(runtime="containerd://1.6.20"), GOAL, "1.37"),
    ("U008", W, None, nodes(runtime="containerd://1.7.28"), GOAL, "1.37"),
    ("U008", W, None, nodes(runtime="containerd://2.1.9"), GOAL, "1.36"),
    ("U009", B, config_of_kubelet(("maxPods", "10")), hosts(cgroup_version=1), GOAL, "1.35"),
    ("U009", W, config_of_kubelet(("failCgroupV1", "false")), hosts(cgroup_version=1), GOAL,
     ""),
    ("U010", W, proxy(mode="nftables"), hosts(kernel="5.10.0-30-amd64"), GOAL, "1.31"),
    ("U011", B, kubelet("--cloud-provider=gce"), cluster, GOAL, "1.31"),
    ("U012", B, HostUse(host="cp-1", unread=(Unread(source="/etc/x", why="permission denied"),)),
     cluster, GOAL, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "severity", "use", "make", "target", "minor"),
    CASES,
    ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)],
)
def test_the_risk_is_found_with_its_minor_and_place(
    code: str,
    severity: Severity,
    use: HostUse | None,
    make: Callable[[], ClusterState],
    target: Target,
    minor: str,
) -> None:
    (finding,) = [f for f in found(use, make, target) if f.code == f"PAWL-{code}"]
    assert (finding.severity, finding.minor) == (severity, minor)
    assert finding.where
    assert finding.remedy
    if use is not None and not use.unread:
        assert finding.where.startswith(f"{use.host}:/etc/")
        assert int(finding.where.rsplit(":", 1)[1])


CLEAN = [
    flag("--feature-gates=AllAlpha=false,AllBeta=true,NoSuchGate=true"),
    kubelet("--feature-gates=HostnameOverride=true"),  # locked to what it says
    flag("--feature-gates=MemoryQoS=true"),
    kubelet("--v=2"),
    flag("--runtime-config=api/all=true,storage.k8s.io/v1beta1=false,resource.k8s.io/v1beta2"),
    flag("--enable-admission-plugins=NodeRestriction"),
    variable("KUBE_APISERVER_SERVE_REMOVED_APIS_FOR_ONE_RELEASE", "false"),
    document("audit.k8s.io/v1", "Policy", component="kube-apiserver", role="audit policy"),
    kubelet("--cloud-provider=external"),
    proxy(mode="iptables"),
]


@pytest.mark.parametrize("use", CLEAN, ids=range(len(CLEAN)))
def test_what_stays_is_no_finding(use: HostUse) -> None:
    assert found(use, hosts(kernel="5.10.0")) == ()


@pytest.mark.parametrize("version", ["2.2.0", "2.3.1", "2.4.0", "3.0.0"])
def test_a_supported_runtime_is_no_finding(version: str) -> None:
    assert found(None, nodes(runtime=f"containerd://{version}")) == ()


def test_only_what_the_plan_restarts_is_judged() -> None:
    gate = kubelet("--feature-gates=SidecarContainers=true")
    assert found(gate, target=replace(GOAL, only=("control-plane",))) == ()
    assert found(gate, target=Target(etcd="3.6.14")) == ()
    assert found(gate, target=replace(GOAL, only=("nodes",), pool="gpu")) == ()
    assert found(gate, target=replace(GOAL, only=("nodes",), pool="default"))


def test_a_gate_that_goes_at_a_later_minor_is_not_told_yet() -> None:
    use = flag("--feature-gates=SidecarContainers=true")
    assert found(use, lambda: cluster(kubernetes="1.35.0"), Target(kubernetes="1.36.0")) == ()


def test_all_hops_are_judged_each_finding_at_its_own() -> None:
    use = flag("--feature-gates=SidecarContainers=true,StructuredAuthorizationConfiguration=true")
    told = found(use, lambda: cluster(kubernetes="1.35.0"), GOAL)
    assert {f.minor for f in told} == {"1.36", "1.37"}


def test_the_remedy_says_whether_the_default_is_the_same() -> None:
    (same,) = found(flag("--feature-gates=SidecarContainers=true"))
    assert "the same already" in same.remedy
    (other,) = found(flag("--feature-gates=GangScheduling=true"))
    assert "behaves otherwise" in other.remedy


URGENT = Judged(
    item=Item(id="1-a", version="1.37.0", section="Urgent", category="urgent", text="Mind this."),
    verdict="needs a person",
    evidence=("not known",),
)


def test_an_urgent_note_waits_for_a_person() -> None:
    (note,) = found(None, notes=(URGENT,))
    assert (note.code, note.severity) == ("PAWL-K001", B)
    assert "pawl changelog" in note.remedy
    assert found(None, notes=(replace(URGENT, acknowledged="Ada on 2026-11-24"),)) == ()
    assert found(None, notes=(replace(URGENT, verdict="does not apply"),)) == ()


def test_what_could_not_be_found_out_is_told() -> None:
    (unread,) = found(None, notes_unread=("The notes of 1.37.3 were not read.",))
    assert (unread.code, unread.severity) == ("PAWL-K002", B)
    (asked,) = found(None, not_asked=("kubelet 1.37.0",))
    assert (asked.code, asked.severity) == ("PAWL-U013", W)
    unknown = [f for f in found(None, target=Target(kubernetes="1.44.0")) if "-K" in f.code]
    assert [f.code for f in unknown] == ["PAWL-K003"]


def test_every_code_of_what_is_in_use_is_proven_here() -> None:
    proven = {f"PAWL-{c}" for c, *_ in CASES} | {"PAWL-U013"}
    assert proven == {c for c in CODES if c.startswith("PAWL-U")}


def test_nothing_is_told_where_nobody_looked() -> None:
    state = cluster()
    assert checks.run(Facts(state=state, target=GOAL, config=config(state))) == ()
