"""Go build information out of an executable, with as few reads as possible.

The layout is that of Go's own debug/buildinfo: since 1.18 a section `.go.buildinfo` holds 32 bytes
of header (magic, pointer size, flags), then the version and the module list as strings with a
varint length; 1.13 to 1.17 hold two pointers to Go string headers instead. The module list is
wrapped in 16 bytes of sentinel on both sides, and lists `path`, `mod`, `dep` and `=>` (replacement)
lines.

The parser asks for ranges and is given bytes, so the same code reads a local file, a file in a
container image and a process of a host over SFTP: some 10 KiB of a binary of 100 MiB.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Generator
from dataclasses import dataclass, field

MAGIC = b"\xff Go buildinf:"
MOST_SECTIONS = 512
MOST_TEXT = 1 << 20
SCAN = 64 << 10
_INLINE, _BIG = 2, 1
_LOAD, _WRITABLE = 1, 2

Range = tuple[int, int]
"""(offset, length) of the bytes that are wanted next; an answer may be shorter at the end."""
Reading = Generator[Range, bytes, "BuildInfo"]


class NotGo(Exception):
    """The file is no ELF executable, or has no Go build information. `str` says which."""


@dataclass(frozen=True)
class BuildInfo:
    """`go` such as "go1.24.2"; `deps` maps a module path to its version, replacements applied."""

    go: str
    path: str = ""
    main: str = ""
    main_version: str = ""
    deps: dict[str, str] = field(default_factory=dict)

    @property
    def client_go(self) -> str:
        """The version of k8s.io/client-go, "" when it is not linked in. The components that are
        built within kubernetes/kubernetes have it as part of that release."""
        found = self.deps.get("k8s.io/client-go", "")
        if found in ("", "v0.0.0", "(devel)") and self.main == "k8s.io/kubernetes":
            return re.sub(r"^v1\.", "v0.", self.main_version)
        return "" if found in ("v0.0.0", "(devel)") else found

    @property
    def controller_runtime(self) -> str:
        return self.deps.get("sigs.k8s.io/controller-runtime", "")


def client_go_minor(version: str) -> str:
    """The Kubernetes minor whose API a client-go knows: "1.34" for v0.34.1; "" when not known.

    Since v0.17 the minor is the version's own; v6 to v12 are those of 1.9 to 1.15 by the matrix in
    client-go's README.
    """
    if m := re.match(r"^v0\.(\d+)\.", version):
        return f"1.{m[1]}"
    if (m := re.match(r"^v(\d+)\.", version)) and 6 <= int(m[1]) <= 12:
        return f"1.{int(m[1]) + 3}"
    return ""


def read() -> Reading:
    """The steps of reading one file; drive it with `pull` or by hand."""
    head = yield (0, 64)
    if head[:4] != b"\x7fELF":
        raise NotGo("it is no ELF executable")
    elf = _Elf(head)
    place = yield from _place(elf)
    if place is None:
        raise NotGo("it has no Go build information (not written in Go, or older than Go 1.13)")
    start = yield (place, 32)
    if len(start) < 32 or not start.startswith(MAGIC):
        raise NotGo("its build information is damaged")
    if start[15] & _INLINE:
        go, body = yield from _inline(place + 32)
    else:
        go, body = yield from _pointed(elf, start)
    return parse(go, body)


class _Elf:
    """The header's numbers: 64 or 32 bits, either byte order."""

    def __init__(self, head: bytes) -> None:
        if len(head) < 52:
            raise NotGo("it is cut short")
        self.wide = head[4] == 2
        self.order = ">" if head[5] == 2 else "<"
        if self.wide:
            (self.segments_at, self.sections_at) = self.unpack("QQ", head[32:48])
            names = head[54:64]
        else:
            (self.segments_at, self.sections_at) = self.unpack("II", head[28:36])
            names = head[42:52]
        (self.segment_size, self.segments, self.section_size, self.sections, self.names) = (
            self.unpack("HHHHH", names)
        )

    def unpack(self, form: str, data: bytes) -> tuple[int, ...]:
        try:
            return struct.unpack(self.order + form, data)
        except struct.error as error:
            raise NotGo("it is cut short") from error

    def loads(self, table: bytes) -> list[tuple[int, int, int, int]]:
        """(flags, file offset, address, size in the file) of what is loaded."""
        found = []
        for i in range(self.segments):
            one = table[i * self.segment_size : (i + 1) * self.segment_size]
            if self.wide:
                kind, flags, offset, address, _, size = self.unpack("IIQQQQ", one[:40])
            else:
                kind, offset, address, _, size, _, flags = self.unpack("IIIIIII", one[:28])
            if kind == _LOAD:
                found.append((flags, offset, address, size))
        return found


def _place(elf: _Elf) -> Generator[Range, bytes, int | None]:
    """Where the build information begins: by its section, else by scanning the data segment."""
    if 0 < elf.sections <= MOST_SECTIONS:
        table = yield (elf.sections_at, elf.sections * elf.section_size)
        entries = []
        for i in range(elf.sections):
            one = table[i * elf.section_size : (i + 1) * elf.section_size]
            if elf.wide:
                name, _, _, _, offset, size = elf.unpack("IIQQQQ", one[:40])
            else:
                name, _, _, _, offset, size = elf.unpack("IIIIII", one[:24])
            entries.append((name, offset, size))
        if elf.names < len(entries):
            _, offset, size = entries[elf.names]
            names = yield (offset, min(size, MOST_TEXT))
            for name, offset, size in entries:
                if names[name : name + 14] == b".go.buildinfo\x00" and size >= 16:
                    return offset
    table = yield (elf.segments_at, elf.segments * elf.segment_size)
    for flags, offset, _, size in elf.loads(table):
        if flags & _WRITABLE:
            data = yield (offset, min(size, SCAN))
            at = data.find(MAGIC)
            while at >= 0:
                if at % 16 == 0:
                    return offset + at
                at = data.find(MAGIC, at + 1)
    return None


def _inline(at: int) -> Generator[Range, bytes, tuple[str, bytes]]:
    data = yield (at, 4096)
    go, used = yield from _text(data, at)
    data = yield (at + used, 4096)
    body, _ = yield from _text(data, at + used)
    return go.decode("utf-8", "replace"), body


def _text(data: bytes, at: int) -> Generator[Range, bytes, tuple[bytes, int]]:
    """A string with its varint length at `at`, and how many bytes both take."""
    length = shift = used = 0
    for byte in data[:10]:
        length |= (byte & 0x7F) << shift
        shift, used = shift + 7, used + 1
        if not byte & 0x80:
            break
    if length > MOST_TEXT:
        raise NotGo(f"its build information claims {length} bytes")
    held = data[used : used + length]
    if len(held) < length:
        held = yield (at + used, length)
    return held, used + length


def _pointed(elf: _Elf, start: bytes) -> Generator[Range, bytes, tuple[str, bytes]]:
    """Before Go 1.18: two pointers to (pointer, length) pairs, as addresses of the process."""
    width = start[14]
    if width not in (4, 8):
        raise NotGo("its build information is damaged")
    order = ">" if start[15] & _BIG else "<"
    form = order + ("Q" if width == 8 else "I")
    table = yield (elf.segments_at, elf.segments * elf.segment_size)
    loads = elf.loads(table)
    found: list[bytes] = []
    for i in (0, 1):
        (header,) = struct.unpack(form, start[16 + i * width : 16 + (i + 1) * width])
        pair = yield (_offset(loads, header), 2 * width)
        if len(pair) < 2 * width:
            raise NotGo("its build information points beyond the file")
        where, length = struct.unpack(order + form[1] * 2, pair)
        text = yield (_offset(loads, where), min(length, MOST_TEXT)) if length else (0, 0)
        found.append(text)
    return found[0].decode("utf-8", "replace"), found[1]


def _offset(loads: list[tuple[int, int, int, int]], address: int) -> int:
    for _, offset, start, size in loads:
        if start <= address < start + size:
            return offset + address - start
    raise NotGo("its build information points nowhere")


def parse(go: str, body: bytes) -> BuildInfo:
    """The module list, with or without its sentinels."""
    if len(body) >= 33 and body[-17:-16] == b"\n":
        body = body[16:-16]
    path = main = main_version = last = ""
    deps: dict[str, str] = {}
    for line in body.decode("utf-8", "replace").splitlines():
        match line.split("\t"):
            case ["path", found, *_]:
                path = found
            case ["mod", found, version, *_]:
                main, main_version, last = found, version, ""
            case ["dep", found, version, *_]:
                deps[found], last = version, found
            case ["=>", _, version, *_] if last:
                deps[last] = version
    return BuildInfo(go=go, path=path, main=main, main_version=main_version, deps=deps)
