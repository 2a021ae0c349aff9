"""What all drains of a run share: what is seen, how much may happen at once, what stays true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from pawl.core.actions import AddNode, RetireNode, SwapNode
from pawl.core.plan import Plan
from pawl.core.workloads.facts import Workloads
from pawl.core.workloads.gather import STATIC
from pawl.core.workloads.throttle import Throttle
from pawl.engine.board import Board
from pawl.engine.invariance import Invariance
from pawl.ports.kube import Kube
from pawl.ports.leeway import Lent

Loan = tuple[str, str]
"""(what, "namespace/Kind/name")."""


class Moving:
    """`busy`: the nodes that running steps work on; `behind`: those that stay behind, not emptied;
    `pause`: asks the run to pause, with a reason; `now`: the run's clock."""

    def __init__(
        self,
        plan: Plan,
        kube: Kube,
        group: TaskGroup,
        *,
        busy: Callable[[], set[str]],
        behind: Callable[[], set[str]],
        pause: Callable[[str], None],
        now: Callable[[], float],
    ) -> None:
        self.pace = plan.pace
        self.board = Board(kube)
        self.invariance = Invariance(
            self.board,
            kube,
            group,
            busy=busy,
            leaving=self._leaving,
            behind=behind,
            pause=pause,
            now=now,
        )
        self.throttle = Throttle(self.pace.starts_least, self.pace)
        self.in_use: Counter[str] = Counter()
        """Objects that are loosened, and how many drains need them so."""
        self.lent: dict[Loan, Lent] | None = None
        """What was found loosened at first, and what this run has loosened and given back since."""
        self.lending = anyio.Lock()
        """Held from a change to the reading of its mark: no other drain gives it back between."""
        self.reasserted: set[tuple[str, str]] = set()
        """(node, mark) that somebody had taken away, and that was put back."""
        self._plan, self._group = plan, group
        self._busy = busy
        self._retire = {s.action.node for s in plan.steps if isinstance(s.action, RetireNode)}
        self._add = {s.action.machine for s in plan.steps if isinstance(s.action, AddNode)}
        self._capped = False

    def begin(self) -> None:
        """Watch from now on."""
        self.board.begin(self._group)

    def _leaving(self) -> set[str]:
        """Nodes whose pods must find room on those that are there: all that are to go once no
        machine is to come, until then those that are being emptied. A node that comes back holds
        its pods again; and while a workload is loosened its pods stand twice, as they should."""
        if self.lent:
            return set()
        nodes = self.board.nodes
        coming = any(name not in nodes or not nodes[name].ready for name in self._add)
        return self._retire & self._busy() if coming else self._retire

    def cap(self, facts: Workloads) -> None:
        """The plan's cap on pod starts in flight, by all pods that its nodes carry. Once a run:
        what has moved already still belongs to it."""
        if self._capped:
            return
        self._capped = True
        nodes = {
            s.action.node for s in self._plan.steps if isinstance(s.action, RetireNode | SwapNode)
        }
        kinds = {c.key: c.kind for c in facts.controllers}
        moves = sum(
            p.node in nodes and not p.finished and kinds.get(p.owner) not in ("DaemonSet", STATIC)
            for p in facts.pods
        )
        self.throttle = Throttle(self.pace.starts(moves), self.pace)
