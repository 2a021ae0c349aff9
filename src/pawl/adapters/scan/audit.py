"""Audit logs: on the hosts over SSH, or as local files that somebody has fetched.

On a host the bytes are looked at where they lie (`grep -F`), and only the records that matter
travel; a local file is searched block by block. Either way a record is parsed only when its bytes
say that it must be, and memory depends on the number of clients, not of records.
"""

from __future__ import annotations

import gzip
import shlex
import zlib
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import BinaryIO

import msgspec

from pawl.adapters.hosts.connection import Connections
from pawl.core.errors import PawlError
from pawl.core.scan.auditlog import Calls, matching, needles, time_of
from pawl.core.scan.facts import Audited, Missed, Note, ScanFact
from pawl.core.scan.lens import Lens

SCRIPT = resources.files("pawl.adapters.scan").joinpath("audit.sh").read_text()
BLOCK = 4 << 20
MOST = 200_000
"""Records of one file that are read: about 200 MB, far more than any list of clients needs."""
SECONDS = 300.0
FLAG = "--audit-log-path="
UNKNOWN = "?"


class AuditLog(msgspec.Struct, frozen=True, kw_only=True):
    """Where an API server writes its audit log: a path on `host`, "" for nowhere."""

    host: str
    path: str


def of_flags(host: str, flags: Sequence[str]) -> AuditLog:
    """As the API server's own flags say. "-" is its standard output, which is no file. No flags at
    all: they were not found."""
    if not flags:
        return AuditLog(host=host, path=UNKNOWN)
    paths = [f.removeprefix(FLAG).strip("\"'") for f in flags if f.startswith(FLAG)]
    return AuditLog(host=host, path=paths[-1] if paths else "")


async def remote(
    connections: Connections, log: AuditLog, lens: Lens, running: str, days: float
) -> tuple[ScanFact, ...]:
    """Calls in the audit log of a host, rotated files of the last `days` included."""
    where = f"hosts/{log.host}{log.path}"
    if log.path == UNKNOWN:
        why = "the API server's flags were not found (`layout.flags`), so neither was its audit log"
        return (Missed(where=f"hosts/{log.host}", why=why),)
    if not log.path.startswith("/"):
        how = "writes its audit log to its output" if log.path else "has no audit log"
        return (
            Note(
                text=f"the API server on {log.host} {how}: who calls deprecated APIs there can "
                "only be counted, not named (--audit-log-path and a policy at level Metadata)"
            ),
        )
    argv = [*connections.prefix, "/bin/sh", "-s", "--", log.path, str(int(days) + 1), str(MOST)]
    for needle in needles(lens, running):
        argv += ["-e", needle.decode()]
    reading = _Reading(log.host, lens)
    try:
        async with connections.use(log.host, SECONDS) as connection:
            process = await connection.create_process(shlex.join(argv), encoding=None)
            process.stdin.write(SCRIPT.encode())
            process.stdin.write_eof()
            rest = b""
            while chunk := await process.stdout.read(BLOCK):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    reading.line(line)
            await process.wait_closed()
    except PawlError as error:
        return (Missed(where=where, why=str(error)), *reading.facts())
    if not reading.ended:
        reading.missed.append(Missed(where=where, why="the reading of it broke off"))
    return reading.facts()


class _Reading:
    """The lines that audit.sh prints."""

    def __init__(self, host: str, lens: Lens) -> None:
        self.host, self.ended = host, False
        self.missed: list[Missed] = []
        self._calls = Calls(host, lens)
        self._files: list[Audited] = []
        self._records = 0

    def line(self, line: bytes) -> None:
        if not line.startswith(b"#"):
            self._records += 1
            self._calls.add(line)
            if self._records == MOST:
                self.missed.append(
                    Missed(
                        where=f"hosts/{self.host}{self._files[-1].file}",
                        why=f"it holds more than {MOST:,} calls of deprecated APIs; the rest of "
                        "the file was not read",
                    )
                )
            return
        mark, _, value = line.partition(b"\t")
        match mark:
            case b"#file":
                self._records = 0
                self._files.append(Audited(host=self.host, file=value.decode(errors="replace")))
            case b"#first" | b"#last":
                name = mark[1:].decode()
                last = self._files.pop()
                self._files.append(msgspec.structs.replace(last, **{name: time_of(value)}))
            case b"#unread":
                file = value.decode(errors="replace")
                why = "the audit log cannot be read there: is it the right path, may sudo read it?"
                self.missed.append(Missed(where=f"hosts/{self.host}{file}", why=why))
            case b"#end":
                self.ended = True

    def facts(self) -> tuple[ScanFact, ...]:
        if self._calls.unparsable:
            self.missed.append(
                Missed(
                    where=f"hosts/{self.host}",
                    why=f"{self._calls.unparsable} audit records could not be parsed",
                )
            )
        return (*self._calls.facts(), *self._files, *self.missed)


def local(path: Path, lens: Lens, running: str) -> tuple[ScanFact, ...]:
    """Calls in a local file (gzip by its name). The host is named by the file."""
    calls = Calls(str(path), lens)
    wanted = needles(lens, running)
    first = last = ""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for block in blocks(file):
                first = first or time_of(block[: block.find(b"\n")])
                last = time_of(block[block.rfind(b"\n", 0, -1) + 1 :]) or last
                for line in matching(block, wanted):
                    calls.add(line)
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        return (Missed(where=str(path), why=f"the audit log cannot be read: {why}"), *calls.facts())
    if calls.unparsable:
        why = f"{calls.unparsable} audit records could not be parsed"
        return (*calls.facts(), Missed(where=str(path), why=why))
    return (*calls.facts(), Audited(host=str(path), file=str(path), first=first, last=last))


def blocks(file: BinaryIO | gzip.GzipFile, size: int = BLOCK) -> Iterator[bytes]:
    """Blocks of whole lines; a line longer than a block makes a longer one."""
    rest = b""
    while block := file.read(size):
        cut = block.rfind(b"\n") + 1
        if not cut:
            rest += block
            continue
        yield rest + block[:cut] if rest else block[:cut]
        rest = block[cut:]
    if rest:
        yield rest
