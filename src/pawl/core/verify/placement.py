"""Which pod ran where, told from metrics: so that the same code serves a live run and history."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from pawl.core.verify.series import Placed, Series

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' alphabet for generated names: no vowels, nothing that looks like another."""
_HASH = re.compile(rf"-[{_ALPHABET}]{{6,10}}$")
_TAIL = re.compile(rf"-[{_ALPHABET}]{{5}}$")
_RUN = re.compile(r"-\d{6,}$")


def placed(
    series: Sequence[Series],
    starts: Mapping[tuple[str, str], float],
    *,
    first: float,
    lately: float,
) -> tuple[Placed, ...]:
    """Pods from series with the labels namespace, pod and node (and created_by_kind,
    created_by_name and uid, as kube_pod_info has them). A pod that was not seen after `lately` is
    gone. `starts` are the start times of those that are there, by (namespace, pod); another one
    started when it was first seen, or long ago if that is at `first`, where the series begin.
    """
    found: dict[tuple[str, str, str, str], Placed] = {}
    for s in series:
        namespace, pod = s.labels.get("namespace", ""), s.labels.get("pod", "")
        node = s.labels.get("node", "")
        if not pod or not node or not s.at:
            continue
        key = (namespace, pod, node, s.labels.get("uid", ""))
        seen = s.at[0] if s.at[0] > first else -math.inf
        until = math.inf if s.at[-1] > lately else s.at[-1]
        if key in found:  # it got an address, say: another label, the same pod
            seen, until = min(seen, found[key].since), max(until, found[key].until)
        found[key] = Placed(
            namespace=namespace,
            pod=pod,
            node=node,
            workload=f"{namespace}/{workload_of(pod, s.labels)}",
            since=seen,
            until=until,
        )
    return tuple(
        replace(p, since=starts.get((p.namespace, p.pod), p.since)) if p.until == math.inf else p
        for p in found.values()
    )


def workload_of(pod: str, labels: Mapping[str, str]) -> str:
    """ "Deployment/web" of a pod: by its owner where told, else by the shape of its name."""
    kind, name = labels.get("created_by_kind", ""), labels.get("created_by_name", "")
    if not name or name == "<none>":
        bare = _TAIL.sub("", pod)
        without_hash = _HASH.sub("", bare)
        if bare != pod:
            return f"Deployment/{without_hash}" if without_hash != bare else f"Pods/{bare}"
        return f"Pod/{re.sub(r'-[0-9]+$', '', pod)}"
    if kind == "ReplicaSet":
        return f"Deployment/{_HASH.sub('', name)}"
    if kind == "Job":
        return f"Job/{_RUN.sub('', name)}"
    return f"{kind}/{name}"
