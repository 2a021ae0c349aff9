"""`pawl plan`: words to a target, minors to releases, exit codes, files."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from pawl.core.config import PolicyConfig
from pawl.core.errors import ConfigError, Refused
from pawl.core.events import AnyEvent, RunEnded, RunStarted, StepDone, StepStarted
from pawl.core.model import ClusterState, Unread
from pawl.core.plan import Plan, decode
from pawl.core.version import Minor, Version
from pawl.interfaces.cli.facts import saved_state
from pawl.interfaces.cli.plan import (
    Request,
    compute,
    experienced,
    refusal_code,
    request,
    shown,
    target_of,
    write_out,
)
from pawl.testing.clusters import cluster, config


class Shelf:
    """Artifacts that hold these versions and fetch nothing."""

    def __init__(self, **held: tuple[str, ...]) -> None:
        self._held = {name.replace("_", "-"): v for name, v in held.items()}

    async def held(self, component: str) -> tuple[Version, ...]:
        return tuple(Version.parse(v) for v in self._held.get(component, ()))


SHELF = Shelf(kube_apiserver=("1.36.0", "1.37.0", "1.37.2", "1.37.3-rc.1"), etcd=("3.6.12",))


class Oracle:
    """Hosts whose staged kube-apiserver refuses one flag."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []

    async def accepts_flags(
        self, host: str, component: str, version: str, flags: object
    ) -> tuple[str, ...]:
        self.asked.append((host, component, version))
        return ("unknown flag: --gone",) if component == "kube-apiserver" else ()


def made(asked: Request, state: ClusterState, **more: object) -> Plan:
    async def go() -> Plan:
        return await compute(asked, config(state), state, artifacts=SHELF, **more)  # type: ignore[arg-type]

    return anyio.run(go)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        request(
            to="latest",
            strategy=["etcd=magic", "pods=replace"],
            only=["pods"],
            release=["1.37"],
        )
    assert len(caught.value.problems) == 5
    with pytest.raises(ConfigError, match=r"--to 1\.37"):
        request()


def test_words_may_be_repeated_or_joined() -> None:
    asked = request(to="1.37", strategy=["etcd=replace,nodes=replace"], only=["etcd", "nodes"])
    assert asked.strategies == {"etcd": "replace", "nodes": "replace"}
    assert asked.only == ("etcd", "nodes")
    assert request(to="1.37", pool="gpu").only == ("nodes",)


def test_a_minor_means_the_newest_release_that_lies_ready() -> None:
    async def go() -> tuple[str, str]:
        target = await target_of(request(to="1.37", etcd="3.6"), SHELF, {})  # type: ignore[arg-type]
        return target.kubernetes, target.etcd

    assert anyio.run(go) == ("1.37.2", "3.6.12")


def test_a_minor_that_nobody_knows_is_asked_for_and_data_can_tell_it() -> None:
    async def go(known: dict[Minor, Version]) -> str:
        return (await target_of(request(to="1.44"), SHELF, known)).kubernetes  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"1\.44"):
        anyio.run(go, {})
    assert anyio.run(go, {Minor(1, 44): Version.parse("1.44.1")}) == "1.44.1"


def test_release_and_exact_versions_come_before_what_lies_ready() -> None:
    async def go(*words: str) -> str:
        asked = request(to=words[0], release=words[1:])
        return (await target_of(asked, SHELF, {})).kubernetes  # type: ignore[arg-type]

    assert anyio.run(go, "1.37", "1.37=1.37.1") == "1.37.1"
    assert anyio.run(go, "v1.37.0") == "1.37.0"


def test_staged_binaries_are_asked_and_their_complaint_refuses_the_plan() -> None:
    state = cluster()
    hosts = tuple(
        replace(h, staged={**h.staged, "kube-apiserver": ("1.36.0", "1.37.0")})
        if h.name == "cp-1"
        else h
        for h in state.hosts
    )
    oracle = Oracle()
    with pytest.raises(Refused, match="unknown flag: --gone"):
        made(request(to="1.37.0"), replace(state, hosts=hosts), hosts=oracle)
    assert oracle.asked == [("cp-1", "kube-apiserver", "1.37.0")]


def test_only_unread_sources_make_exit_code_3() -> None:
    blind = replace(cluster(), unread=(Unread(source="kube-apiserver cp-1", why="timed out"),))
    with pytest.raises(Refused) as caught:
        made(request(to="1.37.0"), blind)
    assert refusal_code(caught.value) == 3
    assert refusal_code(Refused(["PAWL-E001 x", "PAWL-H001 y"])) == 2


def test_a_saved_state_is_planned_offline(tmp_path: Path) -> None:
    bare, wrapped = tmp_path / "bare.json", tmp_path / "wrapped.json"
    state = cluster()
    bare.write_bytes(msgspec.json.encode(state))
    wrapped.write_bytes(msgspec.json.encode({"state": state, "complete": True}))
    assert saved_state(bare) == saved_state(wrapped) == state
    bare.write_text('{"cluster": 3}')
    with pytest.raises(ConfigError, match="not a saved state"):
        saved_state(bare)
    with pytest.raises(ConfigError, match="not a saved state"):
        saved_state(tmp_path / "missing.json")


def test_all_formats_and_the_file_hold_the_same_plan(tmp_path: Path) -> None:
    the_plan = made(request(to="1.37.0"), cluster())
    assert decode(shown(the_plan, "json").encode()) == the_plan
    out = tmp_path / "plan.json"
    write_out(the_plan, out)
    assert decode(out.read_bytes()) == the_plan
    assert out.stat().st_mode & 0o777 == 0o600
    assert the_plan.digest in shown(the_plan, "text")
    assert the_plan.digest[:12] in shown(the_plan, "table")
    import yaml

    assert yaml.safe_load(shown(the_plan, "yaml")) == json.loads(shown(the_plan, "json"))


class Diary:
    """A journal with one finished run."""

    def __init__(self, the_plan: Plan, outcome: str) -> None:
        self._plan, self._outcome = the_plan, outcome

    def runs(self) -> tuple[str, ...]:
        return ("r1",)

    def plan(self, digest: str) -> Plan:
        if digest != self._plan.digest:
            raise KeyError(digest)
        return self._plan

    def events(self, run: str) -> tuple[AnyEvent, ...]:
        step = "control-plane/1.37.0/swap/cp-1"
        return (
            RunStarted(at=0, run=run, plan=self._plan.digest, operator="o"),
            StepStarted(at=10, run=run, step=step, attempt=1),
            StepDone(at=17, run=run, step=step),
            RunEnded(at=20, run=run, outcome=self._outcome),
        )


def test_times_of_finished_runs_are_used_and_the_configuration_comes_first() -> None:
    state = cluster()
    the_plan = made(request(to="1.37.0"), state)
    conf = config(state)
    learned = experienced(conf, Diary(the_plan, "done"))  # type: ignore[arg-type]
    assert learned.policy.durations == {"swap-api-server": 7.0}
    assert experienced(conf, Diary(the_plan, "failed")) == conf  # type: ignore[arg-type]
    fixed = config(state, policy=PolicyConfig(durations={"swap-api-server": 30.0}))
    assert experienced(fixed, Diary(the_plan, "done")).policy.durations == {  # type: ignore[arg-type]
        "swap-api-server": 30.0
    }
