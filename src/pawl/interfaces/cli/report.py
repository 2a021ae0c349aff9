"""`pawl report`: what a run did and what its users felt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import anyio

from pawl.core import evidence, report_html, report_md
from pawl.core import report as model
from pawl.core.errors import PawlError
from pawl.core.events import Approved, RunStarted
from pawl.core.evidence_summary import measure
from pawl.interfaces import wiring
from pawl.interfaces.cli import exits
from pawl.interfaces.cli.options import OUTPUT, ConfigFile
from pawl.interfaces.cli.tabular import document
from pawl.interfaces.wiring import Session
from pawl.probes import process


def _overlapping(directory: Path, start: float, end: float) -> tuple[list[evidence.AnyRecord], int]:
    """The records of the probers that were alive at some time between `start` and `end`."""
    records: list[evidence.AnyRecord] = []
    bad = 0
    for path in sorted(directory.glob("probe-*.ndjson")):
        found, unreadable = evidence.parse(path.read_bytes().splitlines())
        if found and found[0].at <= end and found[-1].at >= start:
            records += found
            bad += unreadable
    return records, bad


def make(session: Session, run: str) -> model.Report:
    """The report of one run ("" for the newest); PawlError when there is nothing to report."""
    runs = session.journal.runs()
    chosen = run or (runs[0] if runs else "")
    events = session.journal.events(chosen) if chosen in runs else ()
    started = next((e for e in events if isinstance(e, RunStarted)), None)
    if started is None:
        known = ", ".join(runs[:5]) or "none"
        raise PawlError(f"no run {chosen!r} is in the journal; known: {known} (see `pawl runs`)")
    plan = session.journal.plan(started.plan)
    given = [
        e for e in session.journal.events("") if isinstance(e, Approved) and e.digest == plan.digest
    ]
    everything = sorted([*given, *events], key=lambda e: e.at)
    start, end = model.window(everything, started.at)
    records, bad = _overlapping(process.directory(session.state_dir), start, end)
    return model.build(plan, everything, measure(records, start, end, bad))


def report(
    run: str = "",
    /,
    *,
    output: Annotated[Literal["md", "json", "yaml", "html", "svg"], OUTPUT] = "md",
    out: Path | None = None,
    config: ConfigFile = None,
) -> int:
    """Prove what a run did: steps, versions, what users felt, what was given back.

    Exit codes: 0 proved, 1 a figure missed its target, 3 something was not measured, or the run is
    not over.

    For example:

        pawl report                      # the newest run, as Markdown
        pawl report 20261124-002530-4f2a91 -o json
        pawl report -o svg > run.svg     # the timeline alone, for a pull request
        pawl report --out report/        # report.md, .json, .html and .svg

    Parameters
    ----------
    run
        Id of the run (`pawl runs`); the newest without it.
    out
        Directory for report.md, .json, .html and .svg, instead of the terminal.
    """

    async def load() -> model.Report:
        async with wiring.open_session(config) as session:
            return make(session, run)

    made = anyio.run(load)
    texts = {
        "md": report_md.render(made),
        "json": document(made, "json"),
        "html": report_html.render(made),
        "svg": report_html.svg(made),
    }
    if out is None and output == "yaml":
        print(document(made, "yaml"), end="")
    elif out is None:
        print(texts[output], end="")
    else:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        for kind, text in texts.items():
            path = out / f"report.{kind}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
        print(made.verdict.sentence)
        print(f"Report: {out / 'report.html'} (also .md, .json and .svg)")
    if made.verdict.good is None:
        return exits.INCOMPLETE
    return exits.DONE if made.verdict.good else exits.FINDINGS
