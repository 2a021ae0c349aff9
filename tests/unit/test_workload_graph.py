"""Every kind of evidence makes its edge, and nothing else does."""

from __future__ import annotations

import msgspec
import pytest
import yaml

from pawl.core.workloads import graph
from pawl.core.workloads.classify import Tier, class_of, tier_of
from pawl.core.workloads.conntrack import parse
from pawl.core.workloads.facts import Budget, Connection, Controller, Pod, Selector, Workloads
from pawl.core.workloads.gather import PARTS, Gatherer
from pawl.core.workloads.graph import Graph
from pawl.core.workloads.quantity import parse as quantity
from pawl.core.workloads.tiers import components

BASE = """
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: data}}
---
{apiVersion: v1, kind: Service, metadata: {name: redis, namespace: shop},
 spec: {selector: {app: redis}, ports: [{port: 6379}], clusterIPs: [198.18.9.9]}}
---
{apiVersion: v1, kind: Service, metadata: {name: pg, namespace: data},
 spec: {selector: {app: pg}, ports: [{port: 5432}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: legacy, namespace: shop},
 spec: {type: ExternalName, externalName: pg.data.svc.cluster.local}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: redis, namespace: shop},
 spec: {template: {metadata: {labels: {app: redis}}}}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: pg, namespace: data},
 spec: {template: {metadata: {labels: {app: pg}}}}}
---
"""


def facts(text: str, *connections: Connection) -> Workloads:
    gatherer = Gatherer()
    found: dict[str, list[object]] = {k: [] for k in PARTS}
    for item in yaml.safe_load_all(BASE + text):
        if item:
            found[item["kind"]].append(msgspec.convert(item, PARTS[item["kind"]]))
    for kind in PARTS:
        gatherer.add(kind, found[kind])
    gatherer.connections("n1", connections)
    return gatherer.facts()


def app(container: str = "", spec: str = "", meta: str = "", extra: str = "") -> str:
    return f"""
{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: app, namespace: shop{meta}}},
 spec: {{{extra} template: {{metadata: {{labels: {{app: app}}}},
   spec: {{{spec} containers: [{{name: c, image: x{container}}}]}}}}}}}}
"""


def env(name: str, value: str) -> str:
    return f", env: [{{name: {name}, value: '{value}'}}]"


def edges(made: Graph) -> dict[tuple[str, str], tuple[str, ...]]:
    def short(key: str) -> str:
        return key.rpartition("/")[2]

    return {
        (short(e.consumer), short(e.provider)): tuple(v.source for v in e.evidence)
        for e in made.edges
    }


DEPENDS = ", annotations: {pawl.dev/depends-on: %s}"
CONFIG = """
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: conf, namespace: shop}, data: {a: "%s"}}
"""


@pytest.mark.parametrize(
    ("text", "provider", "source"),
    [
        (app(meta=DEPENDS % "StatefulSet/redis"), "redis", "annotation"),
        (app(meta=DEPENDS % "data/pg"), "pg", "annotation"),
        (app(meta=DEPENDS % "service/legacy"), "pg", "annotation"),
        (app(env("REDIS", "redis:6379")), "redis", "address"),
        (app(env("REDIS", "redis:7000")), "redis", "host"),
        (app(env("X", "redis://redis/0")), "redis", "address"),
        (app(env("X", "redis://u:p@redis/0")), "redis", "address"),
        (app(env("X", "$(REDIS_SERVICE_HOST):6379")), "redis", "address"),
        (app(env("X", "198.18.9.9:6379")), "redis", "address"),
        (app(env("REDIS_HOST", "redis")), "redis", "host"),
        (app(env("CACHE_DRIVER", "redis")), "redis", "word"),
        (app(env("X", "postgres://pg.data.svc:5432/x")), "pg", "address"),
        (app(env("X", "pg-0.pg.data.svc.cluster.local")), "pg", "address"),
        (app(env("X", "legacy:5432")), "pg", "host"),
        (app(", args: ['--store=pg.data:5432']"), "pg", "address"),
        (
            app(spec="initContainers: [{name: w, command: [sh, -c, 'until nc -z redis 6379; do "
            "sleep 1; done']}],"),
            "redis",
            "init",
        ),
        (app(", envFrom: [{configMapRef: {name: conf}}]") + CONFIG % "x=redis:6379", "redis",
         "config"),
        (app(spec="volumes: [{name: v, configMap: {name: conf}}],") + CONFIG % "pg.data", "pg",
         "config"),
    ],
)  # fmt: skip
def test_a_template_names_its_provider(text: str, provider: str, source: str) -> None:
    assert edges(graph.build(facts(text))) == {("app", provider): (source,)}


@pytest.mark.parametrize(
    "text",
    [
        app(env("MODE", "a redis in the middle of words")),
        app(env("X", "pg:5432")),  # another namespace's Service, by its bare name
        app(env("X", "pg.dat:5432")),
        app(env("X", "/var/lib/redis")),
        app(", envFrom: [{configMapRef: {name: conf}}]") + CONFIG % "redis",
        app() + CONFIG % "redis:6379",  # nobody reads it
    ],
)
def test_what_names_nothing_makes_no_edge(text: str) -> None:
    assert edges(graph.build(facts(text))) == {}


def test_waves_of_one_application_and_flux_units() -> None:
    argo = (
        ", annotations: {argocd.argoproj.io/tracking-id: 'a:x', argocd.argoproj.io/sync-wave: '%s'}"
    )
    text = "---".join(
        app(meta=argo % wave).replace("name: app, n", f"name: w{wave}, n") for wave in "012"
    )
    assert edges(graph.build(facts(text))) == {
        ("w1", "w0"): ("sync wave",),
        ("w2", "w1"): ("sync wave",),
    }
    flux = (
        ", labels: {kustomize.toolkit.fluxcd.io/name: %s, kustomize.toolkit.fluxcd.io/namespace: f}"
    )
    text = (
        app(meta=flux % "front").replace("name: app, n", "name: front, n")
        + "---"
        + app(meta=flux % "base").replace("name: app, n", "name: base, n")
        + """
---
{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization,
 metadata: {name: front, namespace: f}, spec: {dependsOn: [{name: base}]}}
"""
    )
    assert edges(graph.build(facts(text))) == {("front", "base"): ("sync wave",)}


POLICY = """
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: shop},
 spec: {podSelector: {matchLabels: {app: %s}}, %s}}
"""


@pytest.mark.parametrize(
    ("subject", "rule", "found"),
    [
        ("app", "egress: [{to: [{podSelector: {matchLabels: {app: redis}}}]}]", "redis"),
        ("redis", "ingress: [{from: [{podSelector: {matchLabels: {app: app}}}]}]", "redis"),
        (
            "app",
            "egress: [{to: [{podSelector: {matchLabels: {app: pg}}, namespaceSelector: "
            "{matchLabels: {kubernetes.io/metadata.name: data}}}]}]",
            "pg",
        ),
        ("app", "egress: [{to: [{podSelector: {}}]}]", None),
        ("app", "egress: [{to: [{podSelector: {matchLabels: {app: pg}}}]}]", None),
    ],
)
def test_a_policy_tells_who_reaches_whom(subject: str, rule: str, found: str | None) -> None:
    made = edges(graph.build(facts(app() + POLICY % (subject, rule))))
    assert made == ({("app", found): ("policy",)} if found else {})


POD = """
---
{apiVersion: v1, kind: Pod, metadata: {name: %(n)s-0, namespace: shop,
  ownerReferences: [{kind: StatefulSet, name: %(n)s, controller: true}]},
 status: {phase: Running, podIPs: [{ip: %(ip)s}]}}
"""


def test_connections_seen_on_nodes() -> None:
    lines = """
tcp      6 431999 ESTABLISHED src=198.18.1.7 dst=198.18.9.9 sport=40000 dport=6379 \
src=198.18.1.5 dst=198.18.1.7 sport=6379 dport=40000 [ASSURED] mark=0 use=1
ipv4     2 tcp      6 86399 ESTABLISHED src=198.18.1.7 dst=198.18.1.5 sport=1 dport=6379 \
src=198.18.1.5 dst=198.18.1.7 sport=6379 dport=1 [ASSURED] mark=0 zone=0 use=2
tcp      6 100 SYN_SENT src=198.18.1.5 dst=198.18.1.7 sport=1 dport=80 [UNREPLIED] \
src=198.18.1.7 dst=198.18.1.5 sport=80 dport=1 mark=0 use=1
udp      17 20 src=198.18.1.7 dst=198.18.9.10 sport=5 dport=53 src=198.18.1.2 dst=198.18.1.7 \
sport=53 dport=5 mark=0 use=1
nonsense
"""
    seen = parse(lines, "n1")
    assert seen == {
        Connection(source="198.18.1.7", target="198.18.1.5", port=6379, node="n1"),
        Connection(source="198.18.1.7", target="198.18.1.2", port=53, node="n1"),
    }
    text = POD % {"n": "redis", "ip": "198.18.1.5"} + POD % {"n": "client", "ip": "198.18.1.7"}
    made = edges(graph.build(facts(text, *seen)))
    assert made == {("client", "redis"): ("connection",)}
    by_service = Connection(source="198.18.1.7", target="198.18.9.9", port=6379)
    assert edges(graph.build(facts(text, by_service))) == made


def test_a_store_of_the_same_application_is_a_hint_where_nothing_is_known() -> None:
    labels = ", labels: {app.kubernetes.io/part-of: s, app.kubernetes.io/component: %s}"
    text = (
        app(meta=labels % "web")
        + "---"
        + app(meta=labels % "redis").replace("name: app, n", "name: store, n")
    )
    assert edges(graph.build(facts(text))) == {("app", "store"): ("label",)}
    known = text.replace("image: x", "image: x, env: [{name: REDIS_HOST, value: redis}]", 1)
    assert edges(graph.build(facts(known)))["app", "redis"] == ("host",)


def test_evidence_adds_up_strongest_first() -> None:
    made = graph.build(
        facts(app(env("REDIS_HOST", "redis"), meta=", annotations: {pawl.dev/depends-on: redis}"))
    )
    (edge,) = made.edges
    assert edge.strength == 100
    assert [e.source for e in edge.evidence] == ["annotation", "host"]


@pytest.mark.parametrize(
    ("image", "tier"),
    [
        ("registry.k8s.io/coredns/coredns:v1.12", Tier.NETWORK),
        ("quay.io/cilium/cilium:v1", Tier.NETWORK),
        ("registry.k8s.io/ingress-nginx/controller:v1", Tier.ADMISSION),
        ("quay.io/jetstack/cert-manager-controller:v1", Tier.SECRETS),
        ("quay.io/prometheus/prometheus:v3", Tier.MONITORING),
        ("registry.example/shop/web:1", Tier.APPLICATIONS),
    ],
)
def test_infrastructure_is_told_by_its_image(image: str, tier: Tier) -> None:
    c = Controller(kind="Deployment", namespace="x", name="x")
    c = msgspec.structs.replace(c, shape=msgspec.structs.replace(c.shape, images=(image,)))
    assert tier_of(c, (), ()) is tier


@pytest.mark.parametrize(
    ("kind", "owner", "found"),
    [
        ("Deployment", "", "Deployment"),
        ("StatefulSet", "Prometheus/k8s", "operator"),
        ("Cluster", "", "operator"),
        ("Job", "CronJob/nightly", "Job"),
        ("Pod", "", "bare"),
        ("Static", "", "static"),
        ("Rollout", "", "Rollout"),
    ],
)
def test_classes(kind: str, owner: str, found: str) -> None:
    assert class_of(Controller(kind=kind, namespace="n", name="x", owner=owner)) == found


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("250m", 1e-3, 250), ("1.5", 1e-3, 1500), ("2Gi", 1, 2 << 30), ("1e3", 1, 1000), (3, 1, 3),
     ("100n", 1e-3, 1), ("128974848", 1, 128974848), ("1E", 1, 10**18), ("0.1", 1e-3, 100)],
)  # fmt: skip
def test_quantities(text: str | int, unit: float, value: int) -> None:
    assert quantity(text, unit) == value


def test_cycles_are_found_in_any_order() -> None:
    found = components("abcd", {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]})
    assert found == [("a", "b", "c"), ("d",)]


def test_what_a_budget_can_reach() -> None:
    from pawl.core.workloads.budgets import reach

    c = Controller(kind="Deployment", namespace="n", name="d", replicas=7)
    own = [Pod(namespace="n", name=f"p{i}", owner=c.key, ready=i > 1) for i in range(7)]
    all_of = Selector()

    def best(**rule: str) -> tuple[int, int]:
        r = reach(Budget(namespace="n", name="b", selector=all_of, **rule), own, {c.key: c})
        return r.best, r.now

    assert best(min_available="5") == (2, 0)
    assert best(min_available="50%") == (3, 1)  # 4 of 7, rounded up
    assert best(max_unavailable="2") == (2, 0)
    assert best(max_unavailable="10%") == (1, 0)
    assert best(max_unavailable="100%") == (7, 5)
    assert best(min_available="7") == (0, 0)
    assert best() == (0, 0)
