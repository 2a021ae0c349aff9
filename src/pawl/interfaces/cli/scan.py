"""`pawl scan`: what an upgrade will break in a live cluster, with the evidence and its grade."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from cyclopts import Parameter

from pawl.interfaces.cli.options import OUTPUT, Corrections, Kubeconfig
from pawl.interfaces.cli.tabular import document

if TYPE_CHECKING:
    from pawl.core.lint.finding import Report
    from pawl.core.lint.waive import Waiver

Output = Literal["text", "json", "sarif", "junit", "markdown"]
WAIVERS = ".pawl-waivers.yaml"


def scan(
    *,
    to: Annotated[
        str,
        Parameter(
            name=["--to", "--kube-version"],
            help="The minor you go to, such as 1.37 (default: the one after the cluster's).",
        ),
    ] = "",
    config: Annotated[
        Path | None,
        Parameter(
            name=["--config", "-c"], help="pawl.yaml ($PAWL_CONFIG): hosts and audit logs too."
        ),
    ] = None,
    kubeconfig: Kubeconfig = None,
    audit_log: Annotated[
        tuple[Path, ...],
        Parameter(help="An audit log that was fetched, .gz too; repeatable.", negative=()),
    ] = (),
    audit_days: Annotated[
        float,
        Parameter(help="Days; older calls are a hint only, older rotated files are not read."),
    ] = 7.0,
    output: Annotated[Output, OUTPUT] = "text",
    waivers: Annotated[
        Path | None,
        Parameter(
            help=f"Waivers (default: those of pawl.yaml, else {WAIVERS}; where it is there)."
        ),
    ] = None,
    corrections: Corrections = (),
) -> int:
    """Find what an upgrade to a Kubernetes minor will break in a live cluster. Changes nothing.

    Each finding has a grade: proven (an audit record, a Helm manifest, an object as it is), likely
    (a manager's last write was at that API version) or stale (only a hint). Proven and likely
    findings block, stale ones never do.

    Exit codes: 0 clean, 1 warnings, 2 blockers, 3 something was not read, 4 an error.

    For example:

        pawl scan --to 1.37
        pawl scan --to 1.37 --kubeconfig ~/.kube/config -o markdown
        pawl scan --kubeconfig admin.conf --audit-log audit.log --audit-log old.log.gz
    """
    import anyio

    from pawl.adapters.manifests.documents import knowledge
    from pawl.core.errors import ConfigError
    from pawl.core.knowledge.answer import demand_known
    from pawl.core.lint import waive
    from pawl.interfaces.api_only import open_kubeconfig
    from pawl.interfaces.scanning import scanned
    from pawl.interfaces.tables import tables_of
    from pawl.interfaces.wiring import open_session

    if config is not None and kubeconfig is not None:
        raise ConfigError("pawl scan", ["give --config or --kubeconfig, not both"])
    tables = knowledge(corrections)
    if not audit_days >= 0:
        raise ConfigError("pawl scan", [f"--audit-days {audit_days:g}: a number of days from 0 on"])
    if to:  # a mistake in what was asked for is told before anything is read
        demand_known(tables, to)

    async def run() -> tuple[Report, tuple[Waiver, ...]]:
        opened = open_kubeconfig(kubeconfig) if kubeconfig else open_session(config)
        async with opened as cluster:
            accepted = _accepted(waivers, Path(cluster.config.findings.waivers))
            report = await scanned(
                cluster,
                await cluster.observe(),
                tables_of(cluster.config, corrections),
                to,
                files=audit_log,
                audit_days=audit_days,
                uses=await cluster.uses(),
            )
            return report, accepted

    report, accepted = anyio.run(run)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    findings, notes = waive.apply(report.findings, accepted, today)
    report = msgspec.structs.replace(report, findings=findings, notes=(*report.notes, *notes))
    sys.stdout.write(shown(report, output))
    return report.exit_code


def _accepted(given: Path | None, own: Path) -> tuple[Waiver, ...]:
    """The waivers of the file that was `given`, else of pawl.yaml's `own`, if that is there."""
    from pawl.adapters.yaml_file import read
    from pawl.core.lint import waive
    from pawl.core.scan.rules import RULES

    file = given or (own if own.is_file() else None)
    return waive.decode(read(file), str(file), RULES) if file else ()


def shown(report: Report, output: Output) -> str:
    """The report in the format that was asked for."""
    from pawl import __version__
    from pawl.core.lint import render
    from pawl.core.scan import deadlocks, onhosts
    from pawl.core.scan.rules import RULES

    match output:
        case "json":
            return document(report, "json")
        case "sarif":
            return render.sarif(
                report, __version__, {**RULES, **deadlocks.MEANINGS, **onhosts.MEANINGS}
            )
        case "junit":
            return render.junit(report)
        case "markdown":
            return render.markdown(report)
        case "text":
            return render.text(report)
