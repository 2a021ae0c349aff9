"""What one API version means at the target and on this cluster, remembered for each.

Live objects are many and their kinds few, so a verdict is made once and copied. Of lint's rules
only those about the API itself can be told from an apiVersion and a kind alone. A deprecation
without an announced removal is left out: nobody can act on it, and Kubernetes' own controllers keep
using such APIs (v1 Endpoints).
"""

from __future__ import annotations

import msgspec

from pawl.core.findings import Severity
from pawl.core.knowledge.rows import key
from pawl.core.lint.finding import LintFinding
from pawl.core.lint.judge import Judge
from pawl.core.lint.node import plain
from pawl.core.scan.facts import Served

_RULES = ("api-removed", "api-too-new", "api-off-by-default", "api-deprecated")


class Lens:
    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.target = judge.target
        self.running = ""
        self._verdicts: dict[tuple[str, str], LintFinding | None] = {}
        self._served: dict[tuple[str, str], str] = {}
        self._preferred: set[tuple[str, str]] = set()
        self._kinds: dict[tuple[str, str], str] = {
            (row.api_version, row.resource): row.kind
            for row in judge.knowledge.apis
            if row.resource and row.what != "subresource"
        }

    def serve(self, fact: Served) -> None:
        self._served[fact.api_version, fact.kind] = fact.resource
        self._kinds[fact.api_version, fact.resource] = fact.kind
        if fact.preferred:
            self._preferred.add((fact.api_version, fact.resource))

    def was_before(self, minor: str) -> bool:
        """Whether what breaks at `minor` is broken on this cluster already: not this upgrade's."""
        return bool(minor and self.running) and key(minor) <= key(self.running)

    def served(self, api_version: str, kind: str) -> bool:
        """Whether the cluster serves it now; True as long as its discovery is not known."""
        return not self._served or (api_version, kind) in self._served

    def preferred(self, api_version: str, resource: str) -> bool:
        """Whether Kubernetes' own controllers list the resource in this version."""
        return (api_version, resource) in self._preferred

    def kind(self, api_version: str, resource: str) -> str:
        """The kind of a resource, or the resource's own name where nobody knows."""
        return self._kinds.get((api_version, resource), resource)

    def verdict(self, api_version: str, kind: str) -> LintFinding | None:
        """The finding of an object of this kind with nothing else in it; None: nothing to say."""
        known = api_version, kind
        if known not in self._verdicts:
            self._verdicts[known] = self._judge(api_version, kind)
        return self._verdicts[known]

    def dull(self, api_version: str, kind: str) -> bool:
        return self.verdict(api_version, kind) is None

    def announced(self, api_version: str, kind: str, removed: str) -> LintFinding | None:
        """A verdict that rests on the API server's word alone (a release such as "1.25"): for
        APIs that the tables do not hold."""
        try:
            gone = bool(removed) and key(removed) <= key(self.target)
        except ValueError:
            return None
        if not gone:
            return None
        return LintFinding(
            rule="api-removed",
            severity=Severity.BLOCKER,
            path="",
            line=0,
            api_version=api_version,
            kind=kind,
            message=f"{api_version} {kind} is removed in {removed}, by the API server's own word",
            minor=removed,
        )

    def _judge(self, api_version: str, kind: str) -> LintFinding | None:
        node = plain({"apiVersion": api_version, "kind": kind}, 0)
        for finding in self.judge.judge(node, ""):
            if finding.rule in _RULES and (finding.rule != "api-deprecated" or finding.minor):
                return msgspec.structs.replace(finding, line=0, fixable=False)
        return None
