"""What lint has to say: findings, what was not read, and the exit code of both."""

from __future__ import annotations

from typing import Literal

import msgspec

from pawl.core.findings import Severity

Grade = Literal["", "proven", "likely", "stale"]


class LintFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in one document that breaks, or will.

    `minor` is where it breaks. `change` says what a person must do: "version" (the apiVersion
    alone is enough), "fields" (fields too, listed in `fields`), "none" (nothing takes its place)
    or "other". `fixable`: `--fix` can do it. `waived` holds the waiver's sentence: such a finding
    is never hidden, only not counted. `line` is 0 where there are no lines (a live object).
    `grade` is how good the evidence of a live cluster is ("" for a manifest), `evidence` what it
    is, one sentence each.
    """

    rule: str
    severity: Severity
    path: str
    line: int
    api_version: str
    kind: str
    namespace: str = ""
    name: str = ""
    owner: str = ""
    message: str
    minor: str = ""
    replacement: str = ""
    change: Literal["version", "fields", "none", "other"] = "other"
    fields: tuple[str, ...] = ()
    note: str = ""
    fixable: bool = False
    fixed: bool = False
    waived: str = ""
    grade: Grade = ""
    evidence: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path

    @property
    def object(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.name}" if self.name else self.kind

    @property
    def counts(self) -> Severity:
        """The severity that decides the exit code: a waived blocker is a warning."""
        if self.waived and self.severity is Severity.BLOCKER:
            return Severity.WARNING
        return Severity.INFO if self.waived or self.fixed else self.severity


class NotRead(msgspec.Struct, frozen=True, kw_only=True):
    """A file or document that could not be judged. `why` is a sentence."""

    path: str
    line: int = 0
    why: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer for one target minor. `scope` says what was looked at, where that is not
    a number of files."""

    schema: int = 1
    tool: str = "pawl lint"
    target: str
    knowledge_as_of: str
    findings: tuple[LintFinding, ...] = ()
    not_read: tuple[NotRead, ...] = ()
    notes: tuple[str, ...] = ()
    files: int = 0
    documents: int = 0
    objects: int = 0
    scope: str = ""

    @property
    def exit_code(self) -> int:
        """2 blockers, 3 something was not read, 1 warnings, 0 clean: in this order."""
        counted = [f.counts for f in self.findings if not f.fixed]
        if Severity.BLOCKER in counted:
            return 2
        if self.not_read:
            return 3
        return 1 if Severity.WARNING in counted else 0

    @property
    def verdict(self) -> str:
        blockers = sum(f.counts is Severity.BLOCKER and not f.fixed for f in self.findings)
        warnings = sum(f.counts is Severity.WARNING and not f.fixed for f in self.findings)
        waived = sum(bool(f.waived) for f in self.findings)
        fixed = sum(f.fixed for f in self.findings)
        parts = [f"{blockers} blockers", f"{warnings} warnings"]
        parts += [f"{waived} waived"] * bool(waived) + [f"{fixed} fixed"] * bool(fixed)
        parts += [f"{len(self.not_read)} not read"] * bool(self.not_read)
        scope = self.scope or f"{self.objects} objects in {self.files} files"
        return f"Kubernetes {self.target}: {', '.join(parts)}; {scope}"


RULES = {
    "api-removed": "The API server of the target does not serve this API any more.",
    "api-too-new": "The API does not exist yet at the target.",
    "api-off-by-default": "The target serves this API only with --runtime-config.",
    "api-deprecated": "The API still works at the target, and its removal is announced.",
    "api-unknown": "No release that the tables cover served this kind in this version.",
    "field-removed": "The field is gone: it is dropped silently, or refused by strict validation.",
    "field-required": "The field must be given from this minor on.",
    "configuration-removed": "The component of the target refuses this configuration file.",
    "volume-removed": "The in-tree volume plugin behind this volume is gone.",
}
"""Stable codes. docs/lint.md holds them all (a test fails when one is missing)."""
