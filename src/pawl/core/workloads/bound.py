"""The least time that moves can take, whoever does them: a lower bound, and what makes it so long.

    T(w)  = ceil(moves / at once) x until Ready        of one workload by itself
    chain = the longest way over T, hand-overs and settling, until the last old pod is gone
    caps  = moves x until Ready, through each cap       starts in flight, clients, image pulls
    bound = the longest of them

Each term is below what a run can reach under its policy, whatever order it takes: what a cap lets
through, what the order of dependencies demands, and what pods themselves need. It is as true as the
times of its jobs, so each part says where its time comes from.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from pawl.core.pace import Pace
from pawl.core.workloads.facts import Part
from pawl.core.workloads.schedule import Job


class Piece(Part, frozen=True, kw_only=True):
    """A part of a bound, and what says that it takes so many seconds."""

    what: str
    seconds: float
    source: str = ""

    def __str__(self) -> str:
        source = f" ({self.source})" if self.source else ""
        return f"{self.seconds:.1f} s {self.what}{source}"


class Term(Part, frozen=True, kw_only=True):
    """One reason for the time, as the sum of its pieces."""

    what: str
    pieces: tuple[Piece, ...] = ()

    @property
    def seconds(self) -> float:
        return sum(p.seconds for p in self.pieces)


NOTHING = Term(what="nothing moves")


class Bound(Part, frozen=True, kw_only=True):
    """Terms, the one that binds first; of the providers and registries the worst of each."""

    terms: tuple[Term, ...] = (NOTHING,)

    @property
    def seconds(self) -> float:
        return self.terms[0].seconds

    @property
    def term(self) -> Term:
        return self.terms[0]


def lower_bound(
    jobs: Sequence[Job],
    pace: Pace,
    clients: Mapping[str, int],
    *,
    cap: int = 0,
    volumes: int = 0,
    nodes: int = 1,
) -> Bound:
    """`jobs`: providers first, ranks rising. `clients`: pods that connect to each provider. `cap`:
    pod starts in flight, 0 for what the pace says of these jobs. `volumes`: how many are attached
    anew, one after the other on each of the `nodes` that take them."""
    if not jobs:
        return Bound()
    terms = [_chain(jobs, pace)]
    capped = [j for j in jobs if not j.by_itself]
    if capped:
        starts = cap or pace.starts(sum(j.moves for j in jobs))
        terms.append(
            _through(f"{starts} pod starts in flight", capped, starts, "policy.pace.starts_share")
        )
    shared: dict[str, list[Job]] = defaultdict(list)
    pulling: dict[str, float] = defaultdict(float)
    for j in capped:
        for p in j.providers:
            shared[p].append(j)
        pulling[j.registry] += j.pulls * min(pace.pull, j.seconds)
    reconnecting = []
    for provider, own in shared.items():
        most = pace.clients(clients.get(provider, 1))
        what = f"{most} clients of {provider} reconnecting at once"
        reconnecting.append(_through(what, own, most, "policy.pace.provider_share"))
    terms += sorted(reconnecting, key=lambda t: -t.seconds)[:1]
    registry, spent = max(pulling.items(), key=lambda x: x[1], default=("", 0.0))
    if spent:
        what = f"{pace.pulls} image pulls from {registry} at once"
        terms.append(_alone(what, spent / pace.pulls, "policy.pace.pull"))
    if volumes:
        most = math.ceil(volumes / max(1, nodes))
        what = f"{most} volumes attached to one node, one by one"
        terms.append(_alone(what, most * pace.attach, "policy.pace.attach"))
    return Bound(terms=tuple(sorted(terms, key=lambda t: -t.seconds)))


def machines(pace: Pace, *, fresh: bool) -> tuple[Piece, ...]:
    """What a wave needs before its first move, where its machines are new, and after its last."""
    boot, tail = "a new machine is a Ready node", "the old machine is gone"
    last = Piece(what=tail, seconds=pace.tail, source="policy.pace.tail")
    if not fresh:
        return (last,)
    return Piece(what=boot, seconds=pace.boot, source="policy.pace.boot"), last


def _alone(what: str, seconds: float, source: str) -> Term:
    return Term(what=what, pieces=(Piece(what=what, seconds=seconds, source=source),))


def _through(what: str, jobs: Sequence[Job], cap: int, source: str) -> Term:
    """What a cap lets through; the last pod of it then has to end."""
    busy = Piece(
        what=f"{sum(j.moves for j in jobs)} pods until Ready, {cap} at a time",
        seconds=sum(j.moves * j.seconds for j in jobs) / cap,
        source=source,
    )
    last = min(jobs, key=lambda j: j.lingers)
    ends = Piece(what="until the last old pod is gone", seconds=last.lingers, source=last.gone_by)
    return Term(what=what, pieces=(busy, ends) if last.lingers else (busy,))


def _chain(jobs: Sequence[Job], pace: Pace) -> Term:
    """The longest way: each workload's own time, after all that it waits for."""
    free: dict[str, float] = {}
    via: dict[str, str] = {}
    floor, top, rank = (0.0, ""), (0.0, ""), None
    most, last = -1.0, ""
    for j in jobs:
        if j.rank != rank:
            floor, rank = top, j.rank
        waits = [(free[a] + j.settles(a, pace), a) for a in j.after if a in free]
        begin, via[j.workload] = max([floor, *waits])
        free[j.workload] = begin + j.alone + j.hold
        top = max(top, (free[j.workload], j.workload))
        if (whole := begin + j.alone + j.lingers) > most:
            most, last = whole, j.workload
    by_name = {j.workload: j for j in jobs}
    pieces: list[Piece] = []
    at, then = last, None
    while at:
        pieces[:0] = _link(by_name[at], then, pace)
        at, then = via[at], by_name[at]
    return Term(what=f"the chain of dependencies that ends with {last}", pieces=tuple(pieces))


def _link(j: Job, then: Job | None, pace: Pace) -> list[Piece]:
    """A workload in the chain, until `then` may begin, or until its old pods are gone."""
    rounds = math.ceil(j.moves / j.at_once)
    times = f" {rounds} times" if rounds > 1 else ""
    pieces = [Piece(what=f"{j.workload} is Ready{times}", seconds=j.alone, source=j.ready_by)]
    if j.hold:
        what = f"{j.workload} is known everywhere"
        pieces.append(Piece(what=what, seconds=j.hold, source="policy.pace.handover"))
    if then is not None:
        if settle := then.settles(j.workload, pace):
            what = f"{j.workload} stays Ready"
            pieces.append(Piece(what=what, seconds=settle, source="policy.pace.settle"))
    elif j.lingers > j.hold:
        what = f"the old pod of {j.workload} ends"
        pieces.append(Piece(what=what, seconds=j.lingers - j.hold, source=j.gone_by))
    return pieces
