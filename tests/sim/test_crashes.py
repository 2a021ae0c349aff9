"""SIGKILL before and after every effect of a whole run: same end state, no effect twice.

One run is cut at each of its effects, first right before the act and then right after it, and gone
on with by a new process each time. A lost process leaves nothing but the cluster, the journal and
the lock file; here it does not even get to unwind its waits.
"""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
from harness import UP, Crash, Watch, drive, planned, versions, virtual
from msgspec.structs import replace
from test_whole_runs import NEW

from pawl.core.events import RunStarted, StepStarted
from pawl.engine.effects import Effect
from pawl.testing.cluster import SimCluster
from pawl.testing.journal import MemoryJournal

UNCOUNTED = ("evict", "release", "snapshot")
"""Which pod is released and evicted follows where the scheduler put it. A snapshot that was not
proven before the crash is no backup, so it is taken again: it changes nothing in the cluster."""


class CutEach:
    """Cuts before each new effect once, and then after it once."""

    def __init__(self) -> None:
        self.cut: set[tuple[str, Effect]] = set()

    def _cut(self, when: str, effect: Effect) -> None:
        if (effect.name, effect.step) in self.cut:
            return  # one eviction and one release of each drain stand for all of them
        if (when, effect) not in self.cut:
            self.cut.add((when, effect))
            if when == "after" and effect.name in ("evict", "release"):
                self.cut.add((effect.name, effect.step))  # type: ignore[arg-type]
            raise Crash

    async def before(self, effect: Effect) -> None:
        self._cut("before", effect)

    async def after(self, effect: Effect) -> None:
        self._cut("after", effect)


def changes(cluster: SimCluster) -> Counter[tuple[str, str]]:
    return Counter(c.identity for c in cluster.world.changes if c.verb not in UNCOUNTED)


@pytest.mark.parametrize("strategy", ["in-place", "replace"])
def test_a_crash_around_every_effect(strategy: str) -> None:
    @virtual
    async def go() -> None:
        target = replace(
            UP,
            etcd_strategy=strategy,
            control_plane_strategy=strategy,
            node_strategy=strategy,
        )
        smooth, cut = SimCluster(), SimCluster()
        watch = Watch()
        assert (await drive(smooth, planned(smooth, target), hook=watch)).outcome == "done"
        plan = planned(cut, target)
        hook, crashes = CutEach(), 0
        while True:
            try:
                ended = await drive(cut, plan, hook=hook, holder=f"process-{crashes}")
                break
            except Crash:
                crashes += 1
        assert (ended.outcome, cut.world.violations) == ("done", []), ended.why
        assert versions(cut) == NEW == versions(smooth)
        assert crashes > 100
        twice = {k: n for k, n in changes(cut).items() if n > max(1, changes(smooth)[k])}
        assert not twice, "done more often than in a run without a crash"
        evicted = Counter(c.target for c in cut.world.changes if c.verb == "evict")
        assert not [uid for uid, n in evicted.items() if n > 1]
        released = Counter(c.target for c in cut.world.changes if c.verb == "release")
        assert released
        assert not [uid for uid, n in released.items() if n > 1]
        assert not [p for p in cut.world.pods.pods.values() if p.released]
        assert not [n for n in cut.state().nodes if n.unschedulable or n.taints]
        assert {b.admin for b in cut.state().balancer} == {"ready"}

    go()


@virtual
async def test_the_next_action_comes_within_ten_seconds() -> None:
    """From the start of the process after a SIGKILL to its first step."""
    cluster = SimCluster()
    plan = planned(cluster)
    crashes = 0
    hook = CutEach()
    while crashes < 12:
        try:
            await drive(cluster, plan, hook=hook, holder=f"process-{crashes}")
            break
        except Crash:
            crashes += 1
            died = cluster.session().clock.now()
            begun = len(cluster.journal.entries)
            with contextlib.suppress(Crash):
                await drive(cluster, plan, hook=hook, holder=f"again-{crashes}")
            acted = next(
                (e for e in cluster.journal.entries[begun:] if isinstance(e, StepStarted)), None
            )
            if acted is not None:
                assert acted.at - died < 10.0
    assert crashes >= 6


@virtual
async def test_a_lost_journal_costs_history_not_safety() -> None:
    cluster = SimCluster()
    plan = planned(cluster)
    with pytest.raises(Crash):
        await drive(cluster, plan, hook=Watch(40, "before"), holder="first")
    cluster.journal = MemoryJournal()
    ended = await drive(cluster, plan, holder="second")
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
    assert versions(cluster) == NEW
    first = cluster.journal.entries[0]
    assert isinstance(first, RunStarted)
    assert not first.resumed
