"""Every kind of step, as one tagged union of plain data.

A step holds no code, credentials or callbacks: only names and versions. A new kind of step is one
struct here; the type checker then points at every `match` that misses it, and
`pawl.engine.executors` needs one executor. An unknown tag is refused at decode with its path.

Versions are exact releases ("1.37.0"); minors are written "1.36".
"""

from __future__ import annotations

from typing import Literal

import msgspec

Strategy = Literal["in-place", "replace"]


class Action(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """Base of all actions; `do` is the tag in JSON."""


class Preflight(Action, frozen=True, kw_only=True, tag="preflight"):
    """Observe and run all checks again, just before anything is touched."""


class StageBinaries(Action, frozen=True, kw_only=True, tag="stage-binaries"):
    """Put the verified binaries of one component's version on a host, beside the running one,
    and ask the staged binary itself whether it accepts the flags that are in use."""

    host: str
    component: str
    version: str


class BackupEtcd(Action, frozen=True, kw_only=True, tag="backup-etcd"):
    """Save a snapshot from `host`'s member, prove it by a restore into a throw-away directory."""

    host: str


class MoveEtcdLeader(Action, frozen=True, kw_only=True, tag="move-etcd-leader"):
    """Move leadership away from `away_from` to a healthy, caught-up, upgraded voter, verified."""

    away_from: str
    prefer: tuple[str, ...] = ()


class SwapEtcdMember(Action, frozen=True, kw_only=True, tag="swap-etcd-member"):
    """Stop the member, switch its binary, start it on the same data; wait until caught up."""

    host: str
    source: str
    target: str


class ReplaceEtcdMachine(Action, frozen=True, kw_only=True, tag="replace-etcd-machine"):
    """Rebuild the member's machine from the new image; data disk and address are kept."""

    host: str
    source: str
    target: str


class ConvergeEtcd(Action, frozen=True, kw_only=True, tag="converge-etcd"):
    """Wait until every member reports cluster (and from 3.6 storage) version `minor`; verify
    member ids, HashKV at one pinned revision, alarms.

    `down`: the end of a downgrade, so every binary must be at `minor` too.
    """

    minor: str
    down: bool = False


class EnableEtcdDowngrade(Action, frozen=True, kw_only=True, tag="enable-etcd-downgrade"):
    """`downgrade validate` and `enable`, then wait until every storage version is `minor`."""

    minor: str


class CancelEtcdDowngrade(Action, frozen=True, kw_only=True, tag="cancel-etcd-downgrade"):
    """`downgrade cancel`: the exit of a downgrade while at least one member is still new."""


class SwapApiServer(Action, frozen=True, kw_only=True, tag="swap-api-server"):
    """Drain the host out of the load balancer, switch the kube-apiserver binary, verify, re-enter.

    `emulate` is the minor the new binary shall emulate, "" for none (its own).
    """

    host: str
    source: str
    target: str
    emulate: str = ""


class FinishEmulation(Action, frozen=True, kw_only=True, tag="finish-emulation"):
    """Restart one API server without `--emulated-version`: it becomes `target` proper."""

    host: str
    target: str


class SwapController(Action, frozen=True, kw_only=True, tag="swap-controller"):
    """Switch kube-controller-manager, kube-scheduler or cloud-controller-manager on one host."""

    host: str
    component: str
    source: str
    target: str
    emulate: str = ""


class AddControlPlane(Action, frozen=True, kw_only=True, tag="add-control-plane"):
    """A new control-plane machine, verified at its own address, then into the load balancer."""

    machine: str
    pool: str
    target: str
    emulate: str = ""


class RetireControlPlane(Action, frozen=True, kw_only=True, tag="retire-control-plane"):
    """Drain the old control-plane machine out of the balancer, stop it, remove it."""

    host: str


class AddNode(Action, frozen=True, kw_only=True, tag="add-node"):
    """A new worker machine from the new image; done when its node is Ready at `target`."""

    machine: str
    pool: str
    target: str


class CloseNodes(Action, frozen=True, kw_only=True, tag="close-nodes"):
    """Taint all old nodes NoSchedule with pawl's own taint, so no pod lands on one twice."""

    nodes: tuple[str, ...]


class RetireNode(Action, frozen=True, kw_only=True, tag="retire-node"):
    """Cordon, drain by the Eviction API, wait for volumes to detach, remove node and machine."""

    node: str


class SwapNode(Action, frozen=True, kw_only=True, tag="swap-node"):
    """In place: cordon, drain, switch kubelet, Ready again at `target`, give the cordon back."""

    node: str
    source: str
    target: str
    drain: bool = True


class SwapKubeProxy(Action, frozen=True, kw_only=True, tag="swap-kube-proxy"):
    """Switch kube-proxy on one host."""

    host: str
    source: str
    target: str


LAST = "landed"
"""The gate of the soak after the last nodes: there is nothing behind it to hold."""


class Soak(Action, frozen=True, kw_only=True, tag="soak"):
    """Watch the cluster for `seconds`; any regression pauses the run."""

    gate: str
    seconds: float


class PointOfNoReturn(Action, frozen=True, kw_only=True, tag="point-of-no-return"):
    """Wait for the named approval: after it, what `loses` says cannot be undone cheaply."""

    approval: str
    loses: str


class Landed(Action, frozen=True, kw_only=True, tag="landed"):
    """Assert per object that the version runs, and that what pawl changed was given back."""


AnyAction = (
    Preflight
    | StageBinaries
    | BackupEtcd
    | MoveEtcdLeader
    | SwapEtcdMember
    | ReplaceEtcdMachine
    | ConvergeEtcd
    | EnableEtcdDowngrade
    | CancelEtcdDowngrade
    | SwapApiServer
    | FinishEmulation
    | SwapController
    | AddControlPlane
    | RetireControlPlane
    | AddNode
    | CloseNodes
    | RetireNode
    | SwapNode
    | SwapKubeProxy
    | Soak
    | PointOfNoReturn
    | Landed
)

PASSING = (
    Preflight,
    StageBinaries,
    BackupEtcd,
    MoveEtcdLeader,
    EnableEtcdDowngrade,
    CancelEtcdDowngrade,
    AddControlPlane,
    AddNode,
    CloseNodes,
    Soak,
    PointOfNoReturn,
)
"""Steps whose end state need not last, or is known to the journal alone."""

LASTING = (
    SwapEtcdMember,
    ReplaceEtcdMachine,
    SwapApiServer,
    FinishEmulation,
    SwapController,
    RetireControlPlane,
    RetireNode,
    SwapNode,
    SwapKubeProxy,
)
"""Steps whose end state is meant to be there at the end; others were ways to get there."""
