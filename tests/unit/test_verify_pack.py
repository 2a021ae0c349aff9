"""Verification packs: one format, and exit codes told apart from errors, with real commands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from pawl.adapters.packs import commands
from pawl.adapters.packs.load import load_pack
from pawl.core.errors import ConfigError, PawlError
from pawl.core.verify.pack import Check, Ended, Outcome, Pack, judged, worst
from pawl.engine.packing import Packer
from support_pki import credentials


@pytest.mark.parametrize(
    ("check", "ended", "verdict"),
    [
        ({"run": ("x",)}, {"code": 0}, "pass"),
        ({"run": ("x",)}, {"code": 1}, "fail"),
        ({"run": ("x",)}, {"code": 2}, "error"),
        ({"run": ("x",), "fails": (2, 3)}, {"code": 3}, "fail"),
        ({"run": ("x",), "fails": (2, 3)}, {"code": 1}, "error"),
        ({"run": ("x",)}, {"code": -9}, "error"),
        ({"run": ("x",)}, {"code": None, "trouble": "late"}, "error"),
    ],
)
def test_what_an_exit_code_means(
    check: dict[str, object], ended: dict[str, object], verdict: str
) -> None:
    made = Check(name="c", **check)  # type: ignore[arg-type]
    outcome = judged(made, "before", Ended(seconds=1.0, **ended))  # type: ignore[arg-type]
    assert outcome.verdict == verdict
    assert ("could not be made" in outcome.why) == (verdict == "error")


THREW = (
    'time="2026-11-28T22:10:47Z" level=error msg="Error: boom\\n\\tat default '
    '(file:///packs/l.js:2:36(3))\\n" scenario=default source=stacktrace\n'
)


@pytest.mark.parametrize(
    ("what", "code", "output", "verdict"),
    [
        ("thresholds hold", 0, "", "pass"),
        ("thresholds have failed", 99, "", "fail"),
        ("a threshold with abortOnFail has failed", 99, "", "fail"),
        ("exec.test.fail()", 110, "", "fail"),
        ("a check() fails and no threshold asks for it", 0, "checks_failed......: 100.00%", "pass"),
        ("an iteration throws", 0, THREW, "error"),
        ("the same with K6_LOG_FORMAT=json", 0, '"source":"stacktrace"', "error"),
        ("setup() is too slow", 100, "", "error"),
        ("options that cannot be", 104, "", "error"),
        ("SIGTERM or SIGINT", 105, "", "error"),
        ("the script or its setup() throws, or is no script", 107, "", "error"),
        ("exec.test.abort()", 108, "", "error"),
        ("no such file", 255, "", "error"),
    ],
)
def test_what_an_exit_code_of_k6_means(what: str, code: int, output: str, verdict: str) -> None:
    """Each was seen with k6 1.8.1 (`k6 run --quiet`)."""
    ended = Ended(code=code, seconds=1.0, output=output)
    outcome = judged(Check(name="load", k6="l.js"), "during", ended)
    assert outcome.verdict == verdict, what
    assert ("could not be made" in outcome.why) == (verdict == "error")


def test_the_sum_of_a_pack() -> None:
    def of(*verdicts: str) -> str:
        return worst(
            tuple(Outcome(check="c", phase="after", verdict=v, why="") for v in verdicts)  # type: ignore[arg-type]
        )

    assert of() == "none"
    assert of("pass", "pass") == "pass"
    assert of("pass", "error") == "error"
    assert of("error", "fail") == "fail"


GOOD = """
pack: shop
checks:
  - {name: smoke, when: [before, after], run: [./smoke.sh, "a b"], env: {TARGET: here}}
  - {name: load, when: [during], k6: load.js, every: 30}
  - {name: a pod dies, when: [after], chaos: pod-kill, selector: app=web, seconds: 1}
"""


def written(directory: Path, text: str) -> Path:
    (directory / "load.js").touch()
    path = directory / "pack.yaml"
    path.write_text(text)
    return path


def test_a_pack_from_a_file(tmp_path: Path) -> None:
    pack = load_pack(written(tmp_path, GOOD))
    assert [c.name for c in pack.of("before")] == ["smoke"]
    assert [c.name for c in pack.of("after")] == ["smoke", "a pod dies"]
    assert pack.of("during")[0].command() == ("k6", "run", "--quiet", "load.js")


def test_all_mistakes_of_a_pack_at_once(tmp_path: Path) -> None:
    text = (
        "pack: shop\nchecks:\n"
        "  - {name: a, run: [x], k6: load.js}\n"
        "  - {name: a, fails: [0, 1]}\n"
        "  - {name: b, chaos: network-loss, percent: 3}\n"
        "  - {name: c, chaos: pod-kill}\n"
        "  - {name: d, k6: missing.js}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_pack(written(tmp_path, text))
    assert len(caught.value.problems) == 7
    with pytest.raises(ConfigError, match="did you mean `run`"):
        load_pack(written(tmp_path, "pack: x\nchecks: [{name: a, rum: [x]}]\n"))


# -- real commands -----------------------------------------------------------------------------


def script(directory: Path, text: str) -> None:
    path = directory / "check.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def end_of(directory: Path, text: str, timeout: float = 10.0) -> Ended:
    script(directory, text)
    return asyncio.run(commands.run(("./check.sh", "a b"), directory, {"WORD": "w"}, timeout))


def test_a_command_gets_its_words_its_place_and_its_environment(tmp_path: Path) -> None:
    ended = end_of(tmp_path, 'echo "$1 $WORD $(pwd)"; exit 7')
    assert ended.code == 7
    assert ended.output == f"a b w {tmp_path}"


def test_only_the_last_output_is_kept(tmp_path: Path) -> None:
    ended = end_of(tmp_path, "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done")
    assert ended.code == 0
    assert len(ended.output) <= commands.LAST
    assert ended.output.endswith("line 2999")


def test_at_its_timeout_a_command_is_ended_with_all_its_children(tmp_path: Path) -> None:
    began = time.monotonic()
    ended = end_of(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; wait", timeout=0.5)
    assert ended.code is None
    assert "0.5 s" in ended.trouble
    assert time.monotonic() - began < 20
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().rpartition(") ")[2][0] in "ZX":
            return
        time.sleep(0.05)
    raise AssertionError("its child lives on")


def test_a_signal_and_a_missing_program_are_errors(tmp_path: Path) -> None:
    assert end_of(tmp_path, "kill -9 $$").code == -9
    missing = asyncio.run(commands.run(("./nowhere",), tmp_path, {}, 1.0))
    assert "cannot be started" in missing.trouble


def test_the_command_makes_the_checks_of_a_phase(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pawl.interfaces.cli.verify import pack

    credentials(tmp_path)
    config = tmp_path / "pawl.yaml"
    config.write_text(
        "cluster: shop\n"
        "hosts: [{name: cp-1, address: 198.18.0.1, roles: [control-plane, etcd]}]\n"
        "ssh: {key: key, known_hosts: known_hosts}\n"
        "etcd: {ca: ca.crt, cert: etcd.crt, key: etcd.key}\n"
        "api: {endpoint: 'https://198.18.0.1:6443', kubeconfig: kubeconfig}\n"
    )
    script(tmp_path, 'echo "it was $1"; exit "$1"')
    path = written(
        tmp_path,
        "pack: shop\nchecks:\n"
        '  - {name: good, when: [before], run: [./check.sh, "0"]}\n'
        '  - {name: bad, when: [after], run: [./check.sh, "1"]}\n'
        '  - {name: broken, when: [during], run: [./check.sh, "7"]}\n',
    )
    codes = [
        asyncio.run(pack(path, phase=phase, config=config))
        for phase in ("before", "after", "during")
    ]
    assert codes == [0, 1, 3]
    said = capsys.readouterr().out
    assert "it says no (exit code 1)" in said
    assert "it was 7" in said


# -- experiments -------------------------------------------------------------------------------


def experiment(fails: bool = False, ends: int = 0) -> tuple[Outcome, list[str]]:
    done: list[str] = []

    @asynccontextmanager
    async def chaos(check: Check) -> AsyncIterator[str]:
        if fails:
            raise PawlError("no such machine")
        done.append("begun")
        try:
            yield "100 ms of delay"
        finally:
            done.append("taken back")

    async def command(check: Check) -> Ended:
        done.append("command")
        return Ended(code=ends, seconds=0.0)

    check = Check(name="slow", chaos="network-delay", machine="w", run=("x",), seconds=1.0)
    packer = Packer(pack=Pack(pack="p", checks=(check,)), commands=command, experiments=chaos)
    (outcome,) = asyncio.run(packer.make("before"))
    return outcome, done


def test_an_experiment_is_taken_back_whatever_its_command_says() -> None:
    for code, verdict in ((0, "pass"), (1, "fail"), (5, "error")):
        outcome, done = experiment(ends=code)
        assert outcome.verdict == verdict
        assert done == ["begun", "command", "taken back"]
        assert "100 ms of delay" in outcome.why


def test_an_experiment_that_cannot_begin_is_an_error() -> None:
    outcome, done = experiment(fails=True)
    assert (outcome.verdict, done) == ("error", [])
    assert "no such machine" in outcome.why


def test_no_experiments_outside_a_lab() -> None:
    async def never(check: Check) -> Ended:
        raise AssertionError

    check = Check(name="x", chaos="pod-kill", selector="app=web")
    packer = Packer(pack=Pack(pack="p", checks=(check,)), commands=never)
    (outcome,) = asyncio.run(packer.make("after"))
    assert outcome.verdict == "error"
    assert "in a lab only" in outcome.why


def test_checks_of_during_are_repeated() -> None:
    told: list[str] = []

    async def command(check: Check) -> Ended:
        return Ended(code=0, seconds=0.0)

    async def go() -> None:
        check = Check(name="again", when=("during",), run=("x",))
        packer = Packer(pack=Pack(pack="p", checks=(check,)), commands=command)

        async def no_sleep(seconds: float) -> None:
            assert seconds == 60.0
            await anyio.sleep(0)

        async with anyio.create_task_group() as group:

            def hear(outcome: Outcome) -> None:
                told.append(outcome.verdict)
                if len(told) == 3:
                    group.cancel_scope.cancel()

            group.start_soon(packer.repeat, hear, no_sleep)

    asyncio.run(go())
    assert told == ["pass"] * 3
