"""`pawl watch`: looks again and again, remembers, and tells each owner once."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import anyio
import msgspec
from cyclopts import Parameter

from pawl.interfaces.cli import exits
from pawl.interfaces.cli.options import ConfigFile
from pawl.interfaces.cli.tabular import document, lines

if TYPE_CHECKING:
    from pawl.core.config import Config
    from pawl.core.ownership import Ownership
    from pawl.core.watch.letters import Letter
    from pawl.core.watch.sighting import Round
    from pawl.core.watch.state import State
    from pawl.engine.watching import Watcher
    from pawl.interfaces.waivers import Accepted
    from pawl.interfaces.wiring import Session

Output = Literal["text", "json"]


def watch(
    *,
    to: Annotated[
        str, Parameter(help="The minor you go to (default: watch.to, or the next).")
    ] = "",
    once: Annotated[bool, Parameter(help="One round, then exit.", negative=())] = False,
    dry_run: Annotated[
        bool, Parameter(help="Print the letters instead of sending them.", negative=())
    ] = False,
    show: Annotated[
        bool, Parameter(help="Show what is open by the history; looks at nothing.", negative=())
    ] = False,
    output: Annotated[
        Output, Parameter(name=["--output", "-o"], help="Of --show and --dry-run.")
    ] = "text",
    config: ConfigFile = None,
) -> int:
    """Scan on a schedule, keep the history, serve metrics, tell each owner once per new finding.

    Everything stands in pawl.yaml under `watch`: the schedule, the deadline, the notifiers.
    SIGTERM and Ctrl-C stop it safely: a look is broken off, a letter under way is finished first.

    Exit codes: 0, and with --once 1 warnings, 2 blockers, 3 something was not read or not told.

    For example:

        pawl watch
        pawl watch --once --to 1.37
        pawl watch --once --dry-run
        pawl watch --show -o json
    """
    if show:
        return _show(config, output)
    return anyio.run(_watch, config, to, once, dry_run, output)


async def _watch(config: Path | None, to: str, once: bool, dry_run: bool, output: Output) -> int:
    from pawl import __version__
    from pawl.adapters.metrics import MetricsServer
    from pawl.adapters.notify import notifiers
    from pawl.adapters.store import FileLock
    from pawl.adapters.store.sqlite_history import SqliteHistory
    from pawl.core.knowledge.answer import demand_known
    from pawl.core.watch.metrics import exposition
    from pawl.engine.watching import Settings, Watcher
    from pawl.interfaces.tables import tables_of
    from pawl.interfaces.wiring import open_session

    async with open_session(config) as session:
        settings = session.config.watch
        if target := to or settings.to:  # told before anything is scanned, as below
            demand_known(tables_of(session.config), target)
        ways = notifiers(settings.notifiers, agent=f"pawl/{__version__}")
        ownership = _ownership(settings.owners)
        ownership()  # a mistake in the file is told before anything is scanned
        with FileLock(session.state_dir / "watch.lock"):
            history = SqliteHistory(session.state_dir / "watch.db")
            watcher = Watcher(
                look=_look(session, to or settings.to),
                history=_Forgetful(history) if dry_run else history,
                notifiers={n: _Printer(n, output) for n in ways} if dry_run else ways,
                ownership=ownership,
                clock=session.clock,
                settings=Settings(
                    cluster=session.config.cluster,
                    target=to or settings.to,
                    deadline=settings.deadline,
                    digest_days=settings.digest_days,
                    mail={
                        n.name: tuple(d.lower() for d in n.domains)
                        for n in settings.notifiers
                        if n.kind == "email"
                    },
                ),
                say=_say,
            )
            try:
                if once:
                    return _code(await watcher.round(), watcher)
                server = MetricsServer(
                    settings.listen or "127.0.0.1:0",
                    lambda: exposition(
                        watcher.state,
                        version=__version__,
                        cluster=session.config.cluster,
                        deadline=settings.deadline,
                    ),
                )
                if settings.listen:
                    await server.open()
                    _say(f"metrics at http://{server.address}/metrics")
                try:
                    return await _until_told(lambda stop: watcher.run(settings.every, stop))
                finally:
                    await server.aclose()
            finally:
                history.close()


async def _until_told(run: Callable[[anyio.Event], Awaitable[None]]) -> int:
    """Run until SIGTERM (a clean end, 0) or Ctrl-C (130)."""
    stop = anyio.Event()
    code = 0

    async def listen(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        nonlocal code
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for received in signals:
                if stop.is_set():
                    continue
                code = exits.INTERRUPTED if received is signal.SIGINT else 0
                _say(f"{received.name}: stopping")
                stop.set()

    async with anyio.create_task_group() as group:
        await group.start(listen)
        await run(stop)
        group.cancel_scope.cancel()
    return code


def _look(session: Session, to: str) -> Callable[[], Awaitable[Round]]:
    """One inventory and one scan of the cluster, for the same target."""
    from pawl.core import accept
    from pawl.core.days import day_of
    from pawl.core.inventory.inventory import take
    from pawl.core.lint import waive
    from pawl.core.model import Unread
    from pawl.core.watch.sighting import Round, of_inventory, of_lint
    from pawl.interfaces.addons import table
    from pawl.interfaces.cli.inventory import next_minor
    from pawl.interfaces.scanning import scanned
    from pawl.interfaces.tables import tables_of

    async def look() -> Round:
        addons = table(session.config.findings.addons)
        accepted = _accepted(session.config)
        owners = _ownership(session.config.watch.owners)()
        tables = tables_of(session.config)
        state = await session.observe()
        facts = await session.inventory_source(state).read()
        target = to or next_minor(facts, tables)
        listed = take(facts, to=target, knowledge=tables, ownership=owners, addons=addons)
        report = await scanned(session, state, tables, target)
        today = day_of(session.clock.now())
        findings, _ = waive.apply(report.findings, accepted.by_rule, today)
        own, _ = accept.apply(listed.findings, accepted.of_inventory, today)
        listed = msgspec.structs.replace(listed, findings=own)
        return Round(
            sightings=(*of_inventory(listed), *of_lint(findings, owners)),
            unread=(
                *listed.unread,
                *(Unread(source=n.path, why=n.why) for n in report.not_read),
            ),
            server=listed.server,
            target=target,
        )

    return look


def _accepted(config: Config) -> Accepted:
    """The waivers of `watch.waivers`, which must be there, else those that every command takes."""
    from pawl.interfaces.waivers import load, load_if_there

    own = config.watch.waivers
    return load(Path(own)) if own else load_if_there(Path(config.findings.waivers))


def _ownership(path: str) -> Callable[[], Ownership]:
    from pawl.adapters.yaml_file import read
    from pawl.core.ownership import Ownership, decode

    return lambda: decode(read(Path(path)), path) if path else Ownership()


def _code(seen: Round | None, watcher: Watcher) -> int:
    from pawl.core.findings import Severity

    if seen is None:
        return exits.INCOMPLETE
    found = {o.sighting.severity for o in watcher.state.open.values()}
    if Severity.BLOCKER in found:
        return exits.REFUSED
    if seen.unread or watcher.waiting(seen.target):
        return exits.INCOMPLETE
    return exits.FINDINGS if found else exits.DONE


def _say(line: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"{stamp} {line}", file=sys.stderr, flush=True)


class _Forgetful:
    """A history that is read and never written, for --dry-run."""

    def __init__(self, real: object) -> None:
        self.events = real.events  # type: ignore[attr-defined]

    def append(self, events: object) -> None:
        return


class _Printer:
    """Prints the letters of one notifier."""

    def __init__(self, name: str, output: Output) -> None:
        self.name, self._output = name, output

    async def send(self, letter: Letter) -> None:
        if self._output == "json":
            print(msgspec.json.encode(letter).decode())
        else:
            print(f"To: {letter.route}\nSubject: {letter.subject}\n\n{letter.text}")


def _show(config: Path | None, output: Output) -> int:
    from pawl.adapters.config import load_config
    from pawl.adapters.store.sqlite_history import SqliteHistory
    from pawl.core.watch.state import fold
    from pawl.interfaces.wiring import find_config

    path = find_config(config)
    file = Path(load_config(path).state) / "watch.db"
    if not file.exists():
        if output == "json":
            print("[]")
        print("nothing was watched yet: there is no history", file=sys.stderr)
        return 0
    history = SqliteHistory(file)
    try:
        state = fold(history.events())
    finally:
        history.close()
    if output == "json":
        rows = [
            {**msgspec.to_builtins(o.sighting), "since": _time(o.since), "told": sorted(o.told)}
            for o in state.open.values()
        ]
        print(document(rows, "json"), end="")
    else:
        _table(state)
    return 0


def _table(state: State) -> None:
    heads = ("severity", "code", "subject", "owner", "since", "told")
    lines(
        [
            [str(o.sighting.severity), o.sighting.code, o.sighting.subject,
             o.sighting.owner or "?", _time(o.since), ", ".join(sorted(o.told)) or "nobody"]
            for o in state.open.values()
        ],
        heads,
    )  # fmt: skip
    if state.last:
        unread = f", {len(state.last.unread)} sources not read" if state.last.unread else ""
        print(f"last look {_time(state.last.at)}: Kubernetes {state.last.server}{unread}")


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))
