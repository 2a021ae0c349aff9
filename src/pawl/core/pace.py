"""How fast pods may move: caps, what slows a run down, and times that are assumed where nothing
tells them.

The same struct is `policy.pace` in pawl.yaml and a part of each plan, so that plan and run go by
the same numbers, and the digest covers them.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from msgspec import Meta

Share = Annotated[float, Meta(ge=0, le=1)]
AtLeastOne = Annotated[int, Meta(ge=1, le=100_000)]
Time = Annotated[float, Meta(ge=0, le=86_400)]
Pause = Annotated[float, Meta(ge=0.1, le=86_400)]


class Pace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How fast pods may move. Each plan holds these numbers, so a change here asks for a new plan.

    The caps are the field's defaults (docs/workloads.md); a time that is assumed is used where the
    cluster's own pods do not tell it. Seconds, and shares of 1.
    """

    starts_share: Share = 0.05
    """Pod starts in flight, as a share of all pods that a plan moves."""
    starts_least: AtLeastOne = 2
    """Pod starts in flight that are allowed in any case."""
    provider_share: Share = 0.25
    """Clients of one provider that may reconnect together, as a share of them; one may always."""
    pulls: AtLeastOne = 10
    """Image pulls from one registry at once."""
    settle: Time = 10.0
    """How long a workload stays Ready before what depends on it begins."""
    handover: Time = 2.0
    """How long the only successor of an only pod is Ready before that pod goes. A kube-proxy learns
    of it at its next sync, of which there is one a second at most (iptables.minSyncPeriod)."""
    slow: Annotated[float, Meta(ge=1)] = 2.0
    """A start that takes so many times what its workload usually takes halves the starts in flight:
    the cluster is not well. So does an API server that asks for fewer requests."""
    busy: Share = 0.8
    """So does a provider that uses more than this share of its CPU limit."""
    cut_every: Time = 5.0
    """Within so long they are halved once: one cause is told many times."""
    clean: AtLeastOne = 3
    """Batches without such trouble before one start more is allowed, up to the cap."""
    retry: Pause = 1.0
    """How long at least until a pod that was refused is asked to go again; each time up to three
    times as long as the last, at random, so that many that were refused together do not come back
    together. `kubectl drain` uses 5 s."""
    retry_most: Pause = 30.0
    """How long at most."""
    homeless: Time = 60.0
    """How long a successor may have no node before the run pauses."""
    last_ready: Time = 60.0
    """How long the last successors may take in any case, once their node is empty; else as long as
    a drain waits (`policy.timeouts.eviction`)."""
    schedule: Time = 1.0
    """Assumed until a pod has a node."""
    pull: Time = 5.0
    """Assumed for one image."""
    ready: Time = 10.0
    """Assumed from start to Ready, where no pod of the workload tells it."""
    stop: Time = 5.0
    """Assumed until a pod has ended; its grace period, where that is shorter."""
    detach: Time = 10.0
    """Assumed until one volume has left its node."""
    attach: Time = 15.0
    """Assumed until it is on the new one."""
    boot: Time = 60.0
    """Assumed until a new machine is a Ready node."""
    tail: Time = 15.0
    """Assumed from the last move until the old machine is gone."""

    def starts(self, pods: int) -> int:
        """Pod starts in flight for a plan of so many moves."""
        return max(self.starts_least, math.floor(self.starts_share * pods))

    def clients(self, pods: int) -> int:
        """Clients of one provider that may reconnect together."""
        return max(1, math.floor(self.provider_share * pods))
