"""What the pods of one node really took, and so the least that emptying it could have taken.

Each time is the shortest that was measured of its workload, so the bound is below the actual time
by construction: the same moves under the same policy take no less, in whatever order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from msgspec import structs

from pawl.core.pace import Pace
from pawl.core.workloads.bound import Bound, lower_bound
from pawl.core.workloads.schedule import Job

MEASURED = "measured"
LAST = 1 << 30
"""The rank of workloads that the facts did not show: their pods go last."""


class Stopwatch:
    """`landed`, `asked` and `gone` as it happens, in seconds of one clock; then `bound`."""

    def __init__(self) -> None:
        self._ready: dict[str, list[float]] = defaultdict(list)
        self._ends: dict[str, list[float]] = defaultdict(list)
        self._late: set[str] = set()
        """Workloads of which a pod was asked to end before its successor was Ready."""
        self._held: set[str] = set()
        self._asked: dict[str, tuple[str, float]] = {}

    def landed(self, workload: str, took: float) -> None:
        """A successor is Ready, so long after its pod's move began."""
        self._ready[workload].append(took)

    def held(self, workload: str) -> None:
        """Its only pod stayed for the handover."""
        self._held.add(workload)

    def asked(self, uid: str, workload: str, now: float, *, succeeded: bool) -> None:
        """A pod is to end. `succeeded`: after its successor was Ready."""
        if uid not in self._asked:
            self._asked[uid] = (workload, now)
            if not succeeded:
                self._late.add(workload)

    def left(self, there: set[str], now: float) -> None:
        """Of those that were asked to end only these (by UID) are still there."""
        for uid in self._asked.keys() - there:
            workload, since = self._asked.pop(uid)
            self._ends[workload].append(now - since)

    def bound(self, jobs: Sequence[Job], pace: Pace, clients: Mapping[str, int], cap: int) -> Bound:
        """`jobs`: the moves as they were foreseen; what was not, is taken to have come last."""
        known = {j.workload for j in jobs}
        others = (
            Job(workload=w, rank=LAST, moves=1, at_once=LAST, seconds=0.0)
            for w in sorted(self._ready.keys() - known)
        )
        flown = [self._measured(j, pace) for j in (*jobs, *others) if self._ready.get(j.workload)]
        return lower_bound(flown, pace, clients, cap=cap)

    def _measured(self, j: Job, pace: Pace) -> Job:
        took, ends = self._ready[j.workload], self._ends.get(j.workload, [0.0])
        hold = pace.handover if j.workload in self._held else 0.0
        before = 0.0 if j.workload in self._late else min(took) + hold
        return structs.replace(
            j,
            moves=len(took),
            pulls=min(j.pulls, len(took)),
            seconds=min(took),
            hold=hold,
            gone=before + min(ends),
            ready_by=MEASURED,
            gone_by=MEASURED,
        )
