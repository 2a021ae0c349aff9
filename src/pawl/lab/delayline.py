"""A delay line for packets, in user space: `python -m pawl.lab.delayline MILLISECONDS`.

Kernels often lack `sch_netem`, and all have NFQUEUE. An iptables rule with `--queue-bypass` hands
packets to this program, which holds each for a while and lets it pass. Only their numbers come
here, not their contents. When it ends, for whatever reason, the kernel lets everything pass; it
ends when its standard input does, so it cannot outlive the pawl that started it.

Protocol: linux/netfilter/nfnetlink_queue.h. Network byte order inside attributes, host order in the
netlink headers.
"""

from __future__ import annotations

import collections
import contextlib
import os
import select
import socket
import struct
import sys
import time

QUEUE = 77
NETLINK_NETFILTER = 12
SUBSYSTEM = 3 << 8
PACKET, CONFIG, VERDICT_UP_TO = SUBSYSTEM | 0, SUBSYSTEM | 2, SUBSYSTEM | 3
BIND, COPY_META, ACCEPT, FAIL_OPEN = 1, 1, 1, 1
REQUEST = 1
LONGEST_QUEUE = 20_000
"""Packets held at most; beyond it they pass undelayed."""


def attribute(kind: int, data: bytes) -> bytes:
    padding = -len(data) % 4
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * padding


def message(kind: int, *attributes: bytes) -> bytes:
    """A netlink message to our queue."""
    body = struct.pack("!BBH", socket.AF_UNSPEC, 0, QUEUE) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, REQUEST, 0, 0) + body


def accept_up_to(number: int) -> bytes:
    """Let pass every packet up to this one."""
    return message(VERDICT_UP_TO, attribute(2, struct.pack("!II", ACCEPT, number)))


def setup() -> bytes:
    return b"".join(
        (
            message(CONFIG, attribute(1, struct.pack("!BBH", BIND, 0, socket.AF_INET))),
            message(CONFIG, attribute(2, struct.pack("!IB", 0, COPY_META))),
            message(CONFIG, attribute(3, struct.pack("!I", LONGEST_QUEUE))),
            message(
                CONFIG,
                attribute(5, struct.pack("!I", FAIL_OPEN)),
                attribute(4, struct.pack("!I", FAIL_OPEN)),
            ),
        )
    )


def numbers(data: bytes) -> list[int]:
    """The numbers of the packets in what was received. Raises OSError for an error message."""
    found = []
    while len(data) >= 16:
        length, kind, _, _, _ = struct.unpack_from("=IHHII", data)
        if kind == 2:  # NLMSG_ERROR
            (code,) = struct.unpack_from("=i", data, 16)
            if code:
                raise OSError(-code, "the kernel refuses the packet queue")
        elif kind == PACKET:
            place, end = 20, length
            while place + 4 <= end:
                size, name = struct.unpack_from("=HH", data, place)
                if name & 0x3FFF == 1:  # NFQA_PACKET_HDR: number, protocol, hook
                    found.append(struct.unpack_from("!I", data, place + 4)[0])
                if size < 4:
                    break
                place += (size + 3) & ~3
        data = data[(length + 3) & ~3 :] if length >= 16 else b""
    return found


def hold(seconds: float) -> None:
    """Until standard input ends."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as link:
        link.bind((0, 0))
        with contextlib.suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        link.send(setup())
        print("ready", flush=True)
        held: collections.deque[tuple[float, int]] = collections.deque()
        while True:
            left = max(0.0, held[0][0] - time.monotonic()) if held else None
            ready, _, _ = select.select([link, sys.stdin], [], [], left)
            if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1):
                return
            if link in ready:
                with contextlib.suppress(BlockingIOError):
                    due = time.monotonic() + seconds
                    held.extend((due, number) for number in numbers(link.recv(1 << 16)))
            last = None
            while held and held[0][0] <= time.monotonic():
                last = held.popleft()[1]
            if last is not None:
                link.send(accept_up_to(last))


if __name__ == "__main__":
    hold(float(sys.argv[1]) / 1000)
