"""What the prober writes down: one line of JSON for each fact, and the maths over them.

A record is a JSON array whose first element is its tag, because at 200 records a second names
would be most of the file. Times are seconds since the epoch, durations are milliseconds.
The order in the file is the order of completion, not of `at`.

`Tick` comes once a second and is the proof that the prober was alive: a second without a tick is
a second that was *not measured*, which a report must never show as "no errors".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import msgspec

FORMAT = 1
STALL_MS = 100.0
"""A request slower than this is counted as stalled (the figure that section 7's table pins)."""


class Record(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag_field="k"):
    """Base of all records."""

    at: float


class Started(Record, frozen=True, kw_only=True, tag="start"):
    """First line of a file: who measures what, at which rates a second."""

    cluster: str
    pid: int
    version: str
    lanes: dict[str, float]
    format: int = FORMAT


class Request(Record, frozen=True, kw_only=True, tag="r"):
    """One request as its caller felt it: `ms` from the first try to the final answer.

    `status` is the final HTTP status, 0 where there was none; `rules` are the retry rules that
    were used, in order; `error` is empty when the caller got what it asked for.
    """

    lane: str
    op: str
    ms: float
    status: int
    tries: int = 1
    rules: tuple[str, ...] = ()
    error: str = ""
    target: str = ""

    @property
    def ok(self) -> bool:
        return not self.error


class EtcdWrite(Record, frozen=True, kw_only=True, tag="w"):
    """One unique write to etcd; `revision` is the acknowledged one, 0 where there was no ack."""

    writer: int
    seq: int
    ms: float
    revision: int
    endpoint: str
    tries: int = 1
    rules: tuple[str, ...] = ()
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.error

    @property
    def acked_at(self) -> float:
        return self.at + self.ms / 1000.0


class MemberSeen(Record, frozen=True, kw_only=True, tag="m"):
    """An etcd member changed between up and down, as an outside observer saw it."""

    host: str
    up: bool
    why: str = ""


class MemberStatus(Record, frozen=True, kw_only=True, tag="s"):
    """What a member says about itself; written at the start and whenever a field changes."""

    host: str
    member_id: str
    version: str
    leader_id: str
    term: int


class WatchSeen(Record, frozen=True, kw_only=True, tag="v"):
    """A write that was, or after its deadline was not, delivered on the watch."""

    name: str
    version: str
    lag_ms: float
    missed: bool = False


class WatchOpened(Record, frozen=True, kw_only=True, tag="o"):
    """The watch was opened; `how` is "list", "resume" (last resourceVersion) or "relist" (410)."""

    how: str
    why: str = ""


class Tick(Record, frozen=True, kw_only=True, tag="t"):
    """Each second: the control lane's worst round trip to the prober's own loopback echo, the
    event loop's worst delay, and the CPU seconds that the prober has used so far."""

    control_ms: float
    loop_ms: float
    cpu: float
    echoes: int = 0


class ReadBack(Record, frozen=True, kw_only=True, tag="b"):
    """At the end: what one member holds of all acknowledged writes, at one pinned revision."""

    endpoint: str
    revision: int
    acked: int
    lost: int
    wrong: int
    first_lost: str = ""
    error: str = ""


class HashSeen(Record, frozen=True, kw_only=True, tag="h"):
    """HashKV of one member at a pinned revision (gateway path of etcd >= 3.5.10)."""

    endpoint: str
    member_id: str
    revision: int
    compact_revision: int
    hash: int
    when: str
    error: str = ""


class Note(Record, frozen=True, kw_only=True, tag="n"):
    """Something about the measurement itself that a reader must know."""

    lane: str
    text: str


class Stopped(Record, frozen=True, kw_only=True, tag="stop"):
    """Last line: without it the prober did not end by itself."""

    why: str


AnyRecord = (
    Started
    | Request
    | EtcdWrite
    | MemberSeen
    | MemberStatus
    | WatchSeen
    | WatchOpened
    | Tick
    | ReadBack
    | HashSeen
    | Note
    | Stopped
)

_decoder = msgspec.json.Decoder(AnyRecord)


def parse(lines: Iterable[bytes]) -> tuple[tuple[AnyRecord, ...], int]:
    """Records, and how many lines could not be read (a torn last line after a power cut is one)."""
    records: list[AnyRecord] = []
    bad = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            records.append(_decoder.decode(line))
        except msgspec.DecodeError:
            bad += 1
    return tuple(records), bad


def percentile(values: Sequence[float], share: float) -> float | None:
    """Nearest-rank percentile; None of nothing, because nothing measured is not zero."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, int(share * len(ordered) + 0.999999) - 1))]


class Interval(msgspec.Struct, frozen=True):
    """From `start` to `end`, in seconds since the epoch."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


def uncovered(
    ticks: Sequence[float], start: float, end: float, slack: float = 3.0
) -> tuple[Interval, ...]:
    """The parts of [start, end] in which the prober did not tick for more than `slack` seconds."""
    if end <= start:
        return ()
    holes: list[Interval] = []
    last = start
    inside = sorted(t for t in ticks if start - slack <= t <= end + slack)
    for tick in [*inside, None]:
        moment = end if tick is None else tick
        allowed = slack
        if moment - last > allowed:
            holes.append(Interval(max(last, start), min(moment, end)))
        last = max(last, moment)
    return tuple(holes)


def write_gaps(acks: Sequence[float], holes: Sequence[Interval] = ()) -> tuple[Interval, ...]:
    """The times between two consecutive acknowledged writes, cluster-wide, longest first.

    Only what lies within one stretch of measurement counts: a gap that touches a hole of the
    prober itself says nothing about etcd.
    """
    ordered = sorted(acks)
    gaps = [Interval(a, b) for a, b in itertools.pairwise(ordered)]
    kept = [g for g in gaps if not any(h.start < g.end and g.start < h.end for h in holes)]
    return tuple(sorted(kept, key=lambda g: -g.seconds))


def down_intervals(
    seen: Sequence[MemberSeen], start: float, end: float
) -> dict[str, tuple[Interval, ...]]:
    """For each host when it was down within [start, end]. Hosts never seen are left out."""
    result: dict[str, list[Interval]] = {}
    since: dict[str, float | None] = {}
    for record in sorted(seen, key=lambda r: r.at):
        spans = result.setdefault(record.host, [])
        open_since = since.get(record.host)
        if record.up and open_since is not None:
            spans.append(Interval(open_since, record.at))
            since[record.host] = None
        elif not record.up and open_since is None:
            since[record.host] = record.at
    for host, open_since in since.items():
        if open_since is not None:
            result[host].append(Interval(open_since, max(end, open_since)))
    return {
        host: tuple(
            Interval(max(s.start, start), min(s.end, end))
            for s in spans
            if s.start < end and s.end > start
        )
        for host, spans in result.items()
    }


def most_at_once(spans: dict[str, tuple[Interval, ...]]) -> int:
    """The largest number of hosts that were down at the same instant (touching is not overlap)."""
    edges = sorted(
        [(i.start, 1) for each in spans.values() for i in each]
        + [(i.end, -1) for each in spans.values() for i in each]
    )
    worst = now = 0
    for _, change in edges:
        now += change
        worst = max(worst, now)
    return worst


def leader_changes(statuses: Sequence[MemberStatus]) -> tuple[tuple[float, str, int], ...]:
    """(when, leader id, term) for each term in which a leader was seen, the first one included.

    Terms only grow, so a term that several members report counts once, at its first sighting.
    """
    first: dict[int, tuple[float, str]] = {}
    for s in statuses:
        if s.leader_id in ("", "0"):
            continue
        if s.term not in first or s.at < first[s.term][0]:
            first[s.term] = (s.at, s.leader_id)
    return tuple((at, leader, term) for term, (at, leader) in sorted(first.items()))
