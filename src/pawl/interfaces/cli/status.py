"""`pawl status`: what runs now, read live from every component; problems first."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import anyio
import msgspec
from rich.console import Console, Group
from rich.live import Live

from pawl.core.model import ClusterState
from pawl.interfaces import wiring
from pawl.interfaces.cli import exits, status_tables
from pawl.interfaces.cli.options import SWITCH, ConfigFile, Format, Output
from pawl.interfaces.cli.tabular import document

REFRESH_SECONDS = 2.0
WIDE = 200


def status(
    *,
    output: Output = "table",
    watch: Annotated[bool, SWITCH] = False,
    config: ConfigFile = None,
) -> int:
    """What runs now, read live from every component at its own address.

    Exits with 3 when anything could not be read: what is not known is not clean.

    For example:

        pawl status
        pawl status -o json | jq '.members[] | {name, version, leader}'
        pawl status --watch

    Parameters
    ----------
    watch
        Read again every 2 s until Ctrl-C.
    """
    return anyio.run(_watch if watch else _once, config, output)


async def _once(config: Path | None, output: Format) -> int:
    async with wiring.open_session(config) as session:
        started = time.monotonic()
        state = await session.observer.observe()
        seconds = time.monotonic() - started
        limits = session.config.policy.limits
    if output == "table":
        _console().print(Group(*status_tables.render(state, limits, seconds)))
    else:
        sys.stdout.write(document(state, output))
    return 0 if state.complete else exits.INCOMPLETE


def _console() -> Console:
    """As wide as the terminal; where there is none, wide enough that no name is broken in two."""
    return Console(width=None if sys.stdout.isatty() else WIDE)


async def _watch(config: Path | None, output: Format) -> int:
    """Tables redraw themselves on a terminal and follow one another elsewhere; JSON is one document
    a line, YAML one document after the other."""
    state: ClusterState | None = None
    console = _console()
    redraws = output == "table" and console.is_terminal and not console.is_dumb_terminal
    async with wiring.open_session(config) as session:
        limits = session.config.policy.limits
        live = Live(console=console, auto_refresh=False, screen=True) if redraws else None
        try:
            with live or nullcontext():
                while True:
                    started = time.monotonic()
                    state = await session.observer.observe()
                    seconds = time.monotonic() - started
                    if output == "table":
                        tables = Group(*status_tables.render(state, limits, seconds))
                        if live is not None:
                            live.update(tables, refresh=True)
                        else:
                            console.print(tables)
                    elif output == "json":
                        sys.stdout.buffer.write(msgspec.json.encode(state) + b"\n")
                    else:
                        sys.stdout.write(f"---\n{document(state, 'yaml')}")
                    sys.stdout.flush()
                    await anyio.sleep(REFRESH_SECONDS)
        except (KeyboardInterrupt, anyio.get_cancelled_exc_class()):
            pass
    return 0 if state is None or state.complete else exits.INCOMPLETE
