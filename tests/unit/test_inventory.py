"""The inventory as a whole: add-on tables, hops, findings, and the forms it is written in."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import msgspec
import pytest

from pawl.core.errors import ConfigError
from pawl.core.findings import Severity
from pawl.core.inventory import compat, images, inventory, judge, render
from pawl.core.inventory.facts import (
    Binary,
    Binding,
    Call,
    Container,
    CorefileText,
    Crd,
    InventoryFacts,
    Release,
    Requested,
    Role,
    Rule,
    Subject,
    WorkloadFact,
)
from pawl.core.inventory.report import Client, Inventory
from pawl.core.knowledge.store import shipped
from pawl.core.model import Unread
from pawl.core.ownership import Ownership, decode
from pawl.core.version import Minor

ROOT = Path(__file__).parents[2]

# -- the table -------------------------------------------------------------------------------


def test_every_row_has_a_source_a_day_and_a_range_that_makes_sense() -> None:
    addons = compat.shipped()
    assert len({a.name for a in addons}) == len(addons)
    for addon in addons:
        assert addon.images, addon.name
        assert not addon.rule or (addon.source and addon.as_of), addon.name
        for row in addon.rows:
            assert row.source, (addon.name, row.line)
            assert re.fullmatch(r"20\d\d-\d\d-\d\d", row.as_of), (addon.name, row.line)
            assert row.parts
            if row.newest:
                assert Minor.parse(row.oldest) <= Minor.parse(row.newest), (addon.name, row.line)


def test_no_image_belongs_to_two_addons() -> None:
    ends = [(end, a.name) for a in compat.shipped() for end in a.images]
    for end, name in ends:
        found = compat.find(compat.shipped(), [images.parse(f"registry.example/{end}:v1.0.0")])
        assert found is not None
        assert found.name == name, end


def addon(*rows: tuple[str, str, str], **more: object) -> compat.Addon:
    return compat.Addon(
        name="thing", what="a thing", images=("thing",), **more,  # type: ignore[arg-type]
        rows=tuple(
            compat.Row(line=a, oldest=b, newest=c, source="its README", as_of="2026-10-01")
            for a, b, c in rows
        ),
    )  # fmt: skip


def hops(what: compat.Addon, version: str, *path: str) -> list[tuple[str, str, str]]:
    return [(h.verdict, h.move_to, h.when) for h in compat.judge(what, version, path)]


TABLE = addon(("1.18", "1.29", "1.33"), ("1.19", "1.31", "1.35"), ("1.20", "1.32", "1.35"),
              ("1.21", "1.33", "1.36"))  # fmt: skip


def test_one_move_before_the_hop_that_lasts_longest_and_later_hops_see_it() -> None:
    assert hops(TABLE, "1.18.2", "1.33", "1.34", "1.35", "1.36") == [
        ("unsupported", "1.21", "before"),
        ("supported", "", ""),
        ("supported", "", ""),
    ]
    assert hops(TABLE, "1.18.2", "1.33", "1.34") == [("unsupported", "1.19", "before")]


def test_what_no_release_spans_moves_after_and_what_none_has_is_asked_of_the_vendor() -> None:
    gap = addon(("1", "1.30", "1.34"), ("2", "1.35", "1.37"))
    assert hops(gap, "1.9.0", "1.34", "1.35") == [("unsupported", "2", "after")]
    (last,) = compat.judge(TABLE, "1.21.0", ("1.36", "1.37"))
    assert (last.verdict, last.move_to) == ("unsupported", "")
    assert "ask the vendor" in last.why


def test_the_vendors_word_decides_between_unsupported_untested_and_broken() -> None:
    def verdict(**more: object) -> str:
        row = compat.Row(
            line="1", oldest="1.20", newest="1.30", source="s", as_of="2026-01-01", **more
        )  # type: ignore[arg-type]
        what = compat.Addon(name="t", what="t", images=("t",), rows=(row,))
        return compat.judge(what, "1.0.0", ("1.30", "1.31"))[0].verdict

    assert verdict() == "unsupported"
    assert verdict(basis="tested") == "untested"
    assert verdict(basis="client-go") == "untested"
    assert verdict(basis="required", breaks=True) == "breaks"


def test_unknown_stays_unknown() -> None:
    assert hops(addon(), "3.1.0", "1.36", "1.37") == [("unknown", "", "")]
    assert hops(TABLE, "", "1.33", "1.34") == [("unknown", "", "")]
    assert hops(TABLE, "0.9.0", "1.33", "1.34") == [("unknown", "1.19", "before")]


def test_rules_of_versions_that_follow_kubernetes_own() -> None:
    scaler = addon(rule="same-minor")
    assert hops(scaler, "1.35.1", "1.35", "1.36", "1.37") == [
        ("untested", "1.36", "after"),
        ("untested", "1.37", "after"),
    ]
    proxy = addon(rule="kube-proxy")
    assert hops(proxy, "1.34.0", "1.36", "1.37", "1.38") == [
        ("supported", "1.37", "after"),
        ("supported", "1.38", "after"),
    ]
    assert hops(proxy, "1.33.0", "1.36", "1.37") == [("unsupported", "1.36", "before")]
    assert hops(proxy, "1.37.0", "1.35", "1.36") == [("unsupported", "", "")]


def test_a_line_and_everything_after_it() -> None:
    what = addon(("0.10+", "1.19", ""), ("0.9", "1.8", "1.21"))
    assert hops(what, "0.20.0", "1.36", "1.37") == [("supported", "", "")]
    assert hops(what, "0.9.0", "1.21", "1.22") == [("unsupported", "0.10", "before")]


def test_own_rows_add_to_and_replace_the_shipped_ones() -> None:
    row = {
        "line": "1.21",
        "oldest": "1.33",
        "newest": "1.37",
        "source": "our test",
        "as_of": "2026-11-01",
    }
    own = [
        {"name": "cert-manager", "what": "x", "images": ["cert-manager-controller"], "rows": [row]}
    ]
    (merged,) = [a for a in compat.merged(own, "own.yaml") if a.name == "cert-manager"]
    assert hops(merged, "1.21.0", "1.36", "1.37") == [("supported", "", "")]
    assert any(r.line == "1.20" for r in merged.rows)
    with pytest.raises(ConfigError, match=r"own.yaml.*\n.*source"):
        compat.merged([{**own[0], "rows": [{"line": "1", "oldest": "1.3"}]}], "own.yaml")


# -- one cluster -----------------------------------------------------------------------------

READ = Rule(verbs=("get", "list"), groups=("",), resources=("pods",))
OLD_ROLE = Rule(verbs=("get",), groups=("extensions",), resources=("ingresses",))


def workload(namespace: str, name: str, image: str, **more: object) -> WorkloadFact:
    fields: dict[str, object] = {
        "kind": "Deployment",
        "service_account": name,
        "containers": (Container(name="c", image=image),),
        **more,
    }
    return WorkloadFact(namespace=namespace, name=name, **fields)  # type: ignore[arg-type]


def binding(namespace: str, name: str, role: str) -> Binding:
    subject = Subject(kind="ServiceAccount", namespace=namespace, name=name)
    return Binding(
        namespace="", name=f"{name}-b", role_kind="ClusterRole", role=role, subjects=(subject,)
    )


FACTS = InventoryFacts(
    server="1.35.3",
    workloads=(
        workload("web", "shop", "example/shop:2.0.0", service_account="default"),
        workload("web", "operator", "example/operator:1.4.0", owner="team-web", release="web/op"),
        workload("web", "helper", "example/helper:1.0.0"),
        workload("cert", "cert-manager", "quay.io/jetstack/cert-manager-controller:v1.19.2"),
        workload("ingress", "ingress-nginx", "registry.k8s.io/ingress-nginx/controller:v1.13.1"),
        workload("kube-system", "coredns", "registry.k8s.io/coredns/coredns:v1.4.0"),
    ),
    roles=(
        Role(namespace="", name="reader", rules=(READ,)),
        Role(namespace="", name="old", rules=(OLD_ROLE,)),
    ),
    bindings=(
        binding("web", "operator", "reader"),
        binding("web", "helper", "old"),
        binding("cert", "cert-manager", "reader"),
    ),
    namespace_owners={"cert": "team-platform"},
    releases=(
        Release(namespace="web", name="op", revision=3, status="deployed", chart="operator",
                version="0.4.0", app_version="1.4.0", kube_version=">=1.25.0-0 <1.37.0-0",
                crds=("widgets.example.com",)),
    ),
    crds=(
        Crd(name="widgets.example.com", group="example.com", kind="Widget"),
        Crd(name="issuers.cert-manager.io", group="cert-manager.io", kind="Issuer",
            managers=("cert-manager", "kubectl")),
        Crd(name="lost.example.org", group="example.org", kind="Lost", managers=("kubectl",)),
    ),
    calls=(
        Call(user="system:serviceaccount:web:operator", agent="operator/v1.4", count=12,
             last="2026-11-20T10:00:00Z",
             deprecated=(("flowcontrol.apiserver.k8s.io/v1beta3/flowschemas", "1.32"),)),
        Call(user="ci@example.com", agent="kubectl/v1.30", count=3),
    ),
    calls_read=True,
    requested=(
        Requested(server="cp-1", group="autoscaling", version="v2beta2",
                  resource="horizontalpodautoscalers", removed="1.26"),
    ),
    binaries=(
        Binary(workload="Deployment web/operator", path="/operator", go="go1.22.1",
               client_go="v0.29.1"),
    ),
    corefiles=(
        CorefileText(namespace="kube-system", name="coredns",
                     text=".:53 {\n proxy . 8.8.8.8\n}\n"),
    ),
)  # fmt: skip


def taken(to: str = "1.37", facts: InventoryFacts = FACTS, **more: object) -> Inventory:
    return inventory.take(facts, to=to, knowledge=shipped(), **more)  # type: ignore[arg-type]


def client(found: Inventory, name: str) -> Client:
    (one,) = [c for c in found.clients if c.name == name]
    return one


def codes(found: Inventory, subject: str) -> dict[str, Severity]:
    return {f.code: f.severity for f in found.findings if subject in f.subject}


def test_who_is_listed_and_why() -> None:
    found = taken()
    assert {c.name: c.seen for c in found.clients} == {
        "cert-manager": ("rbac",),
        "ingress-nginx": ("add-on",),
        "coredns": ("add-on",),
        "helper": ("rbac",),
        "operator": ("rbac", "audit"),
    }, "the default service account without a binding is no client"
    assert [c.user for c in found.outside] == ["ci@example.com"]


def test_owner_chart_library_and_crds_of_a_client() -> None:
    found = taken()
    operator = client(found, "operator")
    assert (operator.owner, operator.owner_by) == ("team-web", "its annotation or label")
    assert (operator.chart, operator.version) == ("operator 0.4.0", "1.4.0")
    assert (operator.client_go, operator.client_minor) == ("v0.29.1", "1.29")
    assert operator.crds == ("widgets.example.com",)
    assert operator.access == "get, list pods"
    assert client(found, "cert-manager").crds == ("issuers.cert-manager.io",)
    assert client(found, "cert-manager").owner == "team-platform"
    assert found.orphans == ("lost.example.org",)
    owned = taken(ownership=Ownership(rules=decode(
        {"rules": [{"owner": "ada", "namespace": "web"}, {"owner": "bob", "name": "h*"}]}, "o"
    ).rules))  # fmt: skip
    assert client(owned, "operator").owner == "team-web"
    assert client(owned, "helper").owner == "bob", "the last rule that matches"


def test_findings_say_what_breaks_and_what_to_do() -> None:
    found = taken()
    assert codes(found, "web/operator")["PAWL-A007"] is Severity.BLOCKER
    assert codes(found, "web/operator")["PAWL-A009"] is Severity.INFO
    assert codes(found, "Helm release web/op") == {"PAWL-A005": Severity.WARNING}
    assert codes(found, "cert-manager")["PAWL-A002"] is Severity.WARNING
    assert codes(found, "ingress-nginx")["PAWL-A004"] is Severity.WARNING
    assert codes(found, "ConfigMap kube-system/coredns") == {"PAWL-A006": Severity.WARNING}
    assert codes(found, "web/helper") == {"PAWL-A008": Severity.INFO}
    assert codes(found, "horizontalpodautoscalers") == {"PAWL-A010": Severity.WARNING}
    (chart,) = [f for f in found.findings if f.code == "PAWL-A005"]
    assert "leaves out 1.37" in chart.message
    assert found.exit_code == 2
    moves = [(h.minor, h.move_to, h.when) for h in client(found, "cert-manager").hops]
    assert moves == [("1.36", "1.21", "before"), ("1.37", "", "")]


def test_a_waived_finding_is_shown_and_weighs_one_notch_less() -> None:
    found = taken()
    waived = tuple(msgspec.structs.replace(f, waived="waived by ada") for f in found.findings)
    every = msgspec.structs.replace(found, findings=waived)
    assert (found.exit_code, every.exit_code) == (2, 1)
    assert "waived by ada" in render.markdown(every)


def test_of_a_plan_are_addons_and_charts_and_the_unknown_is_one_question_a_client() -> None:
    facts = msgspec.structs.replace(
        FACTS,
        server="1.34.0",
        workloads=(*FACTS.workloads, workload("x", "flannel", "flannel/flannel:v0.27.0")),
    )
    planned = inventory.plan_findings(taken(facts=facts))
    assert {f.code for f in planned} == {"PAWL-A002", "PAWL-A003", "PAWL-A004", "PAWL-A005",
                                         "PAWL-A006"}  # fmt: skip
    (unknown,) = [f for f in planned if "flannel" in f.subject]
    assert (unknown.minor, unknown.message.split(":")[0]) == ("1.35", "hop 1.34 to 1.37")


def test_questions_go_to_whoever_can_answer() -> None:
    found = taken(facts=msgspec.structs.replace(
        FACTS,
        workloads=(workload("cert", "cert-manager", "cert-manager-controller:v1.9.1"),
                   *FACTS.workloads[2:3]),
    ))  # fmt: skip
    assert found.questions == (
        "team-platform: which release of cert-manager 1.9.1 (Deployment cert/cert-manager) goes "
        "with Kubernetes 1.36?",
        "Deployment web/helper may call the API (get ingresses of extensions): who owns it?",
    )


def test_a_quiet_cluster_is_clean_and_an_unread_one_never() -> None:
    quiet = InventoryFacts(server="1.36.0", calls_read=True)
    assert taken(facts=quiet).exit_code == 0
    unread = msgspec.structs.replace(quiet, unread=(Unread(source="CRDs", why="403"),))
    assert taken(facts=unread).exit_code == 3
    assert "no audit log" in taken(facts=InventoryFacts(server="1.36.0")).notes[0]


def test_targets_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="newer than the target"):
        taken(to="1.30")
    with pytest.raises(ConfigError, match="nothing is known"):
        taken(to="1.99")


# -- the forms -------------------------------------------------------------------------------


def test_csv_has_a_line_for_each_client_and_no_formula() -> None:
    evil = Call(user="system:serviceaccount:web:operator", agent="=HYPERLINK(1)", count=99)
    found = taken(facts=msgspec.structs.replace(FACTS, calls=(evil,)))
    rows = list(csv.DictReader(io.StringIO(render.as_csv(found))))
    assert [r["name"] for r in rows] == [c.name for c in found.clients]
    (operator,) = [r for r in rows if r["name"] == "operator"]
    assert operator["callers"] == "'=HYPERLINK(1) (99)"
    assert operator["client_go"] == "v0.29.1"


def test_markdown_and_page_hold_every_part_and_escape_it() -> None:
    evil = Call(user="a|b", agent="<script>x</script>", count=1)
    found = taken(facts=msgspec.structs.replace(FACTS, calls=(*FACTS.calls, evil)))
    text, page = render.markdown(found), render.page(found)
    for title, _, rows in render.sections(found):
        assert f"## {title}\n" in text
        assert f"<h2>{title}</h2>" in page
        assert rows
    assert "a\\|b" in text
    assert "<script>x" not in page
    assert "http" not in page.replace("https://", ""), "nothing is fetched"


def test_the_json_round_trips() -> None:
    found = taken()
    assert msgspec.json.decode(msgspec.json.encode(found), type=Inventory) == found


def test_every_code_is_documented_and_shown_by_an_example() -> None:
    page = (ROOT / "docs" / "inventory.md").read_text()
    for code in judge.CODES:
        assert f"### {code}:" in page, code
    shown = {f.code for f in taken().findings}
    shown |= {f.code for f in taken(facts=msgspec.structs.replace(FACTS, workloads=(
        workload("x", "cert-manager", "cert-manager-controller:v1.4.0"),
        workload("x", "flannel", "flannel/flannel:v0.27.0"),
    ), server="1.36.0")).findings}  # fmt: skip
    assert shown == set(judge.CODES)
