"""Where to go next, and when: what each upgrade policy would choose, with its reasons.

Three policies that teams really have:

  n+1  one minor each quarter: small steps, always near the newest
  n+3  three minors once a year: one long evening a year; workers move once, since a kubelet may be
       three minors older than the API server (two before 1.25)
  stay only what keeps the cluster inside support, as late as is safe

All of them pass through every minor (the control plane cannot skip one), take the latest patch of
each, and leave out what is younger than the minimum age. Dates are days "2026-11-24" (UTC). Minors
that are not released yet are expected from the rhythm of the last ones, and always marked so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import msgspec

from pawl.core.knowledge.rows import Release, key
from pawl.core.model import ClusterState

YEAR = timedelta(days=365)
MARGIN = timedelta(days=30)
"""How long before the end of support an upgrade should be done."""


EXPECTED = "expected from the rhythm of the last minors"
"""The source of a row that no table holds."""


class Ages(msgspec.Struct, frozen=True, kw_only=True):
    """How old a release must be before it is taken, in days: a minor since its .0, and a patch."""

    minor: int = 60
    patch: int = 7


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One minor on the way: the release to take, its age in days (None: date not known)."""

    minor: str
    release: str
    age: int | None
    end_of_life: str
    ready: str
    """The day from which its latest patch is old enough."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says: `when` to go ("" for: nothing to do), through which hops, and why."""

    policy: str
    title: str
    when: str
    target: str
    hops: tuple[Hop, ...]
    reasons: tuple[str, ...]


class Event(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A day of the coming year. `certain` is false for what is only expected."""

    day: str
    title: str
    detail: str = ""
    certain: bool = True


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `pawl versions`."""

    today: str
    as_of: str
    age: int
    """Days since the newest release that the data knows of."""
    current: str
    running: dict[str, tuple[str, ...]]
    end_of_life: str
    days_left: int | None
    latest_patch: str
    choices: tuple[Choice, ...]
    calendar: tuple[Event, ...]


def running(state: ClusterState) -> dict[str, tuple[str, ...]]:
    """Component -> the versions of it that run, oldest first."""
    found: dict[str, set[str]] = {}

    def add(component: str, version: str | None) -> None:
        if version:
            found.setdefault(component, set()).add(version)

    for server in state.api_servers:
        add("kube-apiserver", server.version)
    for controller in state.controllers:
        add(controller.component, controller.version)
    for node in state.nodes:
        add("kubelet", node.kubelet)
        add("kube-proxy", node.kube_proxy)
    for member in state.members:
        add("etcd", member.version)
    return {c: tuple(sorted(v, key=_release_key)) for c, v in sorted(found.items())}


def _release_key(version: str) -> tuple[int, ...]:
    return tuple(int("".join(c for c in p if c.isdigit()) or 0) for p in version.split(".")[:3])


def advise(
    releases: Sequence[Release],
    current: str,
    today: str,
    as_of: str,
    *,
    ages: Ages | None = None,
    running: dict[str, tuple[str, ...]] | None = None,
) -> Versions:
    """Everything that `pawl versions` says about a cluster at `current` ("1.35.3" or "1.35").

    Raises KeyError when the minor is in no table: of one that is only expected nothing is known.
    """
    ages = ages or Ages()
    rows = _expected(
        sorted((r for r in releases if r.project == "kubernetes"), key=lambda r: key(r.minor)),
        today,
    )
    by = {r.minor: r for r in rows}
    minor = ".".join(current.split(".")[:2])
    here = by[minor]
    if here.source == EXPECTED:
        raise KeyError(minor)
    now = date.fromisoformat(today)
    end = date.fromisoformat(here.end_of_life) if here.end_of_life else None
    choices = tuple(
        policy(rows, by, here, now, ages) for policy in (_quarterly, _yearly, _supported)
    )
    calendar = tuple(sorted(_calendar(rows, here, now, choices)))
    return Versions(
        today=today,
        as_of=as_of,
        age=(now - date.fromisoformat(as_of)).days,
        current=current,
        running=running or {},
        end_of_life=here.end_of_life,
        days_left=(end - now).days if end else None,
        latest_patch=here.latest,
        choices=choices,
        calendar=calendar,
    )


def _expected(rows: list[Release], today: str) -> list[Release]:
    """The table, and the minors that the rhythm of the last three lets expect within 15 months."""
    dates = [date.fromisoformat(r.released) for r in rows[-4:] if r.released]
    if len(dates) < 2:
        return rows
    gap = (dates[-1] - dates[0]) / (len(dates) - 1)
    horizon = date.fromisoformat(today) + timedelta(days=455)
    out, day = list(rows), dates[-1] + gap
    while day <= horizon:
        number = key(out[-1].minor)[1] + 1
        out.append(
            Release(
                project="kubernetes",
                minor=f"1.{number}",
                released=day.isoformat(),
                end_of_life=_months_after(day, 14),
                source=EXPECTED,
            )
        )
        day += gap
    return out


def _months_after(day: date, months: int) -> str:
    month = day.month - 1 + months
    return date(day.year + month // 12, month % 12 + 1, 28).isoformat()


def _ready(row: Release, ages: Ages) -> date:
    """The first day on which a minor is old enough, and its latest patch is."""
    minor = date.fromisoformat(row.released) + timedelta(days=ages.minor)
    if not row.latest_released or row.latest.endswith(".0"):
        return minor
    return max(minor, date.fromisoformat(row.latest_released) + timedelta(days=ages.patch))


def _hops(
    rows: Iterable[Release], here: Release, target: Release, now: date, ages: Ages
) -> tuple[Hop, ...]:
    return tuple(
        Hop(
            minor=r.minor,
            release=r.latest or f"{r.minor}.x (not released yet)",
            age=(now - date.fromisoformat(r.latest_released)).days if r.latest_released else None,
            end_of_life=r.end_of_life,
            ready=_ready(r, ages).isoformat(),
        )
        for r in rows
        if key(here.minor) < key(r.minor) <= key(target.minor)
    )


def _reachable(rows: Sequence[Release], here: Release, day: date, ages: Ages) -> list[Release]:
    """Minors after `here` that are old enough on `day`, in order, without a gap."""
    out = []
    for row in rows:
        if key(row.minor) > key(here.minor):
            if _ready(row, ages) > day:
                break
            out.append(row)
    return out


def _quarters(now: date) -> list[date]:
    """First days of the quarters that begin within a year."""
    starts = [date(now.year + y, m, 1) for y in (0, 1) for m in (1, 4, 7, 10)]
    return [d for d in starts if now <= d <= now + YEAR]


def _quarterly(
    rows: Sequence[Release], by: dict[str, Release], here: Release, now: date, ages: Ages
) -> Choice:
    title = "one minor each quarter (n+1)"
    for day in [now, *_quarters(now)]:
        if found := _reachable(rows, here, day, ages):
            # A step that lands outside support is no place to stay: go on to the first that is.
            target = next((r for r in found if r.end_of_life >= day.isoformat()), found[-1])
            reasons = _why(target, here, now, ages)
            if target is not found[0]:
                reasons = (f"{found[0].minor} is itself out of support by then", *reasons)
            if day > now:
                reasons = (f"{here.minor} has no successor that is old enough today", *reasons)
            return _choice("n+1", title, day, target, rows, here, now, ages, reasons)
    return _nothing("n+1", title, f"no minor after {here.minor} is expected within a year")


def _yearly(
    rows: Sequence[Release], by: dict[str, Release], here: Release, now: date, ages: Ages
) -> Choice:
    title = "three minors once a year (n+3)"
    wanted = f"1.{key(here.minor)[1] + 3}"
    if wanted not in by:
        return _nothing("n+3", title, f"{wanted} is not expected within the next 15 months")
    target = by[wanted]
    day = max(now, *(_ready(by[f"1.{key(here.minor)[1] + n}"], ages) for n in (1, 2, 3)))
    older = 3 if key(wanted) >= (1, 28) else 2  # a kubelet of 1.25 or newer may be 3 minors older
    reasons = [
        f"three hops of the control plane in one evening; workers move once, a kubelet may be "
        f"{older} minors older than the API server"
        + ("" if older == 3 else ", so workers move before the last hop")
    ]
    end = date.fromisoformat(here.end_of_life) if here.end_of_life else None
    if end and day > end:
        reasons.append(
            f"{here.minor} is without support from {end} until then ({(day - end).days} days): "
            "this policy does not fit from here, move at least one minor before"
        )
    if not target.latest:
        reasons.append(f"{wanted} is not released yet: its day is expected, not known")
    return _choice("n+3", title, day, target, rows, here, now, ages, tuple(reasons))


def _supported(
    rows: Sequence[Release], by: dict[str, Release], here: Release, now: date, ages: Ages
) -> Choice:
    title = "stay inside support, as late as is safe"
    if not here.end_of_life:
        return _nothing("stay", title, f"no end of life is known for {here.minor}")
    end = date.fromisoformat(here.end_of_life)
    day = max(now, end - MARGIN)
    found = _reachable(rows, here, day, ages)
    if not found:
        return _nothing("stay", title, f"no successor of {here.minor} is old enough by {day}")
    target = found[-1]
    if end < now:
        reasons: tuple[str, ...] = (f"{here.minor} has been without support since {end}: go now",)
    else:
        reasons = (f"{here.minor} is supported until {end}; done {MARGIN.days} days before",)
    reasons += (
        f"{target.minor} is the newest that is old enough then, and lasts until "
        f"{target.end_of_life or 'a day that is not known'}",
    )
    return _choice("stay", title, day, target, rows, here, now, ages, reasons)


def _why(target: Release, here: Release, now: date, ages: Ages) -> tuple[str, ...]:
    which = "next minor" if key(target.minor)[1] == key(here.minor)[1] + 1 else "next supported one"
    when = "expected on" if target.source == EXPECTED else "released"
    out = [f"{target.minor} is the {which}, {when} {target.released}"]
    if target.latest_released:
        age = (now - date.fromisoformat(target.latest_released)).days
        out.append(f"its latest patch {target.latest} is {age} days old (at least {ages.patch})")
    if target.end_of_life:
        out.append(f"it is supported until {target.end_of_life}")
    return tuple(out)


def _choice(
    policy: str,
    title: str,
    day: date,
    target: Release,
    rows: Sequence[Release],
    here: Release,
    now: date,
    ages: Ages,
    reasons: tuple[str, ...],
) -> Choice:
    hops = _hops(rows, here, target, now, ages)
    young = [h for h in hops if h.ready > now.isoformat() and h.age is not None]
    reasons += tuple(f"{h.release} is too young until {h.ready}" for h in young)
    return Choice(
        policy=policy,
        title=title,
        when=day.isoformat(),
        target=target.latest or target.minor,
        hops=hops,
        reasons=reasons,
    )


def _nothing(policy: str, title: str, why: str) -> Choice:
    return Choice(policy=policy, title=title, when="", target="", hops=(), reasons=(why,))


def _calendar(
    rows: Sequence[Release], here: Release, now: date, choices: Iterable[Choice]
) -> Iterable[Event]:
    last = now + YEAR
    for row in rows:
        expected = row.source == EXPECTED
        facts = (
            (row.released, f"Kubernetes {row.minor} is released"),
            (row.maintenance, f"Kubernetes {row.minor} goes into maintenance"),
            (row.end_of_life, f"Kubernetes {row.minor}: end of life"),
        )
        for day, title in facts:
            if day and now <= date.fromisoformat(day) <= last:
                detail = "expected, not announced" if expected else row.end_of_life_from
                if row is here and "end of life" in title:
                    detail = f"this cluster runs {here.minor}. {detail}"
                yield Event(day=day, title=title, detail=detail, certain=not expected)
    for choice in choices:
        if choice.when and now <= date.fromisoformat(choice.when) <= last:
            yield Event(
                day=choice.when,
                title=f"Policy {choice.policy}: upgrade {here.minor} to {choice.target}",
                detail="; ".join(choice.reasons),
                certain=all(not h.release.endswith("yet)") for h in choice.hops),
            )


def ics(answer: Versions) -> str:
    """The calendar as iCalendar (RFC 5545): all-day events, stable UIDs, CRLF, folded lines."""
    stamp = answer.today.replace("-", "")
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//pawl//versions//EN", "CALSCALE:GREGORIAN"]
    for event in answer.calendar:
        words = "".join(c if c.isalnum() else "-" for c in event.title.lower())
        after = (date.fromisoformat(event.day) + timedelta(days=1)).isoformat().replace("-", "")
        lines += [
            "BEGIN:VEVENT",
            f"UID:{words}@pawl",
            f"DTSTAMP:{stamp}T000000Z",
            f"DTSTART;VALUE=DATE:{event.day.replace('-', '')}",
            f"DTEND;VALUE=DATE:{after}",
            f"SUMMARY:{_escaped(event.title)}",
            *([f"DESCRIPTION:{_escaped(event.detail)}"] if event.detail else []),
            f"STATUS:{'CONFIRMED' if event.certain else 'TENTATIVE'}",
            "TRANSP:TRANSPARENT",
            "END:VEVENT",
        ]
    lines.append("END:VCALENDAR")
    return "".join(f"{_folded(line)}\r\n" for line in lines)


def _escaped(text: str) -> str:
    for character in "\\;,":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", "\\n")


def _folded(line: str) -> str:
    """At most 75 octets a line, continued with a space; never inside a character."""
    out, size = "", 0
    for character in line:
        octets = len(character.encode())
        if size + octets > 75:
            out, size = f"{out}\r\n ", 1
        out, size = out + character, size + octets
    return out
