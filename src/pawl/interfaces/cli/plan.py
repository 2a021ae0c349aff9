"""`pawl plan`: observe, check, plan; print the plan and keep it for `pawl approve` and `pawl run`.

Nothing is changed. The plan is computed by `pawl.core.planner` alone; this module turns words of
the command line into a `Target`, finds out which exact release a minor means, and asks binaries
that are staged already whether they accept the flags in use.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import anyio
import msgspec
from cyclopts import Parameter

from pawl.core import accept, etcd_rules, planner, predict, render
from pawl.core.accept import Waiver
from pawl.core.beforehand import Beforehand, LeftOut
from pawl.core.config import Config
from pawl.core.errors import ConfigError, PawlError, Refused
from pawl.core.knowledge.store import Knowledge
from pawl.core.model import ClusterState
from pawl.core.plan import Plan, Target, encode
from pawl.core.progress import fold
from pawl.core.version import Minor, Version
from pawl.interfaces import waivers
from pawl.interfaces.beforehand import LOOKS, Found, Look, ask_staged
from pawl.interfaces.cli import exits
from pawl.interfaces.cli.facts import saved_state
from pawl.interfaces.cli.options import OUTPUT, ConfigFile
from pawl.interfaces.cli.tabular import document
from pawl.interfaces.seeing import seen

if TYPE_CHECKING:
    from pawl.interfaces.wiring import Session
    from pawl.ports.artifacts import Artifacts
    from pawl.ports.hosts import Hosts
    from pawl.ports.journal import Journal

Output = Literal["text", "table", "json", "yaml"]
Part = Literal["etcd", "control-plane", "nodes"]
Strategy = Literal["in-place", "replace"]
PARTS: tuple[Part, ...] = ("etcd", "control-plane", "nodes")
STRATEGIES: tuple[Strategy, ...] = ("in-place", "replace")

NOT_READ = {f"PAWL-{c}" for c in ("H001", "H002", "U012", "S000", "A000", "K002", "K003")}
"""Findings that say that something could not be read."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the person asked for, checked for form but not yet resolved to exact releases."""

    to: str = ""
    etcd: str = ""
    strategies: Mapping[Part, Strategy] = field(default_factory=dict)
    only: tuple[Part, ...] = ()
    pool: str = ""
    single_step: bool = False
    releases: Mapping[str, str] = field(default_factory=dict)


def request(
    *,
    to: str = "",
    etcd: str = "",
    strategy: Sequence[str] = (),
    only: Sequence[str] = (),
    pool: str = "",
    single_step: bool = False,
    release: Sequence[str] = (),
) -> Request:
    """Check the words of the command line; ConfigError lists every mistake at once."""
    problems: list[str] = []
    if not to and not etcd:
        problems.append("say what to go to: --to 1.37 (Kubernetes), --etcd 3.6, or both")
    for name, text in (("--to", to), ("--etcd", etcd)):
        if text and not _is_version(text):
            problems.append(f"{name} {text} is neither a minor (1.37) nor a release (1.37.0)")
    strategies: dict[Part, Strategy] = {}
    for word in _words(strategy):
        part, _, how = word.partition("=")
        if part not in PARTS or how not in STRATEGIES:
            problems.append(
                f"--strategy {word}: write PART=HOW with PART one of {', '.join(PARTS)} and HOW "
                f"one of {', '.join(STRATEGIES)}"
            )
        else:
            strategies[part] = how
    chosen: list[Part] = []
    for word in _words(only):
        if word not in PARTS:
            problems.append(f"--only {word}: there are {', '.join(PARTS)}")
        else:
            chosen.append(word)
    if pool and chosen and "nodes" not in chosen:
        problems.append("--pool chooses nodes, but --only leaves nodes out")
    releases: dict[str, str] = {}
    for word in _words(release):
        minor, _, exact = word.partition("=")
        if not (_is_minor(minor) and _is_release(exact)):
            problems.append(f"--release {word}: write MINOR=RELEASE, for example 1.37=1.37.3")
        else:
            releases[minor] = exact
    if problems:
        raise ConfigError("pawl plan", problems)
    only_nodes: tuple[Part, ...] = ("nodes",) if pool and not chosen else tuple(chosen)
    return Request(
        to=to,
        etcd=etcd,
        strategies=strategies,
        only=only_nodes,
        pool=pool,
        single_step=single_step,
        releases=releases,
    )


def _words(values: Sequence[str]) -> list[str]:
    """Repeated options and comma-separated ones alike."""
    return [w.strip() for v in values for w in v.split(",") if w.strip()]


def _is_release(text: str) -> bool:
    try:
        Version.parse(text)
    except ValueError:
        return False
    return True


def _is_minor(text: str) -> bool:
    return text.count(".") == 1 and _is_version(text)


def _is_version(text: str) -> bool:
    try:
        Minor.parse(text)
    except ValueError:
        return False
    return True


# -- which exact release a minor means -------------------------------------------------------------


async def resolve(
    text: str,
    component: str,
    asked: Request,
    artifacts: Artifacts | None,
    known: Mapping[Minor, Version],
) -> str:
    """The exact release: as given, by --release, the newest that lies ready, the newest known."""
    if not text or _is_release(text):
        return str(Version.parse(text)) if text else ""
    if text in asked.releases:
        return asked.releases[text]
    minor = Minor.parse(text)
    held = await artifacts.held(component) if artifacts is not None else ()
    ready = [v for v in held if v.minor_line == minor and not v.pre]
    if ready:
        return str(max(ready))
    if minor in known:
        return str(known[minor])
    raise ConfigError(
        "pawl plan",
        [
            f"which release of {component} {minor} to use is not known: give it exactly, "
            f"for example {minor}.0"
        ],
    )


def known_releases() -> dict[Minor, Version]:
    """The newest Kubernetes release of each minor in the shipped tables."""
    from pawl.core.knowledge.store import Knowledge

    return {
        Minor.parse(row.minor): Version.parse(row.latest)
        for row in Knowledge().releases
        if row.project == "kubernetes" and row.latest
    }


async def between(
    asked: Request, artifacts: Artifacts | None, known: Mapping[Minor, Version]
) -> dict[str, str]:
    """What each minor that a chain may pass through means: told, ready, or known."""
    found = {str(m): str(v) for m, v in known.items()}
    if artifacts is not None:
        for version in sorted(await artifacts.held("kube-apiserver")):
            if not version.pre:
                found[str(version.minor_line)] = str(version)
    return {**found, **asked.releases}


async def target_of(
    asked: Request, artifacts: Artifacts | None, known: Mapping[Minor, Version]
) -> Target:
    return Target(
        kubernetes=await resolve(asked.to, "kube-apiserver", asked, artifacts, known),
        etcd=await resolve(asked.etcd, "etcd", asked, artifacts, etcd_rules.LATEST),
        etcd_strategy=asked.strategies.get("etcd", "in-place"),
        control_plane_strategy=asked.strategies.get("control-plane", "in-place"),
        node_strategy=asked.strategies.get("nodes", "in-place"),
        two_step=not asked.single_step,
        only=asked.only,
        pool=asked.pool,
    )


RUNS_TO_LEARN_FROM = 5


def experienced(config: Config, journal: Journal) -> Config:
    """The configuration with times that this cluster's own finished runs took; what pawl.yaml
    says under `policy.durations` stays as it is."""
    learned: dict[str, float] = {}
    for run in reversed(journal.runs()[:RUNS_TO_LEARN_FROM]):
        events = journal.events(run)
        view = fold(events)
        if view.outcome != "done":
            continue
        try:
            past = journal.plan(view.plan)
        except (KeyError, PawlError):
            continue  # its plan is not there, or is of another pawl
        learned.update(predict.learned(past, events))
    policy = config.policy
    durations = {**learned, **policy.durations}
    return msgspec.structs.replace(
        config, policy=msgspec.structs.replace(policy, durations=durations)
    )


# -- the command -----------------------------------------------------------------------------------


Looking = Callable[[ClusterState, Target, Mapping[str, str]], Awaitable[Found]]


async def compute(
    asked: Request,
    config: Config,
    state: ClusterState,
    *,
    artifacts: Artifacts | None = None,
    hosts: Hosts | None = None,
    known: Mapping[Minor, Version] | None = None,
    look: Looking | None = None,
    accepted: Sequence[Waiver] = (),
    knowledge: Knowledge | None = None,
) -> Plan:
    """The plan for a state, with what `look` finds out. Raises Refused with every reason."""
    target = await target_of(asked, artifacts, known or {})
    releases = await between(asked, artifacts, known or {})
    if look is not None:
        found = await look(state, target, releases)
    else:
        left = tuple(LeftOut(what=what, why="planned from a saved state") for what in LOOKS)
        found = Found(
            Beforehand(left_out=left),
            await ask_staged(state, target, hosts) if hosts is not None else (),
        )
    return planner.plan(
        state,
        target,
        config,
        releases=releases,
        complaints=found.complaints,
        beforehand=found.beforehand,
        waivers=accepted,
        knowledge=knowledge,
    )


def shown(plan: Plan, output: Output) -> str:
    """The plan in the format that was asked for."""
    match output:
        case "json":
            return encode(plan).decode().rstrip()
        case "yaml":
            return document(json.loads(encode(plan)), "yaml").rstrip()
        case "table":
            return "\n".join([*render.summary(plan), "", render.table(plan)])
        case "text":
            return render.text(plan)


def refusal_code(refused: Refused) -> int:
    """2; but 3 when the only reason is that something could not be read."""
    codes = {reason.split(" ", 1)[0] for reason in refused.reasons} - {accept.EXPIRED}
    return exits.INCOMPLETE if codes <= NOT_READ else exits.REFUSED


def write_out(plan: Plan, path: Path) -> None:
    """Atomically, readable by the owner alone."""
    partial = path.with_name(f".{path.name}.partial")
    partial.touch(mode=0o600, exist_ok=True)
    partial.chmod(0o600)
    partial.write_bytes(encode(plan))
    partial.replace(path)


def _coloured(line: str) -> str:
    """Headings bold, blockers red, warnings and points of no return yellow: on a terminal only."""
    from rich.console import Console
    from rich.text import Text

    text = Text(line)
    bare = line.strip()
    if bare.startswith("blocker"):
        text.stylize("red")
    elif bare.startswith(("warning", "Point of no return", "!")):
        text.stylize("yellow")
    elif line and not line.startswith(" ") and "(" in line and line.endswith(")"):
        text.stylize("bold")
    elif bare.startswith("way back"):
        text.stylize("green")
    console = Console(force_terminal=True, width=10_000)
    with console.capture() as captured:
        console.print(text, end="", highlight=False, soft_wrap=True)
    return captured.get()


def _print(text: str, *, colours: bool) -> None:
    for line in text.splitlines():
        print(_coloured(line) if colours else line)


def left_out(options: Sequence[str], config: Config) -> dict[str, str]:
    """Which looks are not taken, and why: by an option, or by the settings under `findings`."""
    found = {
        what: f"findings.{what} is false in pawl.yaml"
        for what in LOOKS
        if not getattr(config.findings, what)
    }
    return {**found, **{what: f"--no-{what}" for what in options}}


async def _planned(
    given: Path | None,
    from_state: Path | None,
    asked: Request,
    without: Sequence[str],
    keep: Callable[[Plan], None],
) -> tuple[Plan, str]:
    """The plan, and where it was kept (a sentence, "" for nowhere)."""
    from pawl.interfaces.tables import tables_of
    from pawl.interfaces.wiring import open_session

    async with open_session(given) as session:
        known, settings = known_releases(), session.config.findings
        tables = tables_of(session.config)
        accepted, by_rule = waivers.load_if_there(Path(settings.waivers))
        if from_state is not None:
            plan = await compute(
                asked,
                session.config,
                saved_state(from_state),
                known=known,
                accepted=accepted,
                knowledge=tables,
            )
            keep(plan)
            return plan, ""
        state = await seen(session.observer, session.clock)
        plan = await compute(
            asked,
            experienced(session.config, session.journal),
            state,
            artifacts=session.artifacts,
            hosts=session.hosts,
            known=known,
            look=Look(session, tables, left_out(without, session.config), by_rule),
            accepted=accepted,
            knowledge=tables,
        )
        keep(plan)
        return plan, _kept(session, plan)


def _kept(session: Session, plan: Plan) -> str:
    session.journal.save_plan(plan)
    return f"Kept in {session.state_dir}."


def plan(
    *,
    to: Annotated[str, Parameter(help="Kubernetes minor or release: 1.37 or 1.37.0.")] = "",
    etcd: Annotated[str, Parameter(help="etcd minor or release: 3.6 or 3.6.14.")] = "",
    strategy: Annotated[
        list[str] | None,
        Parameter(help="PART=HOW, repeatable: etcd=replace, control-plane=in-place.", negative=()),
    ] = None,
    only: Annotated[
        list[str] | None,
        Parameter(help="Only these parts: etcd, control-plane, nodes.", negative=()),
    ] = None,
    pool: Annotated[str, Parameter(help="Only the nodes of this pool.")] = "",
    single_step: Annotated[
        bool, Parameter(help="No emulation first: gives up the way back.", negative=())
    ] = False,
    release: Annotated[
        list[str] | None, Parameter(help="Exact release of a minor: 1.37=1.37.3.", negative=())
    ] = None,
    scan: Annotated[bool, Parameter(help="Scan the API's objects for what goes away.")] = True,
    hosts: Annotated[bool, Parameter(help="Read what the hosts have in use.")] = True,
    binaries: Annotated[bool, Parameter(help="Ask the target's binaries on this machine.")] = True,
    changelog: Annotated[bool, Parameter(help="Judge the urgent release notes.")] = True,
    inventory: Annotated[bool, Parameter(help="Judge the add-ons for each hop.")] = True,
    from_state: Annotated[
        Path | None, Parameter(help="Plan for a saved `pawl status -o json`, offline.")
    ] = None,
    out: Annotated[Path | None, Parameter(help="Also write the plan's JSON here.")] = None,
    output: Annotated[Output, OUTPUT] = "text",
    config: ConfigFile = None,
) -> int:
    """Compute a plan: every step with its reason, risk, time, and the way back that is open.

    Nothing is changed. The plan is kept under its digest, which is what an approval names. It is
    refused (exit code 2) with all reasons at once, each with its remedy; exit code 3 when the
    only reason is that something could not be read.

    What goes away on the way is looked for first: on the hosts, in the API, in the release notes,
    among the add-ons, and by asking the target's own binaries. A look that is left out
    (--no-scan …) is named in the plan.

    For example:

        pawl plan --to 1.37 --etcd 3.6
        pawl plan --to 1.37 --strategy nodes=replace --strategy etcd=in-place -o json
        pawl plan --etcd 3.5 --only etcd                # an online downgrade
        pawl plan --to 1.37 --only nodes --pool default
        pawl plan --to 1.37 --from-state status.json    # offline, for a review
        pawl plan --to 1.37 --no-scan                   # leaves a look out
    """
    looks = {
        "scan": scan,
        "hosts": hosts,
        "binaries": binaries,
        "changelog": changelog,
        "inventory": inventory,
    }
    without = [what for what, wanted in looks.items() if not wanted]
    asked = request(
        to=to,
        etcd=etcd,
        strategy=strategy or (),
        only=only or (),
        pool=pool,
        single_step=single_step,
        release=release or (),
    )

    def keep(plan: Plan) -> None:
        if out is not None:
            write_out(plan, out)

    try:
        made, kept = anyio.run(_planned, config, from_state, asked, without, keep)
    except Refused as refused:
        return _refused(refused, output)
    except OSError as error:
        raise PawlError(f"{out or from_state}: {error.strerror}") from error
    if len(made.steps) <= 1 and output in ("text", "table"):
        print(f"Nothing to do: {render.what(made)} stands already.")
    _print(shown(made, output), colours=output in ("text", "table") and sys.stdout.isatty())
    if kept and output in ("text", "table"):
        print(kept)
    return 0


def _refused(refused: Refused, output: Output) -> int:
    if output in ("json", "yaml"):
        print(json.dumps({"refused": list(refused.reasons)}, indent=2))
    else:
        print("Refused; nothing was touched. All reasons:", file=sys.stderr)
        for reason in refused.reasons:
            print(f"  - {reason}", file=sys.stderr)
    return refusal_code(refused)
