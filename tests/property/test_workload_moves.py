"""Placement, order and schedule hold for any cluster: proven against plain brute force."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from pawl.core.pace import Pace
from pawl.core.workloads.bound import lower_bound
from pawl.core.workloads.facts import (
    HOSTNAME,
    ZONE,
    Claim,
    Controller,
    Node,
    Pod,
    PodTerm,
    Selector,
    Shape,
    Spread,
    Text,
    Volume,
    Workloads,
)
from pawl.core.workloads.graph import Edge, Evidence
from pawl.core.workloads.moves import MovePlan
from pawl.core.workloads.order import arrange
from pawl.core.workloads.placement import Refusal, Simulation
from pawl.core.workloads.planner import plan
from pawl.core.workloads.scenario import replace_all
from pawl.core.workloads.schedule import Job, schedule

NAMES = [f"w{i}" for i in range(9)]


def term(app: str, key: str) -> PodTerm:
    return PodTerm(selector=Selector(labels=(("app", app),)), key=key, namespaces=("ns",))


@st.composite
def nodes(draw: st.DrawFn, count: int = 4) -> tuple[Node, ...]:
    return tuple(
        Node(
            name=f"n{i}",
            labels={HOSTNAME: f"n{i}", ZONE: draw(st.sampled_from(["a", "b"]))},
            cpu=draw(st.integers(0, 40)),
            memory=draw(st.integers(0, 40)),
            disk=100,
            pods=draw(st.integers(0, 6)),
            attachable=(("disk", draw(st.integers(0, 2))),),
        )
        for i in range(draw(st.integers(1, count)))
    )


@st.composite
def pods(draw: st.DrawFn) -> tuple[list[Pod], list[Claim], list[Volume]]:
    found, claims, volumes = [], [], []
    for i in range(draw(st.integers(1, 14))):
        app = draw(st.sampled_from(["x", "y"]))
        attached = draw(st.booleans())
        key = draw(st.sampled_from([HOSTNAME, ZONE]))
        shape = Shape(
            cpu=draw(st.integers(0, 15)),
            memory=draw(st.integers(0, 15)),
            host_ports=(("TCP", 80),) if draw(st.integers(0, 4)) == 0 else (),
            anti_affinity=(term(draw(st.sampled_from(["x", "y"])), key),)
            if draw(st.integers(0, 3)) == 0
            else (),
            spread=(Spread(key=key, max_skew=1, selector=Selector(labels=(("app", app),))),)
            if draw(st.integers(0, 4)) == 0
            else (),
        )
        if attached:
            claims.append(Claim(namespace="ns", name=f"c{i}", volume=f"v{i}"))
            volumes.append(Volume(name=f"v{i}", driver="disk"))
        found.append(
            Pod(
                namespace="ns",
                name=f"p{i}",
                labels={"app": app},
                shape=shape,
                claims=(f"c{i}",) if attached else (),
            )
        )
    return found, claims, volumes


@settings(max_examples=150, deadline=None)
@given(nodes(), pods())
def test_placement_never_overcommits_and_keeps_every_rule(
    cluster: tuple[Node, ...], wanted: tuple[list[Pod], list[Claim], list[Volume]]
) -> None:
    own, claims, volumes = wanted
    sim = Simulation(
        cluster,
        [n.name for n in cluster],
        claims={c.key: c for c in claims},
        volumes={v.name: v for v in volumes},
        classes={},
    )
    sim.learn(own)
    on: dict[str, list[Pod]] = defaultdict(list)
    by_name = {n.name: n for n in cluster}
    for p in own:
        try:
            target = sim.place(p.key, p)
        except Refusal:
            continue
        for other_node, others in on.items():
            for other in others:
                for mine, its, theirs in ((p, target, other), (other, other_node, p)):
                    for t in mine.shape.anti_affinity:
                        if t.selector.matches(theirs.labels):
                            here = by_name[its].labels[t.key]
                            there = by_name[other_node if mine is p else target].labels[t.key]
                            assert here != there
        on[target].append(p)
        for s in p.shape.spread:
            held = Counter({n.labels[s.key]: 0 for n in cluster})
            for name, others in on.items():
                held[by_name[name].labels[s.key]] += sum(
                    s.selector.matches(o.labels) for o in others
                )
            assert held[by_name[target].labels[s.key]] - min(held.values()) <= s.max_skew
    for name, held in on.items():
        node = by_name[name]
        assert sum(p.shape.cpu for p in held) <= node.cpu
        assert sum(p.shape.memory for p in held) <= node.memory
        assert len(held) <= node.pods
        assert sum(len(p.claims) for p in held) <= dict(node.attachable)["disk"]
        assert sum(bool(p.shape.host_ports) for p in held) <= 1


@st.composite
def edges(draw: st.DrawFn) -> list[Edge]:
    pairs = draw(
        st.lists(
            st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=16, unique=True
        )
    )
    return [
        Edge(
            consumer=a,
            provider=b,
            evidence=(Evidence(source="host", strength=draw(st.integers(1, 100)), text=""),),
        )
        for a, b in pairs
        if a != b
    ]


def reachable(found: list[Edge]) -> dict[str, set[str]]:
    below = {n: {e.provider for e in found if e.consumer == n} for n in NAMES}
    for _ in NAMES:
        for n in NAMES:
            below[n] |= {m for d in below[n] for m in below[d]}
    return below


@settings(max_examples=150, deadline=None)
@given(edges(), st.lists(st.integers(0, 4), min_size=9, max_size=9))
def test_the_order_is_a_topological_order_of_the_condensed_graph(
    found: list[Edge], ranks: list[int]
) -> None:
    places = arrange(NAMES, found, dict(zip(NAMES, ranks, strict=True)))
    below, at = reachable(found), {k: i for i, k in enumerate(places)}
    for a in NAMES:
        for b in NAMES:
            if a != b and b in below[a]:
                if a in below[b]:
                    assert places[a].tier == places[b].tier
                    assert places[a].group == places[b].group
                else:
                    assert places[b].tier < places[a].tier
                    assert at[b] < at[a]
    for n, rank in zip(NAMES, ranks, strict=True):
        consumers = [m for m in NAMES if n in below[m]]
        assert places[n].rank == min([rank, *(ranks[NAMES.index(m)] for m in consumers)])


@st.composite
def jobs(draw: st.DrawFn) -> list[Job]:
    made: list[Job] = []
    rank = 0
    for i in range(draw(st.integers(1, 8))):
        rank += draw(st.integers(0, 1))
        earlier = [j.workload for j in made]
        after = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=2)) if earlier else []
        moves = draw(st.integers(1, 12))
        seconds, hold = draw(st.integers(1, 30)), draw(st.sampled_from([0, 0, 3]))
        made.append(
            Job(
                workload=f"w{i}",
                rank=rank,
                moves=moves,
                registry=draw(st.sampled_from(["r1", "r2"])),
                pulls=draw(st.integers(0, moves)),
                at_once=draw(st.integers(1, 5)),
                seconds=seconds,
                hold=hold,
                gone=seconds + hold + 5 if hold else draw(st.sampled_from([0, 7, seconds])),
                after=tuple(sorted(after)),
                providers=tuple(sorted(after[:1])),
            )
        )
    return made


@settings(max_examples=150, deadline=None)
@given(jobs(), st.sampled_from([0, 0, 1, 3]))
def test_the_schedule_keeps_every_cap_and_never_beats_the_bound(made: list[Job], cap: int) -> None:
    pace = Pace(starts_share=0.5, pulls=2)
    clients: Counter[str] = Counter()
    for j in made:
        for p in j.providers:
            clients[p] += j.moves
    played = schedule(made, pace, clients, cap)
    by_name = {j.workload: j for j in made}
    spans = [
        (start, start + by_name[w].seconds, by_name[w])
        for w, starts in played.starts.items()
        for start in starts
    ]
    assert Counter(s[2].workload for s in spans) == {j.workload: j.moves for j in made}
    most = cap or pace.starts(sum(j.moves for j in made))
    for at, _, _ in spans:
        flying = [s[2] for s in spans if s[0] <= at < s[1]]
        assert len(flying) <= most
        for workload, count in Counter(j.workload for j in flying).items():
            assert count <= by_name[workload].at_once
        pulling = Counter(
            j.registry
            for j in made
            for start in played.starts[j.workload][: j.pulls]
            if start <= at < start + min(pace.pull, j.seconds)
        )
        assert all(count <= pace.pulls for count in pulling.values())
        for provider in clients:
            busy = sum(provider in j.providers for j in flying)
            assert busy <= pace.clients(clients[provider])
    ends = {j.workload: max(s[1] for s in spans if s[2] is j) for j in made}
    for start, _, j in spans:
        for before in made:
            if before.workload in j.after or before.rank < j.rank:
                assert start >= ends[before.workload] + before.hold
            if before.workload in j.after and before.workload in j.providers:
                assert start >= ends[before.workload] + before.hold + pace.settle
    assert played.seconds == max(s[0] + max(s[2].seconds, s[2].gone) for s in spans)
    bound = lower_bound(made, pace, clients, cap=cap)
    assert bound.seconds <= played.seconds + 1e-6
    if len(made) == 1 and made[0].moves <= made[0].at_once <= most and not made[0].pulls:
        assert bound.seconds == played.seconds


@st.composite
def clusters(draw: st.DrawFn) -> Workloads:
    own = tuple(
        Node(
            name=f"n{i}",
            labels={HOSTNAME: f"n{i}", ZONE: f"z{i % 2}"},
            cpu=1000,
            memory=1000,
            disk=100,
            pods=20,
        )
        for i in range(4)
    )
    controllers, found = [], []
    for i in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["Deployment", "StatefulSet", "Job", "Queue"]))
        labels = {"app": f"w{i}", "pod-template-hash": "h"}
        other = draw(st.integers(0, 5))
        c = Controller(
            kind=kind,
            namespace="ns",
            name=f"w{i}",
            replicas=draw(st.integers(0, 5)),
            pod_labels=labels,
            shape=Shape(
                cpu=draw(st.integers(0, 300)),
                anti_affinity=(term(f"w{i}", draw(st.sampled_from([HOSTNAME, ZONE]))),)
                if draw(st.booleans())
                else (),
            ),
            annotations={"pawl.dev/depends-on": f"w{other}"},
            texts=(Text(where="env A of container c", value="x"),),
        )
        controllers.append(c)
        found += [
            Pod(
                namespace="ns",
                name=f"w{i}-{k}",
                uid=f"u{i}-{k}",
                node=draw(st.sampled_from(["n0", "n1", "n2", "n3"])),
                labels=labels,
                owner=c.key,
                shape=c.shape,
            )
            for k in range(c.replicas)
        ]
    return Workloads(nodes=own, controllers=tuple(controllers), pods=tuple(found))


def starts_once(facts: Workloads, made: MovePlan) -> None:
    old = {name for w in made.waves for name in w.old}
    methods = {w.key: w.method for w in made.workloads}
    refused = {o.workload for o in made.obstacles if o.code == "W104"}
    moved = Counter(m.pod for m in made.moves)
    assert all(count == 1 for count in moved.values())
    for p in facts.pods:
        if methods[p.owner] in ("surge", "surge-restart", "evict", "operator"):
            assert moved[p.key] == (p.node in old) or p.owner in refused
        else:
            assert not moved[p.key]
    for m in made.moves:
        assert m.source in old
        assert m.target not in old


@settings(max_examples=80, deadline=None)
@given(clusters(), st.integers(0, 3), st.booleans())
def test_each_pod_that_must_move_starts_exactly_once(
    facts: Workloads, surge: int, canary: bool
) -> None:
    made = plan(facts, replace_all(facts, surge=surge, canary=canary))
    starts_once(facts, made)
    for wave in made.waves:
        assert wave.least <= wave.seconds + 1e-6
    assert made == plan(facts, replace_all(facts, surge=surge, canary=canary))
    tiers = {w.key: w.tier for w in made.workloads}
    cycles = {w.key: w.cycle for w in made.workloads}
    for e in made.graph.edges:
        if e.provider not in cycles[e.consumer]:
            assert tiers[e.provider] < tiers[e.consumer]
