"""A plan in the making: steps, the edges between them, and the projected cluster.

Each step that is added moves the projection on, so the next one is planned for the cluster as it
will be, and is asserted against the hard invariants there. What already stands in the cluster
gives no step: this is why a plan made after a crash holds exactly what is left, under the same ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pawl.core import invariants, landed, predict
from pawl.core.actions import AnyAction
from pawl.core.config import Config
from pawl.core.model import ClusterState
from pawl.core.plan import Exit, Phase, Step, Target
from pawl.core.version import Minor, Version

NO_EXIT = Exit(name="none", how="Nothing was changed yet that would need a way back.")


@dataclass
class Draft:
    """Collects steps. `frontier` is what the next step must wait for; `problems` are the reasons
    why there can be no plan, all of them, each a sentence with its remedy."""

    state: ClusterState
    target: Target
    config: Config
    releases: Mapping[Minor, Version]
    emptying: Mapping[str, float] = field(default_factory=dict)
    """Seconds that each node's pods need to be Ready elsewhere, where that is known."""
    steps: list[Step] = field(default_factory=list)
    frontier: tuple[str, ...] = ()
    before_soak: tuple[str, ...] | None = None
    """The frontier before etcd's soak: what may be done meanwhile waits for this alone."""
    problems: list[str] = field(default_factory=list)
    exit: Exit = NO_EXIT

    @property
    def releases_of_etcd(self) -> dict[Minor, Version]:
        return {m: v for m, v in self.releases.items() if m.major == 3}

    def wants(self, part: str) -> bool:
        """Whether the target asks for this part ("etcd", "control-plane", "nodes")."""
        return not self.target.only or part in self.target.only

    def refuse(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def add(
        self,
        step_id: str,
        phase: Phase,
        action: AnyAction,
        *,
        why: str,
        risk: str = "",
        disruption: str = "none",
        exit: Exit | None = None,
        approval: str = "",
        after: tuple[str, ...] | None = None,
        keep: bool = False,
    ) -> bool:
        """Add a step unless its end state stands already; True when it was added.

        `exit` also holds for all later steps, until one says otherwise. `after` replaces the
        frontier for this step and leaves it as it is: the caller then moves it. `keep` adds the
        step even though its end state stands now, for a state that will not last.
        """
        if exit is not None:
            self.exit = exit
        if not keep and landed.satisfied(action, self.state) is True:
            return False
        self._assert(step_id, action)
        self.steps.append(
            Step(
                id=step_id,
                phase=phase,
                action=action,
                after=self.frontier if after is None else after,
                why=why,
                risk=risk,
                disruption=disruption,
                seconds=predict.seconds(action, self.config.policy.durations, self.emptying),
                exit=self.exit,
                approval=approval if approval in self.config.policy.approvals else "",
            )
        )
        self.state = invariants.after(action, self.state)
        if after is None:
            self.frontier = (step_id,)
        return True

    def _assert(self, step_id: str, action: AnyAction) -> None:
        """The hard invariants, at the step's worst moment and at its end. What is broken already
        before the step is not its fault, as long as it makes nothing worse."""
        before = set(invariants.violations(self.state))
        for moment in (invariants.during, invariants.after):
            for broken in invariants.violations(moment(action, self.state)):
                if broken not in before:
                    self.refuse(f"{broken} (in step {step_id})")
