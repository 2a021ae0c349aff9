"""The file that holds a component's flags: systemd's EnvironmentFile with one variable.

    FLAGS=--a=b --c=d

The unit's ExecStart names `$FLAGS` without braces, so systemd splits it at white space
(systemd.service(5), "Command lines"). A flag with a space or a quote in it would need two layers
of quoting there; pawl reads such files but refuses to write one it could get wrong.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from pawl.core.errors import StepFailed
from pawl.core.flags import normal

_PLAIN = re.compile(r"^[^\s\"'\\$`]+$")


def parse(text: str, variable: str) -> tuple[str, ...]:
    """The flags that the file's variable holds, each as `--a=b`; empty when it holds none. Of
    several assignments the last counts, as it does for systemd."""
    found: tuple[str, ...] = ()
    for line in _logical_lines(text):
        name, _, value = line.partition("=")
        if name.strip() == variable:
            found = normal(_words(value.strip()))
    return found


def _words(value: str) -> Sequence[str]:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    try:
        return shlex.split(value)
    except ValueError:
        return value.split()


def rewrite(text: str, variable: str, flags: Sequence[str]) -> str:
    """`text` with the variable's line replaced, all other lines as they were."""
    for flag in flags:
        if not _PLAIN.match(flag):
            raise StepFailed(
                f"the flag {flag!r} holds white space, a quote, a backslash or a $, which systemd "
                f"would split or expand in ${variable}; put this setting into a configuration file"
            )
    line = f"{variable}={' '.join(flags)}"
    lines: list[str] = []
    replaced = False
    for existing in _logical_lines(text):
        if existing.partition("=")[0].strip() != variable:
            lines.append(existing)
        elif not replaced:
            lines.append(line)
            replaced = True
    if not replaced:
        lines.append(line)
    return "\n".join(lines) + "\n"


def _logical_lines(text: str) -> list[str]:
    """Lines with backslash continuations joined, as systemd reads them."""
    return text.replace("\\\n", " ").splitlines()
