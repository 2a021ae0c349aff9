"""What a person accepts: waivers of findings, each with owner and last day. Shown, never hidden.

A waiver takes the refusal out of a finding, not the finding out of the plan: it stays where it was,
with its severity and the waiver's sentence, in the plan and in its digest. Findings that guard the
run itself (a member down, a breached skew, a full disk) cannot be waived: their codes begin with
one of `GUARDS`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

import msgspec

from pawl.core.days import is_day
from pawl.core.errors import ConfigError
from pawl.core.findings import Finding, Severity

GUARDS = ("PAWL-E", "PAWL-C", "PAWL-H", "PAWL-N", "PAWL-W")
WAIVABLE_GUARDS = (
    "PAWL-C010",
    "PAWL-W105",
    "PAWL-W106",
    "PAWL-W110",
    "PAWL-W111",
)
"""What a binary says of flags is knowledge, not a guard: the binary may be another build. What is
lost with a pod is its owner's to decide, and that is how he says it."""
UNUSED, EXPIRED = "PAWL-K004", "PAWL-K005"


class Waiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, order=True):
    """`code` must match exactly; `subject` and `where` are shell patterns over the finding's own.

    `expires` is the last day ("2027-01-31", UTC) on which it counts.
    """

    code: str
    owner: str
    expires: str
    reason: str
    subject: str = "*"
    where: str = "*"

    def covers(self, finding: Finding) -> bool:
        return (
            self.code == finding.code
            and fnmatch.fnmatchcase(finding.subject, self.subject)
            and fnmatch.fnmatchcase(finding.where, self.where)
        )

    def sentence(self) -> str:
        return f"waived by {self.owner} until {self.expires}: {self.reason}"


def decode(data: object, where: str, codes: Iterable[str]) -> tuple[Waiver, ...]:
    """The waivers of a parsed document {"waivers": […]}. Raises ConfigError, all mistakes at once.

    Entries with `rule` instead of `code` are those of `pawl lint` and `pawl scan`, which share the
    file.
    """
    entries = data.get("waivers") if isinstance(data, dict) else data
    if not isinstance(entries, list):
        raise ConfigError(where, ["want a list under `waivers`; see docs/findings.md, Waivers"])
    known = set(codes)
    out: list[Waiver] = []
    problems: list[str] = []
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, dict) and "rule" in entry and "code" not in entry:
            continue
        try:
            waiver = msgspec.convert(entry, type=Waiver)
        except msgspec.ValidationError as error:
            problems.append(f"waiver {number}: {error}")
            continue
        problems += [f"waiver {number}: {p}" for p in _problems(waiver, known)]
        out.append(waiver)
    if problems:
        raise ConfigError(where, problems)
    return tuple(out)


def _problems(waiver: Waiver, known: set[str]) -> list[str]:
    found = []
    if waiver.code not in known:
        found.append(f"there is no finding {waiver.code}")
    elif waiver.code.startswith(GUARDS) and waiver.code not in WAIVABLE_GUARDS:
        found.append(f"{waiver.code} guards the run itself and cannot be waived: mend its cause")
    elif waiver.code == "PAWL-K001":
        found.append(
            "a release note is acknowledged (pawl changelog --ack ID --by NAME), not waived"
        )
    if not waiver.owner.strip() or not waiver.reason.strip():
        found.append("owner and reason must not be empty")
    if not is_day(waiver.expires):
        found.append(f"expires must be a day such as 2027-01-31, not {waiver.expires!r}")
    return found


def apply(
    findings: Iterable[Finding], waivers: Sequence[Waiver], today: str
) -> tuple[tuple[Finding, ...], tuple[Waiver, ...]]:
    """The findings with what is waived at `today` marked, and the waivers that were used.

    A waiver that covers a finding but is over, and one that covers nothing, become findings of
    their own: a list of waivers that nobody tidies up hides the next real one.
    """
    found = list(findings)
    out: list[Finding] = []
    used: set[Waiver] = set()
    over: set[Waiver] = set()
    for finding in found:
        covering = [w for w in waivers if w.covers(finding)]
        valid = [w for w in covering if w.expires >= today]
        over.update(w for w in covering if w.expires < today)
        if valid:
            used.add(valid[0])
            finding = msgspec.structs.replace(finding, waived=valid[0].sentence())
        out.append(finding)
    idle = [w for w in waivers if not any(w.covers(f) for f in found)]
    out += [_note(w, EXPIRED, f"ended on {w.expires}", "Renew it, or mend the cause.")
            for w in sorted(over)]  # fmt: skip
    out += [_note(w, UNUSED, "covers no finding", "Take it out.") for w in sorted(idle)]
    return tuple(out), tuple(sorted(used))


def _note(waiver: Waiver, code: str, what: str, remedy: str) -> Finding:
    return Finding(
        code=code,
        severity=Severity.WARNING,
        subject=f"waiver of {waiver.code} by {waiver.owner}",
        message=f"{what} ({waiver.reason}).",
        remedy=remedy,
    )


def ended(waivers: Iterable[Waiver], today: str) -> tuple[str, ...]:
    """Sentences for waivers of a plan that are over at `today`: the plan may not begin any more."""
    return tuple(
        f"the waiver of {w.code} by {w.owner} ended on {w.expires}; make a new plan"
        for w in waivers
        if w.expires < today
    )
