"""The server lines of one backend in haproxy.cfg, so that a runtime change survives a restart.

Only these lines are read and written; everything else stays as its owner wrote it, comments and
order included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pawl.core.errors import StepFailed

_SECTIONS = (
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "peers",
    "resolvers",
    "userlist",
    "cache",
    "program",
    "ring",
    "mailers",
    "http-errors",
    "fcgi-app",
    "log-forward",
)
_NAME = re.compile(r"^[A-Za-z0-9._-]+$")


def checked(name: str) -> str:
    """A server or backend name that can stand in a command. Raises StepFailed for any other."""
    if not _NAME.match(name):
        raise StepFailed(f"{name!r} cannot be the name of a server in HAProxy")
    return name


def _lines(text: str, backend: str) -> Iterator[tuple[int, list[str]]]:
    """(index, words) of each line in the backend, comments taken off. A line is a statement:
    HAProxy knows no continuation."""
    inside = False
    for index, line in enumerate(text.splitlines()):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if words[0] in _SECTIONS:
            inside = words[0] in ("backend", "listen") and words[1:2] == [backend]
        elif inside:
            yield index, words


def keywords(text: str, backend: str) -> list[str]:
    """What a new server of the backend needs: its default-server's words and its siblings' own.

    A server added at run time does not inherit `default-server` (HAProxy 2.6, "add server").
    """
    defaults: list[str] = []
    own: list[str] | None = None
    for _, words in _lines(text, backend):
        if words[0] == "default-server":
            defaults += words[1:]
        elif words[0] == "server" and own is None:
            own = words[3:]
    return defaults + (own or [])


def with_server(text: str, backend: str, name: str, address: str) -> str:
    """`text` with a line for the server after the backend's last one, its siblings' words kept."""
    raw = text.splitlines()
    anchor: tuple[int, str, list[str]] | None = None
    for index, words in _lines(text, backend):
        if words[0] == "server" and words[1] == name:
            raw[index] = _line(raw[index], name, address, words[3:])
            return "\n".join(raw) + "\n"
        if words[0] == "server":
            anchor = (index, raw[index], words[3:])
        elif words[0] == "default-server" and anchor is None:
            anchor = (index, raw[index], [])
    if anchor is None:
        raise StepFailed(
            f"haproxy.cfg has no server and no default-server in backend {backend}; "
            "pawl cannot tell how a new one should be checked"
        )
    last, sample, own = anchor
    raw.insert(last + 1, _line(sample, name, address, own))
    return "\n".join(raw) + "\n"


def without_server(text: str, backend: str, name: str) -> str:
    """`text` without the server's line; the same text when there is none."""
    raw = text.splitlines()
    for index, words in _lines(text, backend):
        if words[0] == "server" and words[1] == name:
            del raw[index]
            return "\n".join(raw) + "\n"
    return text


def _line(sample: str, name: str, address: str, own: list[str]) -> str:
    indent = sample[: len(sample) - len(sample.lstrip())]
    return indent + " ".join(["server", name, address, *own])
