"""`pawl knowledge`: the tables behind every check, each row with its source."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from pawl.core.knowledge.rows import key
from pawl.interfaces.cli import exits
from pawl.interfaces.cli.options import Corrections, Output
from pawl.interfaces.cli.tabular import cell, emit, lines

app = App(
    name="knowledge",
    help="The tables behind the checks, derived from the releases' own source (docs/knowledge.md).",
)


@app.command
def removals(
    *,
    since: Annotated[str, Parameter(name="--from", help="Only what goes after this minor.")] = "",
    to: Annotated[str, Parameter(help="Only what is gone at this minor.")] = "",
    subresources: Annotated[
        bool, Parameter(help="Types of subresources too.", negative=())
    ] = False,
    output: Output = "table",
    corrections: Corrections = (),
) -> int:
    """APIs that were removed, and what takes their place.

    For example:

        pawl knowledge removals --from 1.24 --to 1.25
        pawl knowledge removals -o json
    """
    from pawl.adapters.manifests.documents import knowledge
    from pawl.core.knowledge import answer

    tables = knowledge(corrections)
    since, to = answer.demand_span(tables, since, to)
    rows = answer.removals(tables, since, to, subresources=subresources)
    emit(
        rows,
        (
            "group",
            "version",
            "kind",
            "default_served",
            "removed",
            "replacement",
            "field_compatible",
        ),
        output,
    )
    return 0


@app.command
def stored(
    *,
    to: Annotated[str, Parameter(help="Only what this minor cannot read.")] = "",
    output: Output = "table",
    corrections: Corrections = (),
) -> int:
    """Versions in which an object may lie in etcd that a minor cannot read any more.

    For example:

        pawl knowledge stored --to 1.37
    """
    from pawl.adapters.manifests.documents import knowledge
    from pawl.core.knowledge import answer

    tables = knowledge(corrections)
    to = answer.demand_known(tables, to) if to else ""
    columns = ("group", "version", "kind", "removed", "unreadable")
    emit(answer.stored(tables, to), columns, output)
    return 0


@app.command
def gates(
    *,
    removed: Annotated[bool, Parameter(help="Only gates that are gone.", negative=())] = False,
    at: Annotated[str, Parameter(help="As it is at this minor.")] = "",
    output: Output = "table",
    corrections: Corrections = (),
) -> int:
    """Feature gates: stages and defaults per minor, locked, removed.

    For example:

        pawl knowledge gates --removed --at 1.37
        pawl knowledge gates -o json
    """
    from pawl.adapters.manifests.documents import knowledge
    from pawl.core.knowledge import answer

    tables = knowledge(corrections)
    minor = answer.demand_known(tables, at) if at else tables.newest
    now = key(minor)
    rows = list(tables.gates)
    if removed:
        rows = [g for g in rows if key(g.removed) <= now]
    elif at:
        rows = [g for g in rows if g.at(now) and key(g.removed) > now]
    if output == "table":
        stages = [g.at(now) or g.stages[-1] for g in rows]
        lines(
            [
                [g.name, s.stage, cell(s.default), s.minor, cell(g.locked), cell(g.removed)]
                for g, s in zip(rows, stages, strict=True)
            ],
            ("name", "stage", "default", "since", "locked", "removed"),
        )
    else:
        emit(rows, (), output)
    return 0


@app.command
def flags(
    component: Annotated[str, Parameter(help="A component, or etcd.")] = "",
    /,
    *,
    removed: Annotated[bool, Parameter(help="Only flags that are gone.", negative=())] = False,
    output: Output = "table",
    corrections: Corrections = (),
) -> int:
    """Flags of the Kubernetes components and etcd: added, deprecated, removed, defaults.

    For example:

        pawl knowledge flags kubelet --removed
        pawl knowledge flags etcd -o json
    """
    from pawl.adapters.manifests.documents import knowledge
    from pawl.core.errors import ConfigError

    tables = knowledge(corrections)
    components = sorted({f.component for f in tables.flags})
    if component and component not in components:
        raise ConfigError(
            "pawl knowledge flags",
            [f"no flags of {component!r} are known; one of: {', '.join(components)}"],
        )
    rows = [
        f
        for f in tables.flags
        if (not component or f.component == component) and (not removed or f.removed)
    ]
    emit(rows, ("component", "flag", "added", "deprecated", "removed", "type"), output)
    return 0


@app.command
def fields(*, output: Output = "table", corrections: Corrections = ()) -> int:
    """Fields that went away or became required while their kind stayed.

    For example:

        pawl knowledge fields -o json
    """
    from pawl.adapters.manifests.documents import knowledge

    rows = knowledge(corrections).fields
    if output == "table":
        lines(
            [
                [r.minor, r.change, kind.strip("/"), path]
                for r in rows
                for kind, paths in r.where.items()
                for path in paths
            ],
            ("minor", "change", "kind", "path"),
        )
    else:
        emit(rows, (), output)
    return 0


@app.command
def releases(*, output: Output = "table", corrections: Corrections = ()) -> int:
    """Minors of Kubernetes and etcd: released, end of life, latest patch.

    For example:

        pawl knowledge releases
    """
    from pawl.adapters.manifests.documents import knowledge

    emit(
        knowledge(corrections).releases,
        ("project", "minor", "released", "maintenance", "end_of_life", "latest", "latest_released"),
        output,
    )
    return 0


@app.command
def plugins(*, output: Output = "table") -> int:
    """Admission plugins, by minor.

    For example:

        pawl knowledge plugins
    """
    from pawl.core.knowledge.store import shipped

    emit(shipped().plugins, ("plugin", "added", "removed", "default"), output)
    return 0


@app.command
def configurations(*, output: Output = "table") -> int:
    """Kinds of component configuration files, by minor.

    For example:

        pawl knowledge configurations
    """
    from pawl.core.knowledge.store import shipped

    emit(shipped().configurations, ("group", "version", "kind", "added", "removed"), output)
    return 0


@app.command(name="in-tree")
def in_tree(*, output: Output = "table") -> int:
    """Volume plugins and cloud providers inside the binaries, by minor.

    For example:

        pawl knowledge in-tree
    """
    from pawl.core.knowledge.store import shipped

    emit(shipped().in_tree, ("what", "name", "added", "removed"), output)
    return 0


@app.command
def demands(*, output: Output = "table", corrections: Corrections = ()) -> int:
    """What each minor asks of etcd, kernel, cgroups and container runtime.

    For example:

        pawl knowledge demands
    """
    from pawl.adapters.manifests.documents import knowledge

    emit(knowledge(corrections).demands, ("on", "minor", "demand", "value", "source"), output)
    return 0


@app.command
def disagreements(*, output: Output = "table") -> int:
    """Where two derivations differ, and which one was taken.

    For example:

        pawl knowledge disagreements
    """
    from pawl.core.knowledge.store import shipped

    emit(shipped().disagreements, ("table", "subject", "minor", "one", "taken"), output)
    return 0


@app.command
def coverage(
    *,
    target: Annotated[str, Parameter(help="A minor such as 1.37.")],
    output: Output = "table",
    corrections: Corrections = (),
) -> int:
    """What is known about a minor, from where and how fresh. An unknown one is refused.

    For example:

        pawl knowledge coverage --target 1.37
    """
    from pawl.adapters.manifests.documents import knowledge
    from pawl.core.knowledge import answer

    found = answer.coverage(knowledge(corrections), target)
    if output != "table":
        emit([found], (), output)
    else:
        print(f"Kubernetes {found.target}: {found.verdict} (as of {found.as_of})")
        lines([[what, str(n)] for what, n in found.removed.items()], ("removed", "count"))
        print("\nread from:")
        for name, version in found.sources.items():
            print(f"  {name} {version}")
        if found.disagreements:
            print(f"{found.disagreements} disagreements: pawl knowledge disagreements")
    return exits.INCOMPLETE if found.missing else exits.DONE
