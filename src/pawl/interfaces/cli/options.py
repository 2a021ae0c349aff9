"""Options that many commands take, each with one name, one meaning and one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

CONFIG = "pawl.yaml; default $PAWL_CONFIG, else ./pawl.yaml."
ConfigFile = Annotated[Path | None, Parameter(name=["--config", "-c"], help=CONFIG)]
Kubeconfig = Annotated[
    Path | None, Parameter(help="The API alone, with this kubeconfig and no pawl.yaml.")
]
Format = Literal["table", "json", "yaml"]
OUTPUT = Parameter(name=["--output", "-o"], help="How to print it.")
"""For the formats of one command: `Annotated[Literal[…], OUTPUT]`."""
Output = Annotated[Format, OUTPUT]
Live = Literal["table", "json"]
"""Formats of what goes on: a live view, or one event a line."""
Corrections = Annotated[
    tuple[Path, ...],
    Parameter(name="--corrections", help="Your own rows for the tables; repeatable.", negative=()),
]
SWITCH = Parameter(negative=())
"""For a yes that is off by default: there is no `--no-…` of it."""


def shown_default(value: object) -> str | None:
    """What `--help` says of a default: nothing where the option is simply absent."""
    if value is None or value is False or value == "" or value == ():
        return None
    if value is True:
        return "yes"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)
