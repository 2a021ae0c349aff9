"""What a workload is: its class, and the tier of the cluster's own infrastructure it belongs to.

The tiers follow what a new pod needs in order to start at all: network, names and volumes first,
then admission and ingress, then secrets and certificates, then everything else; monitoring last, so
that it watches the rest move. A rule is a word in the last part of an image's name, or a label.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Literal

from pawl.core.workloads.facts import Controller, Hook
from pawl.core.workloads.gather import BARE, STATIC

Class = Literal[
    "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Rollout", "ReplicaSet",
    "ReplicationController", "bare", "static", "operator",
]  # fmt: skip
BUILT_IN = (
    "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Rollout", "ReplicaSet",
    "ReplicationController",
)  # fmt: skip


class Tier(enum.IntEnum):
    """The order of infrastructure; applications stand before monitoring."""

    NETWORK = 0
    ADMISSION = 1
    SECRETS = 2
    APPLICATIONS = 3
    MONITORING = 4

    @property
    def title(self) -> str:
        return {
            0: "network, DNS, volumes",
            1: "ingress and admission",
            2: "secrets and certificates",
            3: "applications",
            4: "monitoring",
        }[self.value]


IMAGES: tuple[tuple[Tier, tuple[str, ...]], ...] = (
    (
        Tier.NETWORK,
        (
            "coredns", "kube-dns", "node-cache", "calico", "cilium", "flannel", "weave-kube",
            "antrea", "kube-ovn", "multus", "kube-proxy", "csi-", "kube-vip", "metallb",
            "longhorn-manager", "rook", "democratic-csi", "-csi-", "csi-driver",
        ),
    ),
    (
        Tier.ADMISSION,
        (
            "ingress-nginx", "nginx-ingress", "ingress-controller", "traefik", "haproxy-ingress",
            "contour", "gatekeeper", "kyverno", "istio", "pilot", "linkerd", "kong",
            "envoy-gateway", "opa",
        ),
    ),
    (
        Tier.SECRETS,
        (
            "cert-manager", "external-secrets", "vault", "sealed-secrets", "trust-manager",
            "spire",
        ),
    ),
    (
        Tier.MONITORING,
        (
            "prometheus", "alertmanager", "grafana", "kube-state-metrics", "node-exporter",
            "loki", "promtail", "tempo", "jaeger", "thanos", "mimir", "victoria-metrics",
            "vmagent", "fluent-bit", "fluentd", "otel", "opentelemetry-collector",
            "datadog", "vector",
        ),
    ),
)  # fmt: skip
"""Words of images that tell infrastructure (the projects' own image names, as of 2026)."""

DNS_LABEL = ("k8s-app", "kube-dns")

STORES = (
    "redis", "valkey", "memcached", "postgres", "postgresql", "mysql", "mariadb", "mongodb",
    "mongo", "cassandra", "elasticsearch", "opensearch", "kafka", "rabbitmq", "nats", "etcd",
    "zookeeper", "clickhouse", "minio", "cockroachdb", "database", "db", "cache", "queue",
)  # fmt: skip
"""`app.kubernetes.io/component` or `name` of what others of the same `part-of` build on."""


def class_of(controller: Controller) -> Class:
    if controller.kind == BARE:
        return "bare"
    if controller.kind == STATIC:
        return "static"
    if controller.kind not in BUILT_IN:
        return "operator"
    if operator_of(controller):
        return "operator"
    return controller.kind  # type: ignore[return-value]


def operator_of(controller: Controller) -> str:
    """ "Kind/name" of the custom resource whose operator runs these pods, "" for none."""
    if controller.kind not in (*BUILT_IN, BARE, STATIC):
        return f"{controller.kind}/{controller.name}"
    kind = controller.owner.partition("/")[0]
    return controller.owner if kind and kind not in (*BUILT_IN, "Node") else ""


def tier_of(controller: Controller, hooks: Iterable[Hook], services: Iterable[str]) -> Tier:
    """`services` are the keys of the Services in front of this workload."""
    if controller.pod_labels.get(DNS_LABEL[0]) == DNS_LABEL[1]:
        return Tier.NETWORK
    names = [image.rpartition("/")[2].partition(":")[0].partition("@")[0]
             for image in controller.shape.images]  # fmt: skip
    whole = [image.partition(":")[0].lower() for image in controller.shape.images]
    for tier, words in IMAGES:
        for word in words:
            if any(word in n for n in names) or any(f"/{word}/" in w for w in whole):
                return tier
    own = set(services)
    if any(h.fails_closed and h.service in own for h in hooks):
        return Tier.ADMISSION
    return Tier.APPLICATIONS
