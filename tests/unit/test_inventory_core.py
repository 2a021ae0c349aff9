"""The pure parts of the inventory: images, constraints, RBAC, Go build information, Corefiles."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_elf import MODULES, elf, inline, pointed

from pawl.core.inventory import corefile, gobuild, images, rbac
from pawl.core.inventory.constraint import Constraint
from pawl.core.inventory.facts import (
    Binding,
    InventoryFacts,
    Role,
    Rule,
    Subject,
    owner_of,
)
from pawl.core.version import Version

# -- images ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "repository", "version"),
    [
        ("k8s.io/nginx/controller:v1.15.1@sha256:ab", "k8s.io/nginx/controller", "1.15.1"),
        ("localhost:5000/coredns", "localhost:5000/coredns", ""),
        ("localhost:5000/coredns:1.12.1", "localhost:5000/coredns", "1.12.1"),
        ("redis:8.2.3-alpine", "redis", "8.2.3"),
        ("cert-manager-controller:v1.21.0-beta.0", "cert-manager-controller", "1.21.0-beta.0"),
        ("x/y:latest", "x/y", ""),
        ("x/y@sha256:00", "x/y", ""),
        ("busybox:1.36", "busybox", "1.36.0"),
    ],
)  # fmt: skip
def test_image_references(reference: str, repository: str, version: str) -> None:
    image = images.parse(reference)
    assert (image.repository, image.version) == (repository, version)


def test_a_mirror_keeps_the_end_of_a_repository_and_a_namesake_does_not_match() -> None:
    assert images.parse("mirror.example:5000/k8s/ingress-nginx/controller:v1.1.1").is_of(
        "ingress-nginx/controller"
    )
    assert not images.parse("example/my-coredns:1").is_of("coredns")


# -- chart constraints -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "version", "admitted"),
    [
        (">=1.25.0-0", "1.37.0", True),
        (">=1.25.0", "1.37.0-eks.1", False),
        (">=1.25.0-0", "1.37.0-eks.1", True),
        (">= 1.22.0-0, < 1.37.0-0", "1.36.9", True),
        (">= 1.22.0-0, < 1.37.0-0", "1.37.0", False),
        (">=1.19-0 <1.30", "1.29.9", True),
        ("^1.20", "1.37.0", True),
        ("^0.3.1", "0.4.0", False),
        ("~1.36", "1.37.0", False),
        ("~1.36.2", "1.36.9", True),
        ("1.20 - 1.25", "1.25.9", True),
        ("1.20 - 1.25", "1.26.0", False),
        ("1.36.x", "1.36.4", True),
        ("*", "1.2.3", True),
        ("<1.30 || >=1.35", "1.36.0", True),
        ("<1.30 || >=1.35", "1.32.0", False),
        ("!=1.37.x", "1.37.2", False),
        (">1.36", "1.36.5", False),
        (">1.36", "1.37.0", True),
        ("<=1.36", "1.36.5", True),
    ],
)
def test_constraints_as_helm_reads_them(text: str, version: str, admitted: bool) -> None:
    assert Constraint(text).admits(Version.parse(version)) is admitted


@pytest.mark.parametrize("text", ["", "soon", ">=", "1.2.3.4", ">=1.25 &&"])
def test_what_is_no_constraint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="constraint"):
        Constraint(text)


NUMBER = st.integers(0, 40)
VERSIONS = st.builds(Version, st.integers(0, 3), NUMBER, NUMBER)


@given(VERSIONS, VERSIONS)
def test_a_bound_and_its_opposite_share_out_all_versions(bound: Version, version: Version) -> None:
    assert Constraint(f">={bound}").admits(version) != Constraint(f"<{bound}").admits(version)
    assert Constraint(f"<={bound}").admits(version) != Constraint(f">{bound}").admits(version)
    assert Constraint(f"={bound}").admits(version) != Constraint(f"!={bound}").admits(version)


# -- RBAC ------------------------------------------------------------------------------------

PODS = Rule(verbs=("get", "list"), groups=("",), resources=("pods",))
SECRETS = Rule(verbs=("*",), groups=("",), resources=("secrets",))


def bound(namespace: str, role_kind: str, role: str, *subjects: Subject, **more: bool) -> Binding:
    return Binding(
        namespace=namespace, name="b", role_kind=role_kind, role=role, subjects=subjects, **more
    )


def account(name: str, namespace: str = "") -> Subject:
    return Subject(kind="ServiceAccount", name=name, namespace=namespace)


def resolve(roles: list[Role], *bindings: Binding) -> rbac.Access:
    return rbac.resolve(InventoryFacts(roles=tuple(roles), bindings=bindings))


def test_a_role_binding_to_a_cluster_role_holds_in_its_own_namespace_only() -> None:
    access = resolve(
        [Role(namespace="", name="reader", rules=(PODS,))],
        bound("web", "ClusterRole", "reader", account("app")),
    )
    (grant,) = access.grants(("web", "app"))
    assert (grant.namespace, grant.rule) == ("web", PODS)
    assert access.grants(("other", "app")) == ()
    assert rbac.words([grant]) == "get, list pods in web"


def test_users_and_groups_name_service_accounts_too() -> None:
    user = Subject(kind="User", name="system:serviceaccount:web:app")
    group = Subject(kind="Group", name="system:serviceaccounts:web")
    access = resolve(
        [Role(namespace="", name="a", rules=(PODS,)),
         Role(namespace="", name="b", rules=(SECRETS,))],
        bound("", "ClusterRole", "a", user),
        bound("", "ClusterRole", "b", group),
    )  # fmt: skip
    assert {g.rule for g in access.grants(("web", "app"))} == {PODS, SECRETS}
    assert [g.rule for g in access.grants(("web", "other"))] == [SECRETS]
    assert access.grants(("db", "app")) == ()


def test_what_the_api_server_binds_to_all_says_nothing_of_one() -> None:
    everyone = Subject(kind="Group", name="system:authenticated")
    roles = [Role(namespace="", name="system:discovery", rules=(PODS,))]
    default = bound("", "ClusterRole", "system:discovery", everyone, default=True)
    assert resolve(roles, default).grants(("web", "app")) == ()
    own = bound("", "ClusterRole", "system:discovery", everyone)
    assert [g.rule for g in resolve(roles, own).everyone] == [PODS]


def test_aggregated_roles_count_also_before_a_controller_has_filled_them() -> None:
    access = resolve(
        [
            Role(namespace="", name="all", aggregates=({"agg": "yes"},)),
            Role(namespace="", name="part", rules=(SECRETS,), labels={"agg": "yes"}),
            Role(namespace="", name="other", rules=(PODS,), labels={"agg": "no"}),
        ],
        bound("", "ClusterRole", "all", account("app", "web")),
    )
    assert [g.rule for g in access.grants(("web", "app"))] == [SECRETS]


def test_a_binding_to_a_missing_role_gives_nothing_and_is_told() -> None:
    access = resolve([], bound("web", "Role", "gone", account("app")))
    assert access.of == {}
    assert access.dangling == ("RoleBinding web/b names Role gone, which is not",)


def test_cluster_admin_in_words() -> None:
    everything = Rule(verbs=("*",), groups=("*",), resources=("*",))
    access = resolve(
        [Role(namespace="", name="cluster-admin", rules=(everything,))],
        bound("", "ClusterRole", "cluster-admin", account("app", "web")),
    )
    assert rbac.words(access.grants(("web", "app"))) == "everything (cluster-admin)"


def test_an_owner_by_annotation_comes_before_a_label() -> None:
    assert owner_of({"team": "ada"}, {"pawl.dev/owner": "bob"}) == "ada"
    assert owner_of(None, {"owner": " bob "}) == "bob"
    assert owner_of({}, {"app": "x"}) == ""


# -- Go build information --------------------------------------------------------------------


def pull(data: bytes) -> tuple[gobuild.BuildInfo, int]:
    """Drive the reader over `data`; the answer and how many bytes it took."""
    reading, taken = gobuild.read(), 0
    wanted = next(reading)
    while True:
        at, length = wanted
        taken += length
        try:
            wanted = reading.send(data[at : at + length])
        except StopIteration as done:
            return done.value, taken


@pytest.mark.parametrize("sections", [True, False])
def test_build_information_since_go_1_18(sections: bool) -> None:
    info, taken = pull(elf(inline("go1.25.1", MODULES), sections=sections, pad=1 << 20))
    assert (info.go, info.main, info.main_version) == ("go1.25.1", "example.com/operator", "v1.2.3")
    assert info.client_go == "v0.34.1", "a replacement counts, not what it replaces"
    assert info.controller_runtime == "v0.22.4"
    assert taken < 80_000


def test_build_information_before_go_1_18() -> None:
    info, _ = pull(elf(pointed("go1.16.5", MODULES, 0x400000), sections=False))
    assert (info.go, info.client_go) == ("go1.16.5", "v0.34.1")


def test_a_long_module_list_is_read_whole() -> None:
    many = MODULES + "".join(f"dep\texample.com/m{n}\tv1.0.{n}\th1:x=\n" for n in range(400))
    info, _ = pull(elf(inline("go1.26.0", many)))
    assert info.deps["example.com/m399"] == "v1.0.399"


def test_a_component_of_kubernetes_has_the_client_go_of_its_release() -> None:
    text = "path\tk8s.io/kubernetes/cmd/kubelet\nmod\tk8s.io/kubernetes\tv1.36.2\t\n"
    info = gobuild.parse("go1.25.0", text.encode())
    assert info.client_go == "v0.36.2"
    assert gobuild.client_go_minor(info.client_go) == "1.36"


@pytest.mark.parametrize(
    ("version", "minor"),
    [("v0.34.1", "1.34"), ("v12.0.0+incompatible", "1.15"), ("v8.0.0", "1.11"), ("v2.0.0", "")],
)
def test_minor_of_a_client_go(version: str, minor: str) -> None:
    assert gobuild.client_go_minor(version) == minor


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"#!/bin/sh\n",
        b"\x7fELF",
        elf(b"no build information here"),
        elf(inline("go1", ""))[:99],
        elf(b"\xff Go buildinf:" + bytes(18), sections=False),  # pointers of no bytes
    ],
)
def test_what_is_not_go_is_said_to_be_so(data: bytes) -> None:
    with pytest.raises(gobuild.NotGo):
        pull(data)


@settings(max_examples=40)
@given(st.data())
def test_a_damaged_file_never_crashes_the_reader(data: st.DataObject) -> None:
    good = bytearray(elf(inline("go1.25.1", MODULES), pad=64))
    for _ in range(data.draw(st.integers(1, 8))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(gobuild.NotGo):
        pull(bytes(good))


# -- Corefile --------------------------------------------------------------------------------

OLD = """\
.:53 {
    errors # say it
    health { lameduck 5s }
    kubernetes cluster.local in-addr.arpa {
        pods insecure
        upstream
    }
    proxy . /etc/resolv.conf
    "cache" 30
    own-plugin
}
"""


def test_what_coredns_gave_up_is_found_by_release() -> None:
    def said(version: str) -> list[tuple[str, str, str]]:
        return [(c.use.plugin, c.use.option, c.status) for c in corefile.changes(OLD, version)]

    assert said("1.3.1") == []
    assert ("kubernetes", "upstream", "deprecated") in said("1.4.0")
    assert said("1.7.0") == [("kubernetes", "upstream", "removed"), ("proxy", "", "removed")]
    assert said("1.7.0") == said("99.0.0"), "what was removed stays removed"
    first = corefile.changes(OLD, "1.14.2")[0]
    assert first.sentence() == (
        "line 6: option upstream of plugin kubernetes is removed since CoreDNS 1.7.0: CoreDNS does "
        "not start with it"
    )
    assert corefile.uncovered(OLD) == ("own-plugin",)


def test_kubeadms_own_corefile_is_clean() -> None:
    text = """\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""
    assert corefile.changes(text, corefile.shipped().newest) == ()
    assert corefile.uncovered(text) == ()


@pytest.mark.parametrize("text", [".:53 {\n errors\n", "}\n"])
def test_an_unbalanced_corefile_is_no_corefile(text: str) -> None:
    with pytest.raises(ValueError, match="brace"):
        corefile.uses(text)


def test_the_table_names_its_source_and_is_in_order() -> None:
    table = corefile.shipped()
    assert "corefile-migration v1" in table.source
    versions = [Version.parse(r.version) for r in table.releases]
    assert versions == sorted(versions)
    assert all(Version.parse(r.since) <= Version.parse(r.last) for r in table.rows)
