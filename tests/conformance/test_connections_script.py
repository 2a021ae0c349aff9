"""The script that reads a node's connections runs in a plain shell and prints what is parsed."""

from __future__ import annotations

import socket
import subprocess

from pawl.adapters.hosts.connections_seen import SCRIPT
from pawl.core.workloads import conntrack

NET = """  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000
   1: 071012C6:9C40 090912C6:18EB 01 00000000:00000000
   2: 071012C6:1F90 050112C6:9C41 01 00000000:00000000
   3: 0100007F:9C42 0100007F:1F91 01 00000000:00000000
   4: 071012C6:9C43 050112C6:18EB 06 00000000:00000000
  sl  local_address                         remote_address                        st
   0: 0000000000000000FFFF0000071012C6:9C44 0000000000000000FFFF0000060112C6:01BB 01
"""


def test_socket_tables_tell_who_opened_what() -> None:
    """Listening, incoming, loopback and half-closed rows are not connections that it opened."""
    found = {(c.source, c.target, c.port) for c in conntrack.sockets(NET, "n")}
    assert found == {
        ("198.18.16.7", "198.18.9.9", 6379),
        ("198.18.16.7", "198.18.1.6", 443),
    }


def test_the_script_prints_one_of_its_three_forms() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        ran = subprocess.run(
            ["/bin/sh"], input=SCRIPT, capture_output=True, text=True, check=True, timeout=60
        )
    how, _, text = ran.stdout.partition("\n")
    assert how in ("conntrack", "sockets", "nothing")
    if how == "conntrack":
        assert all(line.startswith("src=") for line in text.splitlines())
