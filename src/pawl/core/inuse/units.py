"""Flags and variables in systemd's unit files, drop-ins and environment files, with their lines.

What systemd does with them (systemd.service(5), systemd.exec(5)): fragments are read in order,
an empty `ExecStart=` forgets what came before, `$NAME` as a word of its own is split at white
space, `${NAME}` is not, and of two assignments of a variable the last one counts.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from pawl.core import flags as flag_rules
from pawl.core.config import COMPONENTS
from pawl.core.inuse.facts import FlagUse, Variable

_VARIABLE = re.compile(r"^\$\{?(\w+)\}?$")
_NAME = re.compile(r"^[A-Za-z_]\w*$")

Token = tuple[str, int]
"""A word and the line (from 1) on which it stands."""


class Unit:
    """What a unit's fragments say together. Feed them in systemd's order."""

    def __init__(self, component: str) -> None:
        self.component = component
        self._command: list[tuple[Token, str]] = []
        self._assigned: dict[str, tuple[list[Token], str]] = {}

    def fragment(self, text: str, path: str) -> None:
        """A unit file or drop-in."""
        section = ""
        for directive, words in _directives(text):
            if directive.startswith("["):
                section = directive
            elif section != "[Service]":
                continue
            elif directive == "ExecStart":
                if not words:
                    self._command.clear()
                self._command += [(w, path) for w in words]
            elif directive == "Environment":
                for word, line in words:
                    name, _, value = word.partition("=")
                    self._assign(name, [(v, line) for v in _split(value)], path)

    def environment(self, text: str, path: str) -> None:
        """A file that the unit names as EnvironmentFile."""
        for name, words in assignments(text):
            self._assign(name, words, path)

    def _assign(self, name: str, words: list[Token], path: str) -> None:
        if _NAME.match(name):
            self._assigned[name] = (words, path)

    def flags(self) -> tuple[FlagUse, ...]:
        """The component's flags in the order of its command line."""
        found: list[tuple[Token, str]] = []
        for (word, line), path in self._command:
            if named := _VARIABLE.match(word):
                words, where = self._assigned.get(named[1], ([], path))
                found += [(w, where) for w in words]
            else:
                found.append(((word, line), path))
        return flags_of(self.component, found)

    def variables(self) -> tuple[Variable, ...]:
        return tuple(
            Variable(
                component=self.component,
                name=name,
                value=" ".join(w for w, _ in words),
                path=path,
                line=words[0][1] if words else 0,
            )
            for name, (words, path) in self._assigned.items()
            if tells(name)
        )


def tells(name: str) -> bool:
    """Whether a variable may change what a component does, and holds no secret."""
    return name.startswith("KUBE_") and not re.search(r"TOKEN|SECRET|PASSWORD|KEY|ARGS|OPTS", name)


def flags_of(component: str, words: Sequence[tuple[Token, str]]) -> tuple[FlagUse, ...]:
    """Words of a command line as flags: `--a b` and `-a b` are `--a=b`, others are left out.

    What stands before the component's own name belongs to a shell or a wrapper."""
    out: list[FlagUse] = []
    words = [((w, line), path) for (word, line), path in words for w in _script(word)]
    names = [i for i, ((word, _), _) in enumerate(words) if component_of([word]) == component]
    for (word, line), path in words[names[0] + 1 :] if names else words:
        if word == "--":
            break
        for flag in flag_rules.normal([word]):
            if flag.startswith("--"):
                out.append(FlagUse(component=component, flag=flag, path=path, line=line))
            elif out and "=" not in out[-1].flag:
                last = out[-1]
                out[-1] = FlagUse(
                    component=component,
                    flag=f"{last.flag}={flag}",
                    path=last.path,
                    line=last.line,
                )
    return tuple(out)


def _script(word: str) -> list[str]:
    """The words of a script given to `sh -c`; any other word as it is."""
    return word.split() if re.search(r"\s--?[a-z]", word) else [word]


def component_of(words: Sequence[str]) -> str:
    """The component that a command line starts: also behind a shell or a wrapper."""
    for each in (w for word in words for w in _script(word)):
        name = each.lstrip("@-:+!").rsplit("/", 1)[-1]
        if name in COMPONENTS:
            return name
    return ""


def assignments(text: str) -> Iterator[tuple[str, list[Token]]]:
    """NAME and the words of its value, for each assignment of an environment file."""
    name, words = "", list[Token]()
    for number, line, continues in _lines(text):
        if not name:
            head, equals, value = line.partition("=")
            if not equals:
                continue
            name, line = head.strip(), value
        words += [(w, number) for w in _split(line)]
        if not continues:
            yield name, words
            name, words = "", []
    if name:
        yield name, words


def _directives(text: str) -> Iterator[tuple[str, list[Token]]]:
    """("[Service]", []) for a section, (directive, words) for the rest."""
    name, words = "", list[Token]()
    for number, line, continues in _lines(text):
        if not name:
            if line.startswith("["):
                yield line.strip(), []
                continue
            head, equals, value = line.partition("=")
            if not equals:
                continue
            name, line = head.strip(), value
        words += [(w, number) for w in _words(line)]
        if not continues:
            yield name, words
            name, words = "", []
    if name:
        yield name, words


def _lines(text: str) -> Iterator[tuple[int, str, bool]]:
    """(number, text, whether the next line belongs to it), without comments and blank lines."""
    inside = False
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if (not line and not inside) or line.startswith(("#", ";")):
            continue  # a comment between continued lines is skipped, as systemd does
        inside = line.endswith("\\")
        yield number, line.removesuffix("\\").strip(), inside


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that closes on a later line
        return text.replace('"', " ").replace("'", " ").split()


def _split(value: str) -> list[str]:
    """The words of a variable's value: an outer pair of quotes goes, then white space splits."""
    return [w for word in _words(value) for w in word.split()]


def merged(files: Sequence[FlagUse], running: Mapping[int, Sequence[FlagUse]]) -> list[FlagUse]:
    """Flags from files, and those of running processes (by pid) that no file explains."""
    known = {(f.component, f.flag) for f in files}
    found = list(files)
    for pid, flags in running.items():
        for flag in flags:
            if (flag.component, flag.flag) not in known:
                known.add((flag.component, flag.flag))
                found.append(
                    FlagUse(component=flag.component, flag=flag.flag, path=f"process {pid}")
                )
    return found
