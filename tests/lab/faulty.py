"""One lab that is broken again and again: what the fault tests share.

`Cluster` gives operators (pawl, on this machine or as if on another), commands on machines, and
etcd as it really is. Nothing here waits a fixed time: `eventually` looks again.
"""

from __future__ import annotations

import json
import shlex
import signal
import ssl
import subprocess
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml
from pawl_process import Event, Pawl, PawlRun

from pawl.lab.cluster import Lab

OLD, NEW = "3.5.33", "3.6.14"
QUICK: dict[str, Any] = {
    "attempts": 2,
    "retry_delay": 1,
    "patience": 10,
    "soak": {"etcd": 1, "control_plane": 1, "node": 1},
    "timeouts": {
        "member_healthy": 12,
        "apiserver_ready": 25,
        "node_ready": 20,
        "eviction": 8,
        "machine": 60,
        "lb_drain": 2,
    },
    "limits": {"api_servers_left": 1},
}
"""A fault is to be found out in seconds here; the ways to find it do not depend on how long."""


def eventually(what: str, holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the leaves of `over` put in."""
    found = dict(base)
    for key, value in over.items():
        inner = found.get(key)
        nested = isinstance(inner, Mapping) and isinstance(value, Mapping)
        found[key] = merged(inner, value) if nested else value
    return found


class Cluster:
    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self._directory = directory
        self._made = 0

    # -- operators

    def operator(
        self, state: Path | None = None, environment: Mapping[str, str] | None = None, **over: Any
    ) -> Pawl:
        """A pawl of this machine: they share journal and lock, so that each may go on at once
        after another was killed. With a `state` of its own it is a pawl on another machine, which
        must wait for a Lease. `over` goes into its pawl.yaml."""
        self._made += 1
        directory = self._directory / f"operator-{self._made}"
        directory.mkdir()
        data = yaml.safe_load(self.lab.dir.config.read_text())
        usual = {"policy": QUICK, "state": str(state or self._directory / "state")}
        path = directory / "pawl.yaml"
        path.write_text(yaml.safe_dump(merged(data, merged(usual, over))))
        path.chmod(0o600)
        return Pawl(path, **(environment or {}))

    def elsewhere(self) -> Pawl:
        """A pawl on another machine."""
        return self.operator(state=self._directory / f"elsewhere-{self._made}")

    def scripted(self, release: str, *components: str, when_run: str) -> Pawl:
        """An operator whose artefacts of this release are shell scripts: they give the right
        version, let the real program check flags, and otherwise do `when_run`."""
        local = self._directory / f"scripted-{release}"
        for component in components:
            directory = local / component / release
            directory.mkdir(parents=True)
            real = f"/opt/pawl/{component}/$(readlink /opt/pawl/{component}/current)/{component}"
            for name in (component, *(("etcdctl", "etcdutl") if component == "etcd" else ())):
                (directory / name).write_text(
                    f'#!/bin/sh\ncase "$1" in *version) echo "{name} v{release}"; exit ;; esac\n'
                    'case "$*" in *pawl-probe* | *=-1* | *--write-config-to=*) '
                    f'exec {real} "$@" ;; esac\n{when_run}\n'
                )
                (directory / name).chmod(0o755)
        # A cache of its own: nobody else may ever be served these.
        return self.operator(
            environment={"PAWL_CACHE": str(local / "cache")},
            artifacts={"local": str(local), "sources": ["local"]},
        )

    def status(self) -> Any:
        """What is seen now, complete or not: here something is often broken on purpose."""
        return Pawl(self.lab.dir.config).json("status", ok=(0, 1, 3))

    # -- machines

    def ssh(self, machine: str, *command: str, check: bool = True) -> str:
        """A command on a machine over its own SSH server; a single word is a line of shell."""
        ssh = self.lab.dir.ssh
        argv = ["ssh", "-i", str(ssh / "id_ed25519"), "-o", "BatchMode=yes"]
        argv += ["-o", f"UserKnownHostsFile={ssh / 'known_hosts'}", "-o", "LogLevel=ERROR"]
        argv += ["-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=5"]
        argv += [f"root@{self.lab.machine(machine).address()}"]
        line = command[0] if len(command) == 1 else shlex.join(command)
        done = subprocess.run([*argv, line], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{line} on {machine}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def write(self, machine: str, path: str, text: str, mode: str = "644") -> None:
        self.ssh(
            machine,
            f"mkdir -p $(dirname {path}) && printf %s {shlex.quote(text)} >{path} && "
            f"chmod {mode} {path}",
        )

    def drop_in(self, machine: str, unit: str, text: str) -> None:
        """A drop-in for a unit; "" takes it away."""
        path = f"/etc/systemd/system/{unit}.d/fault.conf"
        if text:
            self.write(machine, path, text)
        else:
            self.ssh(machine, f"rm -f {path}")
        self.ssh(machine, "systemctl daemon-reload")

    def since(self, machine: str, unit: str) -> str:
        """When the unit's present process was started."""
        return self.ssh(
            machine, "systemctl", "show", "--value", "-p", "ExecMainStartTimestampMonotonic", unit
        )

    def active(self, machine: str, unit: str) -> str:
        return self.ssh(machine, "systemctl", "is-active", unit, check=False)

    # -- etcd

    def hosts(self) -> list[str]:
        """Machines that have a member."""
        return [m.name for m in self.lab.dir.machines() if m.has_etcd]

    def etcdctl(self, machine: str, *words: str, check: bool = True) -> str:
        return self.ssh(
            machine, f". /etc/profile.d/pawl.sh; etcdctl {shlex.join(words)}", check=check
        )

    def etcd_versions(self) -> dict[str, str]:
        """Host -> version of each member that answers."""
        return {m["host"]: m["version"] for m in self.status()["members"] if m["version"]}

    def leader(self) -> str:
        found = [m["host"] for m in self.status()["members"] if m["leader"]]
        assert len(found) == 1, found
        return str(found[0])

    def member_ids(self) -> dict[str, int]:
        """Host -> member id in decimal, as the JSON gateway takes it."""
        listed = json.loads(self.etcdctl("etcd-1", "member", "list", "-w", "json"))
        return {m["name"]: m["ID"] for m in listed["members"]}

    def lead(self, host: str) -> None:
        """Move etcd's leadership there, by its own command."""
        leader = self.leader()
        if leader != host:
            self.etcdctl(leader, "move-leader", f"{self.member_ids()[host]:x}")
        eventually(f"{host} leads", lambda: self.leader() == host)

    def raise_alarm(self, host: str, alarm: str) -> None:
        """Through etcd's own API, which is how a member raises it when its quota is spent."""
        pki, member = "/etc/etcd/pki", self.member_ids()[host]
        body = json.dumps({"action": "ACTIVATE", "memberID": str(member), "alarm": alarm})
        said = self.ssh(
            host,
            f"curl -s --cacert {pki}/ca.crt --cert {pki}/member.crt --key {pki}/member.key "
            f"https://127.0.0.1:2379/v3/maintenance/alarm -d {shlex.quote(body)}",
        )
        assert alarm in said, said

    def mend(self) -> None:
        """After a test that failed half way: machines and etcd up again."""
        for host in self.hosts():
            if not self.lab.machine(host).running():
                self.lab.power_on(host)
            self.ssh(host, "systemctl start etcd")
        eventually("etcd is whole", lambda: set(self.etcd_versions()) == set(self.hosts()))

    def old_members(self, at_least: int) -> list[str]:
        """Hosts that still run OLD; all are brought back to it when there are not enough."""
        versions = self.etcd_versions()
        if set(versions) != set(self.hosts()):
            self.mend()
            versions = self.etcd_versions()
        if sum(v == OLD for v in versions.values()) < at_least:
            self.etcd_all(OLD)
            versions = self.etcd_versions()
        return sorted(h for h, v in versions.items() if v == OLD)

    def on_the_way(self, old: int, *, pawl: Pawl | None = None, to: str = NEW) -> Pawl:
        """An operator with an approved plan to `to`; at least `old` members are still OLD."""
        self.old_members(old)
        pawl = pawl or self.operator()
        pawl.plan("--only", "etcd", "--etcd", to)
        return pawl

    def etcd_all(self, version: str) -> None:
        """Bring every member to `version` by pawl itself: the way there, or the way back."""
        if set(self.etcd_versions()) != set(self.hosts()):
            self.mend()
        if set(self.etcd_versions().values()) == {version}:
            return
        pawl = self.operator()
        pawl.plan("--only", "etcd", "--etcd", version)
        pawl.run()
        assert self.etcd_versions() == dict.fromkeys(self.hosts(), version)


def swaps(pawl: Pawl) -> list[str]:
    """Hosts of the last plan in the order of their swaps."""
    return [s["action"]["host"] for s in pawl.steps if "/swap/" in s["id"]]


def until_swapped(run: PawlRun, host: str) -> None:
    """Read on until the member on `host` is done, then end the run at its next safe point: what
    follows is another test's business."""

    def done(event: Event) -> bool:
        assert event["event"] != "step-failed", run.said()
        return event["event"] == "step-done" and event["step"].endswith(f"/swap/{host}")

    run.until(done)
    run.process.send_signal(signal.SIGINT)
    assert run.finish(60) == 130, run.said()


def going_on(pawl: Pawl) -> PawlRun:
    """A run that has begun. Where there is no word of the pawl that died (its lock file went with
    the disk), its Lease must expire first."""
    end = time.monotonic() + 60
    while True:
        run = PawlRun(pawl, "--no-probe")
        if next(run.events(60), None) is not None:
            return run
        assert "is at work on this cluster" in run.why(), run.said()
        assert time.monotonic() < end, run.why()
        time.sleep(1)


class Writer:
    """Acknowledged unique writes to etcd, endpoint by endpoint, while something is broken."""

    def __init__(self, cluster: Cluster) -> None:
        lab = cluster.lab
        context = ssl.create_default_context(cafile=str(lab.dir.pki / "etcd-ca.crt"))
        pair = (lab.dir.pki / "pawl-etcd-client.crt", lab.dir.pki / "pawl-etcd-client.key")
        context.load_cert_chain(*map(str, pair))
        self._urls = [
            f"https://{lab.machine(m.name).address()}:2379"
            for m in lab.dir.machines()
            if m.has_etcd
        ]
        self._client = httpx.Client(verify=context, timeout=8)
        self._prefix = f"/faults/{time.monotonic_ns()}/"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.acknowledged: list[str] = []

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _call(self, url: str, path: str, body: Mapping[str, str | bool]) -> Any:
        answer = self._client.post(f"{url}/v3/kv/{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    def _write(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            key = f"{self._prefix}{number:06d}"
            text = b64encode(key.encode()).decode()
            for turn in range(len(self._urls)):
                url = self._urls[(number + turn) % len(self._urls)]
                try:
                    self._call(url, "put", {"key": text, "value": text})
                except httpx.HTTPError:
                    continue
                self.acknowledged.append(key)
                break
            self._over.wait(0.02)

    def lost(self) -> set[str]:
        """Acknowledged writes that a linearizable read does not find."""
        end = self._prefix[:-1] + chr(ord(self._prefix[-1]) + 1)
        encoded = [b64encode(t.encode()).decode() for t in (self._prefix, end)]
        body = {"key": encoded[0], "range_end": encoded[1], "keys_only": True}
        found = self._call(self._urls[0], "range", body).get("kvs", [])
        return set(self.acknowledged) - {b64decode(kv["key"]).decode() for kv in found}
