"""A pod's specification as the scheduler and a drain see it: one shared `Shape` a template."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from pawl.core.workloads.facts import (
    NodeTerm,
    PodTerm,
    Requirement,
    Selector,
    Shape,
    Spread,
    Text,
    Toleration,
)
from pawl.core.workloads.object_parts import NodeTermPart
from pawl.core.workloads.pod_objects import PodSpecPart, PodTermPart, ResourcesPart, SpreadPart
from pawl.core.workloads.quantity import Quantity, parse

MILLI = 1e-3
_BASIC = ("cpu", "memory", "ephemeral-storage")


def node_terms(parts: Iterable[NodeTermPart]) -> tuple[NodeTerm, ...]:
    return tuple(
        NodeTerm(
            expressions=tuple(e.fact() for e in t.match_expressions or ()),
            fields=tuple(e.fact() for e in t.match_fields or ()),
        )
        for t in parts
    )


def shape(spec: PodSpecPart, namespace: str, namespaces: Mapping[str, Mapping[str, str]]) -> Shape:
    """The shape of a pod or template in `namespace`; `namespaces` gives labels for selectors."""
    containers = spec.containers or ()
    cpu, memory, disk, extended = requests(spec)
    node = spec.affinity.node.required if spec.affinity and spec.affinity.node else None
    near = spec.affinity.pod.required if spec.affinity and spec.affinity.pod else None
    apart = spec.affinity.anti.required if spec.affinity and spec.affinity.anti else None
    scratch = [v.empty_dir for v in spec.volumes or () if v.empty_dir is not None]
    probes = [c.readiness_probe for c in containers if c.readiness_probe is not None]
    return Shape(
        cpu=cpu,
        memory=memory,
        disk=disk,
        extended=extended,
        node_selector=tuple(sorted((spec.node_selector or {}).items())),
        node_terms=node_terms((node.terms if node else None) or ()),
        affinity=_terms(near or (), namespace, namespaces),
        anti_affinity=_terms(apart or (), namespace, namespaces),
        spread=tuple(
            _spread(s) for s in spec.spread or () if s.when_unsatisfiable == "DoNotSchedule"
        ),
        tolerations=tuple(
            Toleration(key=t.key, operator=t.operator or "Equal", value=t.value, effect=t.effect)
            for t in spec.tolerations or ()
        ),
        host_ports=tuple(sorted(_host_ports(spec))),
        scheduler=spec.scheduler_name,
        priority=spec.priority or 0,
        grace=30.0 if spec.grace is None else spec.grace,
        pre_stop=max((c.lifecycle.sleeps for c in containers if c.lifecycle), default=0.0),
        readiness=bool(probes),
        first_probe=max((p.initial_delay_seconds for p in probes), default=0.0),
        gates=tuple(g.condition_type for g in spec.gates or ()),
        scratch=bool(scratch),
        scratch_limit=sum(parse(e.size_limit) for e in scratch if e.size_limit is not None),
        host_paths=tuple(sorted(v.host_path.path for v in spec.volumes or () if v.host_path)),
        images=tuple(dict.fromkeys(c.image for c in containers if c.image)),
    )


def _host_ports(spec: PodSpecPart) -> Iterator[tuple[str, int]]:
    for c in spec.containers or ():
        for p in c.ports or ():
            port = p.host_port or (p.container_port if spec.host_network else 0)
            if port:
                yield p.protocol, port


def _spread(s: SpreadPart) -> Spread:
    return Spread(
        key=s.topology_key,
        max_skew=s.max_skew,
        selector=s.label_selector.fact() if s.label_selector else NOTHING,
        min_domains=s.min_domains or 1,
        honors_affinity=s.node_affinity_policy == "Honor",
        honors_taints=s.node_taints_policy == "Honor",
        label_keys=s.match_label_keys or (),
    )


NOTHING = Selector(expressions=(Requirement(key="", operator="In"),))
"""A selector that is absent selects no object, other than an empty one."""


def _terms(
    parts: Iterable[PodTermPart], namespace: str, namespaces: Mapping[str, Mapping[str, str]]
) -> tuple[PodTerm, ...]:
    found = []
    for part in parts:
        named = set(part.namespaces or ())
        everywhere = False
        if part.namespace_selector is not None:
            chosen = part.namespace_selector.fact()
            everywhere = chosen.empty
            named |= {name for name, labels in namespaces.items() if chosen.matches(labels)}
        elif not named:
            named = {namespace}
        found.append(
            PodTerm(
                selector=part.label_selector.fact() if part.label_selector else NOTHING,
                key=part.topology_key,
                namespaces=() if everywhere else tuple(sorted(named)),
                everywhere=everywhere,
            )
        )
    return tuple(found)


class Asks(Protocol):
    """A container, as far as what it asks for."""

    @property
    def resources(self) -> ResourcesPart | None: ...
    @property
    def restart_policy(self) -> str | None: ...


class AsksInAll(Protocol):
    """A pod's specification, as far as what it asks for."""

    @property
    def containers(self) -> Sequence[Asks] | None: ...
    @property
    def init_containers(self) -> Sequence[Asks] | None: ...
    @property
    def resources(self) -> ResourcesPart | None: ...
    @property
    def overhead(self) -> dict[str, Quantity] | None: ...


def _asked(resources: ResourcesPart | None) -> dict[str, Quantity]:
    """Requests; where there is only a limit, the API takes it as the request."""
    if resources is None:
        return {}
    return {**(resources.limits or {}), **(resources.requests or {})}


def _add(into: dict[str, int], amounts: Mapping[str, Quantity]) -> None:
    for name, amount in amounts.items():
        into[name] = into.get(name, 0) + parse(amount, MILLI if name == "cpu" else 1.0)


def requests(spec: AsksInAll) -> tuple[int, int, int, tuple[tuple[str, int], ...]]:
    """(CPU, memory, disk, extended resources), as the scheduler counts: the sum of the containers
    and of init containers that go on running, or the largest init container if that is more;
    pod-level resources instead where they are given; and the overhead of the runtime class."""
    running: dict[str, int] = {}
    peak: dict[str, int] = {}
    for c in spec.init_containers or ():
        if c.restart_policy == "Always":
            _add(running, _asked(c.resources))
            continue
        once = dict(running)
        _add(once, _asked(c.resources))
        for name, amount in once.items():
            peak[name] = max(peak.get(name, 0), amount)
    for c in spec.containers or ():
        _add(running, _asked(c.resources))
    total = {n: max(running.get(n, 0), peak.get(n, 0)) for n in {**running, **peak}}
    if spec.resources is not None:
        whole: dict[str, int] = {}
        _add(whole, _asked(spec.resources))
        total.update(whole)
    _add(total, spec.overhead or {})
    extended = tuple(sorted((n, a) for n, a in total.items() if n not in _BASIC and a))
    cpu, memory, disk = (total.get(n, 0) for n in _BASIC)
    return cpu, memory, disk, extended


def texts(spec: PodSpecPart, skip: Sequence[str] = ()) -> Iterator[Text]:
    """Every value of the template that may name a Service."""
    for waits, containers in ((True, spec.init_containers), (False, spec.containers)):
        for c in containers or ():
            waiting = waits and c.restart_policy != "Always"
            kind = "init container" if waiting else "container"
            for e in c.env or ():
                if e.value and e.name not in skip:
                    yield Text(where=f"env {e.name} of {kind} {c.name}", value=e.value,
                               waits=waiting)  # fmt: skip
            for what, values in (("command", c.command), ("args", c.args)):
                if values:
                    yield Text(where=f"{what} of {kind} {c.name}", value=" ".join(values),
                               waits=waiting)  # fmt: skip


def configs(spec: PodSpecPart) -> tuple[str, ...]:
    """ConfigMaps that the template reads, by environment or by volume."""
    found: dict[str, None] = {}
    for c in (*(spec.init_containers or ()), *(spec.containers or ())):
        for e in c.env or ():
            if e.value_from and e.value_from.config_map:
                found[e.value_from.config_map.name] = None
        for f in c.env_from or ():
            if f.config_map:
                found[f.config_map.name] = None
    for v in spec.volumes or ():
        if v.config_map:
            found[v.config_map.name] = None
        for s in (v.projected.sources if v.projected else None) or ():
            if s.config_map:
                found[s.config_map.name] = None
    found.pop("kube-root-ca.crt", None)  # every pod has it
    return tuple(found)
