"""What the lab's Prometheus reads, follows and may see."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pawl.adapters.prometheus.rulefiles import load_rules
from pawl.core.checks import Facts
from pawl.core.checks.nodes import judged
from pawl.core.config import MetricsConfig
from pawl.core.plan import Target
from pawl.core.verify.catalog import CATALOG
from pawl.core.verify.gates import due_after
from pawl.lab import config, monitoring
from pawl.lab.spec import LabSpec
from pawl.lab.store import LabDir
from pawl.testing.clusters import cluster

VERSIONS = {"kubernetes": "1.36.0", "etcd": "3.5.33"}
LAB = LabSpec(name="x", index=3, versions=VERSIONS, scrape=2.0)


def test_a_lab_has_a_monitoring_machine_only_when_asked() -> None:
    (monitor,) = [m for m in LAB.wanted() if m.role == "monitoring"]
    assert monitor.name == "monitor"
    assert monitor.components == {"kube-state-metrics": "2.15.0"}, "no Kubernetes in its image"
    plain = LabSpec(name="x", index=3, versions=VERSIONS)
    assert not [m for m in plain.wanted() if m.role == "monitoring"]


def test_targets_follow_the_machines(tmp_path: Path) -> None:
    directory = LabDir(tmp_path, "x")
    machines = LAB.wanted()
    monitoring.publish(LAB, directory, machines)

    def read(job: str) -> list[str]:
        listed = json.loads((directory.targets / f"{job}.json").read_text())
        return [f"{t['targets'][0]} {t['labels'].get('node', '')}".strip() for t in listed]

    assert read("etcd") == [f"198.18.3.{n}:2381" for n in (21, 22, 23)]
    assert read("scheduler") == [f"198.18.3.{n}:10259" for n in (51, 52, 53)]
    kubelets = [f"198.18.3.{100 + n}:10250 worker-{n}" for n in (1, 2, 3)]
    assert read("kubelet") == kubelets
    monitoring.publish(LAB, directory, [m for m in machines if m.name != "worker-2"])
    assert read("kubelet") == [kubelets[0], kubelets[2]]


def test_a_lab_that_measures_asks_for_no_longer_soak(tmp_path: Path) -> None:
    """Its plan has no finding, and its demo takes no longer."""
    made = config.build(LAB, LabDir(tmp_path, "x"), LAB.wanted())
    assert made.metrics is not None
    assert made.policy.soak.node < due_after(made.metrics)
    state = cluster()
    target = Target(kubernetes="1.37.0")
    assert list(judged(Facts(state=state, target=target, config=made))) == []


def test_a_stacked_member_is_read_where_its_control_plane_is(tmp_path: Path) -> None:
    stacked = LabSpec(name="x", index=3, versions=VERSIONS, scrape=2.0, topology="stacked")
    directory = LabDir(tmp_path, "x")
    monitoring.publish(stacked, directory, stacked.wanted())
    listed = json.loads((directory.targets / "etcd.json").read_text())
    assert [t["targets"] for t in listed] == [[f"198.18.3.{n}:2381"] for n in (51, 52, 53)]


def test_each_metric_that_a_gate_reads_of_the_cluster_is_kept() -> None:
    kept = {
        "apiserver_": ("apiserver",), "etcd_": ("etcd",), "scheduler_": ("scheduler",),
        "kubelet_": ("kubelet",), "container_": ("cadvisor",),
    }  # fmt: skip
    seen = set()
    for gate in CATALOG:
        for name in re.findall(r"\b[a-z]+_[a-z0-9_]{4,}\b(?=[{\[)])", gate.query):
            for prefix, (job,) in kept.items():
                if name.startswith(prefix):
                    seen.add(name)
                    assert re.fullmatch(monitoring.KEPT[job], name), f"{gate.name} reads {name}"
    assert len(seen) >= 14, "the pattern above finds the names no more"


def test_nothing_that_reads_may_write_or_see_a_secret() -> None:
    rules = [r for item in monitoring.access() for r in item.get("rules", ())]
    assert rules
    assert {v for r in rules for v in r["verbs"]} <= {"get", "list", "watch"}
    resources = {name for r in rules for name in r.get("resources", ())}
    assert "pods" in resources
    assert not resources & {"secrets", "configmaps", "*", "nodes/proxy"}


def test_the_labs_rules_have_the_names_that_pawl_silences(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps(monitoring.rules()))
    names = {r.name for r in load_rules([str(path)])}
    assert names <= set(MetricsConfig(url="https://x").silenced)


def test_the_control_plane_is_asked_less_often_than_the_workloads() -> None:
    config = monitoring.prometheus(LAB)
    jobs = {j["job_name"]: j for j in config["scrape_configs"]}
    assert config["global"]["scrape_interval"] == "2000ms"
    assert jobs["apiserver"]["scrape_interval"] == "5000ms"
    assert jobs["kubelet"]["scheme"] == "https"
    assert "tls_config" not in jobs["etcd"], "a client certificate of etcd opens all of its data"


def test_whoever_asks_must_show_a_certificate() -> None:
    served = monitoring.web("serving")["tls_server_config"]
    assert served["client_auth_type"] == "RequireAndVerifyClientCert"
