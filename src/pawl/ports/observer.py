"""Reading the whole cluster: the only way facts get into pawl."""

from __future__ import annotations

from typing import Protocol

from pawl.core.model import ClusterState


class Observer(Protocol):
    async def observe(self) -> ClusterState:
        """Read everything concurrently, each source with its own deadline.

        Never raises for a source that fails: that one is named in `ClusterState.unread`.
        """
        ...

    async def refresh(self, state: ClusterState, *hosts: str) -> ClusterState:
        """`state` with etcd, API servers, balancer and the named hosts and their nodes read again.

        Cheaper than `observe` for waits inside one step.
        """
        ...
