"""etcd's upgrade rules as data: hops, patch floors, bad releases, dropped flags, downgrades.

Each row names its source. Nothing here is code that knows a version; a new etcd release changes
rows. Snapshot of the rules: 2026-08.
"""

from __future__ import annotations

from dataclasses import dataclass

from pawl.core import flags as flag_list
from pawl.core.version import Minor, Version


def _v(text: str) -> Version:
    return Version.parse(text)


@dataclass(frozen=True, slots=True)
class Floor:
    """Before the first member of `into` starts, every member must run at least `at_least`."""

    into: Minor
    at_least: Version
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class BadRange:
    """Releases `first`..`last` with a fault. `never_target`: pawl does not install them.
    `as_source`: a remedy that the owner must know of before an upgrade from them."""

    first: Version
    last: Version
    fault: str
    source: str
    never_target: bool = True
    as_source: str = ""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Flags that stop a binary of minor `since` from starting. `prefix` matches by beginning."""

    since: Minor
    name: str
    remedy: str
    source: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Downgrade:
    """An online downgrade that the servers support."""

    source_minor: Minor
    target_minor: Minor
    at_least: Version
    source: str


LATEST: dict[Minor, Version] = {
    # https://github.com/etcd-io/etcd/releases as of 2026-08
    Minor(3, 4): _v("3.4.45"),
    Minor(3, 5): _v("3.5.33"),
    Minor(3, 6): _v("3.6.14"),
    Minor(3, 7): _v("3.7.1"),
}

FLOORS: tuple[Floor, ...] = (
    Floor(
        into=Minor(3, 6),
        at_least=_v("3.5.32"),
        why="older releases leave learner promotions or zombie members in the v3 store, which 3.6 "
        "reads as the truth",
        source="https://etcd.io/docs/v3.6/upgrades/upgrade_3_6/ (etcd#19557, etcd#20967)",
    ),
    Floor(
        into=Minor(3, 7),
        at_least=_v("3.6.11"),
        why="3.7 starts from the v3 store alone, which only 3.6.11 keeps complete",
        source="https://etcd.io/docs/v3.7/upgrades/upgrade_3_7/",
    ),
)

BAD: tuple[BadRange, ...] = (
    BadRange(
        first=_v("3.4.0"),
        last=_v("3.4.7"),
        fault="members' data can differ",
        source="etcd#11651",
        as_source="compare HashKV on all members before the upgrade",
    ),
    BadRange(
        first=_v("3.4.20"),
        last=_v("3.4.21"),
        fault="with auth a new member gets inconsistent data",
        source="etcd CHANGELOG-3.4",
    ),
    BadRange(
        first=_v("3.5.0"),
        last=_v("3.5.2"),
        fault="killed under load, a member's data can differ from the others'",
        source="etcd#13766",
        as_source="compare HashKV on all members, then move to the latest 3.5 first",
    ),
    BadRange(
        first=_v("3.5.3"),
        last=_v("3.5.3"),
        fault="panics at start when auth is on",
        source="etcd CHANGELOG-3.5",
    ),
    BadRange(
        first=_v("3.5.4"),
        last=_v("3.5.5"),
        fault="a crash during defragmentation, or auth with a new member, corrupts data",
        source="etcd#14685",
        as_source="do not defragment before the upgrade",
    ),
    BadRange(
        first=_v("3.5.6"),
        last=_v("3.5.31"),
        fault="learner promotion and member removal may not reach the v3 store",
        source="etcd#19557, etcd#20793, etcd#20967",
        never_target=False,
        as_source="move every member to 3.5.32 or newer before 3.6",
    ),
    BadRange(
        first=_v("3.6.0"),
        last=_v("3.6.10"),
        fault="learner replay, snapshot with defragmentation, and refused member add while one is "
        "down",
        source="etcd CHANGELOG-3.6 (3.6.4, 3.6.5, 3.6.11)",
    ),
)

DROPPED: tuple[Dropped, ...] = (
    *(
        Dropped(since=Minor(3, 5), name=name, remedy=remedy, source="seen: etcd 3.5.1 exits 2")
        for name, remedy in (
            ("--debug", "use --log-level=debug"),
            ("--log-output", "use --log-outputs"),
            ("--log-package-levels", "use --log-level"),
        )
    ),
    *(
        Dropped(
            since=Minor(3, 6),
            name=name,
            remedy=remedy,
            source="seen: `etcd --help` of 3.5.33 against 3.6.14",
            prefix=prefix,
        )
        for name, remedy, prefix in (
            ("--enable-v2", "remove it, after `etcdutl check v2store` finds nothing", False),
            ("--experimental-enable-v2v3", "remove it", False),
            ("--proxy", "use the grpc-proxy command", True),
        )
    ),
    Dropped(
        since=Minor(3, 7),
        name="--experimental-",
        remedy="use the flag without `experimental-`, or the feature gate of 3.6",
        source="https://etcd.io/docs/v3.7/upgrades/upgrade_3_7/",
        prefix=True,
    ),
)

DOWNGRADES: tuple[Downgrade, ...] = (
    Downgrade(
        source_minor=Minor(3, 6),
        target_minor=Minor(3, 5),
        at_least=_v("3.5.32"),
        source="https://etcd.io/docs/v3.6/downgrades/downgrade_3_6/; seen with 3.6.14 to 3.5.33",
    ),
    Downgrade(
        source_minor=Minor(3, 7),
        target_minor=Minor(3, 6),
        at_least=_v("3.6.11"),
        source="https://etcd.io/docs/v3.7/downgrades/",
    ),
)

STORAGE_VERSION_SINCE = Minor(3, 6)
"""Before it a member reports no storage version."""


def floor_for(into: Minor) -> Floor | None:
    return next((f for f in FLOORS if f.into == into), None)


def bad(version: Version) -> tuple[BadRange, ...]:
    return tuple(r for r in BAD if r.first <= version <= r.last)


def dropped_flags(flags: tuple[str, ...], target: Version) -> tuple[tuple[str, Dropped], ...]:
    """Flags in use that a binary of `target` refuses, with the row that says so.

    `--logger=capnslog` is a value, not a flag, and is caught by asking the staged binary.
    """
    found = []
    for flag in flags:
        name = flag_list.name_of(flag)
        for row in DROPPED:
            hit = name.startswith(row.name) if row.prefix else name == row.name
            if hit and target.minor_line >= row.since:
                found.append((flag, row))
    return tuple(found)


def downgrade_rule(source: Minor, target: Minor) -> Downgrade | None:
    return next(
        (d for d in DOWNGRADES if d.source_minor == source and d.target_minor == target), None
    )


def hops(
    lowest: Version, target: Version, releases: dict[Minor, Version] | None = None
) -> tuple[tuple[Version, ...], tuple[str, ...]]:
    """The releases to pass, in order, from the oldest running member to `target`, and why it
    cannot be done (empty when it can).

    One minor at a time; a patch hop inside the running minor only where a floor asks for it.
    `releases` says which exact release a minor in between means (default: the latest known).
    """
    known = {**LATEST, **(releases or {})}
    path: list[Version] = []
    here = lowest
    while here.minor_line < target.minor_line:
        into = here.minor_line + 1
        floor = floor_for(into)
        if floor is not None and here < floor.at_least:
            patch = known.get(here.minor_line)
            if patch is None or patch < floor.at_least:
                return tuple(path), (
                    f"etcd {into} needs every member at {floor.at_least} or newer "
                    f"({floor.why}), and no such release of {here.minor_line} is known.",
                )
            path.append(patch)
        if into == target.minor_line:
            nxt: Version | None = target
        else:
            nxt = known.get(into)
        if nxt is None:
            return tuple(path), (f"no release of etcd {into} is known to pass through.",)
        path.append(nxt)
        here = nxt
    if here < target:
        path.append(target)
    return tuple(path), ()
