"""`pawl workloads`: what runs on the nodes, what depends on what, and how each pod would move."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import anyio
import msgspec
from cyclopts import Parameter

from pawl.interfaces.cli import exits
from pawl.interfaces.cli.dash import MAY_BE_DASH
from pawl.interfaces.cli.options import OUTPUT, ConfigFile
from pawl.interfaces.cli.tabular import document

if TYPE_CHECKING:
    from pathlib import Path

    from pawl.core.config import Config
    from pawl.core.workloads.facts import Workloads

Output = Literal["table", "json", "yaml", "dot", "html"]


def workloads(
    *,
    from_: Annotated[tuple[str, ...], MAY_BE_DASH, Parameter(name="--from", negative=())] = (),
    to: str = "",
    node: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    surge: str = "",
    connections: bool = True,
    output: Annotated[Output, OUTPUT] = "table",
    config: ConfigFile = None,
) -> int:
    """See the workloads, and plan how each pod leaves the old nodes.

    Reads only. Says for each workload how it moves and what that costs, in which order, what would
    block a drain for ever, and what does not fit on the new nodes.

    Exit codes: 0 nothing in the way, 1 warnings, 2 something needs a person, 3 something was not
    read, 4 an error. When several are true, 2 comes before 3, and 3 before 1.

    For example:

        pawl workloads
        pawl workloads --to 1.37.0 --surge all -o html > workloads.html
        pawl workloads -o dot | dot -Tsvg > graph.svg
        pawl workloads --from deploy/ -o table

    Parameters
    ----------
    from_
        Manifests, directories, or - for standard input, instead of a cluster; repeatable. Pods that
        controllers would have are imagined, on three plain nodes unless the files hold nodes.
    to
        The Kubernetes version that new nodes run, a minor or a release; nodes that run it already
        stay.
    node
        Replace only this node; repeatable. Default: every worker.
    surge
        New nodes at a time, or `all`. Default: policy.limits.surge; `all` for manifests.
    connections
        Look at the nodes' connections over SSH for evidence of dependencies.
    """
    from pawl.core.config import PolicyConfig
    from pawl.core.errors import ConfigError
    from pawl.core.workloads.planner import plan
    from pawl.core.workloads.scenario import replace_all

    if surge and surge != "all" and not (surge.isdigit() and int(surge) > 0):
        raise ConfigError("--surge", [f"{surge} is neither a number of nodes nor `all`"])
    to = _release(to)
    policy, canary, size, cluster = PolicyConfig(), False, 0, "manifests"
    if from_:
        from pawl.adapters.manifests.workload_files import read_workloads
        from pawl.core.workloads.imagine import populated

        facts = populated(read_workloads(from_))
    else:
        facts, settings = anyio.run(_live, config, connections)
        cluster = settings.cluster
        policy = settings.policy
        size, canary = policy.limits.surge, True
    if surge:
        size, canary = (0, False) if surge == "all" else (int(surge), False)
    unknown = sorted(set(node) - {n.name for n in facts.nodes})
    if unknown:
        raise ConfigError("--node", [f"there is no node {name}" for name in unknown])
    scenario = replace_all(facts, version=to, only=node, surge=size, canary=canary)
    made = plan(facts, scenario, pace=policy.pace, patience=policy.timeouts.eviction)
    match output:
        case "json":
            from pawl.core.workloads.document import encode

            sys.stdout.buffer.write(encode(facts, made))
        case "yaml":
            from pawl.core.workloads.document import encode

            sys.stdout.write(document(msgspec.json.decode(encode(facts, made)), "yaml"))
        case "dot":
            from pawl.core.workloads.views import dot

            sys.stdout.write(dot(made))
        case "html":
            from pawl.core.workloads.page import render

            sys.stdout.write(render(facts, made, cluster))
        case "table":
            from pawl.interfaces.cli.workloads_table import show

            show(facts, made)
    if made.blockers:
        return exits.REFUSED
    if not facts.complete:
        return exits.INCOMPLETE
    warned = any(o.severity == "warning" for o in made.obstacles)
    return exits.FINDINGS if warned else exits.DONE


async def _live(config: Path | None, connections: bool) -> tuple[Workloads, Config]:
    from pawl.interfaces.wiring import open_session

    async with open_session(config) as session:
        return await session.see_workloads(connections=connections), session.config


def _release(text: str) -> str:
    """A release as it is, a minor as its newest known release, as in `pawl plan`."""
    from pawl.core.errors import ConfigError
    from pawl.core.version import Minor, Version
    from pawl.interfaces.cli.plan import known_releases

    if not text:
        return ""
    try:
        return str(Version.parse(text))
    except ValueError:
        pass
    try:
        return str(known_releases()[Minor.parse(text)])
    except (ValueError, KeyError):
        raise ConfigError(
            "--to", [f"{text} is neither a release (1.37.0) nor a minor that pawl knows (1.37)"]
        ) from None
