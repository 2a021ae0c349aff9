"""`pawl scan`, the pure part: grades of evidence, and what must be nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pawl.core.findings import Severity
from pawl.core.knowledge.store import shipped
from pawl.core.lint.finding import LintFinding
from pawl.core.lint.judge import Judge
from pawl.core.scan.collect import SHOWN, Collector
from pawl.core.scan.facts import (
    ApiServiceFact,
    Applied,
    Audited,
    Backend,
    Call,
    Counted,
    Definition,
    DefinitionVersion,
    Hook,
    HookRule,
    Judged,
    Missed,
    Release,
    Requested,
    Running,
    ScanFact,
    Seen,
    Served,
    Stored,
    Write,
)
from pawl.core.scan.objects import LAST_APPLIED, seconds
from pawl.core.scan.rules import CODES, OWN_RULES, RULES, plan_findings

NOW = seconds("2026-11-24T00:00:00Z")
OLD, GONE, LIVE = "2024-01-01T00:00:00Z", "batch/v1beta1", "batch/v1"
SERVED = (
    Served(api_version=GONE, kind="CronJob", resource="cronjobs"),
    Served(api_version=LIVE, kind="CronJob", resource="cronjobs"),
)
"""A 1.24 cluster, as far as these tests go."""
B, W, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO


def collected(*facts: ScanFact, target: str = "1.25") -> Collector:
    made = Collector(Judge(shipped(), target), now=NOW)
    made.add(facts)
    return made


def found(*facts: ScanFact, target: str = "1.25") -> list[tuple[str, Severity, str]]:
    return [(f.rule, f.severity, f.grade) for f in collected(*facts, target=target).findings()]


def one(*facts: ScanFact, target: str = "1.25") -> LintFinding:
    (finding,) = collected(*facts, target=target).findings()
    return finding


def cronjob(*writes: Write, applied: str = "", **more: object) -> Seen:
    said = ()
    if applied:
        text = {"apiVersion": applied, "kind": "CronJob", "metadata": {"name": "nightly"}}
        said = (Applied(annotation=LAST_APPLIED, text=json.dumps(text)),)
    fields = {"api_version": LIVE, "kind": "CronJob", "namespace": "a", "name": "nightly", **more}
    return Seen(applied=said, writes=writes, **fields)  # type: ignore[arg-type]


def wrote(manager: str, api: str, time: str = OLD, **more: object) -> Write:
    fields = {"operation": "Update", **more}
    return Write(manager=manager, api_version=api, time=time, **fields)  # type: ignore[arg-type]


KUBECTL = "kubectl-client-side-apply"


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(cronjob(wrote("ci", LIVE)), [], id="a live version"),
        pytest.param(cronjob(wrote("ci", GONE)), [(B, "likely")], id="managedFields alone"),
        pytest.param(
            cronjob(wrote("argocd", GONE, operation="Apply")), [(B, "likely")], id="server-side"
        ),
        pytest.param(cronjob(applied=GONE), [(W, "stale")], id="last-applied alone"),
        pytest.param(
            cronjob(wrote(KUBECTL, GONE, applied=True), applied=GONE),
            [(B, "likely")],
            id="both, one finding",
        ),
        pytest.param(
            cronjob(wrote(KUBECTL, LIVE, "2025-01-01T00:00:00Z", applied=True), applied=GONE),
            [],
            id="its writer moved on",
        ),
        pytest.param(
            cronjob(
                wrote(KUBECTL, GONE, applied=True),
                wrote(KUBECTL, LIVE, "2025-01-01T00:00:00Z"),
                applied=GONE,
            ),
            [],
            id="a newer entry by the same manager clears",
        ),
        pytest.param(
            cronjob(wrote("ci", GONE), wrote("ci", LIVE, "2023-01-01T00:00:00Z")),
            [(B, "likely")],
            id="an older entry does not",
        ),
        pytest.param(
            cronjob(wrote("ci", GONE), wrote("argo", LIVE, "2025-01-01T00:00:00Z")),
            [(B, "likely")],
            id="nor does another manager's",
        ),
        pytest.param(
            cronjob(wrote("argo", LIVE, "2025-01-01T00:00:00Z"), applied=GONE),
            [(W, "stale")],
            id="nor for last-applied",
        ),
        pytest.param(
            cronjob(wrote("velero", LIVE, applied=True), applied=GONE),
            [(W, "stale")],
            id="a restore copied it",
        ),
        pytest.param(
            cronjob(wrote("kube-controller-manager", GONE, subresource="status")),
            [],
            id="Kubernetes itself",
        ),
    ],
)
def test_the_grade_of_an_object(seen: Seen, expected: list[tuple[Severity, str]]) -> None:
    assert [(s, g) for _, s, g in found(*SERVED, seen)] == expected


def test_a_finding_says_who_when_where_and_what_to_do() -> None:
    finding = one(*SERVED, cronjob(wrote("ci", GONE), owner="team-a", source="Helm release a/x"))
    assert finding.path == "live/a/CronJob/nightly"
    assert (finding.rule, finding.minor, finding.replacement) == ("api-removed", "1.25", LIVE)
    assert finding.owner == "team-a"
    assert finding.evidence == (
        f"ci wrote it at {GONE} on 2024-01-01 (managedFields)",
        "kept in Helm release a/x",
    )
    (planned,) = plan_findings([finding])
    assert (planned.code, planned.severity) == ("PAWL-S001", B)
    assert "only the apiVersion" in planned.remedy


def test_an_api_that_the_cluster_lacks_already_cannot_be_in_use() -> None:
    served = SERVED[1:]
    assert found(*served, cronjob(wrote("ci", GONE)), target="1.37") == [
        ("api-removed", W, "stale")
    ]


def test_a_copied_annotation_is_not_the_objects_own() -> None:
    """A ControllerRevision carries the annotations of its DaemonSet."""
    text = '{"apiVersion":"extensions/v1beta1","kind":"DaemonSet","metadata":{"name":"agent"}}'
    revision = Seen(
        api_version="apps/v1",
        kind="ControllerRevision",
        namespace="a",
        name="agent-1",
        applied=(Applied(annotation=LAST_APPLIED, text=text),),
    )
    assert found(revision, target="1.37") == []
    own = Seen(
        api_version="apps/v1",
        kind="DaemonSet",
        namespace="a",
        name="agent",
        applied=(Applied(annotation=LAST_APPLIED, text=text),),
    )
    assert found(own, target="1.37") == [("api-removed", W, "stale")]


def test_fields_of_what_was_applied() -> None:
    text = (
        '{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},'
        '"spec":{"topologyKeys":["*"]}}'
    )
    service = Seen(
        api_version="v1",
        kind="Service",
        namespace="a",
        name="web",
        applied=(Applied(annotation=LAST_APPLIED, text=text),),
    )
    assert found(service, target="1.22") == [("field-removed", INFO, "stale")]
    assert found(service, target="1.21") == []


def test_thousands_of_one_kind_are_counted_not_listed() -> None:
    many = [cronjob(wrote("operator", GONE), name=f"job-{n}") for n in range(SHOWN + 50)]
    findings = collected(*SERVED, *many).findings()
    assert len(findings) == SHOWN + 1
    assert any("50 more objects" in f.message for f in findings)


def test_what_was_not_read_makes_the_report_incomplete() -> None:
    missed = Missed(where="live/secrets", why="forbidden")
    report = collected(missed, Counted(what="objects", objects=3)).report()
    assert report.exit_code == 3
    assert collected(Counted(what="objects", objects=3)).report().exit_code == 0
    assert collected(*SERVED, cronjob(wrote("ci", GONE)), missed).report().exit_code == 2
    assert collected(*SERVED, cronjob(applied=GONE)).report().exit_code == 1


# -- requests --------------------------------------------------------------------------------------

RECENT = "2026-11-23T10:00:00Z"
VELERO = "velero-server/v1.9.0 (linux/amd64)"


def call(agent: str = VELERO, user: str = "system:serviceaccount:v:velero", **more: object) -> Call:
    fields = {"host": "cp-1", "api_version": GONE, "resource": "cronjobs", "verbs": ("list",),
              "first": RECENT, "last": RECENT, **more}  # fmt: skip
    return Call(user=user, agent=agent, **fields)  # type: ignore[arg-type]


def metric(host: str = "cp-1", **more: object) -> Requested:
    fields = {"api_version": GONE, "resource": "cronjobs", "removed": "1.25", **more}
    return Requested(host=host, **fields)  # type: ignore[arg-type]


GC = call(
    "kube-controller-manager/v1.24.0 (linux/amd64) kubernetes/x/system:serviceaccount:kube-system:"
    "generic-garbage-collector",
    "system:serviceaccount:kube-system:generic-garbage-collector",
)

PREFERRED = Served(api_version=GONE, kind="CronJob", resource="cronjobs", preferred=True)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param([call()], [(B, "proven")], id="a record"),
        pytest.param([metric()], [(B, "likely")], id="a metric"),
        pytest.param([call(), metric(), metric("cp-2")], [(B, "proven")], id="joined"),
        pytest.param([GC, metric()], [], id="the garbage collector"),
        pytest.param([GC, metric("cp-2")], [(B, "likely")], id="of another server"),
        pytest.param([PREFERRED, metric()], [(W, "stale")], id="what the collector lists itself"),
        pytest.param([call("pawl/0.1.0", "admin")], [], id="pawl itself"),
        pytest.param(
            [call("kubelet/v1.24", "mallory")], [(B, "proven")], id="an agent is anybody's word"
        ),
        pytest.param([call(last=OLD)], [(W, "stale")], id="long ago"),
        pytest.param(
            [metric(), Audited(host="cp-1", file="a", first=RECENT, last=RECENT)],
            [(B, "likely")],
            id="a young log",
        ),
        pytest.param(
            [metric(), Audited(host="cp-1", file="a", first=OLD, last=RECENT)],
            [(W, "stale")],
            id="a log that would know",
        ),
        pytest.param(
            [metric(api_version="v1", resource="endpoints", removed="")], [], id="no removal"
        ),
    ],
)
def test_the_grade_of_a_request(
    facts: list[ScanFact], expected: list[tuple[Severity, str]]
) -> None:
    assert [(s, g) for _, s, g in found(*SERVED, *facts)] == expected


def test_a_client_is_named_with_its_host_address_and_verbs() -> None:
    finding = one(
        *SERVED,
        call(addresses=("198.18.0.9",), namespaces=("a",), count=4),
        call(host="cp-2", verbs=("watch",)),
        metric(),
    )
    assert finding.path == "clients/system:serviceaccount:v:velero"
    assert VELERO in finding.message
    text = " ".join(finding.evidence)
    assert "5 requests (list, watch)" in text
    assert "cp-1, cp-2" in text
    assert "198.18.0.9" in text
    assert "counted by the API server on cp-1 too" in text


def test_what_the_tables_lack_is_taken_from_the_record() -> None:
    odd = call(api_version="example.com/v1alpha1", resource="widgets", removed="1.24")
    assert found(odd) == [("api-removed", B, "proven")]
    odd = call(api_version="example.com/v1alpha1", resource="widgets", removed="1.26")
    assert found(odd) == []


# -- Helm and extensions ---------------------------------------------------------------------------

LINTED = LintFinding(
    rule="api-removed",
    severity=B,
    path="x",
    line=7,
    api_version=GONE,
    kind="CronJob",
    name="nightly",
    message="batch/v1beta1 CronJob is removed in 1.25",
    fixable=True,
)


def release(**more: object) -> Release:
    fields = {"namespace": "a", "name": "web", "revision": 3, "status": "failed", **more}
    return Release(storage="Secret", **fields)  # type: ignore[arg-type]


def test_a_release_is_proven_and_its_hooks_are_not_built_by_an_upgrade() -> None:
    finding = one(*SERVED, release(findings=(LINTED,)))
    assert (finding.path, finding.line, finding.namespace) == ("helm/a/web", 7, "a")
    assert (finding.severity, finding.grade, finding.fixable) == (B, "proven", False)
    assert "next helm upgrade of the release fails" in finding.message
    assert finding.evidence == ("revision 3 (failed), kept in a Secret",)
    assert "fails already" in one(SERVED[1], release(findings=(LINTED,))).message
    assert found(*SERVED, release(hooks=(LINTED,))) == [("api-removed", W, "proven")]


def test_what_was_gone_before_is_not_this_upgrades() -> None:
    volume = LintFinding(
        rule="volume-removed", severity=B, path="live/PersistentVolume/x", line=3, api_version="v1",
        kind="PersistentVolume", name="x", message="gone", minor="1.25",
    )  # fmt: skip
    fact = Judged(findings=(volume,))
    assert found(Running(minor="1.24"), fact) == [("volume-removed", B, "proven")]
    assert found(Running(minor="1.25"), fact) == [("volume-removed", W, "stale")]


def crd(*versions: DefinitionVersion, **more: object) -> Definition:
    return Definition(name="widgets.example.com", kind="Widget", versions=versions, **more)  # type: ignore[arg-type]


V1 = DefinitionVersion(name="v1", storage=True)
DEAD = Backend(service="a/conv")
ALIVE = Backend(service="a/conv", ready=1, nodes=("n1",))
RULE = HookRule(groups=("batch",), versions=("v1beta1",), resources=("cronjobs",))
HOOK = {"kind": "ValidatingWebhookConfiguration", "configuration": "guard", "name": "g.example.com"}


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        (crd(V1, stored=("v1",)), []),
        (crd(V1, stored=("v1", "v1beta1")), [("crd-stored-version", W)]),
        (
            crd(V1, DefinitionVersion(name="v1beta1", served=False), stored=("v1beta1", "v1")),
            [("crd-stored-version", W)],
        ),
        (
            crd(V1, DefinitionVersion(name="v1beta1"), stored=("v1beta1", "v1")),
            [("crd-stored-version", INFO)],
        ),
        (crd(V1, webhook="a/conv", backend=DEAD), [("crd-conversion-dead", B)]),
        (crd(V1, webhook="a/conv", backend=ALIVE), []),
        (crd(V1, ca_expires=NOW + 86400), [("certificate-expiring", W)]),
        (crd(V1, ca_expires=NOW - 86400), [("certificate-expiring", B)]),
        (crd(V1, ca_expires=NOW + 90 * 86400), []),
        (ApiServiceFact(name="v1.x", service="a/b", available=True), []),
        (ApiServiceFact(name="v1.x", service="a/b", available=False), [("apiservice-dead", B)]),
        (Hook(**HOOK, fails_closed=True, rules=(RULE,)), [("webhook-rule-gone", W)]),  # type: ignore[arg-type]
        (
            Hook(
                **HOOK,  # type: ignore[arg-type]
                fails_closed=True,
                rules=(RULE, HookRule(groups=("batch",), versions=("v1",), resources=("jobs",))),
            ),
            [],
        ),
        (
            Hook(
                **HOOK,  # type: ignore[arg-type]
                fails_closed=True,
                rules=(HookRule(groups=("*",), versions=("*",), resources=("*",)),),
            ),
            [],
        ),
        (Stored(group="policy", resource="podsecuritypolicies", count=2), [("kind-dropped", B)]),
        (Stored(group="policy", resource="podsecuritypolicies", count=0), []),
        (Stored(group="policy", resource="poddisruptionbudgets", count=2), []),
        (Stored(group="example.com", resource="widgets", count=2), []),
    ],
)
def test_extensions(fact: ScanFact, expected: list[tuple[str, Severity]]) -> None:
    psp = Served(
        api_version="policy/v1beta1", kind="PodSecurityPolicy", resource="podsecuritypolicies"
    )
    assert [(r, s) for r, s, _ in found(*SERVED, psp, fact)] == expected


@pytest.mark.parametrize(
    ("finalizers", "kind", "age", "expected"),
    [
        (("x/y",), "Namespace", 3600, W),
        ((), "Pod", 3600, B),
        (("x/y",), "VolumeAttachment", 3600, B),
        (("x/y",), "Namespace", 60, None),
    ],
)
def test_a_deletion_that_does_not_end(
    finalizers: tuple[str, ...], kind: str, age: int, expected: Severity | None
) -> None:
    from datetime import UTC, datetime

    when = datetime.fromtimestamp(NOW - age, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    seen = Seen(
        api_version="v1", kind=kind, namespace="", name="x", deleting=when, finalizers=finalizers
    )
    rules = found(seen)
    assert rules == ([] if expected is None else [("finalizer-stuck", expected, "proven")])


def test_every_rule_has_a_code() -> None:
    assert CODES.keys() == RULES.keys()
    assert OWN_RULES.keys() <= CODES.keys()
    assert len(set(CODES.values())) == len(CODES)


def test_every_rule_and_code_is_documented() -> None:
    docs = Path(__file__).parents[2] / "docs"
    page, findings_page = (docs / "scan.md").read_text(), (docs / "findings.md").read_text()
    assert [r for r in OWN_RULES if f"`{r}`" not in page] == []
    assert [c for c in CODES.values() if f"### {c}:" not in findings_page] == []


# -- whatever the metadata says --------------------------------------------------------------------

MANAGERS = st.sampled_from(["ci", "argo", KUBECTL, "kube-controller-manager"])
TIMES = st.sampled_from(["2023-01-01T00:00:00Z", OLD, "2025-01-01T00:00:00Z", ""])
WRITES = st.lists(
    st.builds(wrote, MANAGERS, st.sampled_from([GONE, LIVE]), TIMES, applied=st.booleans()),
    max_size=5,
)


@given(WRITES, st.sampled_from(["", GONE, LIVE]))
def test_what_a_grade_means_holds_for_any_object(writes: list[Write], applied: str) -> None:
    seen = cronjob(*writes, applied=applied)
    findings = collected(*SERVED, seen).findings()
    others = [w for w in writes if w.manager != "kube-controller-manager"]
    assert len(findings) <= 1
    for f in findings:
        assert (f.severity is B) == (f.grade != "stale")
        assert f.evidence
    likely = [
        w
        for w in others
        if w.api_version == GONE
        and not any(
            o.manager == w.manager and o.api_version == LIVE and o.time > w.time for o in writes
        )
    ]
    assert any(f.grade == "likely" for f in findings) == bool(likely)
    if applied != GONE and not likely:
        assert findings == ()
    # the order in which the API lists the entries means nothing
    again = collected(*SERVED, cronjob(*reversed(writes), applied=applied)).findings()
    assert [f.grade for f in again] == [f.grade for f in findings]
    # every manager moving on clears everything
    moved = [wrote(w.manager, LIVE, "2026-01-01T00:00:00Z", applied=w.applied) for w in writes]
    after = collected(*SERVED, cronjob(*writes, *moved, applied=applied)).findings()
    assert all(f.grade == "stale" for f in after)
