"""The verbs of a run over a journal on disk: what is over stays over, and what goes on is named."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest
import yaml
from msgspec.structs import replace
from rich.console import Console

from pawl.adapters.store import FileLock, SqliteJournal
from pawl.core.errors import PawlError
from pawl.core.events import (
    Aborted,
    Approved,
    Paused,
    Resumed,
    RunEnded,
    RunStarted,
    StepDone,
    StepStarted,
)
from pawl.core.plan import Plan, Step, Target, encode
from pawl.core.planner import plan as planned
from pawl.engine.runner import Stop
from pawl.interfaces.cli.choosing import choose
from pawl.interfaces.cli.live import LiveView, PlainLines, screen_for
from pawl.interfaces.cli.main import main
from pawl.interfaces.cli.run import EXIT, _on_signals, _rehearse, _say_end
from pawl.ports.lock import LockNote
from pawl.testing.clusters import cluster, config
from support_pki import credentials

CONFIG = """\
cluster: test
hosts:
- {name: etcd-1, address: 198.18.0.21, roles: [etcd]}
- {name: cp-1, address: 198.18.0.51, roles: [control-plane]}
ssh: {key: key, known_hosts: known_hosts}
etcd: {ca: ca.crt, cert: etcd.crt, key: etcd.key}
api: {endpoint: "https://198.18.0.51:6443", kubeconfig: kubeconfig}
"""


class Desk:
    """A pawl.yaml with a journal beside it, and the command as a shell would start it."""

    def __init__(self, at: Path, capsys: pytest.CaptureFixture[str]) -> None:
        credentials(at)
        (at / "pawl.yaml").write_text(CONFIG)
        self.at, self._capsys = at, capsys
        state = cluster()
        self.plan = planned(state, Target(kubernetes="1.37.0"), config(state))
        self.journal = SqliteJournal(at / ".pawl" / "journal.db")
        self.journal.save_plan(self.plan)

    def had(self, run: str, outcome: str, plan: Plan | None = None) -> None:
        digest = (plan or self.plan).digest
        self.journal.append(RunStarted(at=1e9, run=run, plan=digest, operator="o"))
        if outcome:
            why = "a sentence that is longer than eighty columns of a terminal would ever hold."
            self.journal.append(RunEnded(at=1e9 + 60, run=run, outcome=outcome, why=why))

    def pawl(self, *argv: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*argv, "--config", str(self.at / "pawl.yaml")])
        said = self._capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


@pytest.mark.parametrize("verb", ["pause", "resume", "abort"])
@pytest.mark.parametrize("outcome", ["done", "aborted"])
def test_a_run_that_is_over_takes_no_more_orders(desk: Desk, verb: str, outcome: str) -> None:
    desk.had("run-1", outcome)
    before = desk.journal.events("run-1")
    code, _, err = desk.pawl(verb)
    assert (code, f"run-1 has ended already ({outcome})" in err) == (2, True)
    assert desk.journal.events("run-1") == before


def test_a_run_that_stopped_may_still_be_paused(desk: Desk) -> None:
    desk.had("run-1", "failed")
    code, out, _ = desk.pawl("pause", "--why", "lunch")
    assert (code, "pawl resume run-1" in out) == (0, True)
    assert isinstance(desk.journal.events("run-1")[-1], Paused)


@pytest.mark.parametrize(("ended", "code"), [(2, 0), (4, 4), (130, 130)])
def test_an_abort_that_could_not_give_back_says_so_by_its_exit_code(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, ended: int, code: int
) -> None:
    async def drive(*_: object) -> int:
        return ended

    monkeypatch.setattr("pawl.interfaces.cli.run.drive", drive)
    desk.had("run-1", "failed")
    assert desk.pawl("abort")[0] == code
    assert isinstance(desk.journal.events("run-1")[-1], Aborted)


KUBECONFIG = """\
current-context: t
contexts: [{name: t, context: {cluster: t, user: t}}]
clusters: [{name: t, cluster: {server: "https://198.18.0.51:6443", certificate-authority: ca.crt}}]
users: [{name: t, user: {token: t}}]
"""


@pytest.fixture
def busy(desk: Desk) -> Iterator[FileLock]:
    """Another pawl runs something here."""
    (desk.at / "kubeconfig").write_text(KUBECONFIG)
    desk.had("run-1", "")
    lock = FileLock(desk.at / ".pawl" / "lock")
    with lock:
        yield lock


@pytest.mark.parametrize(
    ("order", "told"),
    [("abort", "is being ended by the pawl that runs it"), ("resume", "goes on in the pawl that")],
)
def test_an_order_to_a_run_that_is_under_way_is_left_to_who_runs_it(
    desk: Desk, busy: FileLock, order: str, told: str
) -> None:
    busy.note(LockNote(holder="here", run="run-1"))
    code, out, _ = desk.pawl(order, *(["--no-probe"] if order == "resume" else []))
    assert (code, told in out) == (0, True)
    event = desk.journal.events("run-1")[-1]
    assert isinstance(event, Aborted | Resumed)


@pytest.mark.parametrize("order", ["abort", "resume"])
def test_an_order_that_nobody_carries_out_is_not_told_as_done(
    desk: Desk, busy: FileLock, order: str
) -> None:
    """The pawl that runs here runs something else, and reads no other run's journal."""
    busy.note(LockNote(holder="here", run="run-0"))
    code, out, err = desk.pawl(order, *(["--no-probe"] if order == "resume" else []))
    assert (code, out, "another pawl (here, run run-0) is running" in err) == (2, "", True)


@pytest.mark.parametrize(
    ("outcome", "order", "code"),
    [("paused", "resume", 1), ("failed", "resume", 4), ("interrupted", "run", 130)],
)
def test_a_run_that_stopped_names_the_command_that_does_go_on(
    outcome: str, order: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pawl run` of a paused run would stop at once again."""
    ended = RunEnded(at=0, run="run-1", outcome=outcome, why="so.")
    assert _say_end(ended, "run-1", live=False) == code
    said = capsys.readouterr()
    assert said.err == f"go on with: pawl {order} run-1\n"
    assert said.out == ""  # the lines of the run have told it
    _say_end(ended, "run-1", live=True)
    assert capsys.readouterr().out == f"{outcome}: so.\n"


def test_a_plan_of_another_cluster_is_neither_approved_nor_run(desk: Desk) -> None:
    foreign = replace(desk.plan, cluster="production").sealed()
    path = desk.at / "plan.json"
    path.write_bytes(encode(foreign))
    for order in (["approve", str(path)], ["run", str(path), "--no-probe"]):
        code, _, err = desk.pawl(*order)
        assert (code, "was made for the cluster production" in err) == (2, True)
    assert desk.journal.events("") == ()


def test_of_several_approvals_none_is_given_when_one_does_not_exist(desk: Desk) -> None:
    code, _, err = desk.pawl("approve", desk.plan.digest, "plan", "coffee")
    assert code == 4
    assert "it has: plan, control-plane-finish" in err
    assert desk.journal.events("") == ()


def _way_back(plan: Plan) -> Plan:
    step = Step(id="back/landed", phase="landed", action=plan.steps[-1].action)
    return replace(plan, steps=(step,)).sealed()


@pytest.mark.parametrize("outcome", ["done", "failed"])
def test_a_second_rollback_does_not_go_forward_again(desk: Desk, outcome: str) -> None:
    back = _way_back(desk.plan)
    desk.journal.save_plan(back)
    desk.had("run-1", "failed")
    desk.had("run-1-back", outcome, back)
    code, _, err = desk.pawl("rollback", "--yes")
    assert (code, "run-1-back, is a way back already" in err) == (2, True)
    assert ("pawl resume run-1-back" in err) == (outcome == "failed")


def test_a_run_that_is_under_way_is_not_rolled_back(desk: Desk) -> None:
    desk.had("run-1", "")
    before = desk.journal.events("run-1")
    with FileLock(desk.at / ".pawl" / "lock"):
        code, _, err = desk.pawl("rollback", "--yes")
    assert (code, "another pawl" in err) == (2, True)
    assert desk.journal.events("run-1") == before
    assert desk.journal.events("") == ()


def test_runs_are_one_line_each_and_nothing_is_cut_where_there_is_no_terminal(desk: Desk) -> None:
    desk.had("20260101-000000-aaaaaa", "done")
    desk.had("20260102-000000-bbbbbb", "")
    code, out, _ = desk.pawl("runs")
    head, newest, oldest = out.splitlines()
    assert (code, head.split()[:2]) == (0, ["RUN", "PLAN"])
    assert newest.startswith("20260102-000000-bbbbbb")
    assert oldest.endswith("would ever hold.")
    assert [v["run"] for v in yaml.safe_load(desk.pawl("runs", "-o", "yaml")[1])] == [
        "20260102-000000-bbbbbb",
        "20260101-000000-aaaaaa",
    ]


def test_a_plan_of_another_pawl_is_told_in_a_sentence(desk: Desk) -> None:
    desk.had("run-1", "failed", replace(desk.plan, digest="ab" * 32))
    desk.journal._db.execute(
        "INSERT INTO plans (digest, body) VALUES (?, ?)", ("ab" * 32, '{"schema": 1}')
    )
    code, _, err = desk.pawl("report")
    assert (code, "is of another pawl" in err) == (4, True)


def test_a_terminal_that_cannot_redraw_gets_lines(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(screen_for("table", desk.plan, set()), PlainLines)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(screen_for("table", desk.plan, set()), LiveView)


def test_what_an_earlier_process_did_took_no_time_that_this_one_knows(desk: Desk) -> None:
    first, second = (s.id for s in desk.plan.steps[:2])
    view = LiveView(desk.plan, {first}, Console(file=io.StringIO()))
    view.event(StepStarted(at=5.0, run="r", step=second, attempt=1))
    view.event(StepDone(at=12.0, run="r", step=second))
    assert [view._row(step, 1.0, 12.0)[2] for step in (first, second)] == ["", "7 s"]


def _approved(desk: Desk, name: str) -> Plan:
    """Another plan, told apart by what it was computed from, and approved."""
    source = replace(desk.plan.source, fingerprint=name)
    other = replace(desk.plan, source=source).sealed()
    desk.journal.save_plan(other)
    desk.journal.append(Approved(at=0, run="", digest=other.digest, name="plan", by="t"))
    return other


def test_what_was_approved_before_an_earlier_upgrade_is_not_meant_any_more(desk: Desk) -> None:
    _approved(desk, "stale")
    newer = _approved(desk, "newer")
    assert choose(desk.journal, "")[0] == newer
    desk.had("run-1", "done", newer)
    code, _, err = desk.pawl("run", "--no-probe")
    assert (code, "nothing to run" in err) == (4, True)


def test_of_an_unfinished_run_and_a_newer_plan_a_person_chooses(desk: Desk) -> None:
    """Who makes a new plan because the run halted does not want the same halt again."""
    desk.had("run-1", "failed")
    newer = _approved(desk, "newer")
    code, _, err = desk.pawl("run", "--no-probe")
    assert (code, "pawl run run-1 or pawl run " + newer.digest[:12] in err) == (2, True)
    assert choose(desk.journal, newer.digest)[0] == newer
    assert choose(desk.journal, "run-1")[1] == "run-1"


def test_what_is_unfinished_is_gone_on_with(desk: Desk) -> None:
    desk.had("run-1", "failed")
    assert choose(desk.journal, "")[1] == "run-1"


@pytest.mark.parametrize("nohup", [False, True])
def test_a_session_that_drops_stops_the_run_at_a_safe_point_but_not_under_nohup(
    nohup: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = Stop()

    async def go() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(_on_signals, stop, group.cancel_scope)
            await anyio.wait_all_tasks_blocked()
            os.kill(os.getpid(), signal.SIGHUP)
            if nohup:
                os.kill(os.getpid(), signal.SIGTERM)
            with anyio.fail_after(30):
                while not stop.asked():
                    await anyio.sleep(0)
            group.cancel_scope.cancel()

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else lambda *_: None)
    try:
        anyio.run(go)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert stop.asked().startswith("SIGTERM" if nohup else "SIGHUP")
    assert "stopping at the next safe point" in capsys.readouterr().err


class Prober:
    """Stands in for the process that measures."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, runs: bool) -> None:
        self.runs, self.orders = runs, list[str]()
        monkeypatch.setattr("pawl.probes.process.start", self._start)
        monkeypatch.setattr("pawl.probes.process.stop", self._stop)
        monkeypatch.setattr("pawl.probes.process.running", lambda _: self if self.runs else None)

    def _start(self, *_: object) -> Prober:
        self.orders.append("start")
        self.runs = True
        return self

    def _stop(self, _: object) -> bool:
        self.orders.append("stop")
        self.runs = False
        return True


def _drives_to(desk: Desk, monkeypatch: pytest.MonkeyPatch, outcome: str) -> None:
    async def drive(_: object, __: object, run: str, *___: object, **____: object) -> int:
        desk.had(run, outcome)
        return EXIT[outcome]

    monkeypatch.setattr("pawl.interfaces.cli.run.drive", drive)


@pytest.mark.parametrize(
    ("verb", "outcome", "orders"),
    [
        (["run"], "done", ["start", "stop"]),
        (["run"], "failed", ["start"]),
        (["run", "--no-probe"], "done", []),
        (["resume"], "done", ["start", "stop"]),
        (["resume"], "paused", ["start"]),
        (["resume", "--no-probe"], "done", []),
    ],
)
def test_traffic_ends_with_the_run_and_is_told_where_it_stays(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, verb: list[str], outcome: str, orders: list[str]
) -> None:
    """150 writes a second are not left to etcd for the rest of the night."""
    prober = Prober(monkeypatch, runs=False)
    desk.had("run-1", "paused")
    _drives_to(desk, monkeypatch, outcome)
    code, _, err = desk.pawl(*verb)
    assert (code, prober.orders) == (EXIT[outcome], orders)
    assert ("pawl probe stop" in err) == prober.runs


def test_an_abort_ends_the_prober_that_the_run_left_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    prober = Prober(monkeypatch, runs=True)
    desk.had("run-1", "failed")
    _drives_to(desk, monkeypatch, "aborted")
    assert desk.pawl("abort")[0] == 0
    assert prober.orders == ["stop"]


def test_a_prober_that_cannot_start_names_the_way_without(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object) -> None:
        raise PawlError("the prober did not start.")

    monkeypatch.setattr("pawl.probes.process.start", start)
    desk.had("run-1", "paused")
    code, _, err = desk.pawl("run")
    assert (code, err) == (
        4,
        "pawl: the prober did not start. To go without measuring: --no-probe.\n",
    )


def test_a_prober_that_cannot_start_holds_up_no_way_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object) -> None:
        raise PawlError("the prober did not start.")

    monkeypatch.setattr("pawl.probes.process.start", start)
    back = _way_back(desk.plan)
    desk.journal.save_plan(back)
    desk.had("run-1-back", "paused", back)
    _drives_to(desk, monkeypatch, "done")
    code, _, err = desk.pawl("resume")
    assert (code, err) == (0, "not measured: the prober did not start.\n")


def test_a_dry_run_as_json_is_one_effect_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    state = cluster()
    etcd = planned(state, Target(etcd="3.6.14", only=("etcd",)), config(state))

    class Seen:
        async def observe(self) -> object:
            return state

    session = SimpleNamespace(observer=Seen(), config=config(state))
    assert anyio.run(_rehearse, session, etcd, "json") == 0
    *effects, end = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"seconds", "effect", "target"} == set(effects[0])
    assert (end["outcome"], end["would_break"]) == ("done", [])


def test_no_runs_are_a_sentence(desk: Desk) -> None:
    assert desk.pawl("runs") == (0, "", "no run yet; `pawl run` starts one\n")
    assert desk.pawl("runs", "-o", "json")[1].strip() == "[]"
