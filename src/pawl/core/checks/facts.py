"""What a check is given, and how one is registered.

A check is one pure function: facts in, findings out. Its decorator names the codes that it may
raise, which is what docs/findings.md is tested against. Checks never stop at the first trouble:
all of them run, and a refusal lists everything at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pawl.core.beforehand import Beforehand
from pawl.core.config import Config
from pawl.core.findings import Finding, Severity
from pawl.core.foreseen import Foreseen
from pawl.core.knowledge.store import Knowledge, shipped
from pawl.core.model import ClusterState
from pawl.core.plan import Target


@dataclass(frozen=True, slots=True)
class FlagComplaint:
    """What a binary of the target said about the flags in use on `host`. `where` is the place of
    what it complains of, "" when it does not name it."""

    host: str
    component: str
    version: str
    complaint: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a check may look at. `beforehand` is None where only the live state is judged,
    as right before a run."""

    state: ClusterState
    target: Target
    config: Config
    complaints: tuple[FlagComplaint, ...] = ()
    beforehand: Beforehand | None = None
    knowledge: Knowledge = field(default_factory=shipped)
    moves: Foreseen | None = None
    """What emptying the nodes will ask for; None where nobody has looked."""

    @property
    def touches_etcd(self) -> bool:
        return bool(self.target.etcd) and (not self.target.only or "etcd" in self.target.only)

    @property
    def touches_control_plane(self) -> bool:
        return self._kubernetes("control-plane")

    @property
    def touches_nodes(self) -> bool:
        return self._kubernetes("nodes")

    def _kubernetes(self, part: str) -> bool:
        wanted = not self.target.only or part in self.target.only
        return bool(self.target.kubernetes) and wanted


Check = Callable[[Facts], Iterable[Finding]]


@dataclass
class Registry:
    """The checks in the order in which they were declared, and every code they may raise."""

    checks: list[Check] = field(default_factory=list)
    codes: dict[str, str] = field(default_factory=dict)

    def check(self, **codes: str) -> Callable[[Check], Check]:
        """Register a check with its codes: `@check(E001="a member is down")`."""

        def register(function: Check) -> Check:
            for code, meaning in codes.items():
                name = f"PAWL-{code}"
                if name in self.codes:
                    raise ValueError(f"finding code {name} is declared twice")
                self.codes[name] = meaning
            self.checks.append(function)
            return function

        return register


REGISTRY = Registry()
check = REGISTRY.check


def finding(
    code: str,
    subject: str,
    message: str,
    remedy: str,
    *,
    warn: bool = False,
    minor: str = "",
    where: str = "",
) -> Finding:
    """A finding that refuses the plan, or `warn`s. `code` without its "PAWL-"."""
    return Finding(
        code=f"PAWL-{code}",
        severity=Severity.WARNING if warn else Severity.BLOCKER,
        subject=subject,
        message=message,
        remedy=remedy,
        minor=minor,
        where=where,
    )
