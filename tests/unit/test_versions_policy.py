"""Which version to go to next: three policies over a fixed table and fixed days."""

from __future__ import annotations

from pathlib import Path

import pytest

from pawl.core.errors import ConfigError
from pawl.core.knowledge.rows import Release
from pawl.core.knowledge.store import shipped
from pawl.core.model import ApiServer, ClusterState, EtcdMember, Node
from pawl.core.versions_policy import Ages, Versions, advise, ics, running
from pawl.interfaces.cli.versions import versions as command


def row(minor: str, released: str, end: str, latest: str, day: str) -> Release:
    return Release(
        project="kubernetes", minor=minor, released=released, end_of_life=end, latest=latest,
        latest_released=day, source="test",
    )  # fmt: skip


ROWS = (
    row("1.34", "2025-08-27", "2026-10-28", "1.34.13", "2026-10-28"),
    row("1.35", "2025-12-17", "2027-02-28", "1.35.10", "2026-10-28"),
    row("1.36", "2026-04-22", "2027-06-28", "1.36.6", "2026-10-28"),
    row("1.37", "2026-08-26", "2027-10-28", "1.37.2", "2026-10-27"),
)


def ask(current: str, today: str = "2026-11-24", **ages: int) -> Versions:
    return advise(ROWS, current, today, "2026-10-28", ages=Ages(**ages))


def test_each_policy_chooses_with_reasons() -> None:
    quarter, year, stay = ask("1.35.3").choices
    assert (quarter.target, quarter.when) == ("1.36.6", "2026-11-24")
    assert [h.minor for h in year.hops] == ["1.36", "1.37", "1.38"]
    assert year.when > "2027-01-01"  # 1.38 is only expected
    assert "not known" in " ".join(year.reasons)
    assert (stay.target, stay.when) == ("1.37.2", "2027-01-29")
    assert [h.release for h in stay.hops] == ["1.36.6", "1.37.2"]


def test_a_cluster_without_support_goes_now_and_not_to_another_dead_end() -> None:
    answer = ask("1.34.1")
    assert answer.days_left is not None
    assert answer.days_left < 0
    rows = (row("1.33", "2025-04-23", "2026-06-28", "1.33.13", "2026-06-11"), *ROWS)
    quarter = advise(rows, "1.33", "2026-11-24", "2026-10-28").choices[0]
    assert quarter.target == "1.35.10"
    assert "1.34 is itself out of support" in quarter.reasons[0]


def test_what_is_too_young_waits() -> None:
    quarter, _, _ = ask("1.36.6", minor=120).choices
    assert quarter.when == "2027-01-01"  # 1.37 is 120 days old on 2026-12-24; quarters begin later
    assert ask("1.36.6", minor=30).choices[0].when == "2026-11-24"
    young = ask("1.36.6", "2026-10-29").choices[0]
    assert young.when > "2026-10-29"
    (hop,) = young.hops
    assert hop.ready == "2026-11-03"


def test_the_calendar_tells_certain_from_expected() -> None:
    answer = ask("1.35.3")
    days = {e.title: e for e in answer.calendar}
    assert days["Kubernetes 1.35: end of life"].certain
    assert not days["Kubernetes 1.38 is released"].certain
    assert all("2026-11-24" <= e.day <= "2027-11-24" for e in answer.calendar)
    assert list(answer.calendar) == sorted(answer.calendar)


def test_ics_is_well_formed() -> None:
    text = ics(ask("1.35.3"))
    lines = text.split("\r\n")
    assert lines[0] == "BEGIN:VCALENDAR"
    assert lines[-2:] == ["END:VCALENDAR", ""]
    assert all(len(line.encode()) <= 75 for line in lines)
    assert text.count("BEGIN:VEVENT") == text.count("END:VEVENT") == len(ask("1.35.3").calendar)
    uids = [line for line in lines if line.startswith("UID:")]
    assert len(uids) == len(set(uids))


def test_running_versions_come_from_the_state() -> None:
    state = ClusterState(
        cluster="c",
        taken_at=0.0,
        api_servers=(
            ApiServer(host="a", url="x", version="1.36.10"),
            ApiServer(host="b", url="y", version="1.36.9"),
        ),
        nodes=(Node(name="n", kubelet="1.35.0"),),
        members=(EtcdMember(name="e", host="e", member_id="1", client_url="z", version="3.5.33"),),
    )
    assert running(state) == {
        "etcd": ("3.5.33",),
        "kube-apiserver": ("1.36.9", "1.36.10"),
        "kubelet": ("1.35.0",),
    }


def test_the_command_works_offline_and_says_how_old_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert command(current="1.36.0", at="2026-11-24") == 0
    out = capsys.readouterr().out
    assert f"release data of {shipped().as_of}" in out
    assert "days old" in out
    assert command(current="1.30.0", at="2026-11-24") == 1
    capsys.readouterr()
    command(current="1.30.0", at="2025-01-01")
    assert f"release data of {shipped().as_of}, a later day" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"1\.16 to 1\.37"):
        command(current="1.99", at="2026-11-24")
    with pytest.raises(ConfigError, match=r"'1\.38' is not in the table"):  # only expected
        command(current="1.38", at="2026-11-24")
    capsys.readouterr()
    command(current="1.37", at="2026-11-24")
    assert "1.38 is the next minor, expected on 2026-12-25" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="from 0 to 3650"):
        command(current="1.36", min_age=10**12)
    with pytest.raises(ConfigError, match="--current"):
        command()
    with pytest.raises(ConfigError, match=r"--min-age -5(.|\n)*no day such as"):
        command(current="1.36", at="soon", min_age=-5)
