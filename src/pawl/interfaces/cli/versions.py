"""`pawl versions`: where the cluster stands, and what to go to next."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from pawl.interfaces.cli import exits
from pawl.interfaces.cli.options import OUTPUT, Corrections
from pawl.interfaces.cli.tabular import document

if TYPE_CHECKING:
    from pawl.core.versions_policy import Versions

Output = Literal["text", "json", "yaml", "ics"]
LONGEST = 3650
"""Days. No release is that old and still supported."""


def versions(
    *,
    current: Annotated[str, Parameter(help="The minor or release that runs: 1.35 or 1.35.3.")] = "",
    state: Annotated[
        Path | None, Parameter(help="Take it from a saved `pawl status -o json`.")
    ] = None,
    config: Annotated[
        Path | None,
        Parameter(name=["--config", "-c"], help="Take it from the live cluster of this pawl.yaml."),
    ] = None,
    min_age: Annotated[int, Parameter(help="Days since a minor's .0 before it is taken.")] = 60,
    min_patch_age: Annotated[int, Parameter(help="Days before a patch is taken.")] = 7,
    at: Annotated[str, Parameter(help="Answer for another day, such as 2027-01-31.")] = "",
    refresh: Annotated[
        bool, Parameter(help="Ask the official release site for newer patches.", negative=())
    ] = False,
    corrections: Corrections = (),
    output: Annotated[Output, OUTPUT] = "text",
) -> int:
    """End of life, what each policy would choose, and a calendar of the next year.

    Works offline from the shipped table, and says how old that is. Exit codes: 0, or 1 when the
    running minor is out of support.

    For example:

        pawl versions --current 1.35.3
        pawl versions --state status.json -o ics > kubernetes.ics
        pawl versions --current 1.35 --refresh
    """
    from pawl.adapters.config import load_config
    from pawl.adapters.manifests import latest
    from pawl.adapters.manifests.documents import knowledge
    from pawl.core.days import is_day
    from pawl.core.errors import ConfigError
    from pawl.core.knowledge.rows import key
    from pawl.core.versions_policy import Ages, advise, ics, running
    from pawl.interfaces.cli.facts import state_of
    from pawl.interfaces.tables import tables_of

    wrong = [
        f"{name} {days}: a number of days from 0 to {LONGEST}"
        for name, days in (("--min-age", min_age), ("--min-patch-age", min_patch_age))
        if not 0 <= days <= LONGEST
    ]
    if at and not is_day(at):
        wrong.append(f"--at {at!r} is no day such as 2027-01-31")
    if wrong:
        raise ConfigError("pawl versions", wrong)
    tables = tables_of(load_config(config), corrections) if config else knowledge(corrections)
    today = at or time.strftime("%Y-%m-%d", time.gmtime())
    rows, as_of = tables.releases, tables.as_of
    newer = latest.refresh(rows, today) if refresh else latest.kept()
    if newer and newer.day >= as_of:
        own = {(r.project, r.minor): r for r in newer.rows}
        rows = (*(own.pop((r.project, r.minor), r) for r in rows), *own.values())
        as_of = min(newer.day, today)
    runs: dict[str, tuple[str, ...]] = {}
    if (facts := state_of(state, config)) is not None:
        runs = running(facts)
        current = current or next(iter(runs.get("kube-apiserver", ())), "")
    if not current:
        raise ConfigError(
            "pawl versions", ["say what runs: --current 1.35.3, --state FILE or --config pawl.yaml"]
        )
    try:
        answer = advise(
            rows,
            current.removeprefix("v"),
            today,
            as_of,
            ages=Ages(minor=min_age, patch=min_patch_age),
            running=runs,
        )
    except (KeyError, ValueError) as error:
        newest = max((r.minor for r in rows if r.project == "kubernetes"), key=key)
        known = f"covers {tables.oldest} to {newest} (--refresh asks for newer)"
        raise ConfigError(
            "pawl versions", [f"{current!r} is not in the table, which {known}"]
        ) from error
    match output:
        case "json" | "yaml":
            out = document(answer, output)
        case "ics":
            out = ics(answer)
        case _:
            out = text(answer)
    sys.stdout.write(out)
    over = answer.days_left is not None and answer.days_left < 0
    return exits.FINDINGS if over else exits.DONE


def text(answer: Versions) -> str:
    age = f"{answer.age} days old; --refresh asks for newer" if answer.age >= 0 else "a later day"
    out = [f"Kubernetes {answer.current} on {answer.today} (release data of {answer.as_of}, {age})"]
    for component, found in answer.running.items():
        out.append(f"  {component}: {', '.join(found)}")
    if answer.days_left is None:
        out.append("  end of life: not known")
    elif answer.days_left < 0:
        out.append(f"  OUT OF SUPPORT since {answer.end_of_life}, for {-answer.days_left} days")
    else:
        out.append(f"  supported until {answer.end_of_life}, {answer.days_left} days more")
    if answer.latest_patch and answer.latest_patch != answer.current:
        out.append(f"  latest patch of this minor: {answer.latest_patch}")
    for choice in answer.choices:
        when = f" on {choice.when}" if choice.when > answer.today else " now" if choice.when else ""
        head = f"{choice.target}{when}" if choice.target else "nothing to do"
        out += ["", f"{choice.title}: {head}"]
        for hop in choice.hops:
            age = f"{hop.age} days old" if hop.age is not None else "age not known"
            out.append(f"  {hop.minor}: {hop.release}, {age}, supported until {hop.end_of_life}")
        out += [f"  - {reason}" for reason in choice.reasons]
    out += ["", "The next year:"]
    for event in answer.calendar:
        out.append(f"  {event.day}{'' if event.certain else ' (expected)'}  {event.title}")
    return "\n".join(out) + "\n"
