"""A real sshd on a loopback port, with its own host key and one client key, for one test run."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pawl.core.config import SshConfig

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


SYSTEMCTL = """\
#!/bin/sh
# A systemd as far as pawl asks it: the files beside this one are what it says.
here=${0%/*}
system=$(cat "$here/system" 2>/dev/null || echo running)
[ "$system" != silent ] || { echo "Failed to connect to bus" >&2; exit 1; }
case $1 in
is-system-running) echo "$system" ;;
show) cat "$here/units" 2>/dev/null ;;
start | stop)
	case $system in
	running) ;;
	busy) echo "Failed to $1 $4: Connection timed out" >&2; exit 1 ;;
	masked) echo "Failed to $1 $4: Unit $4 is masked." >&2; exit 1 ;;
	*) echo "Transaction is destructive" >&2; exit 1 ;;
	esac
	;;
esac
exit 0
"""


class Systemd:
    """What the systemd of a host with this `SshConfig` says."""

    def __init__(self, ssh: SshConfig) -> None:
        self._bin = Path(ssh.key).parent / "sshd-bin"

    def says(self, system: str, **units: str) -> None:
        """`system` as `systemctl is-system-running` tells it, "silent" for no answer at all, "busy"
        for none to an order, "masked" for one that it refuses; `units`: name without suffix ->
        ActiveState."""
        (self._bin / "system").write_text(system)
        (self._bin / "units").write_text(
            "\n".join(
                f"Id={name}.service\nLoadState=loaded\nActiveState={active}\nNRestarts=0\n"
                "StateChangeTimestamp=@7\nMainPID=0\n"
                for name, active in units.items()
            )
        )


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@contextmanager
def sshd(directory: Path, addresses: tuple[str, ...] = ("127.0.0.1",)) -> Iterator[SshConfig]:
    """Run sshd as this user until the context is left; yields how to log in."""
    port = free_port()
    keygen(directory / "host")
    keygen(directory / "client")
    shutil.copy(directory / "client.pub", directory / "authorized")
    (directory / "authorized").chmod(0o600)
    host_key = (directory / "host.pub").read_text().strip()
    known = "".join(f"[{address}]:{port} {host_key}\n" for address in addresses)
    (directory / "known_hosts").write_text(known)
    listen = "".join(f"ListenAddress {address}\n" for address in addresses)
    (directory / "sshd_config").write_text(
        f"Port {port}\n{listen}HostKey {directory}/host\n"
        f"AuthorizedKeysFile {directory}/authorized\nPidFile none\nStrictModes no\n"
        "PasswordAuthentication no\nUsePAM no\nPermitRootLogin yes\n"
        # bash would read the home's .bashrc for each command when it thinks it is the first shell.
        "Subsystem sftp internal-sftp\nMaxSessions 64\n"
        f"SetEnv SHLVL=2 PATH={directory}/sshd-bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    )
    # A name of its own: a test may keep its programs below `directory` too.
    programs = directory / "sshd-bin"
    programs.mkdir()
    (programs / "systemctl").write_text(SYSTEMCTL)
    (programs / "systemctl").chmod(0o755)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(directory / "sshd_config")],
        stderr=(directory / "log").open("wb"),
    )
    try:
        end = time.monotonic() + 120
        while True:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((directory / "log").read_text())
            time.sleep(0.02)
        yield SshConfig(
            user=getpass.getuser(),
            port=port,
            key=str(directory / "client"),
            known_hosts=str(directory / "known_hosts"),
        )
    finally:
        process.terminate()
        process.wait()
