"""Machine images: an overlay layer that holds given versions, as a cloud image would.

An image is a directory below the cache, named by the digest of what went in (versions, checksums of
the binaries, unit files, container images), and never changed after its rename into place.
Binaries are hard links to the artefact cache where both are on one file system, so an image costs
almost no disk. Directories of the host that a machine must not see are covered by empty opaque
ones.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from pawl.core.errors import ArtifactError
from pawl.lab.archive import program_of
from pawl.lab.store import flock
from pawl.ports.artifacts import Artifact

COMPONENTS = {
    "etcd": ("etcd", ("etcd", "etcdctl", "etcdutl")),
    "kube-apiserver": ("kubernetes", ("kube-apiserver",)),
    "kube-controller-manager": ("kubernetes", ("kube-controller-manager",)),
    "kube-scheduler": ("kubernetes", ("kube-scheduler",)),
    "kubelet": ("kubernetes", ("kubelet",)),
    "kube-proxy": ("kubernetes", ("kube-proxy",)),
    "kubectl": ("kubernetes", ("kubectl",)),
    "kube-state-metrics": ("kube-state-metrics", ("kube-state-metrics",)),
}
"""Component -> its product and the programs in its directory (the layout of pawl's hosts)."""

_SYSTEM = {"bin", "sbin", "usr", "etc", "var", "dev", "proc", "sys", "run", "boot"}
"""Directories of an operating system, beside every `lib*` (hier(7)); all else is the host's own."""
_HIDDEN_DEEP = (
    "var/lib/pawl",
    "var/log",
    "var/cache",
    "var/tmp",
    "var/backups",
    "var/lib/containerd",
    "var/lib/kubelet",
    "var/lib/etcd",
    "var/lib/redis",
    "var/lib/prometheus",
    "var/lib/postgresql",
    "etc/ssh",
    "etc/haproxy",
    "etc/containerd",
    "etc/cni",
    "etc/kubernetes",
    "etc/prometheus",
    "etc/systemd/system",
    "usr/local",
)

# Services of the host that have no business in a machine. udev, sysctl and modules would reach
# through the writable /sys and /proc/sys to the host itself.
_MASKED = (
    "apparmor.service",
    "apt-daily.service",
    "apt-daily.timer",
    "apt-daily-upgrade.service",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "cron.service",
    "dbus-org.freedesktop.login1.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "kmod-static-nodes.service",
    "ldconfig.service",
    "logrotate.timer",
    "man-db.timer",
    "networking.service",
    "postgresql.service",
    "proc-sys-fs-binfmt_misc.automount",
    "proc-sys-fs-binfmt_misc.mount",
    "redis-server.service",
    "redis.service",
    "rsyslog.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-modules-load.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-resolved.service",
    "systemd-sysctl.service",
    "systemd-sysusers.service",
    "systemd-timesyncd.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-update-done.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-user-sessions.service",
)


def build(
    cache: Path,
    versions: Mapping[str, str],
    artifacts: Mapping[str, Artifact],
    archive: Path,
) -> Path:
    """The image with `versions` (products: kubernetes, etcd) and the container images `archive`.

    `artifacts` has the verified programs of each product. Returns the image's directory; makes it
    when the cache has none. Raises `ArtifactError`.
    """
    programs: dict[str, Path] = {}
    sums: dict[str, str] = {}
    for component, (product, names) in COMPONENTS.items():
        if product not in versions:
            continue
        for name in names:
            try:
                file = artifacts[product].file(name)
            except KeyError as missing:
                raise ArtifactError(f"the machine image needs it, but {missing}") from None
            path = f"opt/pawl/{component}/{versions[product]}/{name}"
            programs[path], sums[path] = file.path, file.sha256
    files = {f.name: f.read_bytes() for f in _shipped()}
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    for path in sorted(programs):
        digest.update(f"{path} {sums[path]}\n".encode())
    digest.update(f"{archive.name} {' '.join(_hidden())} {_MASKED}\n".encode())
    image = cache / "images" / digest.hexdigest()[:20]
    with flock(cache / "images" / f".lock-{image.name}"):
        if not image.exists():
            draft = image.with_name(f".{image.name}.new")
            shutil.rmtree(draft, ignore_errors=True)
            _fill(draft, files, programs, archive)
            draft.rename(image)
    return image


def _hidden(host: Path = Path("/")) -> tuple[str, ...]:
    """What of the host's own files a machine sees as empty directories."""
    own = sorted(
        d.name
        for d in host.iterdir()
        if d.is_dir()
        and not d.is_symlink()
        and d.name not in _SYSTEM
        and not d.name.startswith("lib")
    )
    return (*own, *_HIDDEN_DEEP)


def _shipped() -> list[Path]:
    directory = Path(str(resources.files("pawl.lab") / "rootfs"))
    return sorted(p for p in directory.iterdir() if p.is_file())


def _fill(
    draft: Path, files: Mapping[str, bytes], programs: Mapping[str, Path], archive: Path
) -> None:
    draft.mkdir(parents=True)
    for path in _hidden():
        directory = draft / path
        directory.mkdir(parents=True, exist_ok=True)
        os.setxattr(directory, "trusted.overlay.opaque", b"y")
    (draft / "root").chmod(0o700)
    for sticky in ("tmp", "var/tmp"):
        (draft / sticky).chmod(0o1777)
    units = draft / "etc/systemd/system"
    for name in _MASKED:
        (units / name).symlink_to("/dev/null")
    for name, content in files.items():
        _place(draft, name, content)
    wants = units / "multi-user.target.wants"
    wants.mkdir()
    (wants / "ssh.service").symlink_to("/lib/systemd/system/ssh.service")
    for path, source in programs.items():
        target = draft / path
        target.parent.mkdir(parents=True, exist_ok=True)
        link(source, target)
        current = target.parent.parent / "current"
        if not current.is_symlink():
            current.symlink_to(target.parent.name)
    local = draft / "usr/local/bin"
    local.mkdir(parents=True)
    for component, name in (("etcd", "etcdctl"), ("etcd", "etcdutl"), ("kubectl", "kubectl")):
        (local / name).symlink_to(f"/opt/pawl/{component}/current/{name}")
    images = draft / "opt/pawl/containers"
    images.mkdir(parents=True)
    link(archive, images / "lab.tar")
    link(program_of(archive), local / "labapp")


def _place(draft: Path, name: str, content: bytes) -> None:
    """Shipped files carry their destination in their kind: units, or scripts for /usr/local/lib."""
    unit = name.endswith((".service", ".target"))
    target = draft / ("etc/systemd/system" if unit else "usr/local/lib/pawl") / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_bytes(content)
    target.chmod(0o644 if unit else 0o755)


def link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file systems or the mode differ."""
    try:
        if not os.access(source, os.X_OK) and source.suffix != ".tar":
            raise OSError("the cache keeps it without the executable bit")
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        target.chmod(0o755)
