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
    observed value, `remedy` what to do about it."""

    code: str
    severity: Severity
    subject: str
    message: str
    remedy: str

    def sentence(self) -> str:
        return f"{self.code} {self.subject}: {self.message} {self.remedy}"
