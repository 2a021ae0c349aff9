"""The lab's monitoring: what Prometheus reads, as whom, and what it may see.

A machine of its own runs Prometheus and Alertmanager (the host's Debian packages) and
kube-state-metrics (the artefact). It stands outside of the cluster, so it goes on measuring while
an API server is away. Machines are found through files that the lab keeps, as a cloud's own
discovery would; pods are asked of the API.

Everything is read over mTLS with a certificate that may read metrics and list pods, nothing else.
etcd is the exception: any certificate of its authority opens all of its data, so its port for
metrics alone is read instead, as kubeadm sets it up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pawl.lab.spec import LabSpec, MachineSpec
from pawl.lab.store import LabDir, write

Object = dict[str, Any]

ETC = "/etc/prometheus"
PKI = f"{ETC}/pki"
TARGETS = f"{ETC}/targets"
"""In the machine; outside it is the lab's own directory `targets`."""
PODS = "/var/lib/prometheus/pods.json"
"""Written by the unit pod-discovery: Debian's Prometheus is built without Kubernetes discovery."""
USER, STATE_USER = "pawl-lab:prometheus", "pawl-lab:kube-state-metrics"

PROMETHEUS, ALERTMANAGER, STATE = 9090, 9093, 8080

KEPT = {
    "apiserver": (
        "apiserver_(request_total|request_sli_duration_seconds_(bucket|sum|count)"
        "|request_terminations_total|flowcontrol_rejected_requests_total|current_inflight_requests"
        "|requested_deprecated_apis)|process_(cpu_seconds_total|resident_memory_bytes)"
    ),
    "controller-manager": (
        "workqueue_depth|rest_client_requests_total|node_collector_evictions_total"
        "|process_(cpu_seconds_total|resident_memory_bytes)"
    ),
    "scheduler": (
        "scheduler_(pending_pods|schedule_attempts_total|scheduling_attempt_duration_seconds_.+)"
        "|process_(cpu_seconds_total|resident_memory_bytes)"
    ),
    "etcd": (
        "etcd_(server|disk|network|mvcc_db)_.+|process_(cpu_seconds_total|resident_memory_bytes)"
    ),
    "haproxy": (
        "haproxy_(frontend|backend)_(http_responses_total|http_requests_total|current_sessions"
        "|connection_errors_total|response_errors_total|retry_warnings_total)"
    ),
    "kubelet": (
        "kubelet_(pod_start_(sli_)?duration_seconds_.+|running_pods|running_containers|node_name"
        "|pleg_relist_duration_seconds_.+)|process_(cpu_seconds_total|resident_memory_bytes)"
    ),
    "cadvisor": (
        "container_(cpu_usage_seconds_total|cpu_cfs_(throttled_)?periods_total"
        "|memory_working_set_bytes|oom_events_total|start_time_seconds)"
    ),
}
"""Names that are kept of each source. An API server alone tells some 20,000 series; the gates and
the rules read a tenth of them."""

RESOURCES = {
    "": ("nodes", "persistentvolumeclaims", "pods"),
    "apps": ("daemonsets", "deployments", "replicasets", "statefulsets"),
    "batch": ("cronjobs", "jobs"),
    "policy": ("poddisruptionbudgets",),
}
"""What kube-state-metrics tells of, by API group."""


def url(lab: LabSpec, port: int = PROMETHEUS) -> str:
    return f"https://{lab.network.monitoring}:{port}"


def publish(lab: LabSpec, directory: LabDir, machines: Iterable[MachineSpec]) -> None:
    """Where Prometheus finds the machines; follows each one that comes or goes at once."""
    ports = {
        "etcd": 2381, "apiserver": 6443, "controller-manager": 10257, "scheduler": 10259,
        "kubelet": 10250, "haproxy": 8404,
    }  # fmt: skip
    found: dict[str, list[Object]] = {job: [] for job in ports}
    for m in machines:
        address = lab.network.address(m.role, m.slot)
        jobs = {
            "control-plane": ("apiserver", "controller-manager", "scheduler"),
            "worker": ("kubelet",),
            "load-balancer": ("haproxy",),
        }.get(m.role, ())
        for job in (*jobs, *(("etcd",) if m.has_etcd else ())):
            # Rules of etcd's mixin count members by all labels but `instance`: no others are added.
            labels = {"node": m.name} if job == "kubelet" else {}
            found[job].append({"targets": [f"{address}:{ports[job]}"], "labels": labels})
    for job, targets in found.items():
        write(directory.targets / f"{job}.json", json.dumps(targets, indent=1), 0o644)


def prometheus(lab: LabSpec) -> Object:
    """prometheus.yml."""
    mine = {
        "ca_file": f"{PKI}/ca.crt",
        "cert_file": f"{PKI}/prometheus.crt",
        "key_file": f"{PKI}/prometheus.key",
    }

    def machines(job: str, source: str = "", *, tls: bool = True, **more: Any) -> Object:
        config: Object = {
            "job_name": job,
            "file_sd_configs": [{"files": [f"{TARGETS}/{source or job}.json"]}],
            **more,
        }
        if tls:
            config |= {"scheme": "https", "tls_config": mine}
        if job in KEPT:
            config["metric_relabel_configs"] = [
                {"source_labels": ["__name__"], "regex": KEPT[job], "action": "keep"}
            ]
        return config

    # The control plane answers with megabytes, so it is asked no more often than each 5 s.
    slow: Object = {"scrape_interval": _seconds(max(lab.scrape, 5.0))}
    return {
        "global": {
            "scrape_interval": _seconds(lab.scrape),
            "scrape_timeout": _seconds(min(max(lab.scrape, 1.0), 10.0)),
            "evaluation_interval": _seconds(max(lab.scrape, 5.0)),
            "external_labels": {"cluster": lab.name},
        },
        "rule_files": [f"{ETC}/rules.yml"],
        "alerting": {
            "alertmanagers": [
                {
                    "scheme": "https",
                    "tls_config": mine,
                    "static_configs": [{"targets": [f"{lab.network.monitoring}:{ALERTMANAGER}"]}],
                }
            ]
        },
        "scrape_configs": [
            machines("apiserver", **slow),
            machines("controller-manager", **slow),
            machines("scheduler", **slow),
            machines("etcd", tls=False),
            machines("kubelet"),
            machines("cadvisor", "kubelet", metrics_path="/metrics/cadvisor"),
            machines("haproxy", tls=False),
            {
                "job_name": "kube-state-metrics",
                # Namespace, pod and node are those it tells of; the second port tells of itself.
                "honor_labels": True,
                "static_configs": [{"targets": [f"127.0.0.1:{p}" for p in (STATE, STATE + 1)]}],
            },
            {"job_name": "pods", "file_sd_configs": [{"files": [PODS]}]},
        ],
    }


def alertmanager() -> Object:
    """alertmanager.yml: alerts can be looked at and silenced, and nobody is told."""
    return {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}


def rules() -> Object:
    """Alerts by the names that pawl silences for a machine that it works on."""

    def alert(name: str, expr: str, hold: str, summary: str) -> Object:
        return {
            "alert": name,
            "expr": expr,
            "for": hold,
            "labels": {"severity": "critical"},
            "annotations": {"summary": summary},
        }

    return {
        "groups": [
            {
                "name": "lab",
                "rules": [
                    alert("KubeletDown", 'up{job="kubelet"} == 0', "15s", "A kubelet is away."),
                    alert("etcdMembersDown", 'up{job="etcd"} == 0', "15s", "A member is away."),
                    alert("TargetDown", "up == 0", "1m", "What is read does not answer."),
                ],
            }
        ]
    }


def web(name: str) -> Object:
    """Serving with mTLS: whoever has a certificate of the lab's cluster authority may read."""
    return {
        "tls_server_config": {
            "cert_file": f"{PKI}/{name}.crt",
            "key_file": f"{PKI}/{name}.key",
            "client_ca_file": f"{PKI}/ca.crt",
            "client_auth_type": "RequireAndVerifyClientCert",
        }
    }


def state_flags(kubeconfig: str) -> list[str]:
    named = sorted(r for group in RESOURCES.values() for r in group)
    return [
        f"--kubeconfig={kubeconfig}",
        f"--resources={','.join(named)}",
        "--host=127.0.0.1",
        f"--port={STATE}",
        "--telemetry-host=127.0.0.1",
        f"--telemetry-port={STATE + 1}",
    ]


def access() -> list[Object]:
    """Least privilege: Prometheus may read metrics and see pods, kube-state-metrics may list what
    it tells of. Neither may read a Secret or write anything."""
    see = ["get", "list", "watch"]
    read = [
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": see},
    ]
    listed = [
        {"apiGroups": [group], "resources": list(names), "verbs": ["list", "watch"]}
        for group, names in RESOURCES.items()
    ]
    return [*_granted(USER, read), *_granted(STATE_USER, listed)]


def _granted(user: str, granted: list[Object]) -> list[Object]:
    api = "rbac.authorization.k8s.io"
    return [
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": user},
            "rules": granted,
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": user},
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": user},
            "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
        },
    ]


def _seconds(given: float) -> str:
    return f"{round(given * 1000)}ms"
