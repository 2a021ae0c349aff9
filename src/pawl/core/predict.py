"""How long a step will take, before it is done.

The table holds medians in seconds, measured in the lab (3 + 3 + 3 machines on two cores) or, where
a step mostly waits, what it waits for. `pawl.yaml` may override each kind under `policy.durations`,
and `learned` makes the same mapping out of a run's journal, so the next plan knows this cluster.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from statistics import median

from pawl.core.actions import AnyAction, RetireNode, Soak, StageBinaries, SwapNode
from pawl.core.events import AnyEvent, StepDone, StepStarted
from pawl.core.plan import Plan, Step

UPLOADS = 2
"""Binaries laid ready at once, so that one is sent while the other is checked on its host. More
are no quicker: an upload is bound by one core of this machine."""

SECONDS: dict[str, float] = {
    "preflight": 1.0,  # one observation of everything
    "stage-binaries": 3.0,  # upload of 20-130 MB, a checksum and the question on the host
    "backup-etcd": 1.0,  # field: save 0.9 s and restore 0.7 s for 126 MB
    "move-etcd-leader": 0.8,  # under 0.1 s, and reading the leader again
    # 7 s of it are etcd's own: it waits its request timeout for the watches of API servers to end
    # before it stops; 2 s are between the two looks at the quorum.
    "swap-etcd-member": 12.0,
    "replace-etcd-machine": 20.0,
    "converge-etcd": 1.0,  # up to 4 s, the servers' monitor tick, mostly passed by then
    "enable-etcd-downgrade": 5.0,  # field: 4.1 s
    "cancel-etcd-downgrade": 1.0,
    "swap-api-server": 13.0,  # drain 1 s, shutdown delay 5 s, its watches 1 s, start and hooks 5 s
    "finish-emulation": 13.0,
    "swap-controller": 1.5,
    "add-control-plane": 30.0,
    "retire-control-plane": 15.0,
    "add-node": 3.5,
    "close-nodes": 0.5,
    "retire-node": 15.0,  # two tiers of pods, each with a successor to wait for and 5 s to stop
    "swap-node": 12.0,
    "swap-kube-proxy": 1.5,
    "soak": 0.0,
    "point-of-no-return": 0.0,
    "landed": 0.8,
}


def kind_of(action: AnyAction) -> str:
    """The action's tag in JSON."""
    tag = action.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


BESIDE_PODS: dict[str, float] = {
    "retire-node": 1.0,
    "swap-node": 3.0,
}
"""What such a step takes beside the time until its last pod has gone."""


def seconds(
    action: AnyAction,
    overrides: Mapping[str, float] | None = None,
    emptying: Mapping[str, float] | None = None,
) -> float:
    """The predicted time of one step in seconds; a soak takes as long as it says, and a node as
    long as its own pods need (`emptying`, by node) where that is known."""
    if isinstance(action, Soak):
        return action.seconds
    kind = kind_of(action)
    if overrides and kind in overrides:
        return overrides[kind]
    if emptying and (node := _emptied(action)) in emptying:
        return emptying[node] + BESIDE_PODS[kind]
    return SECONDS[kind]


def _emptied(action: AnyAction) -> str:
    """The node that the step empties, "" for none."""
    match action:
        case RetireNode():
            return action.node
        case SwapNode(drain=True):
            return action.node
    return ""


def schedule(
    steps: Iterable[Step],
    done: Collection[str] = (),
    spent: Mapping[str, float] | None = None,
) -> dict[str, tuple[float, float]]:
    """(begin, end) of each step that is left, in seconds from now, as the runner would do them:
    whatever `after` lets run together does, of uploads `UPLOADS` at once. `spent` is how long a
    step has been running already."""
    free = [0.0] * UPLOADS
    found: dict[str, tuple[float, float]] = {}
    for step in steps:
        if step.id in done:
            continue
        begin = max((found[a][1] for a in step.after if a in found), default=0.0)
        takes = max(0.0, step.seconds - (spent or {}).get(step.id, 0.0))
        if isinstance(step.action, StageBinaries):
            lane = min(range(UPLOADS), key=free.__getitem__)
            begin = max(begin, free[lane])
            free[lane] = begin + takes
        found[step.id] = (begin, begin + takes)
    return found


def wall_seconds(steps: Iterable[Step], done: Collection[str] = ()) -> float:
    """The predicted length of a run of these steps."""
    return max((end for _, end in schedule(steps, done).values()), default=0.0)


def busy_seconds(intervals: Iterable[tuple[float, float]]) -> float:
    """The time in which at least one of the intervals lasts."""
    total, last = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, last))
        last = max(last, end)
    return total


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
