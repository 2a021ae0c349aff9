"""What is loosened for the time of a move, and given back whatever happens.

Each is one write that sets the change and pawl's mark together, so that whoever resumes sees what
is lent, to whom, and what it was before. All verbs are idempotent.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from pawl.ports.kube import Pod

Kind = Literal["scale", "always-allow", "restart", "victim"]


class Lent(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """`object` is "Kind/name"; `was` what it said before: the replicas, the policy ("" for none);
    `to` whose it is ("pawl:<run>")."""

    what: Kind
    namespace: str
    object: str
    was: str
    to: str

    @property
    def name(self) -> str:
        return f"{self.namespace}/{self.object}"


class Leeway(Protocol):
    async def scale(self, namespace: str, workload: str, owner: str) -> None:
        """One replica more than now."""
        ...

    async def allow_unhealthy(self, namespace: str, budget: str, owner: str) -> None:
        """`unhealthyPodEvictionPolicy: AlwaysAllow` on the budget of that name."""
        ...

    async def restart(self, namespace: str, workload: str, owner: str) -> None:
        """The workload's own rolling update, begun once."""
        ...

    async def rolled_out(self, namespace: str, workload: str) -> str:
        """Why its rolling update is not complete yet, "" when it is."""
        ...

    async def choose(self, pod: Pod) -> None:
        """Make the pod the first that its ReplicaSet ends when it has one too many."""
        ...

    async def lent(self) -> tuple[Lent, ...]:
        """All that carries pawl's mark, whoever's run it is."""
        ...

    async def give_back(self, lent: Lent) -> None:
        """As it was before, where it still is as pawl has set it; the mark goes in any case. Of a
        restart only the mark goes: its template says who asked for it, and to change that back
        would restart everything again."""
        ...
