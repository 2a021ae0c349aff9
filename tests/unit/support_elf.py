"""Small ELF files with Go build information, as the Go linker lays it out."""

from __future__ import annotations

import struct

MAGIC = b"\xff Go buildinf:"
SENTINEL = bytes(range(16))
MODULES = (
    "path\texample.com/operator/cmd\n"
    "mod\texample.com/operator\tv1.2.3\th1:x=\n"
    "dep\tk8s.io/api\tv0.34.1\th1:x=\n"
    "dep\tk8s.io/client-go\tv0.30.0\th1:x=\n"
    "=>\tk8s.io/client-go\tv0.34.1\th1:x=\n"
    "dep\tsigs.k8s.io/controller-runtime\tv0.22.4\th1:x=\n"
    "build\t-compiler=gc\n"
)


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def wrapped(text: str) -> bytes:
    return SENTINEL + text.encode() + SENTINEL


def inline(go: str, text: str) -> bytes:
    """Since Go 1.18: flag 2, then two strings with their lengths."""
    body = wrapped(text)
    return (
        MAGIC + bytes([8, 2]) + bytes(16)
        + varint(len(go)) + go.encode() + varint(len(body)) + body
    )  # fmt: skip


def pointed(go: str, text: str, base: int) -> bytes:
    """Go 1.13 to 1.17: pointers to string headers; `base` is the address of the first byte."""
    body, at = wrapped(text), base + 64
    headers = struct.pack("<QQQQ", at, len(go), at + len(go), len(body))
    start = MAGIC + bytes([8, 0]) + struct.pack("<QQ", base + 32, base + 48)
    return start + headers + go.encode() + body


def elf(info: bytes, *, sections: bool = True, address: int = 0x400000, pad: int = 4096) -> bytes:
    """A 64-bit little-endian file with one writable segment that begins with `info`."""
    data_at = 64 + 56 + pad
    data_at += -data_at % 16
    names = b"\x00.shstrtab\x00.go.buildinfo\x00"
    names_at = data_at + len(info)
    table_at = names_at + len(names)
    count = 3 if sections else 0
    head = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, table_at if sections else 0, 0,
                        64, 56, 1, 64, count, 1 if sections else 0)  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 6, data_at, address, address, len(info), len(info), 16)
    out = (head + segment).ljust(data_at, b"\x90") + info + names
    if sections:
        out += bytes(64)
        out += struct.pack("<IIQQQQIIQQ", 1, 3, 0, 0, names_at, len(names), 0, 0, 1, 0)
        out += struct.pack("<IIQQQQIIQQ", 11, 1, 3, address, data_at, len(info), 0, 0, 16, 0)
    return out
