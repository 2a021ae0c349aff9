"""What the host must offer, and the few host-wide limits that the lab raises."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pawl.core.errors import Refused

_TOOLS = {
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "iptables": "iptables",
    "containerd": "containerd",
    "runc": "runc",
    "haproxy": "haproxy",
    "sshd": "openssh-server",
    "conntrack": "conntrack",
    "unshare": "util-linux",
    "sysctl": "procps",
}
"""Program -> the Debian package that has it. Machines see the host's /usr."""

_MONITORING = {
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
}

_LIMITS = {
    # Each systemd, kubelet and containerd holds some tens of inotify instances; the kernel's
    # default of 128 for root is used up by four machines.
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 524288,
    "kernel/pid_max": 4194304,
}


def check(*, monitoring: bool = False) -> None:
    """Raise `Refused` with everything that is missing here, all at once."""
    reasons = []
    if os.geteuid() != 0:
        reasons.append("the lab makes namespaces and mounts: run it as root")
    for tool, package in (_TOOLS | (_MONITORING if monitoring else {})).items():
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        if shutil.which(tool, path=path) is None:
            reasons.append(f"{tool} is missing; install the package {package}")
    if not Path("/usr/lib/cni/bridge").exists():
        reasons.append(
            "/usr/lib/cni/bridge is missing; install the package containernetworking-plugins"
        )
    if "overlay" not in Path("/proc/filesystems").read_text():
        reasons.append("the kernel offers no overlay file system (modprobe overlay)")
    if reasons:
        raise Refused(reasons)


def raise_limits() -> None:
    """Raise host-wide limits that several labs would hit; never lowers one."""
    for name, wanted in _LIMITS.items():
        path = Path("/proc/sys") / name
        try:
            if int(path.read_text()) < wanted:
                path.write_text(str(wanted))
        except OSError:
            continue
