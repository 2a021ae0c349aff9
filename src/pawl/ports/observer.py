"""Reading the whole cluster: the only way facts get into pawl."""

from __future__ import annotations

from typing import Literal, Protocol

from pawl.core.model import ClusterState

Part = Literal["machines", "etcd", "api", "nodes", "balancer"]
"""What a refresh may read beside the hosts that it is given by name."""
EVERYTHING: frozenset[Part] = frozenset({"machines", "etcd", "api", "nodes", "balancer"})


class Observer(Protocol):
    async def observe(self, known: ClusterState | None = None) -> ClusterState:
        """Read everything concurrently, each source with its own deadline.

        With `known`, an earlier reading of this process, certificates and free disk space of the
        hosts are taken from it: to look at them all costs ten machines a second of CPU.
        Never raises for a source that fails: that one is named in `ClusterState.unread`.
        """
        ...

    async def refresh(
        self, state: ClusterState, *hosts: str, parts: frozenset[Part] = EVERYTHING
    ) -> ClusterState:
        """`state` with `parts` and the named hosts read again; all else stays as it was.

        Cheaper than `observe`: no pods, budgets, workloads, webhooks, certificates or disks. A
        wait inside a step names only the parts that it looks at, so that waiting costs neither
        the cluster nor the run.
        """
        ...
