"""`pawl lint`: removed APIs and fields in manifests, for a team's CI and pre-commit."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from pawl.interfaces.cli import exits
from pawl.interfaces.cli.dash import MAY_BE_DASH
from pawl.interfaces.cli.options import OUTPUT, Corrections
from pawl.interfaces.cli.tabular import document

Output = Literal["text", "json", "sarif", "junit", "markdown"]
FailOn = Literal["warnings", "blockers"]
WAIVERS = ".pawl-waivers.yaml"


def lint(
    *paths: Annotated[
        str,
        MAY_BE_DASH,
        Parameter(help="Files, directories, charts, or - for standard input."),
    ],
    kube_version: Annotated[str, Parameter(help="The minor you go to, such as 1.37.")],
    output: Annotated[Output, OUTPUT] = "text",
    fix: Annotated[
        bool, Parameter(help="Rewrite where the apiVersion alone is enough.", negative=())
    ] = False,
    fail_on: Annotated[
        FailOn,
        Parameter(help="blockers: exit 0 where there are only warnings, waived blockers too."),
    ] = "warnings",
    waivers: Annotated[
        Path | None, Parameter(help=f"Waivers (default: {WAIVERS} where it is there).")
    ] = None,
    owners: Annotated[
        Path | None, Parameter(help="CODEOWNERS (default: the repository's).")
    ] = None,
    corrections: Corrections = (),
) -> int:
    """Find what will break in manifests at a Kubernetes minor.

    Exit codes: 0 clean, 1 warnings, 2 blockers, 3 something was not read, 4 an error.

    For example:

        pawl lint --kube-version 1.37 deploy/
        helm template my-app chart/ | pawl lint --kube-version 1.37 -
        pawl lint --kube-version 1.37 --fix deploy/
        pawl lint --kube-version 1.37 -o sarif deploy/ > pawl.sarif
    """
    from pawl import __version__
    from pawl.adapters.manifests.documents import knowledge
    from pawl.adapters.manifests.linting import Linter, find_owners
    from pawl.adapters.yaml_file import read
    from pawl.core.errors import ConfigError
    from pawl.core.knowledge.answer import demand_known
    from pawl.core.lint import render, waive
    from pawl.core.lint.finding import RULES, Report
    from pawl.core.lint.judge import Judge
    from pawl.core.lint.owners import parse
    from pawl.core.scan.rules import RULES as SHARED

    if not paths or not all(paths):  # "" is what a variable that is not set leaves
        raise ConfigError("pawl lint", ["name files or directories, or - for standard input"])
    tables = knowledge(corrections)
    target = demand_known(tables, kube_version)
    if waivers is None and Path(WAIVERS).exists():
        waivers = Path(WAIVERS)
    accepted = waive.decode(read(waivers), str(waivers), SHARED) if waivers else ()
    accepted = tuple(w for w in accepted if w.rule in RULES)  # the others are scan's
    book = owners or find_owners(paths)
    root = book.parent if book else Path()
    if root.name in (".github", ".gitlab", "docs"):
        root = root.parent
    linter = Linter(
        Judge(tables, target),
        parse(book.read_text(errors="replace")) if book else None,
        root=root,
        mend=fix,
    )
    for path in paths:
        if path == "-":
            linter.standard_input(sys.stdin.buffer.read())
        else:
            linter.named(os.path.normpath(path))
    findings, notes = waive.apply(
        linter.findings, accepted, time.strftime("%Y-%m-%d", time.gmtime())
    )
    report = Report(
        target=target,
        knowledge_as_of=tables.as_of,
        findings=findings,
        not_read=tuple(linter.not_read),
        notes=(*linter.notes, *notes),
        files=linter.files,
        documents=linter.documents,
        objects=linter.objects,
    )
    match output:
        case "json":
            out = document(report, "json")
        case "sarif":
            here = Path.cwd()
            root = next((d for d in (here, *here.parents) if (d / ".git").exists()), here)
            out = render.sarif(report, __version__, root=str(root), at=str(here))
        case "junit":
            out = render.junit(report)
        case "markdown":
            out = render.markdown(report)
        case _:
            out = render.text(report)
    sys.stdout.write(out)
    code = report.exit_code
    return exits.DONE if code == exits.FINDINGS and fail_on == "blockers" else code
