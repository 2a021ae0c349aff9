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


def _lines(text: str, backend: str) -> Iterator[tuple[int, int, list[str]]]:
    """(first, last, words) of each logical line in the backend: lines ending in \\ go on."""
    inside = False
    raw = text.splitlines()
    index = 0
    while index < len(raw):
        first = index
        joined = raw[index]
        while joined.endswith("\\") and index + 1 < len(raw):
            index += 1
            joined = joined[:-1] + " " + raw[index]
        words = joined.split("#", 1)[0].split()
        index += 1
        if not words:
            continue
        if words[0] in _SECTIONS:
            inside = words[0] in ("backend", "listen") and words[1:2] == [backend]
        elif inside:
            yield first, index - 1, words


def keywords(text: str, backend: str) -> list[str]:
    """What a new server of the backend needs: its default-server's words and its siblings' own.

    A server added at run time does not inherit `default-server` (HAProxy 2.6, "add server").
    """
    defaults: list[str] = []
    own: list[str] | None = None
    for _, _, words in _lines(text, backend):
        if words[0] == "default-server":
            defaults += words[1:]
        elif words[0] == "server" and own is None:
            own = words[3:]
    return defaults + (own or [])


def with_server(text: str, backend: str, name: str, address: str) -> str:
    """`text` with a line for the server after the backend's last one, its siblings' words kept."""
    raw = text.splitlines()
    anchor: tuple[int, str, list[str]] | None = None
    for first, end, words in _lines(text, backend):
        if words[0] == "server" and words[1] == name:
            raw[first : end + 1] = [_line(raw[first], name, address, words[3:])]
            return "\n".join(raw) + "\n"
        if words[0] == "server":
            anchor = (end, raw[first], words[3:])
        elif words[0] == "default-server" and anchor is None:
            anchor = (end, raw[first], [])
    if anchor is None:
        raise StepFailed(
            f"haproxy.cfg has no server and no default-server in backend {backend}; "
            "pawl cannot tell how a new one should be checked"
        )
    end, sample, own = anchor
    raw.insert(end + 1, _line(sample, name, address, own))
    return "\n".join(raw) + "\n"


def without_server(text: str, backend: str, name: str) -> str:
    """`text` without the server's line; the same text when there is none."""
    raw = text.splitlines()
    for first, end, words in _lines(text, backend):
        if words[0] == "server" and words[1] == name:
            del raw[first : end + 1]
            return "\n".join(raw) + "\n"
    return text


def _line(sample: str, name: str, address: str, own: list[str]) -> str:
    indent = sample[: len(sample) - len(sample.lstrip())]
    return indent + " ".join(["server", name, address, *own])
