"""Helm releases: the stored manifest is what the next `helm upgrade` reads first.

Helm builds every object of the stored manifest before it looks at the new chart, so one API that is
gone fails the upgrade of the release ("no matches for kind"), whatever the new chart holds. That is
as true when the API went long ago. Hooks of the old revision are not built by an upgrade, only by a
rollback or an uninstall.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pawl.core.lint.finding import LintFinding
from pawl.core.scan.facts import Release
from pawl.core.scan.lens import Lens
from pawl.core.scan.rules import lowered

_FAILS = ("api-removed", "api-too-new")


def findings(release: Release, lens: Lens) -> Iterator[LintFinding]:
    revision = f"revision {release.revision} ({release.status})"
    if release.updated:
        revision += f" of {release.updated[:10]}"
    chart = f", chart {release.chart} {release.chart_version}".rstrip() if release.chart else ""
    evidence = f"{revision}{chart}, kept in a {release.storage}"
    for found, hook in (
        *((f, False) for f in release.findings),
        *((f, True) for f in release.hooks),
    ):
        if found.rule == "api-deprecated" and not found.minor:
            continue
        message = found.message
        if hook:
            message += "; it is a hook, made by a rollback or uninstall of this revision"
        elif found.rule in _FAILS:
            message += (
                "; the next helm upgrade of the release fails"
                if lens.served(found.api_version, found.kind)
                else "; this cluster lacks it too, so a helm upgrade of the release fails already"
            )
        yield msgspec.structs.replace(
            found,
            severity=lowered(found.severity) if hook else found.severity,
            path=f"helm/{release.namespace}/{release.name}",
            namespace=found.namespace or release.namespace,
            message=message,
            grade="proven",
            evidence=(evidence,),
            fixable=False,
        )
