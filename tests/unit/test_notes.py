"""Urgent notes: the shipped table, how far it reaches, and the notes that facts alone decide."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pawl.core.changelog.decisions import RULES, decide
from pawl.core.changelog.facts import ApiFacts, Facts
from pawl.core.changelog.item import URGENT, Item, Verdict
from pawl.core.changelog.judge import judge
from pawl.core.changelog.shipped import urgent
from pawl.core.inuse.facts import Document, FlagUse, HostUse, Setting, Variable
from pawl.core.knowledge.rows import key
from pawl.core.knowledge.store import shipped
from pawl.core.model import Unread
from pawl.core.version import Version
from pawl.testing.clusters import cluster

TABLES = shipped()


def notes(since: str, to: str) -> tuple[Item, ...]:
    return urgent(TABLES, Version.parse(since), Version.parse(to)).items


def test_every_minor_of_the_tables_has_its_notes() -> None:
    minors = [s["minor"] for s in TABLES.sources if key(s["minor"]) >= (1, 16)]
    assert sorted(TABLES.notes_until, key=key) == minors
    assert all(row.category in URGENT and row.text and row.source for row in TABLES.notes)


def test_the_notes_of_a_hop_are_those_of_its_changelog() -> None:
    assert {i.prs[0] for i in notes("1.36.0", "1.37.0")} == {139956, 138572, 117119, 139837}
    assert notes("1.37.0", "1.37.1") == ()
    assert notes("1.37.0", "1.36.0") == ()
    # The notes of each minor on the way, once.
    both = notes("1.35.0", "1.37.0")
    assert len(both) == len(notes("1.35.0", "1.36.4")) + 4


def test_how_far_the_table_reaches_is_told() -> None:
    def reach(since: str, to: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        found = urgent(TABLES, Version.parse(since), Version.parse(to))
        return found.missing, found.newer

    assert reach("1.36.0", "1.37.1") == ((), ())
    assert reach("1.36.0", "1.37.3") == ((), ("1.37.2 to 1.37.3",))
    assert reach("1.37.3", "1.37.4") == ((), ("1.37.4",))
    assert reach("1.36.0", "1.39.0") == (("1.38", "1.39"), ())


def whole(*changes: tuple[str, dict[str, object]], **of_all: object) -> Facts:
    """A cluster whose hosts were all read; `changes` are (host, fields of its use)."""
    state = cluster()
    uses = []
    for host in state.hosts:
        if not {"control-plane", "worker"} & set(host.roles):
            continue
        component = "kubelet" if "worker" in host.roles else "kube-apiserver"
        plain = FlagUse(component=component, flag="--v=2", path="/x.env", line=1)
        use = replace(HostUse(host=host.name, flags=(plain,), selinux="disabled"), **of_all)
        for name, fields in changes:
            if name == host.name:
                fields = dict(fields)
                fields["flags"] = (*use.flags, *fields.get("flags", ()))  # type: ignore[misc]
                use = replace(use, **fields)
        uses.append(use)
    api = ApiFacts(log_readers=("Group system:masters",), dynamic_resources=False)
    return Facts(state, None, tuple(uses), api)


def flag(text: str, component: str = "kubelet") -> dict[str, object]:
    return {"flags": (FlagUse(component=component, flag=text, path="/x.env", line=2),)}


def setting(name: str, value: str) -> dict[str, object]:
    made = Document(
        component="kubelet",
        role="config",
        path="/k.yaml",
        settings=(Setting(key=name, value=value, line=5),),
    )
    return {"documents": (made,)}


def item(pr: int) -> Item:
    return Item(id=f"{pr}-x", version="1.37.0", section="s", category="urgent", text="t", prs=(pr,))


def variable(value: str) -> dict[str, object]:
    name = "KUBE_PROXY_NFTABLES_SKIP_KERNEL_VERSION_CHECK"
    return {"variables": (Variable(component="kube-proxy", name=name, value=value, path="/x"),)}


APPLIES: list[tuple[int, Facts]] = [
    (139956, whole(("worker-1", {"selinux": "permissive"}))),
    (138572, whole(("cp-2", flag("--runtime-config=scheduling.k8s.io/v1alpha2=true",
                                 "kube-apiserver")))),
    (138572, whole(("cp-1", flag("--runtime-config=api/alpha=true", "kube-apiserver")))),
    (117119, whole(("worker-2", setting("eventRecordQPS", "0")))),
    (117119, whole(("worker-2", flag("--event-qps=0")))),
    (122082, whole(("worker-1", flag("--keep-terminated-pod-volumes=true")))),
    (126108, whole(("cp-1", flag("--feature-gates=RecoverVolumeExpansionFailure=true",
                                 "kube-apiserver")))),
    (126108, whole(("worker-1", setting("featureGates.RecoverVolumeExpansionFailure", "true")))),
    (130401, whole(("worker-1", variable("")))),
]  # fmt: skip


@pytest.mark.parametrize(("pr", "facts"), APPLIES, ids=[str(pr) for pr, _ in APPLIES])
def test_a_note_applies_with_the_place_as_evidence(pr: int, facts: Facts) -> None:
    verdict, evidence = judge(item(pr), facts, TABLES)
    assert verdict == "applies"
    assert evidence


@pytest.mark.parametrize("pr", sorted(RULES))
def test_a_note_does_not_apply_where_facts_rule_it_out(pr: int) -> None:
    verdict, evidence = judge(item(pr), whole(), TABLES)
    assert verdict == "does not apply"
    assert len(evidence) == 1


@pytest.mark.parametrize("pr", sorted(RULES))
def test_what_was_not_read_decides_nothing(pr: int) -> None:
    person: Verdict = "needs a person"
    unread = whole(unread=(Unread(source="/x", why="permission denied"),))
    blind = Facts(unread.state, None, unread.in_use, ApiFacts())
    assert decide(item(pr), blind) is None
    assert decide(item(pr), Facts(cluster())) is None
    assert judge(item(pr), Facts(cluster()), TABLES)[0] == person
    # One host that was not read at all.
    facts = whole()
    short = Facts(facts.state, None, (facts.in_use or ())[1:], ApiFacts())
    assert decide(item(pr), short) is None


def test_who_may_read_logs_is_named() -> None:
    api = ApiFacts(log_readers=("Group system:masters", "User ana"))
    verdict, evidence = judge(item(139837), Facts(cluster(), api=api), TABLES)
    assert (verdict, evidence) == ("applies", ("User ana may read nodes/log",))


def test_cgroup_v1_and_devices_apply() -> None:
    facts = whole()
    assert facts.state is not None
    old = tuple(replace(h, cgroup_version=1) for h in facts.state.hosts)
    v1 = Facts(replace(facts.state, hosts=old), None, facts.in_use)
    assert judge(item(134298), v1, TABLES)[0] == "applies"
    devices = Facts(facts.state, api=ApiFacts(dynamic_resources=True))
    assert judge(item(134947), devices, TABLES)[0] == "applies"
