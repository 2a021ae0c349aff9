"""A finding: one thing that a person should know before, or that forbids, an upgrade.

Codes are stable (documented in docs/findings.md; a test fails for one that is not). A finding
always carries its remedy: a refusal without a way out is half an answer.
"""

from __future__ import annotations

import enum

import msgspec


class Severity(enum.StrEnum):
    """`blocker` refuses the plan, `warning` is shown and accepted with the plan."""

    INFO = "info"
    WARNING = "warning"
    BLOCKER = "blocker"


class Finding(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """`subject` names the object ("etcd member etcd-1"), `message` what is the case with the
    observed value, `remedy` what to do about it. `minor` is the hop at which it breaks ("1.37", ""
    where it is about now), `where` the place to look at ("cp-1:/etc/kubernetes/x.env:1").

    `waived` holds the sentence of the waiver that covers it: such a finding is shown as before and
    keeps its severity, but refuses nothing.
    """

    code: str
    severity: Severity
    subject: str
    message: str
    remedy: str
    minor: str = ""
    where: str = ""
    waived: str = ""

    @property
    def refuses(self) -> bool:
        return self.severity is Severity.BLOCKER and not self.waived

    @property
    def counts(self) -> Severity:
        """What it weighs in an exit code: waived, a blocker is a warning, all else nothing."""
        if not self.waived:
            return self.severity
        return Severity.WARNING if self.severity is Severity.BLOCKER else Severity.INFO

    def sentence(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.code} {self.subject}{place}: {self.message} {self.remedy}"
