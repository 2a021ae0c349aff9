"""The shipped gates. Metrics that a cluster does not have are said to be absent, and do not judge.

Numbers: the allowed effects of a compared metric are about twice what equal nodes differ by; the
limits of etcd are those of its mixin (fsync 0.5 s, commit 0.25 s, round trip 0.15 s at P99), the
API server's those of the Kubernetes SLOs (1 s for a single object) and 1 % of errors. Each can be
overridden in pawl.yaml under `metrics.gates`.
"""

from __future__ import annotations

from pawl.core.verify.gates import Gate

MIB = 1024.0 * 1024.0

_CONTAINERS = 'container!="",container!="POD"'
_HTTP = "http_requests_total"
_READS = 'verb=~"GET|POST|PUT|PATCH|DELETE",subresource!~"/.*|proxy|attach|log|exec|portforward"'
_ASKED = 'subresource!~"/.*"'
"""Without /readyz, /livez and /healthz: an API server counts them among its requests, with their
path as the subresource (k8s.io/apiserver pkg/server/healthz; kubernetes-mixin#560). One that drains
or starts says 500 to each balancer and kubelet that asks, as it should."""


def _share(metric: str, codes: str) -> str:
    """The share of requests whose status, in a label `code` or `status`, matches."""
    by = "sum by (namespace, pod) "
    everything = f"{by}(rate({metric}[$window]))"
    return (
        f"({by}(rate({metric}{{code{codes}}}[$window])) or "
        f"{by}(rate({metric}{{status{codes}}}[$window])) or 0 * {everything}) / {everything}"
    )


def _starts(what: str) -> str:
    """P99 of one of the kubelet's two clocks for a pod's start, 0 where none has started. Each errs
    upwards alone, so the lesser of them is judged.

    `start` (from when the kubelet first saw the pod) includes the pull of its images. `start_sli`
    takes that off, but begins with the pod's creation, so that waiting for a node counts
    (kubernetes#131733), and ends with a watch event after the status was written. Where the event
    of that very write came first, it is the next one, whenever the pod is touched again: seen as
    71 s for a pod that ran after 1.5 s (kubelet 1.36.0, pod_startup_latency_tracker.go).
    """
    seconds = f"kubelet_pod_{what}_duration_seconds"
    return (
        f"(histogram_quantile(0.99, sum by (node, instance, le) (rate({seconds}_bucket[5m]))) >= 0 "
        f"or 0 * sum by (node, instance) ({seconds}_count))"
    )


CATALOG: tuple[Gate, ...] = (
    # -- workloads: pods on new nodes against pods on old nodes --------------------------------
    Gate(
        name="cpu",
        kind="compare",
        query="sum by (namespace, pod) (rate(container_cpu_usage_seconds_total"
        f"{{{_CONTAINERS}}}[$window]))",
        worse="both",
        ratio=1.3,
        ratio_down=0.5,
        change=0.02,
        unit="cores",
        why="The same work should cost the same.",
    ),
    Gate(
        name="memory",
        kind="compare",
        query=f"sum by (namespace, pod) (container_memory_working_set_bytes{{{_CONTAINERS}}})",
        worse="both",
        ratio=1.3,
        ratio_down=0.25,
        change=32 * MIB,
        unit="bytes",
        why="Young pods use less than old ones, so the lower bound is wide.",
    ),
    Gate(
        name="memory-leak",
        kind="trend",
        query=f"sum by (namespace, pod) (container_memory_working_set_bytes{{{_CONTAINERS}}})",
        ratio=1.1,
        change=8 * MIB,
        unit="bytes",
        why="Growth that does not slow down, and that pods on old nodes do not show.",
    ),
    Gate(
        name="cpu-throttled",
        kind="compare",
        query="sum by (namespace, pod) (rate(container_cpu_cfs_throttled_periods_total"
        f"{{{_CONTAINERS}}}[$window])) / sum by (namespace, pod) "
        f"(rate(container_cpu_cfs_periods_total{{{_CONTAINERS}}}[$window]))",
        ratio=1.5,
        change=0.05,
        level="mean",
        unit="ratio",
        why="A limit that was enough before must be enough now.",
    ),
    Gate(
        name="http-5xx",
        kind="compare",
        query=_share(_HTTP, '=~"5.."'),
        ratio=1.5,
        change=0.001,
        level="mean",
        unit="ratio",
        why="Errors that the service itself admits.",
    ),
    Gate(
        name="http-non-2xx",
        kind="compare",
        query=_share(_HTTP, '!~"2..|"'),
        ratio=1.5,
        change=0.01,
        level="mean",
        unit="ratio",
        why="Redirects and refusals are answers, but a jump in them is news.",
    ),
    Gate(
        name="http-latency",
        kind="compare",
        query="sum by (namespace, pod) (rate(http_request_duration_seconds_sum[$window])) / "
        "sum by (namespace, pod) (rate(http_request_duration_seconds_count[$window]))",
        ratio=1.1,
        change=0.002,
        unit="s",
        why="The mean moves with every request, so it tells a small change soonest.",
    ),
    Gate(
        name="http-latency-p99",
        kind="compare",
        query="histogram_quantile(0.99, sum by (namespace, pod, le) "
        "(rate(http_request_duration_seconds_bucket[$window])))",
        ratio=1.25,
        change=0.005,
        spread=0.1,
        unit="s",
        why="What the slowest users see; coarser than the mean, by the histogram's buckets.",
    ),
    Gate(
        name="http-traffic",
        kind="compare",
        query=f"sum by (namespace, pod) (rate({_HTTP}[$window]))",
        worse="down",
        ratio_down=0.5,
        change=0.1,
        spread=0.15,
        unit="1/s",
        why="New pods that get no traffic have no errors either.",
    ),
    Gate(
        name="websocket-errors",
        kind="compare",
        query="sum by (namespace, pod) (rate(websocket_errors_total[$window]))",
        ratio=1.5,
        change=0.01,
        level="mean",
        unit="1/s",
        why="Broken and refused connections, which no HTTP status tells.",
    ),
    Gate(
        name="redis-latency",
        kind="compare",
        query="sum by (namespace, pod) (rate(redis_commands_duration_seconds_total[$window])) / "
        "sum by (namespace, pod) (rate(redis_commands_processed_total[$window]))",
        ratio=1.25,
        change=0.0002,
        unit="s",
        why="A store slows all that use it.",
    ),
    Gate(
        name="restarts",
        kind="limit",
        query="sum by (namespace, pod) "
        "(increase(kube_pod_container_status_restarts_total[5m])) > 0.5 or 0 * "
        "sum by (namespace, pod) (kube_pod_container_status_restarts_total)",
        limit=0.5,
        unit="count",
        why="A container that runs well does not restart.",
    ),
    Gate(
        name="out-of-memory",
        kind="limit",
        query="sum by (namespace, pod) (increase(container_oom_events_total"
        f"{{{_CONTAINERS}}}[5m]))",
        limit=0.5,
        unit="count",
        why="Killed for memory.",
    ),
    Gate(
        name="not-ready",
        kind="limit",
        query='1 - max by (namespace, pod) (kube_pod_status_ready{condition="true"}) '
        "unless on (namespace, pod) "
        'kube_pod_status_phase{phase=~"Succeeded|Failed"} == 1 '
        "unless on (namespace, pod) kube_pod_deletion_timestamp",
        limit=0.5,
        unit="ratio",
        why="Running but not ready, after its warm-up, and not on its way out.",
    ),
    # -- nodes ---------------------------------------------------------------------------------
    Gate(
        name="pod-start",
        kind="limit",
        query=f"{_starts('start')} < {_starts('start_sli')} or {_starts('start_sli')} "
        f"or {_starts('start')}",
        by="node",
        limit=60.0,
        unit="s",
        why="What the kubelet needs for a pod; the bound is KubeletPodStartUpLatencyHigh's.",
    ),
    # -- the whole cluster ---------------------------------------------------------------------
    Gate(
        name="api-errors",
        kind="limit",
        query=f'(sum(rate(apiserver_request_total{{code=~"5..",{_ASKED}}}[$window])) '
        f"or vector(0)) / sum(rate(apiserver_request_total{{{_ASKED}}}[$window]))",
        by="cluster",
        limit=0.01,
        unit="ratio",
    ),
    Gate(
        name="api-latency",
        kind="limit",
        query="histogram_quantile(0.99, sum by (le) "
        f"(rate(apiserver_request_sli_duration_seconds_bucket{{{_READS}}}[$window])))",
        by="cluster",
        limit=1.0,
        unit="s",
        why="The SLO of a single object; LIST and WATCH are left out.",
    ),
    Gate(
        name="api-rejected",
        kind="limit",
        query="sum(rate(apiserver_flowcontrol_rejected_requests_total[$window]))",
        by="cluster",
        limit=1.0,
        unit="1/s",
        why="Priority and fairness turns requests away: the API servers are too few.",
    ),
    Gate(
        name="etcd-fsync",
        kind="limit",
        query="histogram_quantile(0.99, sum by (instance, le) "
        "(rate(etcd_disk_wal_fsync_duration_seconds_bucket[$window])))",
        by="cluster",
        limit=0.5,
        unit="s",
    ),
    Gate(
        name="etcd-commit",
        kind="limit",
        query="histogram_quantile(0.99, sum by (instance, le) "
        "(rate(etcd_disk_backend_commit_duration_seconds_bucket[$window])))",
        by="cluster",
        limit=0.25,
        unit="s",
    ),
    Gate(
        name="etcd-round-trip",
        kind="limit",
        query="histogram_quantile(0.99, sum by (instance, le) "
        "(rate(etcd_network_peer_round_trip_time_seconds_bucket[$window])))",
        by="cluster",
        limit=0.15,
        unit="s",
    ),
    Gate(
        name="etcd-leader",
        kind="limit",
        query="max(etcd_server_has_leader)",
        by="cluster",
        worse="down",
        limit=0.5,
        unit="count",
        why="No member knows a leader.",
    ),
    Gate(
        name="etcd-leader-changes",
        kind="limit",
        query="max(increase(etcd_server_leader_changes_seen_total[15m]))",
        by="cluster",
        limit=4.5,
        unit="count",
        why="One for each member and one more is what an upgrade itself needs.",
    ),
    Gate(
        name="dns-errors",
        kind="limit",
        query='(sum(rate(coredns_dns_responses_total{rcode="SERVFAIL"}[$window])) or vector(0)) / '
        "sum(rate(coredns_dns_responses_total[$window]))",
        by="cluster",
        limit=0.01,
        unit="ratio",
    ),
    Gate(
        name="dns-latency",
        kind="limit",
        query="histogram_quantile(0.99, sum by (le) "
        "(rate(coredns_dns_request_duration_seconds_bucket[$window])))",
        by="cluster",
        limit=0.5,
        unit="s",
    ),
    Gate(
        name="unschedulable",
        kind="limit",
        query='sum(scheduler_pending_pods{queue="unschedulable"})',
        by="cluster",
        limit=0.5,
        unit="count",
        why="Pods that find no node.",
    ),
)
