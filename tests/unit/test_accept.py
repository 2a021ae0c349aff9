"""Waivers: a named owner, a last day; shown always, hidden never, and never over a guard."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pawl.adapters.yaml_file import read
from pawl.core import accept, checks
from pawl.core.beforehand import Beforehand, LeftOut
from pawl.core.changelog.item import Item, Judged
from pawl.core.days import day_of
from pawl.core.errors import ConfigError, Refused
from pawl.core.findings import Finding, Severity
from pawl.core.inuse.facts import FlagUse, HostUse
from pawl.core.plan import Plan, Target, decode, encode
from pawl.core.planner import plan
from pawl.testing.clusters import TAKEN_AT, cluster, config

TODAY = day_of(TAKEN_AT)
GOAL = Target(kubernetes="1.37.0")
WAIVER = accept.Waiver(
    code="PAWL-U001",
    owner="ada",
    expires="2027-01-31",
    reason="change 4711",
    where="cp-1:*",
)
USE = HostUse(
    host="cp-1",
    flags=(
        FlagUse(
            component="kube-apiserver",
            flag="--feature-gates=SidecarContainers=true",
            path="/etc/kubernetes/kube-apiserver.env",
            line=1,
        ),
    ),
)
KNOWN = Beforehand(uses=(USE,))


def made(*waivers: accept.Waiver, known: Beforehand = KNOWN) -> Plan:
    state = cluster()
    return plan(state, GOAL, config(state), beforehand=known, waivers=waivers)


def test_without_a_waiver_the_plan_is_refused_with_place_and_remedy() -> None:
    with pytest.raises(Refused, match=r"PAWL-U001 .*cp-1:/etc/kubernetes/kube-apiserver.env:1"):
        made()


def test_a_waived_blocker_stays_in_the_plan_and_in_its_digest() -> None:
    the_plan = made(WAIVER)
    (finding,) = [f for f in the_plan.findings if f.code == "PAWL-U001"]
    assert finding.severity is Severity.BLOCKER
    assert finding.waived == "waived by ada until 2027-01-31: change 4711"
    assert the_plan.waivers == (WAIVER,)
    other = made(replace(WAIVER, owner="bob"))
    assert other.digest != the_plan.digest
    assert decode(encode(the_plan)) == the_plan


def test_a_waiver_that_is_over_refuses_and_says_so() -> None:
    assert TODAY > "2026-01-01"
    with pytest.raises(Refused) as caught:
        made(replace(WAIVER, expires="2026-01-01"))
    assert "PAWL-U001" in str(caught.value)
    assert "PAWL-K005" in str(caught.value)
    assert made(replace(WAIVER, expires=TODAY))


def test_a_waiver_of_something_else_changes_nothing_and_is_told() -> None:
    with pytest.raises(Refused):
        made(replace(WAIVER, where="cp-2:*"))
    idle = made(replace(WAIVER, where="cp-2:*"), known=Beforehand())
    assert [f.code for f in idle.findings] == ["PAWL-K004"]
    assert idle.waivers == ()


@pytest.mark.parametrize("code", [c for c in checks.CODES if c[5] in "ECHNW"])
def test_what_guards_the_run_itself_cannot_be_waived(code: str) -> None:
    entry = {"code": code, "owner": "a", "expires": "2027-01-31", "reason": "b"}
    if code == "PAWL-C010":
        assert accept.decode([entry], "w", checks.CODES)
        return
    with pytest.raises(ConfigError, match="cannot be waived"):
        accept.decode([entry], "w", checks.CODES)


def test_every_mistake_of_the_file_is_told_at_once() -> None:
    good = {"code": "PAWL-U001", "owner": "a", "expires": "2027-01-31", "reason": "b"}
    with pytest.raises(ConfigError) as caught:
        accept.decode(
            {
                "waivers": [
                    good,
                    {**good, "expires": "soon"},
                    {**good, "owner": " "},
                    {**good, "code": "PAWL-X999"},
                    {**good, "code": "PAWL-K001"},
                    {**good, "colour": "red"},
                ]
            },
            "waivers.yaml",
            checks.CODES,
        )
    assert len(caught.value.problems) == 5
    with pytest.raises(ConfigError, match="want a list"):
        accept.decode({"waiver": []}, "waivers.yaml", checks.CODES)


def test_a_day_without_quotes_stays_text_and_entries_of_lint_are_passed_over(
    tmp_path: Path,
) -> None:
    file = tmp_path / "waivers.yaml"
    file.write_text(
        "waivers:\n"
        "- {rule: api-removed, owner: a, expires: 2027-01-31, reason: b}\n"
        "- {code: PAWL-U001, owner: a, expires: 2027-01-31, reason: b}\n"
    )
    (waiver,) = accept.decode(read(file), str(file), checks.CODES)
    assert waiver.expires == "2027-01-31"


def test_a_plan_whose_waiver_has_ended_may_not_begin() -> None:
    assert accept.ended((WAIVER,), "2027-01-31") == ()
    assert "ended on 2027-01-31" in accept.ended((WAIVER,), "2027-02-01")[0]


def test_acknowledgements_and_what_was_left_out_are_in_the_digest() -> None:
    note = Judged(
        item=Item(id="1-a", version="1.37.0", section="U", category="urgent", text="Mind this."),
        verdict="needs a person",
        evidence=("not known",),
        acknowledged="ada on 2026-11-24",
    )
    whole = made(known=Beforehand(notes=(note,)))
    assert whole.notes == (note,)
    digests = {
        whole.digest,
        made(known=Beforehand(notes=(replace(note, acknowledged="bob on 2026-11-24"),))).digest,
        made(known=Beforehand()).digest,
        made(known=Beforehand(left_out=(LeftOut(what="scan", why="--no-scan"),))).digest,
    }
    assert len(digests) == 4


def test_a_finding_waived_by_the_first_valid_waiver_names_it() -> None:
    finding = Finding(
        code="PAWL-U001",
        severity=Severity.BLOCKER,
        subject="x",
        message="m",
        remedy="r",
        where="cp-1:/x:1",
    )
    over = replace(WAIVER, expires="2020-01-01", owner="old")
    (first, *rest), used = accept.apply([finding], (over, WAIVER), TODAY)
    assert first.waived.startswith("waived by ada")
    assert used == (WAIVER,)
    assert [f.code for f in rest] == ["PAWL-K005"]
