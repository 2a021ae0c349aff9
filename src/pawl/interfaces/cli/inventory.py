"""`pawl inventory`: what depends on the Kubernetes API, whose it is, and whether it goes along."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from cyclopts import Parameter

from pawl.interfaces.cli import exits
from pawl.interfaces.cli.options import OUTPUT, ConfigFile, Kubeconfig
from pawl.interfaces.cli.tabular import document, emit, lines

if TYPE_CHECKING:
    from pawl.core.config import Config
    from pawl.core.inventory.facts import Binary, InventoryFacts
    from pawl.core.inventory.report import Inventory
    from pawl.core.knowledge.store import Knowledge
    from pawl.interfaces.waivers import Accepted

Output = Literal["table", "json", "yaml", "csv", "markdown", "html"]
OWNERS, WAIVERS = "owners.yaml", ".pawl-waivers.yaml"


def inventory(
    *,
    to: Annotated[
        str, Parameter(help="The minor you go to, such as 1.37 (default: the next one).")
    ] = "",
    config: ConfigFile = None,
    kubeconfig: Kubeconfig = None,
    hosts: Annotated[
        bool, Parameter(help="Read audit logs and programs on the hosts of pawl.yaml.")
    ] = True,
    audit: Annotated[
        tuple[Path, ...], Parameter(help="An audit log that was fetched; repeatable.", negative=())
    ] = (),
    audit_days: Annotated[float, Parameter(help="Days that rotated logs are read back.")] = 7.0,
    owners: Annotated[
        Path | None, Parameter(help=f"Ownership file (default: {OWNERS} where it is there).")
    ] = None,
    addons: Annotated[
        tuple[Path, ...],
        Parameter(help="Your own rows for the add-on tables; repeatable.", negative=()),
    ] = (),
    waivers: Annotated[
        Path | None,
        Parameter(
            help=f"Waivers (default: those of pawl.yaml, else {WAIVERS}; where it is there)."
        ),
    ] = None,
    binary: Annotated[
        tuple[Path, ...],
        Parameter(
            help="Only tell what Go programs were built with: executables, image archives.",
            negative=(),
        ),
    ] = (),
    output: Annotated[Output, OUTPUT] = "table",
) -> int:
    """List what depends on the Kubernetes API, with owner, chart, library and verdict for each hop.

    Reads RBAC, workloads, Helm releases (never a value of them), CRDs, and where there is a way to
    them audit logs and the programs that pods run. Changes nothing.

    Exit codes: 0 nothing to warn of, 1 warnings, 2 blockers, 3 something was not read, 4 an error.

    For example:

        pawl inventory --to 1.37
        pawl inventory --to 1.37 --audit audit.log -o csv > clients.csv
        pawl inventory --to 1.37 --kubeconfig ~/.kube/config
        pawl inventory --to 1.37 -o html > inventory.html
        pawl inventory --binary ./controller --binary image.tar
    """
    import anyio

    from pawl.adapters.yaml_file import read
    from pawl.core import accept, ownership
    from pawl.core.days import day_of
    from pawl.core.errors import ConfigError
    from pawl.core.inventory.inventory import take
    from pawl.core.knowledge.answer import demand_known
    from pawl.core.knowledge.store import shipped
    from pawl.interfaces.addons import table as addon_table
    from pawl.interfaces.tables import tables_of
    from pawl.interfaces.waivers import load, load_if_there

    if binary:
        return programs(binary, output)
    if config is not None and kubeconfig is not None:
        raise ConfigError("pawl inventory", ["give --config or --kubeconfig, not both"])
    if owners is None and Path(OWNERS).exists():
        owners = Path(OWNERS)
    owned = ownership.decode(read(owners), str(owners)) if owners else None
    if not audit_days >= 0:
        raise ConfigError(
            "pawl inventory", [f"--audit-days {audit_days:g}: a number of days from 0 on"]
        )
    if to:  # a mistake in what was asked for is told before anything is read
        demand_known(shipped(), to)

    async def gather() -> tuple[InventoryFacts, Config, Accepted, float]:
        from pawl.interfaces.api_only import open_kubeconfig
        from pawl.interfaces.wiring import open_session

        opened = open_kubeconfig(kubeconfig) if kubeconfig else open_session(config)
        async with opened as cluster:
            own = Path(cluster.config.findings.waivers)
            accepted = load(waivers) if waivers else load_if_there(own)
            state = await cluster.observe() if hosts and not kubeconfig else None
            facts = await cluster.inventory_source(state, audit, audit_days).read()
            return facts, cluster.config, accepted, cluster.clock.now()

    facts, configured, accepted, now = anyio.run(gather)
    tables = tables_of(configured)
    found = take(
        facts,
        to=to or next_minor(facts, tables),
        knowledge=tables,
        ownership=owned,
        addons=addon_table((*configured.findings.addons, *addons)),
    )
    findings, _ = accept.apply(found.findings, accepted.of_inventory, day_of(now))
    found = msgspec.structs.replace(found, findings=findings)
    sys.stdout.write(shown(found, output))
    return found.exit_code


def next_minor(facts: InventoryFacts, tables: Knowledge) -> str:
    """The minor after that of the oldest API server, or the newest that is known."""
    from pawl.core.version import Minor

    if not facts.server:
        return tables.newest
    following = str(Minor.parse(facts.server) + 1)
    return following if tables.known(following) else tables.newest


def shown(found: Inventory, output: Output) -> str:
    from pawl.core.inventory import render

    match output:
        case "json" | "yaml":
            return document(found, output)
        case "csv":
            return render.as_csv(found)
        case "markdown":
            return render.markdown(found)
        case "html":
            return render.page(found)
        case "table":
            table(found)
            return ""


def table(found: Inventory) -> None:
    from pawl.core.inventory import render

    if found.clients:
        rows = [render.row(c) for c in found.clients]
        lines([[row[c] for c in render.COLUMNS] for row in rows], render.COLUMNS)
        print()
    for finding in found.findings:
        print(f"{finding.severity}: {finding.sentence()}")
        if finding.waived:
            print(f"  {finding.waived}")
    for question in found.questions:
        print(f"question: {question}")
    for unread in found.unread:
        print(f"not read: {unread.source}: {unread.why}")
    for note in found.notes:
        print(f"note: {note}")
    print(render.summary(found))


def programs(paths: tuple[Path, ...], output: Output) -> int:
    """Go build information of local files; those that have none are told, with exit code 3. Raises
    ConfigError where none has any."""
    from pawl.adapters.inventory.gofile import binaries
    from pawl.core.errors import ConfigError
    from pawl.core.inventory.gobuild import client_go_minor

    if output not in ("table", "json", "yaml"):
        raise ConfigError("pawl inventory --binary", ["writes -o table, json or yaml"])
    found: list[Binary] = []
    unread: list[ConfigError] = []
    for path in paths:
        try:
            found += binaries(path)
        except ConfigError as error:
            unread.append(error)
    if unread and not found:
        raise unread[0]
    for each in unread:
        print(f"pawl: {each}", file=sys.stderr)
    code = exits.INCOMPLETE if unread else exits.DONE
    if output != "table":
        emit(found, (), output)
        return code
    heads = ("path", "main", "version", "go", "client_go", "kubernetes", "controller_runtime")
    lines(
        [
            [b.path, b.main, b.main_version or "-", b.go, b.client_go or "-",
             client_go_minor(b.client_go) or "-", b.controller_runtime or "-"]
            for b in found
        ],
        heads,
    )  # fmt: skip
    return code
