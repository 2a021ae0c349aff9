"""Which plan and which run a person means, by what the journal says."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from pawl.core.errors import PawlError, Refused
from pawl.core.plan import Plan, decode
from pawl.engine.record import APPROVALS, view_of
from pawl.ports.journal import Journal

ENDED = ("done", "aborted")
"""Outcomes after which a run is over for good."""


def plan_named(journal: Journal, what: str) -> Plan:
    """A plan by file or by digest (six digits of it are enough)."""
    if Path(what).is_file():
        try:
            plan = decode(Path(what).read_bytes())
        except ValueError as error:
            raise PawlError(f"{what}: {error}") from error
        journal.save_plan(plan)
        return plan
    try:
        return journal.plan(what)
    except KeyError:
        known = ", ".join(d[:12] for d in journal.plans()[:5]) or "none"
        raise PawlError(
            f"no plan {what!r}: it is neither a file nor a digest in the journal "
            f"(newest plans: {known}); make one with `pawl plan`"
        ) from None


def _new_run(plan: Plan) -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + f"-{plan.digest[:6]}"


def choose(journal: Journal, what: str) -> tuple[Plan, str]:
    """The plan and run that WHAT means: a run, a plan, or nothing for what is unfinished."""
    runs = journal.runs()
    if what in runs:
        return journal.plan(view_of(journal, what).plan), what
    plan = plan_named(journal, what) if what else _unfinished(journal, runs)
    for run_id in runs:
        view = view_of(journal, run_id)
        if view.plan == plan.digest and view.outcome not in ENDED:
            return plan, run_id
    return plan, _new_run(plan)


def _unfinished(journal: Journal, runs: tuple[str, ...]) -> Plan:
    """The plan of the newest run, if that is not over; else the newest approved plan that is newer
    than all that was run: what was approved before an earlier upgrade is not meant any more."""
    ran = {view_of(journal, r).plan for r in runs}
    approvals = view_of(journal, APPROVALS)
    newer = itertools.takewhile(lambda digest: digest not in ran, journal.plans())
    approved = next((d for d in newer if approvals.approved(d, "plan")), "")
    if runs and (view := view_of(journal, runs[0])).plan and view.outcome not in ENDED:
        if approved:
            raise Refused(
                [
                    f"run {runs[0]} is not over, and plan {approved[:12]} was approved since: say "
                    f"which, pawl run {runs[0]} or pawl run {approved[:12]} (and end the old run "
                    f"first, so that what it took is given back: pawl abort)."
                ]
            )
        return journal.plan(view.plan)
    if approved:
        return journal.plan(approved)
    raise PawlError(
        "nothing to run: no run is unfinished and no new plan is approved; "
        "make one with `pawl plan --to VERSION` and approve it with `pawl approve DIGEST`"
    )


def latest(journal: Journal, run: str) -> str:
    runs = journal.runs()
    if run and run not in runs:
        raise PawlError(f"no run {run!r}; `pawl runs` lists them")
    if not runs:
        raise PawlError("there is no run yet; start one with `pawl run`")
    return run or runs[0]


def still_open(journal: Journal, run: str) -> str:
    """The id of a run (the newest for "") that is not over; Refused for one that is."""
    run_id = latest(journal, run)
    outcome = view_of(journal, run_id).outcome
    if outcome in ENDED:
        raise Refused([f"{run_id} has ended already ({outcome}); `pawl runs` lists them all."])
    return run_id


def of_this_cluster(plan: Plan, cluster: str) -> None:
    """Refused for a plan that was made for another cluster: its names may exist here too."""
    if plan.cluster != cluster:
        raise Refused(
            [
                f"plan {plan.digest[:12]} was made for the cluster {plan.cluster}, and pawl.yaml "
                f"describes {cluster}: give the --config of {plan.cluster}, or make a new plan."
            ]
        )
