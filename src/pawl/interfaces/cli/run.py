"""The verbs of a run: approve, run, pause, resume, abort, runs.

Another process is told through the journal: `pause` and `abort` write an event that the running
pawl reads on its next tick, so they work over a second terminal and after a crash alike.
"""

from __future__ import annotations

import getpass
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Annotated

import anyio
import anyio.to_thread
import msgspec

from pawl.core.errors import PawlError
from pawl.core.events import Aborted, Approved, Paused, Resumed, RunEnded
from pawl.core.plan import Plan
from pawl.core.progress import RunView
from pawl.engine.effects import EffectHook
from pawl.engine.identity import holder, known_dead
from pawl.engine.record import APPROVALS, view_of
from pawl.engine.runner import Runner, Stop, innermost
from pawl.interfaces import wiring
from pawl.interfaces.cli import exits, packs
from pawl.interfaces.cli.choosing import (
    ENDED,
    choose,
    of_this_cluster,
    plan_named,
    still_open,
)
from pawl.interfaces.cli.live import LiveView, Voice, duration, screen_for
from pawl.interfaces.cli.options import OUTPUT, SWITCH, ConfigFile, Live, Output
from pawl.interfaces.cli.rollback import nodes_back, rollback
from pawl.interfaces.cli.tabular import emit, lines
from pawl.interfaces.wiring import Session
from pawl.ports.lock import Locked
from pawl.probes import process

__all__ = ["abort", "approve", "pause", "resume", "rollback", "run", "runs"]

EXIT = {
    "done": exits.DONE,
    "paused": exits.FINDINGS,
    "aborted": exits.REFUSED,
    "failed": exits.ERROR,
    "interrupted": exits.INTERRUPTED,
}
"""Exit code of each outcome of a run."""


def who() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


async def approve(digest: str, /, *names: str, by: str = "", config: ConfigFile = None) -> int:
    """Approve a plan, or a point of no return in it, by the plan's digest.

    For example:

        pawl approve 4f2a91c0                         # the plan itself
        pawl approve 4f2a91c0 etcd-last-member        # a point of no return in it
        pawl approve plan.json plan control-plane-finish --by "ana, change 1234"

    Parameters
    ----------
    digest
        The plan's digest (six digits are enough) or its file.
    names
        What is approved: `plan` if nothing is named, or the names of points of no return.
    by
        Who approves; by default the user of this shell.
    """
    async with wiring.open_session(config) as session:
        plan = plan_named(session.journal, digest)
        of_this_cluster(plan, session.config.cluster)
        known = ("plan", *dict.fromkeys(s.approval for s in plan.steps if s.approval))
        for name in names:
            if name not in known:
                raise PawlError(
                    f"this plan asks for no approval {name!r}; it has: {', '.join(known)}"
                )
        for name in names or ("plan",):
            session.journal.append(
                Approved(
                    at=session.clock.now(),
                    run=APPROVALS,
                    digest=plan.digest,
                    name=name,
                    by=by or who(),
                )
            )
            print(f"approved {name} of plan {plan.digest[:12]} by {by or who()}")
    return 0


async def run(
    what: str = "",
    /,
    *,
    wait: bool = True,
    dry_run: Annotated[bool, SWITCH] = False,
    probe: bool = True,
    output: Annotated[Live, OUTPUT] = "table",
    config: ConfigFile = None,
) -> int:
    """Run an approved plan. Killed anywhere, run it again: it goes on where the cluster stands.

    Ctrl-C stops at the next safe point and says how to go on; a second one stops at once. The
    table is a live view, plain lines where there is no terminal; json is one event a line (with
    --dry-run: one effect).

    Exit codes: 0 done, 1 paused or an approval is missing, 2 refused or aborted, 4 failed, 130
    stopped by a signal.

    For example:

        pawl run                      # what is unfinished, else the approved plan
        pawl run 4f2a91c0             # a plan by digest
        pawl run plan.json --no-wait  # ends with 1 where an approval is missing
        pawl run 4f2a91c0 --dry-run   # every effect, against a simulated twin
        pawl run -o json              # one event a line

    Parameters
    ----------
    what
        A plan's file or digest, or a run's id. Nothing means what is unfinished.
    wait
        Wait at a point of no return for its approval (`pawl approve` in another shell).
    probe
        Measure from outside, in a process of its own, what users notice meanwhile.
    dry_run
        Change nothing: run against a simulated twin of what is observed, and list the effects.
    """
    async with wiring.open_session(config) as session:
        plan, run_id = choose(session.journal, what)
        if dry_run:
            return await _rehearse(session, plan, output)
        return await measured(
            session, plan, run_id, probe, lambda: _go(session, plan, run_id, wait, output)
        )


async def _go(session: Session, plan: Plan, run_id: str, wait: bool, output: str) -> int:
    """Drive the run, with what `policy.gates.on_fail` orders after it."""
    code = await drive(session, plan, run_id, wait, output, checked=not plan.goes_back)
    return await nodes_back(session, run_id, output) or code


async def measured(
    session: Session, plan: Plan, run_id: str, probe: bool, go: Callable[[], Awaitable[int]]
) -> int:
    """With the prober beside, from before the first step. It ends with a run that is over; one
    that is to go on keeps it, and the next `pawl run` or `resume` adopts it. One that cannot start
    holds up no way back."""
    if probe:
        directory = process.directory(session.state_dir)
        try:
            await anyio.to_thread.run_sync(process.start, session.path, directory)
        except PawlError as error:
            if not plan.goes_back:
                raise PawlError(f"{error} To go without measuring: --no-probe.") from error
            _aside(f"not measured: {error}")
    code = await go()
    if probe:
        await end_prober(session, run_id)
    return code


async def end_prober(session: Session, run_id: str) -> None:
    """For a run that is over; otherwise it is said that traffic goes on."""
    handle = process.running(process.directory(session.state_dir))
    if handle is None:
        return
    if view_of(session.journal, run_id).outcome in ENDED:
        await anyio.to_thread.run_sync(process.stop, handle)
    else:
        _aside("the prober goes on measuring until the run is over; to end it: pawl probe stop")


async def _rehearse(session: Session, plan: Plan, output: str) -> int:
    """In a thread of its own, because a twin lives in a loop of virtual time."""
    from pawl.testing.twin import rehearse

    state = await session.observer.observe()
    ended, changes, broken = await anyio.to_thread.run_sync(rehearse, plan, state, session.config)
    began = changes[0].at if changes else 0.0
    if output == "json":
        for change in changes:
            seconds = round(change.at - began, 3)
            line = {"seconds": seconds, "effect": change.verb, "target": change.target}
            print(msgspec.json.encode(line).decode())
        end = {"outcome": ended.outcome, "why": ended.why, "would_break": broken}
        print(msgspec.json.encode(end).decode())
        return exits.ERROR if broken else EXIT.get(ended.outcome, exits.ERROR)
    for change in changes:
        print(f"{duration(change.at - began):>8}  {change.verb:<18} {change.target}")
    for violation in broken:
        print(f"would break: {violation}")
    print(f"{ended.outcome}: {ended.why} Nothing was changed.")
    return exits.ERROR if broken else EXIT.get(ended.outcome, exits.ERROR)


async def drive(
    session: Session,
    plan: Plan,
    run_id: str,
    wait: bool,
    output: str,
    hook: EffectHook | None = None,
    checked: bool = False,
) -> int:
    """Run it with a screen and signals; returns the exit code. `hook` as in `Runner`. `checked`:
    with the verification packs; they never stand in the way of an abort or a rollback."""
    journal = session.journal
    of_this_cluster(plan, session.config.cluster)
    packers = session.packers if checked else ()
    if checked:
        await packs.before(session, run_id)
    done = set(view_of(journal, run_id).done)
    screen = screen_for(output, plan, done)
    stop = Stop()
    runner = Runner(
        tools=session,
        plan=plan,
        run=run_id,
        holder=holder(),
        known_dead=known_dead,
        lock=session.lock,
        hook=hook,
        narrator=screen,
        stop=stop,
        wait_for_approval=wait,
    )
    ended: RunEnded | None = None
    screen.open()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_on_signals, stop, group.cancel_scope)
            during = packs.During(session, run_id)
            for packer in packers:
                group.start_soon(packer.repeat, during.hear, session.clock.sleep)
            ended = await runner.run()
            group.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        raise innermost(errors) from None
    finally:
        screen.close()
    given_up = bool(view_of(journal, run_id).aborted)
    code = _say_end(ended, run_id, live=isinstance(screen, LiveView), given_up=given_up)
    if checked and ended is not None and ended.outcome == "done":
        code = await packs.after(session, run_id)
    return code


async def _on_signals(stop: Stop, scope: anyio.CancelScope) -> None:
    """A terminal that is gone (SIGHUP) asks for the same, but not under nohup."""
    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heard.append(signal.SIGHUP)
    with anyio.open_signal_receiver(*heard) as signals:
        async for number in signals:
            if stop.asked():
                scope.cancel()
                return
            stop.ask(f"{signal.Signals(number).name} was received.")
            _aside("stopping at the next safe point; once more stops at once (also safe)")


def _say_end(ended: RunEnded | None, run_id: str, *, live: bool, given_up: bool = False) -> int:
    """`live`: the screen is gone, so the run's end is said; lines and events have told it.
    `given_up`: it was aborted, and can only be ended."""
    if ended is None:
        _aside(f"stopped at once; go on with: pawl run {run_id}")
        return exits.INTERRUPTED
    if live:
        Voice(sys.stdout).say(f"{ended.outcome}: {ended.why}")
    if ended.outcome not in ENDED:
        # Only a resume lifts a pause, and gives a step that failed its attempts again.
        verb = "abort" if given_up else "run" if ended.outcome == "interrupted" else "resume"
        _aside(f"go on with: pawl {verb} {run_id}")
    return EXIT.get(ended.outcome, exits.ERROR)


def _aside(line: str) -> None:
    """To standard error, which nobody may be reading any more."""
    Voice(sys.stderr).say(line)


async def pause(run: str = "", /, *, why: str = "", config: ConfigFile = None) -> int:
    """Pause a run at its next safe point. What runs is finished; nothing new begins.

    For example:

        pawl pause
        pawl pause 20261124-002530-4f2a91 --why "incident in payments"

    Parameters
    ----------
    run
        The run's id; by default the newest.
    why
        The reason, kept in the journal and the report.
    """
    async with wiring.open_session(config) as session:
        run_id = still_open(session.journal, run)
        why = f"{why.rstrip('.') or 'A person asked for it'}."
        session.journal.append(Paused(at=session.clock.now(), run=run_id, why=why, by=who()))
        print(f"{run_id} pauses at its next safe point; go on with: pawl resume {run_id}")
    return 0


async def resume(
    run: str = "",
    /,
    *,
    probe: bool = True,
    output: Annotated[Live, OUTPUT] = "table",
    config: ConfigFile = None,
) -> int:
    """Lift a pause (or a failure that was mended) and go on, with a full budget of attempts.

    For example:

        pawl resume
        pawl resume 20261124-002530-4f2a91

    Parameters
    ----------
    run
        The run's id; by default the newest.
    probe
        As in `pawl run`: adopts the prober that still measures, or starts one.
    """
    async with wiring.open_session(config) as session:
        run_id = still_open(session.journal, run)
        plan = session.journal.plan(view_of(session.journal, run_id).plan)
        of_this_cluster(plan, session.config.cluster)
        session.journal.append(Resumed(at=session.clock.now(), run=run_id, by=who()))
        try:
            return await measured(
                session, plan, run_id, probe, lambda: _go(session, plan, run_id, True, output)
            )
        except Locked as other:
            _by_the_other(other, run_id, "goes on in")
            return 0


async def abort(run: str = "", /, *, why: str = "", config: ConfigFile = None) -> int:
    """End a run for good and give back what it took: cordons, taints, places in the balancer.

    It does not undo what has landed; `pawl rollback` does that, as far as an exit is open.
    Exit code 0 when all was given back, 4 when something could not be.

    For example:

        pawl abort --why "wrong window"

    Parameters
    ----------
    run
        The run's id; by default the newest.
    why
        The reason, kept in the journal and the report.
    """
    async with wiring.open_session(config) as session:
        run_id = still_open(session.journal, run)
        plan = session.journal.plan(view_of(session.journal, run_id).plan)
        of_this_cluster(plan, session.config.cluster)
        why = f"{why.rstrip('.') or 'A person asked for it'}."
        session.journal.append(Aborted(at=session.clock.now(), run=run_id, why=why, by=who()))
        try:
            code = await drive(session, plan, run_id, False, "table")
        except Locked as other:
            _by_the_other(other, run_id, "is being ended by")
            return 0
        await end_prober(session, run_id)
    return 0 if code == EXIT["aborted"] else code


def _by_the_other(other: Locked, run_id: str, what: str) -> None:
    """It is told by the journal, which the pawl that runs it reads. A pawl that runs something else
    does nothing about it."""
    if other.note.run != run_id:
        raise other
    print(f"{run_id} {what} the pawl that runs it; `pawl runs` tells how it stands")


async def runs(
    *,
    output: Output = "table",
    config: ConfigFile = None,
) -> int:
    """List runs, newest first, and how they stand.

    For example:

        pawl runs
        pawl runs -o json
    """
    async with wiring.open_session(config) as session:
        views = [view_of(session.journal, r) for r in session.journal.runs()]
    if not views:
        print("no run yet; `pawl run` starts one", file=sys.stderr)
    if output == "table" and views:
        columns = ("run", "plan", "began (UTC)", "took", "steps done", "stands")
        lines([_row(view) for view in views], columns)
    elif output != "table":
        emit(views, (), output)
    return 0


def _row(view: RunView) -> tuple[str, ...]:
    began = view.started_at or 0.0
    if view.outcome:
        stands = f"{view.outcome}: {view.outcome_why}"
    else:
        at = ", ".join(view.running) or view.waiting
        stands = f"running, or cut off: {at}" if at else "running, or cut off"
    return (
        view.run,
        view.plan[:12],
        time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(began)),
        duration((view.ended_at or began) - began) if view.ended_at else "-",
        str(len(view.done)),
        stands,
    )
