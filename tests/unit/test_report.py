"""The report of a small run: what it says, and what it must not say."""

from __future__ import annotations

from xml.etree import ElementTree

import msgspec

from pawl.core import events as e
from pawl.core import evidence as ev
from pawl.core import report as model
from pawl.core import report_html, report_md
from pawl.core.actions import PointOfNoReturn, Preflight, SwapEtcdMember
from pawl.core.evidence_summary import measure
from pawl.core.plan import Plan, Source, Step, Target

PLAN = Plan(
    cluster="small",
    target=Target(etcd="3.6.14"),
    source=Source(taken_at=0.0, fingerprint="", versions={}),
    steps=(
        Step(id="preflight", phase="preflight", action=Preflight(), seconds=1.0),
        Step(
            id="gate",
            phase="etcd",
            action=PointOfNoReturn(approval="etcd-last-member", loses="the old binary"),
        ),
        Step(
            id="swap",
            phase="etcd",
            action=SwapEtcdMember(host="etcd-1", source="3.5.33", target="3.6.14"),
            seconds=4.0,
        ),
    ),
).sealed()


def run(*, ends: bool = True) -> list[e.AnyEvent]:
    r = "run-1"
    found: list[e.AnyEvent] = [
        e.RunStarted(at=100.0, run=r, plan=PLAN.digest, operator="ada@host"),
        e.StepStarted(at=100.0, run=r, step="preflight", attempt=1),
        e.StepDone(at=101.0, run=r, step="preflight"),
        e.Waiting(at=101.0, run=r, step="gate", why="Waits for the approval."),
        e.Approved(at=111.0, run=r, digest=PLAN.digest, name="etcd-last-member", by="ada"),
        e.StepDone(at=111.0, run=r, step="gate"),
        e.StepStarted(at=111.0, run=r, step="swap", attempt=1),
        e.EffectIntended(at=112.0, run=r, step="swap", effect="stop", target="etcd-1/etcd"),
        e.EffectDone(at=112.5, run=r, step="swap", effect="stop", target="etcd-1/etcd"),
    ]
    if ends:
        done = e.EffectDone(at=113.0, run=r, step="swap", effect="start", target="etcd-1/etcd")
        found += [done, e.StepDone(at=115.0, run=r, step="swap", note="<b>caught up</b>")]
        found.append(e.RunEnded(at=115.0, run=r, outcome="done"))
    return found


def test_waiting_for_a_person_is_not_the_phase_s_time() -> None:
    report = model.build(PLAN, run(), None)
    etcd = next(p for p in report.phases if p.name == "etcd")
    assert (etcd.predicted, etcd.actual, etcd.waited) == (4.0, 4.0, 10.0)
    assert [(r.what, r.given_back) for r in report.ledger] == [("stop", 113.0)]


def test_a_run_that_was_left_at_an_approval_waited_and_did_not_gain_time() -> None:
    """The clock of what must be measured stops with the last step, a moment before the wait."""
    events = [event for event in run(ends=False) if event.at < 111.0]
    waited = [msgspec.structs.replace(w, at=101.2) for w in events if isinstance(w, e.Waiting)]
    events = [event for event in events if not isinstance(event, e.Waiting)]
    report = model.build(PLAN, [*events, *waited], None)
    assert [p.waited for p in report.phases] == [0.0, 0.0]
    assert report.goal == "etcd 3.6.14"


def test_without_a_prober_nothing_is_proved_and_nothing_is_zero() -> None:
    report = model.build(PLAN, run(), None)
    assert report.outcome == "done"
    assert report.verdict.good is None
    assert "No prober was running" in report.verdict.sentence
    judged = [f for f in report.figures if f.name != "changes not given back"]
    assert {f.value for f in judged} == {"not measured"}


def test_a_failed_request_is_the_verdict() -> None:
    ticks = [ev.Tick(at=100.0 + i, control_ms=1, loop_ms=1, cpu=i / 10) for i in range(16)]
    bad = ev.Request(at=112.0, lane="api new", op="get", ms=50.0, status=0, error="reset <x>")
    report = model.build(PLAN, run(), measure([*ticks, bad], 100.0, 115.0))
    assert report.verdict.good is False
    assert "1 of 1 requests failed" in report.verdict.sentence


def test_a_killed_run_is_not_called_done_and_owes_what_it_stopped() -> None:
    report = model.build(PLAN, run(ends=False), None)
    assert report.outcome == "not finished"
    assert [(r.target, r.given_back) for r in report.ledger] == [("etcd-1/etcd", None)]
    assert report.verdict.good is False


def test_all_three_formats_hold_the_sentence_and_the_page_fetches_nothing() -> None:
    report = model.build(PLAN, run(), None)
    page, text = report_html.render(report), report_md.render(report)
    assert report.verdict.sentence in text
    assert "No prober was running" in page
    assert "<b>caught up</b>" not in page
    assert not any(word in page for word in ("http://", "https://", "<script", "@import", "src="))
    again = msgspec.json.decode(msgspec.json.encode(report), type=model.Report)
    assert again == report


def test_the_picture_alone_is_a_whole_document_that_fetches_nothing() -> None:
    picture = ElementTree.fromstring(report_html.svg(model.build(PLAN, run(), None)))
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    style = picture.findtext("{http://www.w3.org/2000/svg}style") or ""
    assert "--card" in style
    assert "url(" not in style
    assert "href" not in ElementTree.tostring(picture, encoding="unicode")
