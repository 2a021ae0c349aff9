"""How many pods may be on their way at this moment: caps of the plan, and what the cluster says.

    a pod starts ──> flight ──> its successor is Ready ──> landed
                       │                                      │
            never more than `allowed`              `clean` batches: allowed + 1
                       │
       the API asks for less, a start is `slow`, a provider is `busy`: allowed / 2

Additive increase, multiplicative decrease, between one and the plan's cap. Beside all starts each
provider has a cap on its clients that reconnect together, and each registry one on pulls. Always:
flights <= allowed when one begins, and 1 <= allowed <= cap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from pawl.core.pace import Pace
from pawl.core.workloads.facts import Part


class Flight(Part, frozen=True, kw_only=True):
    """A pod on its way. `needs`: what it takes a slot of, beside its workload (providers, pulls).
    `expected`: seconds from its start to Ready, 0 where nobody knows."""

    workload: str
    since: float
    expected: float = 0.0
    needs: tuple[str, ...] = ()


class Throttle:
    """One for a run: all drains of it ask here. `pace` says what is slow, and what clean."""

    def __init__(self, cap: int, pace: Pace) -> None:
        self.cap = max(1, cap)
        self._pace = pace
        self.allowed = float(self.cap)
        self.flights: dict[str, Flight] = {}
        self.peak = 0
        self.why = ""
        """Why fewer than the plan's starts are allowed now, "" while they are not."""
        self._clean = 0
        self._cut_at = float("-inf")

    def why_not(
        self, workload: str, at_once: int, needs: Mapping[str, int], trouble: str = ""
    ) -> str:
        """Why no pod of the workload may start now, "" when it may. `needs`: slots by name with
        their limits. `trouble`: of a provider that must not get new clients."""
        if trouble:
            return trouble
        flying = self.flights.values()
        if sum(f.workload == workload for f in flying) >= at_once:
            return f"{at_once} of {workload} are on their way"
        if len(self.flights) >= int(self.allowed):
            slower = f" ({self.why})" if self.why else ""
            return f"{len(self.flights)} pods are on their way{slower}"
        used = Counter(n for f in flying for n in f.needs)
        full = next((n for n, limit in needs.items() if used[n] >= limit), "")
        return f"as many {full} as may be at once ({used[full]})" if full else ""

    def begin(self, key: str, flight: Flight) -> None:
        """`key`: the UID of the pod that goes. Begun again after a crash, it is the same flight."""
        self.flights.setdefault(key, flight)
        self.peak = max(self.peak, len(self.flights))

    def land(self, key: str, now: float) -> Flight | None:
        """Returns the flight that ends here, None if it was not on its way."""
        flight = self.flights.pop(key, None)
        if flight is None:
            return None
        took = now - flight.since
        if flight.expected and took > self._pace.slow * flight.expected:
            self.cut(f"a pod of {flight.workload} took {took:.0f} s to be Ready", now)
            return flight
        self._clean += 1
        if self._clean >= self._pace.clean * int(self.allowed) and self.allowed < self.cap:
            self.allowed = min(float(self.cap), int(self.allowed) + 1.0)
            self._clean = 0
            if self.allowed >= self.cap:
                self.why = ""
        return flight

    def drop(self, keys: Iterable[str]) -> None:
        """These are nobody's business any more: their drain has ended."""
        for key in keys:
            self.flights.pop(key, None)

    def cut(self, why: str, now: float) -> None:
        """The cluster is not well: half as many from now on."""
        self._clean = 0
        if now - self._cut_at >= self._pace.cut_every:
            self._cut_at = now
            self.allowed = max(1.0, self.allowed / 2)
            self.why = why
