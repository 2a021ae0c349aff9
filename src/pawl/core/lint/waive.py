"""Waivers: a finding accepted by a named owner until a date. Shown always, hidden never."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable

import msgspec

from pawl.core.days import is_day
from pawl.core.errors import ConfigError
from pawl.core.lint.finding import LintFinding


class Waiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`rule` must match exactly; the other patterns (shell style) match everything when left out.

    `expires` is the last day ("2027-01-31") on which it counts.
    """

    rule: str
    owner: str
    expires: str
    reason: str
    path: str = "*"
    api_version: str = "*"
    kind: str = "*"
    namespace: str = "*"
    name: str = "*"

    def covers(self, finding: LintFinding) -> bool:
        return (
            self.rule == finding.rule
            and any(
                fnmatch.fnmatchcase(p, self.path.removeprefix("./"))
                for p in (finding.path, f"/{finding.path}")
            )
            and fnmatch.fnmatchcase(finding.api_version, self.api_version)
            and fnmatch.fnmatchcase(finding.kind, self.kind)
            and fnmatch.fnmatchcase(finding.namespace, self.namespace)
            and fnmatch.fnmatchcase(finding.name, self.name)
        )


def decode(data: object, where: str, rules: Collection[str]) -> tuple[Waiver, ...]:
    """The waivers of a parsed file {"waivers": […]}. Raises ConfigError, all mistakes at once.

    `rules` are those of lint and scan; what scan finds on hosts has its code for a rule. Entries
    with `code` instead of `rule` are those of `pawl plan`, which shares the file."""
    entries = data.get("waivers") if isinstance(data, dict) else data
    if not isinstance(entries, list):
        raise ConfigError(where, ["want a list under `waivers`; see docs/lint.md, Waivers"])
    out, problems = [], []
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, dict) and "code" in entry and "rule" not in entry:
            continue
        try:
            waiver = msgspec.convert(entry, type=Waiver)
        except msgspec.ValidationError as error:
            problems.append(f"waiver {number}: {error}")
            continue
        if waiver.rule not in rules and not waiver.rule.startswith("PAWL-"):
            problems.append(f"waiver {number}: there is no rule {waiver.rule!r}")
        if not waiver.owner.strip() or not waiver.reason.strip():
            problems.append(f"waiver {number}: owner and reason must not be empty")
        if not is_day(waiver.expires):
            problems.append(f"waiver {number}: expires must be a day such as 2027-01-31")
        out.append(waiver)
    if problems:
        raise ConfigError(where, problems)
    return tuple(out)


def apply(
    findings: Iterable[LintFinding], waivers: tuple[Waiver, ...], today: str
) -> tuple[tuple[LintFinding, ...], tuple[str, ...]]:
    """Mark what is waived at `today`; returns the findings and notes on waivers that do nothing."""
    used: set[Waiver] = set()
    expired: set[Waiver] = set()
    out = []
    for finding in findings:
        for waiver in waivers:
            if not waiver.covers(finding):
                continue
            used.add(waiver)
            if waiver.expires < today:
                expired.add(waiver)
                continue
            sentence = f"waived by {waiver.owner} until {waiver.expires}: {waiver.reason}"
            finding = msgspec.structs.replace(finding, waived=sentence)
            break
        out.append(finding)
    notes = [
        f"the waiver of {w.owner} for {w.rule} ({w.reason}) expired on {w.expires}" for w in expired
    ]
    notes += [
        f"the waiver of {w.owner} for {w.rule} ({w.reason}) covers nothing here"
        for w in waivers
        if w not in used
    ]
    return tuple(out), tuple(sorted(notes))
