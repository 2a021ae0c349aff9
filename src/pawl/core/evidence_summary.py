"""What the prober's records say about one stretch of time, as figures.

Pure: records in, `Measured` out. A figure that has no data is None ("not measured"), never 0; the
seconds in which the prober itself did not tick are named in `holes`, and are proof of nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from pawl.core.evidence import (
    STALL_MS,
    AnyRecord,
    EtcdWrite,
    HashSeen,
    Interval,
    MemberSeen,
    MemberStatus,
    Note,
    ReadBack,
    Request,
    Started,
    Stopped,
    Tick,
    WatchOpened,
    WatchSeen,
    down_intervals,
    leader_changes,
    most_at_once,
    percentile,
    uncovered,
    write_gaps,
)

BUCKETS = 240
"""Columns of a lane's picture."""
INTERNAL = frozenset({"api prober"})
"""Lanes of the prober's own housekeeping."""


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a lane: the slowest and the middle request, and how many failed."""

    at: float
    requests: int
    failed: int
    p50_ms: float
    worst_ms: float


class Slow(msgspec.Struct, frozen=True, kw_only=True):
    """A request worth a look. `control_ms` is the prober's own worst in the same second."""

    at: float
    op: str
    ms: float
    rules: tuple[str, ...]
    error: str
    control_ms: float | None


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """One lane's figures. `lost_seconds` counts the wall-clock seconds with a failed request."""

    name: str
    requests: int
    failed: int
    stalled: int
    lost_seconds: int
    p50_ms: float | None
    p99_ms: float | None
    worst_ms: float | None
    rules: dict[str, int]
    slowest: tuple[Slow, ...]
    errors: dict[str, int]
    buckets: tuple[Bucket, ...]


class WriteGap(msgspec.Struct, frozen=True, kw_only=True):
    at: float
    ms: float


class Leader(msgspec.Struct, frozen=True, kw_only=True):
    """Who led since `at`; `host` is empty when no member reported that id as its own."""

    at: float
    member_id: str
    host: str
    term: int


class Down(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    at: float
    seconds: float


class EtcdFigures(msgspec.Struct, frozen=True, kw_only=True):
    """etcd as its clients saw it. `lost` is None when nothing was read back."""

    acked: int
    failed: int
    stalled: int
    lost: int | None
    wrong: int | None
    read_back_from: int
    read_back_errors: tuple[str, ...]
    worst_gap_ms: float | None
    gaps: tuple[WriteGap, ...]
    leaders: tuple[Leader, ...]
    leader_changes: int | None
    most_down: int | None
    down: tuple[Down, ...]
    ids_before: dict[str, str]
    ids_after: dict[str, str]
    ids_unchanged: bool | None
    hashes_equal: bool | None
    versions: tuple[tuple[str, float, str], ...]
    """(host, since, version) as the members said themselves."""


class WatchFigures(msgspec.Struct, frozen=True, kw_only=True):
    delivered: int
    missed: int
    worst_lag_ms: float | None
    reopened: int
    relisted: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """All that the prober can say about [start, end]."""

    start: float
    end: float
    holes: tuple[Interval, ...]
    whole: bool
    """The prober ended by itself, after the reading back."""
    lanes: tuple[Lane, ...]
    etcd: EtcdFigures | None
    watch: WatchFigures | None
    control_worst_ms: float | None
    control_buckets: tuple[Bucket, ...]
    cpu_share: float | None
    """CPU seconds of the prober for each second of the stretch."""
    notes: tuple[str, ...]
    unreadable_lines: int = 0

    def lane(self, name: str) -> Lane | None:
        return next((lane for lane in self.lanes if lane.name == name), None)


R = TypeVar("R")


def _only(records: Iterable[AnyRecord], kind: type[R]) -> list[R]:
    return [r for r in records if isinstance(r, kind)]


def measure(
    records: Sequence[AnyRecord], start: float, end: float, unreadable: int = 0
) -> Measured | None:
    """Figures of [start, end]; None when there is not one record in it."""
    inside = [r for r in records if start <= r.at <= end]
    if not inside:
        return None
    ticks = sorted(_only(inside, Tick), key=lambda t: t.at)
    holes = uncovered([t.at for t in ticks], start, end)
    control = {int(t.at): max(t.control_ms, t.loop_ms) for t in ticks}
    requests = [r for r in _only(inside, Request) if r.lane not in INTERNAL]
    by_lane: dict[str, list[Request]] = {}
    for request in requests:
        by_lane.setdefault(request.lane, []).append(request)
    for started in _only(records, Started):
        for name, rate in started.lanes.items():
            if rate and name != "etcd":
                by_lane.setdefault(name, [])
    watched, opened = _only(inside, WatchSeen), _only(inside, WatchOpened)
    watch = None
    if watched or opened:
        watch = WatchFigures(
            delivered=sum(not w.missed for w in watched),
            missed=sum(w.missed for w in watched),
            worst_lag_ms=max((w.lag_ms for w in watched if not w.missed), default=None),
            reopened=sum(o.how == "resume" for o in opened),
            relisted=sum(o.how == "relist" for o in opened),
        )
    cpu = None
    if len(ticks) > 1 and ticks[-1].at > ticks[0].at and ticks[-1].cpu >= ticks[0].cpu:
        cpu = round((ticks[-1].cpu - ticks[0].cpu) / (ticks[-1].at - ticks[0].at), 3)
    return Measured(
        start=start,
        end=end,
        holes=holes,
        whole=bool(_only(records, Stopped)),
        lanes=tuple(_lane(n, rs, start, end, control) for n, rs in by_lane.items()),
        etcd=_etcd(records, inside, start, end, holes),
        watch=watch,
        control_worst_ms=max(control.values(), default=None),
        control_buckets=_buckets(
            [(t.at, max(t.control_ms, t.loop_ms), False) for t in ticks], start, end
        ),
        cpu_share=cpu,
        notes=tuple(f"{n.lane}: {n.text}" for n in _only(records, Note)),
        unreadable_lines=unreadable,
    )


def _lane(
    name: str, requests: list[Request], start: float, end: float, control: dict[int, float]
) -> Lane:
    times = [r.ms for r in requests]
    failed = [r for r in requests if not r.ok]
    odd = [r for r in requests if not r.ok or r.ms > STALL_MS]
    slowest = sorted(odd, key=lambda r: (r.ok, -r.ms))[:12]
    return Lane(
        name=name,
        requests=len(requests),
        failed=len(failed),
        stalled=sum(r.ms > STALL_MS for r in requests),
        lost_seconds=len({int(r.at) for r in failed}),
        p50_ms=percentile(times, 0.5),
        p99_ms=percentile(times, 0.99),
        worst_ms=max(times, default=None),
        rules=dict(Counter(rule for r in requests for rule in r.rules)),
        slowest=tuple(
            Slow(
                at=r.at,
                op=r.op,
                ms=r.ms,
                rules=r.rules,
                error=r.error,
                control_ms=_control_during(control, r.at, r.at + r.ms / 1000),
            )
            for r in slowest
        ),
        errors=dict(Counter(r.error for r in failed).most_common(8)),
        buckets=_buckets([(r.at, r.ms, not r.ok) for r in requests], start, end),
    )


def _control_during(control: dict[int, float], start: float, end: float) -> float | None:
    """A tick is written at the end of its second, hence the one more."""
    return max((control[s] for s in range(int(start), int(end) + 2) if s in control), default=None)


def _buckets(
    samples: Sequence[tuple[float, float, bool]], start: float, end: float
) -> tuple[Bucket, ...]:
    width = max((end - start) / BUCKETS, 1e-9)
    columns: dict[int, list[tuple[float, bool]]] = {}
    for at, ms, failed in samples:
        columns.setdefault(min(int((at - start) / width), BUCKETS - 1), []).append((ms, failed))
    return tuple(
        Bucket(
            at=round(start + index * width, 3),
            requests=len(found),
            failed=sum(f for _, f in found),
            p50_ms=percentile([ms for ms, _ in found], 0.5) or 0.0,
            worst_ms=max(ms for ms, _ in found),
        )
        for index, found in sorted(columns.items())
    )


def _etcd(
    records: Sequence[AnyRecord],
    inside: Sequence[AnyRecord],
    start: float,
    end: float,
    holes: tuple[Interval, ...],
) -> EtcdFigures | None:
    writes = _only(inside, EtcdWrite)
    statuses = sorted(_only(records, MemberStatus), key=lambda s: s.at)
    if not writes and not statuses:
        return None
    gaps = write_gaps([w.acked_at for w in writes if w.ok], holes)
    backs = _only(records, ReadBack)
    good = [b for b in backs if not b.error]
    names = {s.member_id: s.host for s in statuses}
    terms = [t for t in leader_changes(statuses) if t[0] <= end]
    before = [t for t in terms if t[0] < start]
    within = [t for t in terms if t[0] >= start]
    # without a leader from before the stretch, the first one seen is the starting point
    known = [before[-1]] if before else within[:1]
    changes = within if before else within[1:]
    seen = [m for m in _only(records, MemberSeen) if m.at <= end]
    spans = down_intervals(seen, start, end)
    first, last = _ids(statuses, newest=False), _ids(statuses, newest=True)
    after = [h for h in _only(records, HashSeen) if h.when == "after"]
    usable = [h for h in after if not h.error]
    complete = bool(usable) and len(usable) == len(after)
    return EtcdFigures(
        acked=sum(w.ok for w in writes),
        failed=sum(not w.ok for w in writes),
        stalled=sum(w.ms > STALL_MS for w in writes),
        lost=max((b.lost for b in good), default=None),
        wrong=max((b.wrong for b in good), default=None),
        read_back_from=len(good),
        read_back_errors=tuple(f"{b.endpoint}: {b.error}" for b in backs if b.error),
        worst_gap_ms=round(gaps[0].seconds * 1000, 1) if gaps else None,
        gaps=tuple(WriteGap(at=g.start, ms=round(g.seconds * 1000, 1)) for g in gaps[:40]),
        leaders=tuple(
            Leader(at=max(at, start), member_id=member, host=names.get(member, ""), term=term)
            for at, member, term in known + changes
        ),
        leader_changes=len(changes) if known else None,
        most_down=most_at_once(spans) if seen else None,
        down=tuple(
            Down(host=host, at=i.start, seconds=round(i.seconds, 3))
            for host, each in sorted(spans.items())
            for i in each
        ),
        ids_before=first,
        ids_after=last,
        ids_unchanged=(first == last) if statuses else None,
        hashes_equal=len({h.hash for h in usable}) == 1 if complete else None,
        versions=_versions(statuses),
    )


def _ids(statuses: Sequence[MemberStatus], *, newest: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for s in statuses:
        if newest or s.host not in found:
            found[s.host] = s.member_id
    return dict(sorted(found.items()))


def _versions(statuses: Sequence[MemberStatus]) -> tuple[tuple[str, float, str], ...]:
    last: dict[str, str] = {}
    found: list[tuple[str, float, str]] = []
    for s in statuses:
        if last.get(s.host) != s.version:
            last[s.host] = s.version
            found.append((s.host, s.at, s.version))
    return tuple(found)
