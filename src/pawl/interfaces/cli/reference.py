"""docs/commands.md, made from the commands themselves.

    python -m pawl.interfaces.cli.reference > docs/commands.md

A test compares the page with this, so no command, option or example is added without it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator

from cyclopts import App
from cyclopts.argument import Argument

from pawl.interfaces.cli.main import COMMANDS, app
from pawl.interfaces.cli.options import CONFIG, shown_default

INTRO = """\
# Commands

Every command has `--help` with examples; this page is made from the same text. Commands about a
cluster take `--config FILE` (`-c`), else `$PAWL_CONFIG`, else `./pawl.yaml`. With `-o json` or
`-o yaml` standard output is for programs, and what is told beside it goes to standard error.

## Exit codes

| code | meaning |
| --- | --- |
| 0 | done, or nothing to warn of |
| 1 | warnings; a gate that failed; an approval that is missing; a run that is paused |
| 2 | blockers, or refused: nothing was touched; a run that was aborted |
| 3 | something could not be read: never reported as clean |
| 4 | an error: usage, configuration, a run that failed |
| 130 | stopped safely by a signal |
| 141 | whoever read the output went away |

When several are true of one look, 2 comes before 3, and 3 before 1. The commands below say where
they mean something of their own.

## Environment

| variable | meaning |
| --- | --- |
| `PAWL_CONFIG` | pawl.yaml, where `--config` does not name it |
| `PAWL_CACHE` | the cache; else `$XDG_CACHE_HOME/pawl`, else `~/.cache/pawl` |
| `PAWL_GO_CACHE` | default of `artifacts.go_cache` |
| `PAWL_KUBERNETES_RELEASES` | a mirror laid out like `https://dl.k8s.io`; https only |
| `PAWL_ETCD_RELEASES` | a mirror laid out like etcd's release pages; https only |
| `PAWL_LAB_ROOT` | where labs are recorded; else `/var/lib/pawl/labs` |
| `PAWL_LAB_ARTIFACTS` | a directory of binaries that a lab looks into first |

## Shell completion

```
pawl completion bash > /etc/bash_completion.d/pawl
pawl completion zsh > ~/.zfunc/_pawl                          # a directory of $fpath
pawl completion fish > ~/.config/fish/completions/pawl.fish
```
"""

PAGES = {
    "status": "status.md",
    "plan": "plan.md",
    "workloads": "workloads.md",
    "approve": "run.md#approvals",
    "run": "run.md",
    "pause": "run.md#stopping-and-going-on",
    "resume": "run.md#stopping-and-going-on",
    "abort": "run.md#stopping-and-going-on",
    "rollback": "safety.md#exits",
    "runs": "run.md#looking-back",
    "report": "report.md",
    "verify": "verify.md",
    "probe": "probes.md",
    "versions": "versions.md",
    "changelog": "changelog.md",
    "lint": "lint.md",
    "scan": "scan.md",
    "inventory": "inventory.md",
    "watch": "watch.md",
    "knowledge": "knowledge.md",
    "init": "configuration.md",
    "config": "configuration.md",
    "artifact": "artifacts.md",
    "completion": "#shell-completion",
    "lab": "lab.md",
    "demo": "demo.md",
}
"""Where each command is described with its reasons."""


def reference() -> str:
    """The text of docs/commands.md."""
    parts = [INTRO]
    for group in dict.fromkeys(g for g, *_ in COMMANDS):
        parts.append(f"## {group}\n\n| command | what it is for |\n| --- | --- |")
        mine = [(name, line) for g, name, _, line in COMMANDS if g == group]
        parts[-1] += "".join(f"\n| [`{name}`]({PAGES[name]}) | {line} |" for name, line in mine)
        parts[-1] += "\n"
        for name, _ in mine:
            parts += [_section(path, command) for path, command in leaves(app[name], name)]
    return "\n".join(parts)


def leaves(command: App, path: str) -> Iterator[tuple[str, App]]:
    """The commands at and below `path` that do something themselves, with their whole names."""
    if command.default_command is not None:
        yield path, command
    for word in command:
        if not word.startswith("-"):
            yield from leaves(command[word], f"{path} {word}")


def _section(path: str, command: App) -> str:
    arguments = command.assemble_argument_collection(parse_docstring=True)
    words = [a for a in arguments if not a.names[0].startswith("-")]
    options = [a for a in arguments if a not in words]
    usage = [f"pawl {path}", *(_word(a) for a in words)]
    usage += [f"{a.names[0]} VALUE" for a in options if a.required]
    rows = [_row(a) for a in (*words, *options) if a.parameter.help != CONFIG]
    text = f"### {' '.join(usage)}\n\n{_prose(command.help)}\n"
    if rows:
        text += "\n| | meaning | default |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"
    return text


def _prose(help_text: str) -> str:
    """A docstring without its parameters, its examples as code."""
    first, _, rest = help_text.partition("\n")
    body = inspect.cleandoc(f"x\n{rest}").removeprefix("x").splitlines()
    if "Parameters" in body:
        body = body[: body.index("Parameters")]
    text = f"{first.strip()}\n\n" + "\n".join(body).strip()
    said, _, examples = text.partition("For example:\n")
    if not examples:
        return said.strip()
    shown = "\n".join(line.removeprefix("    ") for line in examples.strip("\n").splitlines())
    return f"{said.strip()}\n\n```\n{shown.strip()}\n```"


def _word(argument: Argument) -> str:
    name = argument.names[0] + ("..." if argument.is_var_positional() else "")
    return name if argument.required else f"[{name}]"


def _row(argument: Argument) -> str:
    names = ", ".join(f"`{n}`" for n in argument.names)
    said = " ".join((argument.parameter.help or "").split())
    if choices := argument.get_choices():
        said = f"{said} One of {', '.join(choices)}.".strip()
    default = "required" if argument.required else _default(argument)
    return f"| {names} | {said.replace('|', '&#124;')} | {default} |"


def _default(argument: Argument) -> str:
    value = argument.field_info.default
    return "" if value is argument.field_info.empty else shown_default(value) or ""


if __name__ == "__main__":
    sys.stdout.write(reference())
