"""Who depends on whom, and how that is known.

Each edge carries every piece of evidence with its strength, 1 to 100. The order of strength:

    annotation   100  `pawl.dev/depends-on` on the workload: somebody said so
    sync wave     90  Argo CD's waves within one application, Flux's `dependsOn`
    init          80  an init container waits for a Service
    address       70  environment or arguments hold a Service's address
    config        65  so does a ConfigMap that the template reads
    host          60  the bare name of a Service under a key that speaks of an address
    policy        50  a NetworkPolicy lets the one reach the other
    connection    45  a connection was seen on a node
    word          20  the bare name of a Service under any other key
    label         10  `app.kubernetes.io/part-of` and a component that is a store

A connection is a fact, but of one moment, and monitoring connects to everything: hence below what
somebody wrote down on purpose.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from pawl.core.workloads.classify import STORES
from pawl.core.workloads.facts import Controller, Mention, Part, Peer, Service, Workloads
from pawl.core.workloads.mentions import Services

STRENGTH = {
    "annotation": 100,
    "sync wave": 90,
    "init": 80,
    "address": 70,
    "config": 65,
    "host": 60,
    "policy": 50,
    "connection": 45,
    "word": 20,
    "label": 10,
}
DEPENDS_ON = "pawl.dev/depends-on"
SYNC_WAVE = "argocd.argoproj.io/sync-wave"
TRACKING = "argocd.argoproj.io/tracking-id"
PART_OF = "app.kubernetes.io/part-of"


class Evidence(Part, frozen=True, kw_only=True):
    """`source` is a key of STRENGTH, `text` what was found and where."""

    source: str
    strength: int
    text: str


class Edge(Part, frozen=True, kw_only=True):
    """`consumer` depends on `provider` (keys of workloads). Evidence, strongest first."""

    consumer: str
    provider: str
    evidence: tuple[Evidence, ...]

    @property
    def strength(self) -> int:
        return self.evidence[0].strength


class Graph(Part, frozen=True, kw_only=True):
    """Edges in order of their ends; `behind` maps a Service's key to the workloads it selects;
    `misnamed` are annotations that name no workload, each a sentence."""

    edges: tuple[Edge, ...] = ()
    behind: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    misnamed: tuple[str, ...] = ()

    def providers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for e in self.edges:
            found[e.consumer].append(e.provider)
        return found


class _Builder:
    def __init__(self, facts: Workloads) -> None:
        self.facts = facts
        self.services = Services(facts.services)
        self.controllers = {c.key: c for c in facts.controllers}
        self.in_namespace: dict[str, list[Controller]] = defaultdict(list)
        for c in facts.controllers:
            self.in_namespace[c.namespace].append(c)
        self.behind = {s.key: self._selected(s) for s in facts.services}
        self.found: dict[tuple[str, str], dict[tuple[str, str], Evidence]] = defaultdict(dict)
        self.misnamed: list[str] = []

    def _selected(self, service: Service) -> tuple[str, ...]:
        if not service.selector:
            return ()
        return tuple(
            c.key
            for c in self.in_namespace[service.namespace]
            if all(c.pod_labels.get(k) == v for k, v in service.selector)
        )

    def edge(self, consumer: str, provider: str, source: str, text: str) -> None:
        if consumer != provider:
            evidence = Evidence(source=source, strength=STRENGTH[source], text=text)
            self.found[consumer, provider].setdefault((source, text), evidence)

    def to_service(self, consumer: str, service: str, source: str, text: str) -> None:
        for provider in self._through(service):
            self.edge(consumer, provider, source, text)

    def _through(self, key: str, depth: int = 0) -> tuple[str, ...]:
        """The workloads behind a Service, an ExternalName being another name for one of ours."""
        namespace, _, name = key.partition("/")
        service = self.services.get(namespace, name)
        if service is None:
            return ()
        if service.type == "ExternalName" and depth < 4:
            return tuple(
                w
                for m in self.services.named(service.external_name, namespace)
                if m.how == "address"
                for w in self._through(m.service, depth + 1)
            )
        return self.behind.get(key, ())

    def build(self) -> Graph:
        for c in self.facts.controllers:
            self.annotated(c)
            self.templated(c)
        self.waves()
        self.flux()
        self.policies()
        self.connections()
        self.labels()
        edges = tuple(
            Edge(
                consumer=consumer,
                provider=provider,
                evidence=tuple(
                    sorted(evidence.values(), key=lambda e: (-e.strength, e.source, e.text))
                ),
            )
            for (consumer, provider), evidence in sorted(self.found.items())
        )
        return Graph(edges=edges, behind=self.behind, misnamed=tuple(self.misnamed))

    # -- somebody said so --------------------------------------------------------------------

    def annotated(self, c: Controller) -> None:
        for text in c.annotations.get(DEPENDS_ON, "").replace("\n", ",").split(","):
            if not (name := text.strip()):
                continue
            providers = self._named(name, c.namespace)
            if not providers:
                self.misnamed.append(
                    f"{c.key} says {DEPENDS_ON}: {name}, and there is no such workload or Service."
                )
            for provider in providers:
                self.edge(c.key, provider, "annotation", f"{DEPENDS_ON}: {name}")

    def _named(self, name: str, namespace: str) -> list[str]:
        """[namespace/][Kind/]name; a kind may be Service."""
        parts = name.split("/")
        kinds = {k.kind.lower(): k.kind for k in self.facts.controllers}
        own, kind = parts[-1], ""
        if len(parts) == 3:
            namespace, kind = parts[0], parts[1]
        elif len(parts) == 2 and parts[0].lower() in (*kinds, "service"):
            kind = parts[0]
        elif len(parts) == 2:
            namespace = parts[0]
        if kind.lower() == "service":
            return list(self._through(f"{namespace}/{own}"))
        return [
            c.key
            for c in self.in_namespace.get(namespace, ())
            if c.name == own and (not kind or c.kind.lower() == kind.lower())
        ]

    def waves(self) -> None:
        """Only to the next lower wave: the others follow from it."""
        apps: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for c in self.facts.controllers:
            wave = c.annotations.get(SYNC_WAVE, "")
            app = c.annotations.get(TRACKING, "").partition(":")[0] or c.labels.get(
                "app.kubernetes.io/instance", ""
            )
            if app and (wave or TRACKING in c.annotations) and _number(wave or "0"):
                apps[app][int(wave or "0")].append(c.key)
        for app, by_wave in apps.items():
            order = sorted(by_wave)
            for before, after in itertools.pairwise(order):
                for consumer in by_wave[after]:
                    for provider in by_wave[before]:
                        text = f"Argo CD application {app}, sync waves {before} and {after}"
                        self.edge(consumer, provider, "sync wave", text)

    def flux(self) -> None:
        labels = {
            "Kustomization": "kustomize.toolkit.fluxcd.io",
            "HelmRelease": "helm.toolkit.fluxcd.io",
        }
        made: dict[tuple[str, str], list[str]] = defaultdict(list)
        for c in self.facts.controllers:
            for kind, prefix in labels.items():
                if name := c.labels.get(f"{prefix}/name"):
                    namespace = c.labels.get(f"{prefix}/namespace", c.namespace)
                    made[kind, f"{namespace}/{name}"].append(c.key)
        for unit in self.facts.flux:
            for other in unit.depends_on:
                for consumer in made[unit.kind, f"{unit.namespace}/{unit.name}"]:
                    for provider in made[unit.kind, other]:
                        text = f"Flux {unit.kind} {unit.namespace}/{unit.name} dependsOn {other}"
                        self.edge(consumer, provider, "sync wave", text)

    # -- what templates name -----------------------------------------------------------------

    def templated(self, c: Controller) -> None:
        for text in c.texts:
            key = text.where.split(" ")[1] if text.where.startswith("env ") else ""
            for m in self.services.named(text.value, c.namespace, key, loose=text.waits):
                source = "init" if text.waits and m.how != "word" else m.how
                self.to_service(c.key, m.service, source, f"{text.where}: {m.text}")

    def configured(self, mentions: Iterable[tuple[str, Mention]]) -> Iterator[tuple[str, Mention]]:
        return ((key, m) for key, m in mentions if m.how != "word")

    # -- what the network knows --------------------------------------------------------------

    def policies(self) -> None:
        for p in self.facts.policies:
            subjects = self._matching(p.namespace, Peer(pods=p.subject))
            if p.subject.empty or not subjects:
                continue
            text = f"NetworkPolicy {p.namespace}/{p.name}"
            for peer in p.egress:
                for provider in self._matching(p.namespace, peer):
                    for consumer in subjects:
                        self.edge(consumer, provider, "policy", f"{text} (egress)")
            for peer in p.ingress:
                for consumer in self._matching(p.namespace, peer):
                    for provider in subjects:
                        self.edge(consumer, provider, "policy", f"{text} (ingress)")

    def _matching(self, namespace: str, peer: Peer) -> list[str]:
        if peer.namespaces is None:
            names: Sequence[str] = [namespace]
        else:
            chosen = peer.namespaces
            names = [n for n, labels in self.facts.namespaces.items() if chosen.matches(labels)]
        return [
            c.key
            for n in names
            for c in self.in_namespace.get(n, ())
            if peer.pods.matches(c.pod_labels)
        ]

    def connections(self) -> None:
        owners: Mapping[str, str] = {
            ip: pod.owner for pod in self.facts.pods if not pod.finished for ip in pod.ips
        }
        counted: dict[tuple[str, str, int], int] = defaultdict(int)
        for seen in self.facts.connections:
            consumer = owners.get(seen.source)
            if consumer is None:
                continue
            provider = owners.get(seen.target)
            if provider is not None:
                counted[consumer, provider, seen.port] += 1
            elif service := self.services.at(seen.target):
                for behind in self._through(service.key):
                    counted[consumer, behind, seen.port] += 1
        for (consumer, provider, port), times in counted.items():
            text = f"seen on its nodes: {times} to port {port}"
            self.edge(consumer, provider, "connection", text)

    def labels(self) -> None:
        """Only where nothing better is known of the two, in either direction."""
        groups: dict[tuple[str, str], list[Controller]] = defaultdict(list)
        for c in self.facts.controllers:
            if part := c.labels.get(PART_OF):
                groups[c.namespace, part].append(c)
        for (_, part), members in groups.items():
            stores = [c for c in members if _store(c)]
            for c in members:
                for store in stores:
                    known = (c.key, store.key) in self.found or (store.key, c.key) in self.found
                    if not known and not _store(c):
                        text = f"{PART_OF} {part}, {store.name} is a store"
                        self.edge(c.key, store.key, "label", text)


def build(facts: Workloads) -> Graph:
    builder = _Builder(facts)
    configs = {f"{c.namespace}/{c.name}": c for c in facts.configs}
    for c in facts.controllers:
        for name in c.configs:
            config = configs.get(f"{c.namespace}/{name}")
            for key, m in builder.configured(config.mentions) if config else ():
                builder.to_service(c.key, m.service, "config", f"ConfigMap {name}, {key}: {m.text}")
    return builder.build()


def _store(c: Controller) -> bool:
    names = (c.labels.get("app.kubernetes.io/component"), c.labels.get("app.kubernetes.io/name"))
    return any(n in STORES for n in names)


def _number(text: str) -> bool:
    return text.lstrip("-").isdigit()
