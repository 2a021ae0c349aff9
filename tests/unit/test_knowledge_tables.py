"""The shipped tables: complete by count, true to the schemas they were read from, no phantom."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pawl.core.errors import ConfigError
from pawl.core.knowledge import answer
from pawl.core.knowledge.correct import corrections
from pawl.core.knowledge.rows import key
from pawl.core.knowledge.store import Knowledge, shipped
from pawl.interfaces.cli.knowledge import gates

EXTRACTS = Path(__file__).parents[2] / "tools" / "knowledge" / "extracts"


@cache
def extract(minor: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((EXTRACTS / f"{minor}.json").read_bytes())
    return facts


def served(kind: str, minor: str) -> bool:
    """On by default, told from the extract alone (not by the builder's own code)."""
    facts = extract(minor)
    if kind not in facts["kinds"]:
        return False
    group, version, _ = kind.split("/")
    if group in ("apiextensions.k8s.io", "apiregistration.k8s.io"):
        return True
    resource = f"{group}/{version}/{facts['kinds'][kind]['resource']}"
    if resource in facts["served"]["on"]:
        return True
    on = f"{group}/{version}" in facts["served"]["on"]
    return on and resource not in facts["served"]["off"]


def removed_rows() -> list[answer.Removal]:
    return [r for r in answer.removals(shipped()) if key("1.16") <= key(r.removed) <= key("1.37")]


def test_every_removal_is_there_and_none_is_too_many() -> None:
    rows = removed_rows()
    assert sum(r.default_served for r in rows) == 51
    assert sum(not r.default_served and r.stage == "beta" for r in rows) == 6
    assert sum(r.stage == "alpha" for r in rows) == 44
    assert len(rows) == 51 + 6 + 44


def test_every_removed_kind_is_absent_at_its_minor_and_present_just_before() -> None:
    for row in removed_rows():
        kind = f"{row.group}/{row.version}/{row.kind}"
        before = f"1.{key(row.removed)[1] - 1}"
        if row.default_served:
            assert served(kind, before), f"{kind} was not served by {before}"
            assert not served(kind, row.removed), f"{kind} is still served by {row.removed}"
        else:
            assert kind in extract(before)["kinds"], f"{kind} was not in {before}"
            assert kind not in extract(row.removed)["kinds"], f"{kind} is still in {row.removed}"


def test_the_second_set_of_schemas_agrees_on_every_removal_since_1_17() -> None:
    """kubernetes-validate is built from other files; the 1.16 wave stands in its 1.16 and 1.17."""
    second = json.loads((EXTRACTS / "validate.json").read_bytes())
    for row in removed_rows():
        if key(row.removed) <= (1, 16):
            continue
        minors = second[f"{row.group}/{row.version}/{row.kind}"]
        assert max(minors) == key(row.removed)[1] - 1, row


@pytest.mark.parametrize(
    ("api", "kind", "removed", "replacement", "compatible"),
    [
        ("extensions/v1beta1", "Deployment", "1.16", "apps/v1", False),
        ("apps/v1beta2", "ControllerRevision", "1.16", "apps/v1", True),
        ("extensions/v1beta1", "Ingress", "1.22", "networking.k8s.io/v1", False),
        ("networking.k8s.io/v1beta1", "IngressClass", "1.22", "networking.k8s.io/v1", True),
        ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", "1.22",
         "apiextensions.k8s.io/v1", False),
        ("authentication.k8s.io/v1beta1", "TokenReview", "1.22", "authentication.k8s.io/v1", True),
        ("policy/v1beta1", "PodSecurityPolicy", "1.25", "", None),
        ("events.k8s.io/v1beta1", "Event", "1.25", "events.k8s.io/v1", True),
        ("autoscaling/v2beta2", "HorizontalPodAutoscaler", "1.26", "autoscaling/v2", True),
        ("flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema", "1.26",
         "flowcontrol.apiserver.k8s.io/v1", True),
        ("resource.k8s.io/v1alpha3", "ResourceClaim", "1.34", "resource.k8s.io/v1", False),
        ("networking.k8s.io/v1beta1", "ServiceCIDR", "1.37", "networking.k8s.io/v1", True),
        ("certificates.k8s.io/v1alpha1", "PodCertificateRequest", "1.35",
         "certificates.k8s.io/v1", False),
    ],
)  # fmt: skip
def test_known_removals(
    api: str, kind: str, removed: str, replacement: str, compatible: bool | None
) -> None:
    row = shipped().by_api[api, kind]
    assert (row.removed, row.replacement) == (removed, replacement)
    assert row.field_compatible is compatible


def test_a_replacement_is_itself_served_at_the_target() -> None:
    """flowcontrol v1beta1 points to v1beta3 in its tag; which is right depends on the target."""
    row = shipped().by_api["flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema"]
    answers = {t: answer.replacement(row, t) for t in ("1.26", "1.29", "1.37")}
    assert {t: a.api.split("/")[1] for t, a in answers.items() if a} == {
        "1.26": "v1beta3",
        "1.29": "v1",
        "1.37": "v1",
    }
    for removal in removed_rows():
        for target in ("1.22", "1.25", "1.29", "1.37"):
            full = shipped().by_api[f"{removal.group}/{removal.version}".lstrip("/"), removal.kind]
            if key(removal.removed) <= key(target) and (best := answer.replacement(full, target)):
                gv, _, other = best.api.partition(" ")
                gv = gv if "/" in gv else f"/{gv}"
                assert served(f"{gv}/{other or removal.kind}", target), (removal, target)


def test_removed_gates_are_complete_and_exact() -> None:
    gone = [
        g
        for g in shipped().gates
        if g.removed
        and key("1.20") <= key(g.removed) <= key("1.36")
        and g.components != ("kubeadm",)
    ]
    assert len(gone) == 209
    for gate in gone:
        before = f"1.{key(gate.removed)[1] - 1}"
        assert gate.name in extract(before)["gates"]
        left = extract(gate.removed)["gates"].get(gate.name, {}).get("packages", [])
        assert set(left) <= {"controller-manager"}, gate.name
    by = shipped().by_gate
    assert by["IPv6DualStack"].removed == "1.25"  # the controller managers took it until 1.26
    assert "kube-scheduler" not in by["ControllerManagerReleaseLeaderElectionLockOnExit"].components
    assert by["AllowServiceLBStatusOnNonLB"].removed == "1.35"
    assert by["ExperimentalHostUserNamespaceDefaulting"].removed
    assert by["UserNamespacesPodSecurityStandards"].removed


def test_a_gate_is_named_as_the_flag_takes_it_and_not_as_the_source_calls_it() -> None:
    """The releases' own list has the constant's name for two of them: reported, not merged."""
    assert "CustomCPUCFSQuotaPeriod" in shipped().by_gate
    assert "CPUCFSQuotaPeriod" not in shipped().by_gate
    assert any(d.subject == "CPUCFSQuotaPeriod" for d in shipped().disagreements)


@pytest.mark.parametrize(
    ("component", "flag", "removed"),
    [
        ("kube-apiserver", "insecure-port", "1.24"),
        ("kube-apiserver", "service-account-api-audiences", "1.25"),
        ("kube-apiserver", "cloud-provider", "1.33"),
        ("kube-controller-manager", "pod-eviction-timeout", "1.27"),
        ("kube-controller-manager", "concurrent-service-syncs", "1.37"),
        ("kube-scheduler", "policy-config-file", "1.23"),
        ("kubelet", "network-plugin", "1.24"),
        ("kubelet", "container-runtime", "1.27"),
        ("kubelet", "pod-infra-container-image", "1.35"),
        ("kubelet", "containerd", "1.37"),
        ("kube-proxy", "logtostderr", "1.26"),
        ("etcd", "enable-v2", "3.6"),
        ("etcd", "experimental-initial-corrupt-check", "3.7"),
        ("kubelet", "housekeeping-interval", ""),
        ("kube-apiserver", "feature-gates", ""),
    ],
)
def test_known_flags(component: str, flag: str, removed: str) -> None:
    assert shipped().by_flag[component, flag].removed == removed


def test_fields_that_the_notes_know_are_found_with_their_minor() -> None:
    found = {(r.minor, r.definition.split(".")[-1], r.field) for r in shipped().fields}
    assert {
        ("1.20", "ServiceSpec", "ipFamily"),
        ("1.21", "EphemeralVolumeSource", "readOnly"),
        ("1.22", "ServiceSpec", "topologyKeys"),
        ("1.22", "HTTPIngressPath", "pathType"),
        ("1.25", "ObjectMeta", "clusterName"),
        ("1.28", "NetworkPolicy", "status"),
        ("1.31", "PodResourceClaim", "source"),
        ("1.36", "PodSpec", "workloadRef"),
    } <= found


def test_other_tables() -> None:
    tables = shipped()
    plugins = {p.plugin: p.removed for p in tables.plugins}
    assert plugins["PodSecurityPolicy"] == "1.25"
    assert plugins["SecurityContextDeny"] == "1.30"
    assert plugins["PersistentVolumeLabel"] == "1.31"
    configurations = {(c.group, c.version, c.kind): c.removed for c in tables.configurations}
    gone = "kubescheduler.config.k8s.io", "KubeSchedulerConfiguration"
    assert configurations[gone[0], "v1beta3", gone[1]] == "1.29"
    assert configurations["audit.k8s.io", "v1beta1", "Policy"] == "1.24"
    in_tree = {(i.what, i.name): i.removed for i in tables.in_tree}
    assert in_tree["volume plugin", "kubernetes.io/glusterfs"] == "1.26"
    assert in_tree["volume plugin", "kubernetes.io/rbd"] == "1.31"
    assert in_tree["volume plugin", "kubernetes.io/git-repo"] == "1.33"  # off by default from there
    kernel = [d.demand for d in tables.demands if d.on == "kernel"]
    assert {"TCP fin timeout namespaced", "nftables kube proxy", "Memory QoS min"} <= {*kernel}
    releases = {(r.project, r.minor): r for r in tables.releases}
    assert releases["kubernetes", "1.29"].end_of_life == "2025-02-28"
    assert releases["kubernetes", "1.28"].latest == "1.28.15"
    assert all(row.source for row in (*tables.apis, *tables.gates, *tables.flags))


def test_coverage_says_complete_and_refuses_the_unknown() -> None:
    assert answer.coverage(shipped(), "1.28").verdict == "complete, none"
    assert answer.coverage(shipped(), "v1.37").removed["APIs off by default"] > 0
    assert answer.coverage(shipped(), "1.27").missing
    for unknown in ("1.38", "1.12", "2.0", "new"):
        with pytest.raises(Exception, match=r"1\.37|minor"):
            answer.coverage(shipped(), unknown)


def test_gates_are_read_from_the_flags_in_use() -> None:
    wanted = answer.gates_of(["--v=2", "--feature-gates=GangScheduling=true,NodeSwap=false"])
    assert wanted == {"GangScheduling": True, "NodeSwap": False}
    assert answer.gates_of(["--feature-gates=kube:NodeSwap=true"]) == {"NodeSwap": True}


def test_flags_in_use_that_go_away() -> None:
    gone = answer.flags_gone(shipped(), "kubelet", ["--containerd=/x", "--v=2"], "1.37")
    assert [f.flag for f in gone] == ["containerd"]
    assert not answer.flags_gone(shipped(), "kubelet", ["--containerd=/x"], "1.36")


GATE = {"name": "G", "components": ["kubelet"], "source": "us",
        "stages": [{"minor": "1.20", "stage": "beta", "default": True}]}  # fmt: skip
RELEASE = {"project": "kubernetes", "minor": "1.36", "source": "us"}
FIELD = {"minor": "1.37", "change": "removed", "definition": "d", "field": "x", "type": "string",
         "source": "us"}  # fmt: skip


def test_a_user_corrects_adds_and_drops_rows() -> None:
    extra = corrections(
        {
            "apis": [
                {"group": "acme.example", "version": "v1alpha1", "kind": "Widget",
                 "removed": "1.36", "replacement": "acme.example/v1", "field_compatible": True,
                 "source": "acme's release notes 3.0"},
                {"group": "batch", "version": "v1beta1", "kind": "CronJob", "removed": "1.24",
                 "source": "our fork"},
            ],
            "drop": ["gates NodeSwap"],
        },
        "own.yaml",
    )  # fmt: skip
    tables = Knowledge(extra)
    assert tables.by_api["acme.example/v1alpha1", "Widget"].removed == "1.36"
    assert tables.by_api["batch/v1beta1", "CronJob"].removed == "1.24"
    assert "NodeSwap" not in tables.by_gate
    best = answer.replacement(tables.by_api["acme.example/v1alpha1", "Widget"], "1.37")
    assert best is not None
    assert best.api == "acme.example/v1"
    with pytest.raises(ConfigError, match=r"own\.yaml"):
        corrections({"apis": [{"group": "x"}]}, "own.yaml")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"drop": ["gates NodeSwop"]}, "no such row; did you mean 'gates NodeSwap'?"),
        ({"drop": ["gates NodeSwap", "apis"]}, "drop 'apis': the shipped table apis has no such"),
        ({"drop": ["plugins PodPreset"]}, "there is no table 'plugins' of apis, gates"),
        ({"gates": [{**GATE, "source": " "}]}, "$.gates[0].source: says nothing"),
        ({"gates": [{**GATE, "stages": []}]}, "$.gates[0].stages: a gate has at least one stage"),
        ({"gates": [GATE, GATE]}, "gates G: stands 2 times"),
        (
            {"releases": [{**RELEASE, "released": "soon"}]},
            "released: 'soon' is no day",
        ),
        (
            {"releases": [{**RELEASE, "latest": "1.99"}]},
            "latest: '1.99' is no release",
        ),
        ({"fields": [{**FIELD, "where": {"v1/Pod": ["spec.x"]}}]}, "'v1/Pod' is no group/version"),
    ],
)
def test_a_correction_that_would_do_nothing_or_harm_is_refused(
    data: dict[str, Any], said: str
) -> None:
    """Whichever table a command goes on to ask: lint never looks at gates."""
    with pytest.raises(ConfigError) as refused:
        corrections(data, "own.yaml")
    assert "own.yaml" in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize("word", ["1.37.x", "1.37.", "1.37.2.3", "١.٣٧", "1.-37", "1.37-rc.1"])
def test_what_is_no_minor_is_refused_and_not_taken_for_the_nearest(word: str) -> None:
    with pytest.raises(ConfigError, match="is no Kubernetes minor"):
        answer.demand_known(shipped(), word)
    assert answer.demand_known(shipped(), " v1.36.2+k3s1 ") == "1.36"


def test_the_minor_before_the_oldest_is_where_everything_is_removed_after() -> None:
    assert answer.demand_span(shipped(), "v1.15", "1.37.2") == ("1.15", "1.37")
    assert answer.removals(shipped(), "1.15", "1.37") == answer.removals(shipped())
    with pytest.raises(ConfigError, match="'' is no Kubernetes minor"):  # an unset variable of a CI
        answer.demand_known(shipped(), "")
    for since, to in (("1.14", "1.37"), ("1.15", "1.15"), ("1.37", "1.30"), ("1.30", "1.30")):
        with pytest.raises(ConfigError):
            answer.demand_span(shipped(), since, to)


def test_gates_as_a_minor_knows_them(capsys: pytest.CaptureFixture[str]) -> None:
    """APIListChunking: beta in 1.15, GA in 1.29, removed in 1.33."""

    def line(**options: Any) -> list[str]:
        gates(**options)
        rows = [row.split() for row in capsys.readouterr().out.splitlines()]
        return next((row for row in rows if row[0] == "APIListChunking"), [])

    assert line(at="1.28")[1] == "beta"
    assert line(at="1.30")[1] == "GA"
    assert not line(at="1.33")
    assert line(at="1.33", removed=True)
    assert not line(at="1.32", removed=True)


def test_a_correction_whose_minor_is_none_is_refused_with_its_place() -> None:
    row = {"group": "x", "version": "v1", "kind": "A", "source": "us"}
    assert corrections({"apis": [{**row, "removed": "1.36"}]}, "own.yaml")
    stages = [{"minor": "1.2.3", "stage": "beta", "default": True}]
    gate = {"name": "G", "components": ["kubelet"], "source": "us", "stages": stages}
    with pytest.raises(ConfigError) as refused:
        corrections({"apis": [row, {**row, "removed": "soon"}], "gates": [gate]}, "own.yaml")
    assert "$.apis[1].removed: 'soon'" in str(refused.value)
    assert "$.gates[0].stages[0].minor" in str(refused.value)
