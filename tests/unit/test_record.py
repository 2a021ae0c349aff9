"""What a run writes down, and what it need not write twice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pawl.core.events import AnyEvent, StepDone, Waiting
from pawl.engine.record import Narrator, Record
from pawl.testing.journal import MemoryJournal

GUARD: Any = SimpleNamespace(epoch=1)
CLOCK: Any = SimpleNamespace(now=lambda: 7.0)


def test_the_end_of_a_step_ends_a_wait_though_its_reason_stays() -> None:
    """Patience counts from the first `Waiting` after it: without one it would never run out."""
    journal = MemoryJournal()
    record = Record(journal, CLOCK, GUARD, "r", Narrator())
    for _ in range(3):
        record.waiting("soak", "host etcd-2 could not be read.", trouble=True)
    assert [type(e) for e in journal.events("r")] == [Waiting], "a reason is journalled once"
    record.append(StepDone(step="swap", note="", **record.stamp()))
    assert record.view().waiting_since is None
    record.waiting("soak", "host etcd-2 could not be read.", trouble=True)
    assert record.view().waiting_since == 7.0


def test_what_a_person_lets_wait_is_no_trouble_of_the_cluster() -> None:
    record = Record(MemoryJournal(), CLOCK, GUARD, "r", Narrator())
    record.waiting("gate", "it needs an approval.")
    assert record.view().waiting_since is None
    record.waiting("gate", "host etcd-2 could not be read.", trouble=True)
    record.waiting("swap", "pods are leaving.")
    assert record.view().waiting_since == 7.0, "of another step"
    record.waiting("gate", "it needs an approval.")
    assert record.view().waiting_since is None, "the trouble is over"


def test_a_long_run_costs_no_more_to_look_at_than_a_short_one() -> None:
    """With 100,000 events a look took 80 ms, several times a second for each node at work."""
    journal = MemoryJournal()
    read: list[int] = []
    since = journal.since

    def counted(mark: int, *runs: str) -> tuple[tuple[AnyEvent, ...], int]:
        news, mark = since(mark, *runs)
        read.append(len(news))
        return news, mark

    journal.since = counted  # type: ignore[method-assign]
    record = Record(journal, CLOCK, GUARD, "r", Narrator())
    for number in range(50):
        record.append(StepDone(step=f"step-{number}", **record.stamp()))
        for _ in range(3):
            assert len(record.view().done) == number + 1
    assert sum(read) == 50
