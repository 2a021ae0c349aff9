"""Whom to tell what, and when: a letter for each owner and way, never the same finding twice.

A letter about something new goes out with the round that finds it, one for all that is new. A
digest of everything that is open follows every `digest_days`, so that a forgotten finding is not
forgotten for good; a letter about something new counts as one. The deadline is the planned
upgrade's day.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Literal

import msgspec

from pawl.core.findings import Severity
from pawl.core.ownership import Ownership, Tell
from pawl.core.watch.sighting import Sighting
from pawl.core.watch.state import Open, State

DAY = 86_400.0
NOBODY = "nobody known"


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent. `id` is the same when the same letter is tried again, so that a receiver can
    tell a repetition. `new` are findings the way has not had, `open` all that stand for it."""

    id: str
    kind: Literal["new", "digest"]
    cluster: str
    owner: str
    notifier: str
    to: tuple[str, ...] = ()
    new: tuple[Sighting, ...] = ()
    open: tuple[Sighting, ...] = ()
    since: tuple[str, ...] = ()
    target: str = ""
    deadline: str = ""
    days_left: int | None = None

    @property
    def route(self) -> str:
        return " ".join((self.notifier, *self.to))

    @property
    def subject(self) -> str:
        count = len(self.new) if self.kind == "new" else len(self.open)
        word = "new finding" if self.kind == "new" else "open finding"
        what = f"{count} {word}{'s' * (count != 1)}"
        to = f" before Kubernetes {self.target}" if self.target else ""
        when = f", due {self.deadline}" if self.deadline else ""
        return f"[pawl] {self.cluster}: {what}{to}{when}"

    @property
    def text(self) -> str:
        """The body in plain words."""
        out = [f"Cluster {self.cluster}, owner {self.owner}."]
        if self.deadline:
            out.append(self._due())
        if self.new:
            out += ["", "New:", *(_entry(s) for s in self.new)]
        rest = [(s, day) for s, day in zip(self.open, self.since, strict=True) if s not in self.new]
        if rest:
            out += ["", "Still open:", *(f"{_entry(s)}\n  since {day}" for s, day in rest)]
        out += ["", "Sent once for each finding by `pawl watch`; a digest repeats what is open."]
        return "\n".join(out) + "\n"

    def _due(self) -> str:
        to = f" to Kubernetes {self.target}" if self.target else ""
        if self.days_left is None or self.days_left < 0:
            return f"The upgrade{to} was planned for {self.deadline}."
        left = "today" if self.days_left == 0 else f"in {self.days_left} days"
        return f"The upgrade{to} is planned for {self.deadline}, {left}."


def due(
    state: State,
    ownership: Ownership,
    at: float,
    *,
    cluster: str,
    target: str,
    deadline: str = "",
    digest_days: float = 7.0,
    mail: Mapping[str, tuple[str, ...]] | None = None,
) -> tuple[Letter, ...]:
    """The letters to send now. `mail` maps e-mail notifiers to the domains that an owner who is an
    address may be written to at: an annotation alone must not send mail anywhere."""
    by_route: dict[tuple[str, tuple[str, ...], str], list[Open]] = defaultdict(list)
    for one in state.open.values():
        owner = one.sighting.owner
        for tell in ways(owner, ownership, mail or {}):
            by_route[tell.notifier, tell.to, owner or NOBODY].append(one)
    letters = []
    for (notifier, to, owner), found in sorted(by_route.items(), key=lambda item: item[0]):
        letter = Letter(
            id="", kind="new", cluster=cluster, owner=owner, notifier=notifier, to=to,
            target=target, deadline=deadline, days_left=days_left(deadline, at),
        )  # fmt: skip
        new = [o for o in found if letter.route not in o.told]
        last = state.letters.get((owner, letter.route), 0.0)
        digest = digest_days > 0 and bool(last) and at - last >= digest_days * DAY
        if not new and not digest:
            continue
        ordered = sorted(found, key=lambda o: (_worst(o.sighting), o.sighting.subject))
        letters.append(
            msgspec.structs.replace(
                letter,
                id=_id(letter, [o.sighting.key for o in new], "" if new else _day(at)),
                kind="new" if new else "digest",
                new=tuple(o.sighting for o in ordered if o in new),
                open=tuple(o.sighting for o in ordered),
                since=tuple(_day(o.since) for o in ordered),
            )
        )
    return tuple(letters)


def ways(owner: str, ownership: Ownership, mail: Mapping[str, tuple[str, ...]]) -> tuple[Tell, ...]:
    """How to reach an owner: by the ownership file, else by being an address of a known domain,
    else by what the file says for everybody else."""
    if owner in ownership.owners:
        return ownership.owners[owner]
    _, at, domain = owner.rpartition("@")
    if at and owner.strip("@") and " " not in owner:
        for notifier, domains in mail.items():
            if domain.lower() in domains:
                return (Tell(notifier=notifier, to=(owner,)),)
    return ownership.default


def days_left(deadline: str, at: float) -> int | None:
    """Whole days to the deadline's day (UTC); None without one."""
    if not deadline:
        return None
    return (date.fromisoformat(deadline) - datetime.fromtimestamp(at, UTC).date()).days


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _worst(sighting: Sighting) -> int:
    return {Severity.BLOCKER: 0, Severity.WARNING: 1}.get(sighting.severity, 2)


def _entry(s: Sighting) -> str:
    where = f" (breaks at {s.minor})" if s.minor else ""
    remedy = f"\n  {s.remedy}" if s.remedy else ""
    return f"- {s.severity} {s.code}: {s.subject}{where}\n  {s.message}{remedy}"


def _id(letter: Letter, keys: list[str], day: str) -> str:
    parts = (letter.cluster, letter.owner, letter.route, day, *sorted(keys))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
