"""What `pawl plan` finds out before it plans, over ports that are scripted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from pawl.adapters.store import acknowledgements
from pawl.core.changelog.facts import ApiFacts
from pawl.core.changelog.item import Acknowledgement
from pawl.core.checks import FlagComplaint
from pawl.core.config import Config, FindingsConfig, HostConfig
from pawl.core.errors import ConfigError, Refused, Unreachable
from pawl.core.inuse.facts import FlagUse, HostUse
from pawl.core.inventory.facts import Container, InventoryFacts, WorkloadFact
from pawl.core.knowledge.store import shipped
from pawl.core.model import ClusterState, Unread
from pawl.core.plan import Plan, Target
from pawl.core.scan.facts import Call, Missed, Running, ScanFact, Served
from pawl.core.workloads.facts import Workloads
from pawl.interfaces import waivers
from pawl.interfaces.beforehand import Found, Look, parts, passed
from pawl.interfaces.cli.plan import compute, left_out, refusal_code, request
from pawl.ports.inuse import Reading
from pawl.ports.scan import Take
from pawl.testing.clusters import cluster, config

GOAL = Target(kubernetes="1.37.0")
NOBODY = InventoryFacts(server="1.36.1")
API = ApiFacts(log_readers=("Group system:masters",), dynamic_resources=False)


def use(host: str, component: str, *flags: str) -> HostUse:
    return HostUse(
        host=host,
        selinux="disabled",
        flags=tuple(
            FlagUse(component=component, flag=f, path="/x.env", line=n)
            for n, f in enumerate(("--v=2", *flags), 1)
        ),
    )


@dataclass
class Scripted:
    """A session whose ports answer from these fields."""

    state: ClusterState
    state_dir: Path
    changes: dict[str, HostUse] = field(default_factory=dict)
    answers: dict[str, tuple[FlagComplaint, ...] | None] = field(default_factory=dict)
    api: ApiFacts = API
    scanned: tuple[ScanFact, ...] = ()
    depends: InventoryFacts = NOBODY
    addons: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)
    read_hosts: bool = False
    running: Workloads = field(default_factory=Workloads)

    @property
    def in_use(self) -> Scripted:
        return self

    async def see_workloads(self, *, connections: bool) -> Workloads:
        assert not connections
        return self.running

    oracle = hosts = inventory = in_use

    def all(self) -> tuple[HostConfig, ...]:
        return config(self.state).hosts

    async def read(self, hosts: Sequence[HostConfig]) -> tuple[Reading, ...]:
        self.read_hosts = True
        return tuple(
            Reading(
                use=self.changes.get(h.name)
                or use(h.name, "kubelet" if "worker" in h.roles else "kube-apiserver")
            )
            for h in hosts
            if {"control-plane", "worker"} & set(h.roles)
        )

    async def ask(
        self, readings: Sequence[Reading], component: str, version: str
    ) -> tuple[FlagComplaint, ...] | None:
        self.asked.append(f"{component} {version}")
        if component == "kube-proxy":
            raise Unreachable("no answer")
        return self.answers.get(component, ())

    async def accepts_flags(self, *_: object) -> tuple[str, ...]:
        return ()

    async def api_facts(self) -> ApiFacts:
        return self.api

    @property
    def config(self) -> Config:
        plain = config(self.state)
        return replace(plain, findings=replace(plain.findings, addons=self.addons))

    def scan_source(self, *_: object) -> Facts:
        return Facts(self.scanned)

    def inventory_source(self, *, clients: bool) -> Dependents:
        assert not clients, "who calls is the scan's to tell"
        return Dependents(self.depends)


@dataclass
class Facts:
    """A scan that finds these facts."""

    facts: tuple[ScanFact, ...]

    async def read(self, take: Take) -> None:
        take((Running(minor="1.36"), *self.facts))


@dataclass
class Dependents:
    """An inventory that finds these facts."""

    facts: InventoryFacts

    async def read(self) -> InventoryFacts:
        return self.facts


def look(session: Scripted, **without: str) -> Look:
    return Look(session, shipped(), without)  # type: ignore[arg-type]


def found(session: Scripted, target: Target = GOAL, **without: str) -> Found:
    async def go() -> Found:
        return await look(session, **without)(session.state, target, {})

    return anyio.run(go)


def planned(session: Scripted, **without: str) -> Plan:
    async def go() -> Plan:
        return await compute(
            request(to="1.37.0"),
            config(session.state),
            session.state,
            look=look(session, **without),
        )

    return anyio.run(go)


def test_a_clean_cluster_is_planned_and_every_note_stands_there_with_its_evidence(
    tmp_path: Path,
) -> None:
    the_plan = planned(Scripted(cluster(), tmp_path))
    assert [j.verdict for j in the_plan.notes] == ["does not apply"] * 4
    assert the_plan.asked == ("kube-apiserver 1.37.0", "kubelet 1.37.0")
    assert the_plan.left_out == ()
    assert the_plan.findings == ()


def test_the_same_facts_give_the_same_digest(tmp_path: Path) -> None:
    assert (
        planned(Scripted(cluster(), tmp_path)).digest
        == planned(Scripted(cluster(), tmp_path)).digest
    )


def test_a_gate_on_one_api_server_refuses_before_the_first_step(tmp_path: Path) -> None:
    gate = use("cp-2", "kube-apiserver", "--feature-gates=SidecarContainers=true")
    with pytest.raises(Refused, match=r"PAWL-U001 kube-apiserver on cp-2 \(cp-2:/x.env:2\)"):
        planned(Scripted(cluster(), tmp_path, changes={"cp-2": gate}))


def test_what_a_binary_says_refuses_too(tmp_path: Path) -> None:
    said = FlagComplaint("cp-1", "kube-apiserver", "1.37.0", "unknown flag: --x", "cp-1:/x.env:1")
    with pytest.raises(Refused, match=r"PAWL-C010 .*cp-1:/x.env:1.*unknown flag: --x"):
        planned(Scripted(cluster(), tmp_path, answers={"kube-apiserver": (said,)}))


def test_a_binary_that_is_not_at_hand_or_silent_is_told(tmp_path: Path) -> None:
    proxy = {"worker-1": use("worker-1", "kube-proxy")}
    session = Scripted(cluster(), tmp_path, changes=proxy, answers={"kubelet": None})
    the_plan = planned(session)
    assert [f.subject for f in the_plan.findings if f.code == "PAWL-U013"] == [
        "kube-proxy 1.37.0 (no answer)",
        "kubelet 1.37.0",
    ]


def test_a_host_that_was_not_read_makes_it_incomplete(tmp_path: Path) -> None:
    blind = HostUse(host="cp-1", unread=(Unread(source="configuration", why="timed out"),))
    logs = replace(use("worker-1", "kubelet"))
    session = Scripted(cluster(), tmp_path, changes={"cp-1": blind, "worker-1": logs})
    with pytest.raises(Refused) as caught:
        planned(session)
    codes = {r.split(" ", 1)[0] for r in caught.value.reasons}
    # The notes that would have been ruled out by its files wait for a person now.
    assert codes == {"PAWL-U012", "PAWL-K001"}
    assert refusal_code(Refused(["PAWL-U012 x", "PAWL-H001 y"])) == 3
    assert refusal_code(caught.value) == 2


def test_an_acknowledgement_lets_the_plan_through_and_is_in_it(tmp_path: Path) -> None:
    session = Scripted(cluster(), tmp_path, api=ApiFacts(log_readers=("User ana",)))
    with pytest.raises(Refused, match=r"PAWL-K001 .*139837-2d15c9.*User ana may read nodes/log"):
        planned(session)
    acknowledgements.add(
        tmp_path / acknowledgements.NAME,
        (),
        (Acknowledgement(item="139837-2d15c9", by="Ada", at="2026-11-24", note="ana is trusted"),),
    )
    the_plan = planned(session)
    assert "Ada on 2026-11-24: ana is trusted" in [j.acknowledged for j in the_plan.notes]


OLD = "networking.k8s.io/v1beta1"
CALLED = (
    Served(api_version=OLD, kind="ServiceCIDR", resource="servicecidrs"),
    Call(
        host="cp-1",
        user="system:serviceaccount:velero:velero",
        agent="velero/v1.9",
        api_version=OLD,
        resource="servicecidrs",
        verbs=("list",),
        last="2026-09-21T13:00:00Z",
        removed="1.37",
    ),
)


def test_who_calls_an_api_that_goes_away_refuses_with_its_user_agent(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"PAWL-S001 .*velero/v1.9 calls it") as caught:
        planned(Scripted(cluster(), tmp_path, scanned=CALLED))
    assert refusal_code(caught.value) == 2
    assert planned(Scripted(cluster(), tmp_path, scanned=CALLED), scan="--no-scan").left_out


def test_a_scan_with_holes_makes_it_incomplete(tmp_path: Path) -> None:
    hole = Missed(where="live/secrets", why="forbidden")
    with pytest.raises(Refused, match="PAWL-S000 scan of live/secrets") as caught:
        planned(Scripted(cluster(), tmp_path, scanned=(hole,)))
    assert refusal_code(caught.value) == 3


@pytest.mark.parametrize(
    "entry",
    [
        "{code: PAWL-S001, where: 'clients/*', owner: ada, expires: 2099-01-31, reason: b}",
        "{rule: api-removed, owner: ada, expires: 2099-01-31, reason: b}",
    ],
)
def test_a_finding_of_the_scan_is_waived_by_code_or_by_rule(tmp_path: Path, entry: str) -> None:
    file = tmp_path / "waivers.yaml"
    file.write_text(f"waivers:\n- {entry}\n")
    accepted, by_rule = waivers.load(file)
    session = Scripted(cluster(), tmp_path, scanned=CALLED)

    async def go() -> Plan:
        seeing = Look(session, shipped(), {}, by_rule)  # type: ignore[arg-type]
        asked = request(to="1.37.0")
        return await compute(asked, session.config, session.state, look=seeing, accepted=accepted)

    (finding,) = anyio.run(go).findings
    assert (finding.code, finding.severity) == ("PAWL-S001", "blocker")
    assert finding.waived == "waived by ada until 2099-01-31: b"


def runs(image: str, server: str = "1.36.1", **more: Any) -> InventoryFacts:
    one = WorkloadFact(
        kind="Deployment",
        namespace="apps",
        name="thing",
        containers=(Container(name="c", image=image),),
    )
    return InventoryFacts(server=server, workloads=(one,), **more)


ROWS = """\
- name: thing
  what: a thing
  images: [example/thing]
  rows:
  - {line: "1", oldest: "1.30", newest: "1.36", basis: required, breaks: true, source: its notes,
     as_of: 2026-11-01}
  - {line: "2", oldest: "1.35", newest: "1.37", source: its README, as_of: 2026-11-01}
"""


def with_rows(tmp_path: Path, facts: InventoryFacts) -> Scripted:
    file = tmp_path / "addons.yaml"
    file.write_text(ROWS)
    return Scripted(cluster(), tmp_path, depends=facts, addons=(str(file),))


def test_an_addon_that_breaks_at_a_hop_refuses_with_the_release_to_move_to(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        planned(with_rows(tmp_path, runs("example/thing:1.4.0")))
    (reason,) = caught.value.reasons
    assert reason == (
        "PAWL-A001 Deployment apps/thing: hop 1.36 to 1.37: thing 1 does not work there; it goes "
        "with 1.30 to 1.36; 2 goes with 1.35 to 1.37 (its notes, 2026-11-01). Move it to 2 before "
        "the hop 1.36 to 1.37."
    )
    assert refusal_code(caught.value) == 2
    moved = planned(with_rows(tmp_path, runs("example/thing:2.0.1")))
    assert moved.findings == ()
    left = planned(with_rows(tmp_path, runs("example/thing:1.4.0")), inventory="--no-inventory")
    assert [left.what for left in left.left_out] == ["inventory"]


def test_each_hop_of_a_chain_has_the_verdict_of_its_own(tmp_path: Path) -> None:
    session = with_rows(tmp_path, runs("example/thing:1.4.0"))
    session.state = cluster(kubernetes="1.35.2")
    (finding,) = found(session).beforehand.inventory
    assert (finding.code, finding.minor) == ("PAWL-A001", "1.37")
    unknown = with_rows(tmp_path, runs("example/thing:0.9.0"))
    unknown.state = session.state
    (asked,) = found(unknown).beforehand.inventory
    assert (asked.code, asked.severity, asked.minor) == ("PAWL-A003", "info", "1.36")
    assert asked.remedy == "Move it to 2 before the hop 1.35 to 1.36."


def test_what_breaks_can_be_waived_by_name_and_is_in_the_plan_and_its_digest(
    tmp_path: Path,
) -> None:
    file = tmp_path / "waivers.yaml"
    file.write_text(
        "waivers:\n- {code: PAWL-A001, subject: 'Deployment apps/*', owner: ada, "
        "expires: 2099-01-31, reason: it is replaced in the same window}\n"
    )
    accepted = waivers.load(file).by_code
    session = with_rows(tmp_path, runs("example/thing:1.4.0"))

    async def go() -> Plan:
        asked = request(to="1.37.0")
        return await compute(
            asked, session.config, session.state, look=look(session), accepted=accepted
        )

    the_plan = anyio.run(go)
    (finding,) = the_plan.findings
    assert (finding.code, finding.severity, finding.minor) == ("PAWL-A001", "blocker", "1.37")
    assert finding.waived.startswith("waived by ada until 2099-01-31")
    assert the_plan.waivers == accepted
    bare = replace(the_plan, findings=(), waivers=(), digest="").sealed()
    assert bare.digest != the_plan.digest


def test_an_inventory_with_holes_makes_it_incomplete(tmp_path: Path) -> None:
    hole = (Unread(source="role bindings", why="forbidden"),)
    session = Scripted(cluster(), tmp_path, depends=InventoryFacts(server="1.36.1", unread=hole))
    with pytest.raises(Refused, match="PAWL-A000 inventory of role bindings") as caught:
        planned(session)
    assert refusal_code(caught.value) == 3


def test_what_is_left_out_is_named_in_the_plan_and_not_done(tmp_path: Path) -> None:
    session = Scripted(cluster(), tmp_path)
    without = {
        "hosts": "--no-hosts",
        "changelog": "--no-changelog",
        "scan": "--no-scan",
        "inventory": "--no-inventory",
    }
    the_plan = planned(session, **without)
    assert {(left.what, left.why) for left in the_plan.left_out} == set(without.items())
    assert not session.read_hosts
    assert session.asked == []
    assert the_plan.notes == ()


def test_settings_and_options_leave_looks_out() -> None:
    plain = config(cluster())
    assert left_out((), plain) == {}
    off = replace(plain, findings=FindingsConfig(scan=False))
    assert left_out(("hosts",), off) == {
        "scan": "findings.scan is false in pawl.yaml",
        "hosts": "--no-hosts",
    }


def test_nothing_of_kubernetes_is_looked_at_for_etcd_alone(tmp_path: Path) -> None:
    session = Scripted(cluster(), tmp_path)
    assert found(session, Target(etcd="3.6.14")).beforehand.notes == ()
    assert not session.read_hosts


def test_every_release_on_the_way_is_asked_for() -> None:
    state = cluster(kubernetes="1.34.2")
    way = passed(state, GOAL, {"1.35": "1.35.4", "1.36": "1.36.1"})
    assert way == ("1.35.4", "1.36.1", "1.37.0")
    assert parts(replace(GOAL, only=("nodes",))) == ("kubelet", "kube-proxy")
    assert "kubelet" not in parts(replace(GOAL, only=("control-plane",)))


def test_a_file_of_waivers_may_be_missing_but_not_broken(tmp_path: Path) -> None:
    file: Any = tmp_path / "waivers.yaml"
    assert waivers.load_if_there(file) == ((), ())
    file.write_text(
        "waivers:\n- {code: PAWL-U003, owner: ada, expires: 2027-01-31, reason: new image}\n"
    )
    assert waivers.load(file).by_code[0].expires == "2027-01-31"
    file.write_text("waivers:\n- {code: PAWL-E001, owner: a, expires: 2027-01-31, reason: b}\n")
    with pytest.raises(ConfigError, match="cannot be waived"):
        waivers.load(file)
