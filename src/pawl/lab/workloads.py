"""What runs in the lab from the start: a replicated HTTP application, and redis with its backend.

Both are reached by a NodePort on every worker, and by the same port of the load balancer.
"""

from __future__ import annotations

from typing import Any

from pawl.lab.roles.load_balancer import NODE_PORTS

NAMESPACE = "pawl-lab"
SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}
"""Annotations of a pod whose /metrics the lab's Prometheus reads (lab/monitoring.py)."""

Object = dict[str, Any]


def access() -> list[Object]:
    """The one right that the API servers need from the cluster: to reach kubelets."""
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "pawl-lab:apiserver-kubelet-client"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:kubelet-api-admin",
            },
            "subjects": [
                {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "User",
                    "name": "kube-apiserver-kubelet-client",
                }
            ],
        },
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
    ]


def applications(replicas: int = 3) -> list[Object]:
    """Everything in the namespace, in the order of applying."""
    redis = f"redis.{NAMESPACE}"
    return [
        _service("redis", 6379),
        _stateful_redis(),
        _budget("web"),
        _service("web", 8080, NODE_PORTS["web"]),
        _deployment("web", replicas, {}),
        _budget("backend"),
        _service("backend", 8080, NODE_PORTS["backend"]),
        # Kubernetes puts the Service's address into the environment; the lab has no DNS.
        _deployment("backend", 2, {"REDIS": "$(REDIS_SERVICE_HOST):6379", "REDIS_NAME": redis}),
    ]


def _meta(name: str) -> Object:
    return {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}


def _service(name: str, port: int, node_port: int = 0) -> Object:
    ports: Object = {"name": "main", "port": port, "targetPort": port, "protocol": "TCP"}
    if node_port:
        ports["nodePort"] = node_port
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(name),
        "spec": {
            "type": "NodePort" if node_port else "ClusterIP",
            "selector": {"app": name},
            "ports": [ports],
        },
    }


def _budget(name: str) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _meta(name),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}},
    }


def _field(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _deployment(name: str, replicas: int, environment: dict[str, str]) -> Object:
    container = {
        "name": name,
        "image": f"pawl.lab/{name}:1",
        "imagePullPolicy": "Never",
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "env": [
            _field("POD", "metadata.name"),
            _field("NODE", "spec.nodeName"),
            {"name": "DRAIN", "value": "5s"},
            *({"name": k, "value": v} for k, v in environment.items()),
        ],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta(name),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": SCRAPED},
                "spec": {
                    "automountServiceAccountToken": False,
                    "dnsPolicy": "Default",
                    "terminationGracePeriodSeconds": 30,
                    "topologySpreadConstraints": [
                        {
                            "maxSkew": 1,
                            "topologyKey": "kubernetes.io/hostname",
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": {"app": name}},
                        }
                    ],
                    "containers": [container],
                },
            },
        },
    }


def _stateful_redis() -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _meta("redis"),
        "spec": {
            "serviceName": "redis",
            "replicas": 1,
            "selector": {"matchLabels": {"app": "redis"}},
            "template": {
                "metadata": {"labels": {"app": "redis"}},
                "spec": {
                    "automountServiceAccountToken": False,
                    "dnsPolicy": "Default",
                    "containers": [
                        {
                            "name": "redis",
                            "image": "pawl.lab/redis:1",
                            "imagePullPolicy": "Never",
                            "args": ["--save", "", "--appendonly", "yes", "--dir", "/data"],
                            "ports": [{"containerPort": 6379, "protocol": "TCP"}],
                            "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
                            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                        }
                    ],
                    "volumes": [{"name": "data", "emptyDir": {}}],
                },
            },
        },
    }


_PLACES = {
    "Namespace": "/api/v1/namespaces/{name}",
    "Service": "/api/v1/namespaces/{namespace}/services/{name}",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
    "StatefulSet": "/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{name}",
    "DaemonSet": "/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}",
}


def place(item: Object) -> str:
    """The object's path in the API."""
    return _PLACES[str(item["kind"])].format(**{"namespace": "", **item["metadata"]})


def rolled_out(item: Object) -> bool:
    """Whether a Deployment or StatefulSet has all its replicas ready."""
    status = item.get("status", {})
    return int(status.get("readyReplicas", 0)) >= int(item["spec"]["replicas"])
