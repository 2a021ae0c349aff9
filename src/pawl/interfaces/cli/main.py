"""The `pawl` command: mounts one sub-application per noun, and turns errors into exit codes.

Exit codes are stable, and stand in `exits`.

Sub-applications are named by import path and loaded when they are asked for, so that
`pawl lint` in a pre-commit hook does not pay for SSH or TLS.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Group, Parameter

from pawl import __version__
from pawl.core.errors import ConfigError, Fenced, PawlError, Refused, Unreachable
from pawl.interfaces.cli import exits
from pawl.interfaces.cli.options import shown_default

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a full or broken disk says of a stream, which has no name to tell."""

COMMANDS: tuple[tuple[str, str, str, str], ...] = (
    # group, name, import path, one line of help
    ("Upgrade", "status", "status:status", "What runs now, read live from every component."),
    ("Upgrade", "plan", "plan:plan", "Compute a plan: steps, reasons, risks, exits."),
    ("Upgrade", "workloads", "workloads:workloads", "What runs, depends on what, and moves how."),
    ("Upgrade", "approve", "run:approve", "Approve a plan or a point of no return, by digest."),
    ("Upgrade", "run", "run:run", "Run an approved plan; killed anywhere, run it again to go on."),
    ("Upgrade", "pause", "run:pause", "Pause a run at its next safe point."),
    ("Upgrade", "resume", "run:resume", "Lift a pause."),
    ("Upgrade", "abort", "run:abort", "End a run and give back whatever it changed."),
    ("Upgrade", "rollback", "run:rollback", "Go back by the cheapest exit that is open."),
    ("Upgrade", "runs", "run:runs", "List runs and how they stand."),
    ("Upgrade", "report", "report:report", "Prove what happened: Markdown, JSON and a page."),
    ("Upgrade", "verify", "verify:app", "Judge new nodes by measurements, now or over the past."),
    ("Upgrade", "probe", "probe:app", "Traffic that notices what users notice."),
    ("Know before", "versions", "versions:versions", "Versions, end of life, what comes next."),
    ("Know before", "changelog", "changelog:changelog", "Urgent notes between versions, judged."),
    ("Know before", "lint", "lint:lint", "Find removed APIs in manifests."),
    ("Know before", "scan", "scan:scan", "Find what an upgrade will break in a live cluster."),
    ("Know before", "inventory", "inventory:inventory", "What depends on the API, and its hops."),
    ("Know before", "watch", "watch:watch", "Scan on a schedule; tell each owner once."),
    ("Know before", "knowledge", "knowledge:app", "The tables behind the checks, sourced."),
    ("Set up", "init", "init:init", "Draft pawl.yaml from a kubeconfig and a host list."),
    ("Set up", "config", "config:app", "Check the configuration, print its schema."),
    ("Set up", "artifact", "artifact:app", "Fetch, list and prune verified binaries."),
    ("Set up", "completion", "completion:completion", "Print a shell's completion script."),
    ("Lab", "lab", "lab:app", "A real cluster of VM-like machines on this machine."),
    ("Lab", "demo", "demo:demo", "Raise a lab, upgrade it one minor under load, show the report."),
)

_GROUPS = ("Upgrade", "Know before", "Set up", "Lab")


def build(*, listing: bool = False) -> App:
    """The whole command. `listing` gives every command its one line, for `pawl --help`; without
    it a command's own help is its docstring, with the examples."""
    app = App(
        name="pawl",
        version=__version__,
        help=(
            "Upgrade self-hosted Kubernetes clusters on VMs one notch at a time, "
            "and never slip back.\n\n"
            "The way of an upgrade: `pawl status`, `pawl plan --to 1.37`, `pawl approve`, "
            "`pawl run`, `pawl report`.\n\n"
            "Exit codes: 0 done, 1 findings or an approval that is missing, 2 refused or blockers, "
            "3 something could not be read, 4 an error, 130 stopped safely by a signal. "
            "`pawl COMMAND --help` has examples."
        ),
        default_parameter=Parameter(show_default=shown_default),
    )
    groups = {t: Group(t, sort_key=position) for position, t in enumerate(_GROUPS)}
    for position, (group, name, path, line) in enumerate(COMMANDS):
        more = {"help": line} if listing else {}
        app.command(
            f"pawl.interfaces.cli.{path}",
            name=name,
            group=groups[group],
            sort_key=position,
            **more,
        )
    return app


app = build()


def exit_code(error: BaseException) -> int:
    """The stable exit code of an error that reached the top."""
    match error:
        case ConfigError():
            return exits.ERROR
        case Refused() | Fenced():
            return exits.REFUSED
        case Unreachable():
            return exits.INCOMPLETE
        case KeyboardInterrupt():
            return exits.INTERRUPTED
        case _:
            return exits.ERROR


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command with `argv` (default: the process's own arguments), and exit."""
    words = sys.argv[1:] if argv is None else list(argv)
    listing = not words or words[0] in ("--help", "-h")
    _ready_output()
    try:
        chosen = build(listing=True) if listing else app
        result = chosen(words, result_action="return_value", exit_on_error=False)
        sys.stdout.flush()  # here, where a full disk can still be told
    except CycloptsError:  # it has told the mistake already
        sys.exit(exits.ERROR)
    except (PawlError, KeyboardInterrupt) as error:
        if str(error):
            print(f"pawl: {error}", file=sys.stderr)
        sys.exit(exit_code(error))
    except BrokenPipeError:  # whoever read it went away; 0 would say that nothing was found
        _forget_output()
        sys.exit(exits.NOBODY_READS)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # rich ends with 1, which is "findings"
            _forget_output()
            sys.exit(exits.NOBODY_READS)
        raise
    except Exception as error:
        if isinstance(error, OSError) and (error.filename or error.errno in _NO_ROOM):
            place = error.filename or "the output"
            print(f"pawl: {place}: {error.strerror}", file=sys.stderr)
            _forget_output()
            sys.exit(exits.ERROR)
        # A bug: its traceback is wanted, but Python's own code for it, 1, would mean "findings".
        traceback.print_exc()
        print(
            "pawl: this is a bug in pawl; the lines above belong into its report", file=sys.stderr
        )
        sys.exit(exits.ERROR)
    sys.exit(result if isinstance(result, int) else 0)


def _ready_output() -> None:
    """A name that the terminal's encoding lacks is written as its escape, not as a traceback; who
    has closed standard output wants the exit code."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """What is still buffered cannot be written: Python would try at its end, and exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
