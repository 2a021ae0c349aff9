"""Folds a stream of facts into findings, in memory that depends on the findings alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from pawl.core.findings import Severity
from pawl.core.lint.finding import LintFinding, NotRead, Report
from pawl.core.lint.judge import Judge
from pawl.core.scan import encoded, extensions, objects, releases, requests
from pawl.core.scan.facts import (
    ApiServiceFact,
    Audited,
    Call,
    Counted,
    Definition,
    Encoded,
    Hook,
    Judged,
    Missed,
    Note,
    Release,
    Requested,
    Running,
    ScanFact,
    Seen,
    Served,
    Stored,
)
from pawl.core.scan.lens import Lens

SHOWN = 100
"""Objects that are listed one by one of those with the same rule, API, grade and evidence kind; an
operator may have written thousands. The rest are counted."""

_ORDER = {Severity.BLOCKER: 0, Severity.WARNING: 1, Severity.INFO: 2}
_GRADES = {"proven": 0, "": 0, "likely": 1, "stale": 2}


class Collector:
    """`add` every fact, then ask for the `report`. `now` is the scan's one timestamp."""

    def __init__(
        self,
        judge: Judge,
        *,
        now: float,
        audit_days: float = requests.AUDIT_DAYS,
        certificate_days: float = extensions.CERTIFICATE_DAYS,
    ) -> None:
        self.lens = Lens(judge)
        self._judge, self._now, self._certificate_days = judge, now, certificate_days
        self._requests = requests.Requests(self.lens, now, audit_days)
        self._found: dict[tuple[str, ...], LintFinding] = {}
        self._groups: Counter[tuple[str, ...]] = Counter()
        self._last: dict[tuple[str, ...], LintFinding] = {}
        self._missed: dict[tuple[str, str], NotRead] = {}
        self._notes: list[str] = []
        self._counts: Counter[str] = Counter()
        self._joined = False

    def add(self, facts: Iterable[ScanFact]) -> None:
        for fact in facts:
            self._add(fact)

    def _add(self, fact: ScanFact) -> None:
        match fact:
            case Seen():
                self.keep(objects.findings(fact, self.lens, self._now))
            case Counted():
                self._counts[fact.what] += fact.objects
            case Served():
                self.lens.serve(fact)
            case Release():
                self._counts["Helm releases"] += 1
                self.keep(releases.findings(fact, self.lens))
            case Requested():
                self._requests.requested(fact)
            case Call():
                self._requests.call(fact)
            case Audited():
                self._counts["audit logs"] += 1
                self._requests.audited(fact)
            case Definition():
                self.keep(extensions.definition(fact, self._now, self._certificate_days))
            case ApiServiceFact():
                self.keep(extensions.api_service(fact, self._now, self._certificate_days))
            case Hook():
                self.keep(extensions.hook(fact, self.lens, self._now, self._certificate_days))
            case Stored():
                self.keep(extensions.stored(fact, self.lens))
            case Encoded():
                self.keep(encoded.findings(fact, self.lens))
            case Judged():
                self.keep(objects.in_full(f, self.lens) for f in fact.findings)
            case Running():
                self.lens.running = fact.minor
            case Missed():
                self._missed[fact.where, fact.why] = NotRead(path=fact.where, why=fact.why)
            case Note():
                self._notes.append(fact.text)
            case _:
                raise TypeError(f"no scan fact: {type(fact).__name__}")

    def keep(self, findings: Iterable[LintFinding]) -> None:
        """Take findings in, from here or from elsewhere (a plan's checks), each once."""
        for found in findings:
            group = (found.rule, found.api_version, found.kind, found.grade, _sort_of(found.path))
            identity = (*group, found.path, str(found.line), found.name, found.message)
            if identity in self._found:
                continue
            self._groups[group] += 1
            if self._groups[group] <= SHOWN:
                self._found[identity] = found
            else:
                self._last[group] = found

    def findings(self) -> tuple[LintFinding, ...]:
        """Everything that was found: blockers first, then by how good the evidence is."""
        if not self._joined:
            self._joined = True
            self.keep(self._requests.findings())
        rest = [
            msgspec.structs.replace(
                found,
                path=_sort_of(found.path),
                namespace="",
                name="",
                owner="",
                message=f"{found.message} ({self._groups[group] - SHOWN} more objects)",
                evidence=(f"the last of them: {found.object}", *found.evidence),
            )
            for group, found in self._last.items()
        ]
        return tuple(
            sorted(
                (*self._found.values(), *rest),
                key=lambda f: (_ORDER[f.severity], _GRADES[f.grade], f.path, f.line, f.rule),
            )
        )

    def report(self) -> Report:
        knowledge = self._judge.knowledge
        objects_read = self._counts.pop("objects", 0)
        scope = [f"{objects_read:,} live objects"]
        scope += [f"{n} {what}" for what, n in sorted(self._counts.items())]
        return Report(
            tool="pawl scan",
            target=self._judge.target,
            knowledge_as_of=knowledge.as_of,
            findings=self.findings(),
            not_read=tuple(self._missed.values()),
            notes=tuple(dict.fromkeys(self._notes)),
            objects=objects_read,
            scope=", ".join(scope),
        )


def _sort_of(path: str) -> str:
    return path.partition("/")[0]
