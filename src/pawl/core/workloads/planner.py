"""The planner of moves: pure and deterministic, from facts and a scenario.

All old nodes are closed before the first move, so a pod that leaves one can only land on a node
that stays: each pod that must move starts exactly once. With fewer new nodes at a time than old
ones the moves come in waves, and the order holds inside each wave.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from msgspec import structs

from pawl.core import marks
from pawl.core.findings import Severity
from pawl.core.pace import Pace
from pawl.core.workloads import budgets as budget_rules
from pawl.core.workloads import graph as graph_rules
from pawl.core.workloads.admission import DAEMON_TOLERATIONS, admits
from pawl.core.workloads.bound import lower_bound, machines
from pawl.core.workloads.classify import Tier, class_of, operator_of, tier_of
from pawl.core.workloads.facts import Controller, Pod, Shape, Workloads
from pawl.core.workloads.methods import Decision, decide, missing_in_restart
from pawl.core.workloads.moves import Move, MovePlan, Wave, WorkloadPlan
from pawl.core.workloads.obstacles import Obstacle, order
from pawl.core.workloads.order import arrange
from pawl.core.workloads.placement import Refusal, Simulation
from pawl.core.workloads.scenario import Scenario
from pawl.core.workloads.schedule import Job, schedule
from pawl.core.workloads.surroundings import Method, Surroundings
from pawl.core.workloads.times import Times, at_best, predicted

STILL = ("stay", "wait", "decide")
"""Methods by which pawl itself moves nothing."""


class _Named(Protocol):
    @property
    def namespace(self) -> str: ...


N = TypeVar("N", bound=_Named)


def plan(
    facts: Workloads, scenario: Scenario, *, pace: Pace | None = None, patience: float = 900.0
) -> MovePlan:
    """`patience`: seconds that a drain waits for one pod (policy.timeouts.eviction)."""
    return _Planner(facts, scenario, pace or Pace(), patience).run()


class _Planner:
    def __init__(self, facts: Workloads, scenario: Scenario, pace: Pace, patience: float) -> None:
        self.facts, self.scenario, self.pace = facts, scenario, pace
        self.controllers = {c.key: c for c in facts.controllers}
        self.graph = graph_rules.build(facts)
        in_front: dict[str, list[str]] = defaultdict(list)
        for service, workloads in self.graph.behind.items():
            for w in workloads:
                in_front[w].append(service)
        self.rank = {
            key: int(tier_of(c, facts.hooks, in_front[key])) for key, c in self.controllers.items()
        }
        self.providers = self.graph.providers()
        self.clients: dict[str, int] = defaultdict(int)
        """Provider -> pods that connect to it."""
        self.places = arrange(self.controllers, self.graph.edges, self.rank)
        self.wave_of = {
            name: i for i, (a, b) in enumerate(scenario.waves()) for name in scenario.old[a:b]
        }
        self.every: dict[str, list[Pod]] = defaultdict(list)
        self.moving: dict[str, list[Pod]] = defaultdict(list)
        for p in facts.pods:
            if p.finished:
                continue
            self.every[p.owner].append(p)
            if p.node in self.wave_of:
                self.moving[p.owner].append(p)
        for e in self.graph.edges:
            self.clients[e.provider] += len(self.every[e.consumer])
        at = {key: i for i, key in enumerate(self.places)}
        self.waves: list[dict[str, list[Pod]]] = [{} for _ in scenario.waves()]
        for key in sorted(self.moving, key=at.__getitem__):
            for p in sorted(self.moving[key], key=lambda p: (p.primary, -p.ordinal, p.key)):
                self.waves[self.wave_of[p.node]].setdefault(key, []).append(p)
        fresh = {n.name for n in scenario.new}
        self.staying = [
            n.name
            for n in facts.nodes
            if n.name not in self.wave_of
            and n.name not in fresh
            and n.ready
            and not n.unschedulable
        ]
        """Nodes that take pods from the beginning."""
        self.around = self._surroundings(patience)
        self.obstacles: list[Obstacle] = []
        self.decisions: dict[str, Decision] = {}
        self.moves: list[Move] = []
        self.each: dict[str, Times] = {}
        self.at_best: list[tuple[Job, ...]] = []
        self.pulled: set[tuple[str, str]] = set()
        """(node, image): what a new node has pulled for an earlier move."""

    def _surroundings(self, patience: float) -> Surroundings:
        f = self.facts

        return Surroundings(
            budgets=budget_rules.study(f.budgets, f.pods, self.controllers),
            budget_objects={b.key: b for b in f.budgets},
            claims={c.key: c for c in f.claims},
            volumes={v.name: v for v in f.volumes},
            autoscalers={a.target: a for a in f.autoscalers},
            services=_by_namespace(f.services),
            policies=_by_namespace(f.policies),
            quotas=_by_namespace(f.quotas),
            hooks=f.hooks,
            behind=self.graph.behind,
            patience=patience,
        )

    # -- the steps ---------------------------------------------------------------------------

    def run(self) -> MovePlan:
        for key in self.places:
            self.decisions[key] = self._decide(key)
        refused, beside, placed = self._place()
        for key, why in beside.items():
            self.decisions[key] = self._decide(key, f"A second pod has no place: {why}")
        waves = self._time(placed)
        for d in self.decisions.values():
            self.obstacles += d.obstacles
        self.obstacles += refused
        self.obstacles += self._degraded()
        self.obstacles += [
            Obstacle(
                code="W116",
                subject=m.partition(" ")[0],
                message=m.partition(" ")[2],
                remedy="Correct the annotation: namespace/Kind/name.",
                severity=Severity.WARNING,
            )
            for m in self.graph.misnamed
        ]
        return MovePlan(
            workloads=tuple(self._described(key) for key in self.places),
            moves=tuple(self.moves),
            waves=waves,
            obstacles=tuple(sorted(dict.fromkeys(self.obstacles), key=order)),
            graph=self.graph,
            starts_cap=self.pace.starts(len(self.moves)),
            pace=self.pace,
            clients=self.clients,
            at_best=tuple(self.at_best),
        )

    def _decide(self, key: str, no_place: str = "") -> Decision:
        moving = self.moving[key]
        return decide(
            self.controllers[key],
            moving,
            self.every[key],
            self.around,
            no_place,
            together=len({self.wave_of[p.node] for p in moving}) == 1,
        )

    # -- placing -----------------------------------------------------------------------------

    def _place(self) -> tuple[list[Obstacle], dict[str, str], dict[str, str]]:
        """Every move in its order: what found no place, whom a surge is denied to, and where each
        pod goes."""
        sim = self._simulation()
        refused: dict[str, tuple[str, int]] = {}
        beside: dict[str, str] = {}
        placed: dict[str, str] = {}
        for i, (a, b) in enumerate(self.scenario.waves()):
            for n in self.scenario.new[a:b]:
                sim.open(n.name)
            for key, pods in self.waves[i].items():
                d = self.decisions[key]
                if d.method in STILL:
                    continue
                for p in pods:
                    if (pinned := self.controllers[key].pinned) in self.wave_of:
                        refused[key] = (f"its template names the node {pinned}.", 1)
                        continue
                    if (again := refused.get(key)) and not p.claims:
                        refused[key] = (again[0], again[1] + 1)
                        continue
                    surging = d.method in ("surge", "surge-restart") and key not in beside
                    try:
                        if surging:
                            try:
                                placed[p.key] = sim.place(f"{p.key}'", p)
                            except Refusal as first:
                                sim.remove(p.key)
                                placed[p.key] = sim.place(f"{p.key}'", p)
                                beside[key] = first.why
                                continue
                        else:
                            sim.remove(p.key)
                            placed[p.key] = sim.place(f"{p.key}'", p)
                            continue
                        sim.remove(p.key)
                    except Refusal as no:
                        sim.count(p.key, p, p.node)
                        count = refused[key][1] if key in refused else 0
                        refused[key] = (no.why, count + 1)
            for name in self.scenario.old[a:b]:
                sim.retire(name)
        sim.check()
        return [self._refused(k, *r) for k, r in refused.items()], beside, placed

    def _refused(self, key: str, why: str, count: int) -> Obstacle:
        pods = f"{count} of its pods" if count > 1 else "a pod of it"
        return Obstacle(
            code="W104",
            subject=key,
            workload=key,
            forever=True,
            message=f"{pods} would find no place once the old nodes are closed: {why}",
            remedy="Give it room or loosen the rule that keeps it out, before any node is closed.",
        )

    def _simulation(self) -> Simulation:
        f, s = self.facts, self.scenario
        known = {n.name for n in f.nodes}
        imagined = [n for n in s.new if n.name not in known]
        daemons = [c for c in f.controllers if c.kind == "DaemonSet"]
        static: dict[str, list[Shape]] = defaultdict(list)
        for p in f.pods:
            if p.mirror and p.node in self.wave_of:
                static[p.node].append(p.shape)
        before = dict(zip((n.name for n in s.new), s.old, strict=False))
        reserved = {
            n.name: [
                *(d.shape for d in daemons if not admits(n, d.shape, DAEMON_TOLERATIONS)),
                *static[before[n.name]],
            ]
            for n in imagined
        }
        closed = [
            structs.replace(n, taints=(*n.taints, marks.CLOSED)) if n.name in self.wave_of else n
            for n in f.nodes
        ]
        sim = Simulation(
            [*closed, *imagined],
            self.staying,
            claims=self.around.claims,
            volumes=self.around.volumes,
            classes={c.name: c for c in f.classes},
            unattached=f.unattached,
            reserved=reserved,
        )
        live = [p for p in f.pods if not p.finished and p.node]
        sim.learn(live)
        for p in live:
            sim.count(p.key, p, p.node)
        return sim

    # -- time --------------------------------------------------------------------------------

    def _times(self, key: str) -> Times:
        if key not in self.each:
            self.each[key] = predicted(*self._way(key))
        return self.each[key]

    def _way(self, key: str) -> tuple[Controller, Method, list[Pod], int, Pace]:
        claims = len(self.moving[key][0].claims) if self.moving[key] else 0
        method = self.decisions[key].method
        return self.controllers[key], method, self.every[key], claims, self.pace

    def _time(self, placed: Mapping[str, str]) -> tuple[Wave, ...]:
        cap = self.pace.starts(len(placed))
        waves = []
        known = {n.name for n in self.facts.nodes}
        for i, (a, b) in enumerate(self.scenario.waves()):
            going = {
                key: own
                for key, pods in self.waves[i].items()
                if self.decisions[key].method not in STILL
                and (own := [p for p in pods if p.key in placed])
            }
            before: dict[str, frozenset[str]] = {}
            jobs = [
                self._job(key, own, self._before(key, going, before), placed)
                for key, own in going.items()
            ]
            best = tuple(self._best(j) for j in jobs)
            self.at_best.append(best)
            played = schedule(jobs, self.pace, self.clients, cap)
            bound = lower_bound(
                best,
                self.pace,
                self.clients,
                cap=cap,
                volumes=sum(len(p.claims) for own in going.values() for p in own),
                nodes=len(self.staying) + b,
            )
            for j in jobs:
                starts = sorted(played.starts[j.workload])
                for p, start in zip(going[j.workload], starts, strict=True):
                    self.moves.append(
                        Move(
                            pod=p.key,
                            uid=p.uid,
                            workload=j.workload,
                            method=self.decisions[j.workload].method,
                            source=p.node,
                            target=placed[p.key],
                            wave=i,
                            tier=self.places[j.workload].tier,
                            start=start,
                            seconds=j.seconds,
                        )
                    )
            fresh = any(n.name not in known for n in self.scenario.new[a:b])
            moving = max(played.seconds, bound.seconds)
            around = machines(self.pace, fresh=fresh)
            fixed = sum(p.seconds for p in around)
            waves.append(
                Wave(
                    old=self.scenario.old[a:b],
                    new=tuple(n.name for n in self.scenario.new[a:b]),
                    moves=sum(j.moves for j in jobs),
                    moving=moving,
                    seconds=fixed + moving,
                    least=fixed + bound.seconds,
                    term=bound.term.what,
                    terms=bound.terms,
                    machines=around,
                    peak=played.peak,
                )
            )
        self.moves.sort(key=lambda m: (m.wave, m.start, m.tier, m.workload, m.pod))
        return tuple(waves)

    def _before(
        self, key: str, going: Mapping[str, object], known: dict[str, frozenset[str]]
    ) -> frozenset[str]:
        """The workloads of this wave that `key` waits for, through others that do not move in it.
        Those of one cycle are one tier, and wait for nobody in it. Iterative, because chains may be
        long."""
        work = [key]
        while work:
            top = work[-1]
            after = [a for a in self.places[top].after if a not in self.places[top].group]
            through = [a for a in after if a not in going and a not in known]
            if through:
                work += through
                continue
            work.pop()
            known[top] = frozenset(w for a in after for w in ((a,) if a in going else known[a]))
        return known[key]

    def _job(
        self, key: str, own: Sequence[Pod], after: frozenset[str], placed: Mapping[str, str]
    ) -> Job:
        images, times = self.controllers[key].shape.images, self._times(key)
        needs = {(placed[p.key], image) for p in own for image in images} - self.pulled
        self.pulled |= needs
        return Job(
            workload=key,
            rank=self.places[key].rank,
            moves=len(own),
            at_once=self.decisions[key].at_once,
            seconds=times.ready,
            hold=times.hold,
            gone=times.gone,
            ready_by=times.ready_by,
            gone_by=times.gone_by,
            after=tuple(sorted(after)),
            providers=tuple(sorted(self.providers[key])),
            registry=_registry(images[0] if images else ""),
            pulls=len({node for node, _ in needs}),
        )

    def _best(self, j: Job) -> Job:
        """The same at best. A rolling update is its Deployment's own: no cap of pawl holds it."""
        c, times = self.controllers[j.workload], at_best(*self._way(j.workload))
        own = self.decisions[j.workload].method == "surge-restart"
        return structs.replace(
            j,
            at_once=j.at_once + (missing_in_restart(c) if own else 0),
            by_itself=own,
            seconds=times.ready,
            hold=times.hold,
            gone=times.gone,
            ready_by=times.ready_by,
            gone_by=times.gone_by,
        )

    # -- describing --------------------------------------------------------------------------

    def _degraded(self) -> list[Obstacle]:
        found = []
        for key, pods in self.every.items():
            sick = [p for p in pods if not p.ready and not p.terminating]
            c = self.controllers[key]
            if not sick or c.kind in ("Job", "CronJob", "Pod"):
                continue
            first = sick[0]
            state = first.waiting or ("not scheduled" if not first.node else "not Ready")
            found.append(
                Obstacle(
                    code="W117",
                    subject=key,
                    workload=key,
                    message=f"{len(sick)} of {len(pods)} pods are not Ready already "
                    f"({first.key}: {state}).",
                    remedy="Mend it first: what was broken before cannot be told from what broke.",
                    severity=Severity.WARNING,
                )
            )
        return found

    def _described(self, key: str) -> WorkloadPlan:
        c, d, place = self.controllers[key], self.decisions[key], self.places[key]
        moving = len(self.moving[key])
        goes = d.method not in STILL
        seconds = self._times(key).ready if goes and moving else 0.0
        if d.method in ("evict", "operator"):
            dip = moving * seconds
        elif d.method == "surge-restart" and (missing := missing_in_restart(c)):
            dip = min(missing, moving) * seconds * -(-moving // max(d.at_once, 1))
        else:
            dip = 0.0
        scaler = self.around.autoscalers.get(key)
        claims = sorted({*c.claims, *(n for p in self.every[key] for n in p.claims)})
        return WorkloadPlan(
            key=key,
            kind=class_of(c),
            operator=operator_of(c),
            tier=place.tier,
            tier_name=Tier(place.rank).title,
            cycle=place.group if len(place.group) > 1 else (),
            replicas=c.replicas,
            ready=sum(p.ready for p in self.every[key]),
            moving=moving,
            method=d.method if moving or d.method == "stay" else "stay",
            why=d.why if moving or d.method == "stay" else "Nothing of it is on the old nodes.",
            at_once=d.at_once,
            seconds=seconds,
            dip=dip,
            restarts=moving if goes else 0,
            notes=d.notes if moving else (),
            resolutions=d.resolutions,
            strategy=_strategy(c),
            budgets=tuple(r.budget for r in self.around.budgets.of(self.every[key])),
            autoscaler=f"{scaler.name} {scaler.minimum}-{scaler.maximum}" if scaler else "",
            claims=tuple(claims),
            zones=self._zones(c, claims),
            grace=c.shape.grace,
            readiness=c.shape.readiness,
            min_ready=c.min_ready,
            apart=tuple(t.key for t in c.shape.anti_affinity),
            spread=tuple(f"{s.key} ±{s.max_skew}" for s in c.shape.spread),
            providers=tuple(self.providers[key]),
            registries=tuple(sorted({_registry(i) for i in c.shape.images})),
        )

    def _zones(self, c: Controller, claims: Sequence[str]) -> tuple[str, ...]:
        found: set[str] = set()
        for name in claims:
            claim = self.around.claims.get(f"{c.namespace}/{name}")
            volume = self.around.volumes.get(claim.volume) if claim else None
            for term in volume.node_terms if volume else ():
                for e in term.expressions:
                    if e.key.endswith("/zone"):
                        found.update(e.values)
        return tuple(sorted(found))


def _registry(image: str) -> str:
    host = image.partition("/")[0]
    return host if "/" in image and ("." in host or ":" in host) else "docker.io"


def _strategy(c: Controller) -> str:
    if c.kind in ("Deployment", "Rollout"):
        if c.strategy == "Recreate":
            return "Recreate"
        return (
            f"{c.strategy or 'RollingUpdate'} +{c.max_surge or '25%'} -{c.max_unavailable or '25%'}"
        )
    if c.kind == "StatefulSet":
        return f"{c.strategy or 'RollingUpdate'}, {'one by one' if c.ordered else 'parallel'}"
    return c.strategy


def _by_namespace(items: Iterable[N]) -> dict[str, list[N]]:
    found: dict[str, list[N]] = defaultdict(list)
    for item in items:
        found[item.namespace].append(item)
    return found
