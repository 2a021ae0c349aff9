"""`pawl rollback`: show the cheapest way back that is open, and take it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from pawl.core import predict, render
from pawl.core.errors import Refused
from pawl.core.events import Aborted, Approved, RunEnded
from pawl.core.plan import Plan, encode
from pawl.engine import reverse
from pawl.engine.record import APPROVALS, view_of
from pawl.engine.reverse import Way
from pawl.interfaces import wiring
from pawl.interfaces.cli.choosing import latest
from pawl.interfaces.cli.options import OUTPUT, ConfigFile, Live
from pawl.interfaces.seeing import seen
from pawl.interfaces.wiring import Session


async def rollback(
    run: str = "",
    /,
    *,
    to_step: str = "",
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
    probe: bool = True,
    output: Annotated[Live, OUTPUT] = "table",
    config: ConfigFile = None,
) -> int:
    """Go back by the cheapest exit that is open. Says what is closed, and why, before it starts.

    Without --yes the way back is shown and kept as a plan (with -o json it is printed): approve
    and run it as any other. A run
    that is under way is refused: pause it first, so that nothing begins while the way back is made.

    For example:

        pawl rollback                    # show the way back of the newest run
        pawl rollback --yes              # take it
        pawl rollback --to-step etcd/3.6.14/backup --yes    # what came after it

    Parameters
    ----------
    run
        The run's id; by default the newest.
    to_step
        Keep this step and all before it; by default everything goes back.
    yes
        Approve the way back as yourself and take it now.
    probe
        As in `pawl run`.
    """
    from pawl.interfaces.cli.run import drive, measured, who

    async with wiring.open_session(config) as session:
        journal = session.journal
        run_id = latest(journal, run)
        view = view_of(journal, run_id)
        plan = journal.plan(view.plan)
        if plan.goes_back and not run:
            raise Refused([_gone_back(run_id, view.outcome)])
        session.lock.acquire()  # or Refused, naming the pawl that has it
        session.lock.release()
        state = await seen(session.observer, session.clock)
        if not state.complete:
            lost = [f"{u.source} could not be read: {u.why}" for u in state.unread]
            raise Refused([*lost, "which exits are open can only be told from the whole cluster."])
        ways = reverse.open_ways(plan, view, state, session.config)
        try:
            back = reverse.reverse(plan, view, state, session.config, to_step)
        except Refused as closed:
            raise Refused([*closed.reasons, *_offered(ways)]) from None
        journal.save_plan(back)
        if output != "json":
            print("\n".join([*render.summary(back), "", render.table(back)]))
        elif not yes:
            print(encode(back).decode().rstrip())
        if not yes:
            others = [w for w in ways if w.plan.steps != back.steps]
            for line in _offered(others):
                print(line, file=sys.stderr)
            print(
                f"take this way back: pawl approve {back.digest[:12]} && pawl run "
                f"{back.digest[:12]}   (or pawl rollback --yes)",
                file=sys.stderr if output == "json" else sys.stdout,
            )
            return 0
        _end_forward(session, run_id, who())
        journal.append(
            Approved(
                at=session.clock.now(), run=APPROVALS, digest=back.digest, name="plan", by=who()
            )
        )
        new = _run_id(back)
        return await measured(
            session, back, new, probe, lambda: drive(session, back, new, True, output)
        )


def _offered(ways: Sequence[Way]) -> list[str]:
    """The exits that are open, a sentence each, with the command that takes it."""
    return [
        "open: pawl rollback"
        + (f" --to-step {way.kept}" if way.kept else "")
        + f" ({len(way.plan.steps) - 1} steps back, about "
        + f"{render.duration(predict.wall_seconds(way.plan.steps))}: {render.what(way.plan)})"
        for way in ways
    ]


def _gone_back(run_id: str, outcome: str) -> str:
    """To reverse a way back would be to go forward again, which nobody means at this hour."""
    if outcome in ("done", "aborted"):
        return (
            f"the newest run, {run_id}, is a way back already, and {outcome}. To go forward again, "
            "make a new plan; to take back an older run, name it (`pawl runs`)."
        )
    return (
        f"the newest run, {run_id}, is a way back already, and is not finished: go on with it, "
        f"pawl resume {run_id}, or name the run that you mean (`pawl runs`)."
    )


async def nodes_back(session: Session, run_id: str, output: str) -> int | None:
    """What `policy.gates.on_fail: roll-back-nodes` orders after a gate has paused the run: its
    nodes go back by themselves. None when nothing is to be done."""
    from pawl.interfaces.cli.run import drive

    view = view_of(session.journal, run_id)
    if session.config.policy.gates.on_fail != "roll-back-nodes" or view.paused_by != "gates":
        return None
    if view.gates is None or not view.gates.failed:
        return None  # what cannot be told, or not be read, is no reason to go back
    state = await seen(session.observer, session.clock)
    plan = session.journal.plan(view.plan)
    try:
        back = reverse.nodes_back(plan, view, state, session.config)
    except Refused as refused:
        print(f"the nodes do not go back by themselves: {refused}", file=sys.stderr)
        return None
    session.journal.save_plan(back)
    by = "policy.gates.on_fail"
    session.journal.append(
        Approved(at=session.clock.now(), run=APPROVALS, digest=back.digest, name="plan", by=by)
    )
    _end_forward(session, run_id, by)
    print(f"the nodes go back by themselves, as {by} says", file=sys.stderr)
    await drive(session, back, _run_id(back), True, output)
    return 1


def _run_id(plan: Plan) -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + f"-{plan.digest[:6]}-back"


def _end_forward(session: Session, run_id: str, by: str) -> None:
    """The way there is over: a pawl that still runs it reads this and ends."""
    view = view_of(session.journal, run_id)
    if view.outcome in ("done", "aborted"):
        return
    why = "It is rolled back."
    now, epoch = session.clock.now(), view.epoch
    session.journal.append(Aborted(at=now, run=run_id, epoch=epoch, why=why, by=by))
    session.journal.append(RunEnded(at=now, run=run_id, epoch=epoch, outcome="aborted", why=why))
