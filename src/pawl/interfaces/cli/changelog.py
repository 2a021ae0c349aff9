"""`pawl changelog`: what between two versions a team must know, judged against this cluster."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from pawl.interfaces.cli import exits
from pawl.interfaces.cli.options import OUTPUT
from pawl.interfaces.cli.tabular import document

if TYPE_CHECKING:
    from pawl.core.changelog.facts import Facts
    from pawl.core.changelog.item import Acknowledgement
    from pawl.core.version import Version

Output = Literal["markdown", "json", "html"]


def changelog(
    since: Annotated[str, Parameter(help="Where you are: 1.35, or exactly 1.35.3.")],
    to: Annotated[str, Parameter(help="Where you go: 1.37, or exactly 1.37.2.")],
    /,
    *,
    source: Annotated[
        str, Parameter(help="A file, a directory of CHANGELOG files, or a URL (default: cache).")
    ] = "",
    refresh: Annotated[bool, Parameter(help="Read anew, not from the cache.", negative=())] = False,
    state: Annotated[
        Path | None, Parameter(help="Judge against a saved `pawl status -o json`.")
    ] = None,
    config: Annotated[
        Path | None,
        Parameter(
            name=["--config", "-c"], help="Judge against the live cluster of this pawl.yaml."
        ),
    ] = None,
    manifests: Annotated[
        tuple[str, ...],
        Parameter(help="Files or directories with the objects in use; repeatable.", negative=()),
    ] = (),
    acks: Annotated[
        Path | None,
        Parameter(help="File of the acknowledgements (default: where --config keeps its state)."),
    ] = None,
    ack: Annotated[
        tuple[str, ...], Parameter(help="Acknowledge this note; repeatable.", negative=())
    ] = (),
    by: Annotated[str, Parameter(help="Who acknowledges.")] = "",
    note: Annotated[str, Parameter(help="What was done about it.")] = "",
    output: Annotated[Output, OUTPUT] = "markdown",
) -> int:
    """Urgent notes, deprecations and removals between two versions, as a checklist.

    Exit codes: 0 nothing open, 2 urgent notes need a person, 3 a changelog was not read.

    For example:

        pawl changelog 1.35 1.37 --config pawl.yaml
        pawl changelog 1.35 1.37 --state status.json --manifests deploy/
        pawl changelog 1.36.3 1.37.2 -o html > notes.html
        pawl changelog 1.36 1.37 --ack 138572-57d9d1 --by Ada --note "none in use"
    """
    from pawl.adapters.manifests import changelogs
    from pawl.adapters.store import acknowledgements
    from pawl.core.changelog import render
    from pawl.core.changelog.item import Checklist
    from pawl.core.changelog.judge import judged
    from pawl.core.changelog.parse import between, lacking
    from pawl.core.changelog.shipped import urgent
    from pawl.core.errors import ConfigError, Unreachable
    from pawl.core.knowledge.store import shipped
    from pawl.core.skew import minor_of
    from pawl.core.version import Minor

    first, last = _bounds(since, to)
    texts, read, unread, missing = [], [], [], set()
    for number in range(first.minor, last.minor + 1):
        minor = Minor(first.major, number)
        try:
            text, where = changelogs.read(str(minor), source, refresh=refresh)
        except Unreachable as error:
            # The notes of the minor one is on matter only for its later patches.
            if number > first.minor or since.count(".") == 2:
                unread.append(str(error))
                missing.add(minor)
            continue
        if release := lacking(text, first, last, minor):
            unread.append(
                f"{where} holds no notes of {release}: it is older (--refresh reads it anew)"
            )
            missing.add(minor)
        texts.append(text)
        read.append(where)
    items = between(texts, first, last)
    have = {i.id for i in items}
    items += tuple(  # the urgent notes of what could not be read are shipped
        i
        for i in urgent(shipped(), first, last).items
        if minor_of(i.version) in missing and i.id not in have
    )
    where_acks = _acks_file(acks, config)
    known = acknowledgements.load(where_acks)
    if ack:
        known = _acknowledge(where_acks, known, ack, {i.id for i in items}, by, note)
    elif by or note:
        raise ConfigError("pawl changelog", ["--by and --note belong to --ack ID"])
    checklist = Checklist(
        source=since,
        target=to,
        judged=judged(items, _facts(state, config, manifests), shipped(), known),
        read=tuple(read),
        unread=tuple(unread),
    )
    match output:
        case "json":
            out = document(checklist, "json")
        case "html":
            out = render.page(checklist)
        case _:
            out = render.markdown(checklist)
    sys.stdout.write(out)
    if checklist.open:
        return exits.REFUSED
    return exits.INCOMPLETE if unread else exits.DONE


def _bounds(since: str, to: str) -> tuple[Version, Version]:
    """A minor stands for its newest patch. Raises ConfigError."""
    from pawl.core.changelog.parse import NEWEST_PATCH
    from pawl.core.errors import ConfigError
    from pawl.core.version import Minor, Version

    def version(text: str) -> Version:
        if text.lstrip("v").count(".") == 1:
            minor = Minor.parse(text)
            return Version(minor.major, minor.minor, NEWEST_PATCH)
        return Version.parse(text)

    try:
        first, last = version(since), version(to)
    except ValueError as error:
        raise ConfigError("pawl changelog", [str(error)]) from error
    if not first < last:
        newest = " (its newest patch)" if first.patch == NEWEST_PATCH else ""
        raise ConfigError("pawl changelog", [f"{to} is not after {since}{newest}"])
    if first.major != last.major:
        raise ConfigError("pawl changelog", [f"{to} is of another major version than {since}"])
    return first, last


def _facts(state: Path | None, config: Path | None, manifests: tuple[str, ...]) -> Facts:
    from pawl.adapters.manifests.using import uses
    from pawl.core.changelog.facts import Facts
    from pawl.interfaces.cli.facts import seen

    found = seen(state, config)
    return Facts(found.state, uses(manifests) if manifests else None, found.in_use, found.api)


def _acknowledge(
    path: Path,
    known: tuple[Acknowledgement, ...],
    wanted: tuple[str, ...],
    there: set[str],
    by: str,
    note: str,
) -> tuple[Acknowledgement, ...]:
    from pawl.adapters.store import acknowledgements
    from pawl.core.changelog.item import Acknowledgement
    from pawl.core.errors import ConfigError

    problems = [f"--ack {name}: there is no such note between these versions"
                for name in wanted if name not in there]  # fmt: skip
    if not by.strip():
        problems.append("--ack needs --by NAME: a note is acknowledged by a person")
    if problems:
        raise ConfigError("pawl changelog", problems)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    new = tuple(Acknowledgement(item=name, by=by, at=today, note=note) for name in wanted)
    return acknowledgements.add(path, known, new)


def _acks_file(given: Path | None, config: Path | None) -> Path:
    """--acks, else beside the journal of the cluster that is named, else below this directory."""
    from pawl.adapters.store.acknowledgements import NAME

    if given is not None:
        return given
    if config is None:
        return Path(".pawl") / NAME
    from pawl.adapters.config import load_config

    return Path(load_config(config).state) / NAME
