"""How long a step will take, before it is done.

The table holds medians in seconds, measured in the lab (3 + 3 + 3 machines on two cores) or, where
a step mostly waits, what it waits for. `pawl.yaml` may override each kind under `policy.durations`,
and `learned` makes the same mapping out of a run's journal, so the next plan knows this cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median

from pawl.core.actions import AnyAction, Soak
from pawl.core.events import AnyEvent, StepDone, StepStarted
from pawl.core.plan import Plan

SECONDS: dict[str, float] = {
    "preflight": 2.0,  # one observation of everything
    "stage-binaries": 2.0,  # upload of 20–130 MB and a checksum on the host
    "backup-etcd": 3.0,  # field: save 0.9 s and restore 0.7 s for 126 MB
    "move-etcd-leader": 1.0,  # field: under 0.1 s, and reading the leader again
    "swap-etcd-member": 4.0,  # field: 0.3 s of restart, health three times, 5,000 entries at most
    "replace-etcd-machine": 20.0,
    "converge-etcd": 5.0,  # field: 3.4–4.1 s, the servers' 4 s monitor tick
    "enable-etcd-downgrade": 5.0,  # field: 4.1 s
    "cancel-etcd-downgrade": 1.0,
    "swap-api-server": 18.0,  # drain, 5 s shutdown delay, 2.5 s start, health checks
    "finish-emulation": 18.0,
    "swap-controller": 3.0,
    "add-control-plane": 30.0,
    "retire-control-plane": 15.0,
    "add-node": 20.0,
    "close-nodes": 0.5,
    "retire-node": 15.0,
    "swap-node": 12.0,
    "swap-kube-proxy": 3.0,
    "soak": 0.0,
    "point-of-no-return": 0.0,
    "landed": 3.0,
}


def kind_of(action: AnyAction) -> str:
    """The action's tag in JSON."""
    tag = action.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def seconds(action: AnyAction, overrides: Mapping[str, float] | None = None) -> float:
    """The predicted time of one step in seconds; a soak takes as long as it says."""
    if isinstance(action, Soak):
        return action.seconds
    kind = kind_of(action)
    return (overrides or {}).get(kind, SECONDS[kind])


def learned(plan: Plan, events: Iterable[AnyEvent]) -> dict[str, float]:
    """The median time of each kind of step in a run, from its last start to its end."""
    kinds = {s.id: kind_of(s.action) for s in plan.steps if not isinstance(s.action, Soak)}
    begun: dict[str, float] = {}
    took: dict[str, list[float]] = {}
    for event in events:
        if isinstance(event, StepStarted):
            begun[event.step] = event.at
        elif isinstance(event, StepDone) and event.step in begun and event.step in kinds:
            took.setdefault(kinds[event.step], []).append(event.at - begun.pop(event.step))
    return {kind: median(times) for kind, times in took.items()}
