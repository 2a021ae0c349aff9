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
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml
from pawl_process import SETTLES, Event, Pawl, PawlRun

from pawl.lab.cluster import Lab

OLD, NEW = "3.5.33", "3.6.14"
QUICK: dict[str, Any] = {
    "retry_delay": 1,
    "soak": {"etcd": 1, "control_plane": 1, "node": 1},
    "timeouts": {
        "member_healthy": 180,
        "apiserver_ready": 180,
        "eviction": 300,
        "converge": 180,
        "lb_drain": 2,
    },
    "limits": {"api_servers_left": 1},
}
"""Nothing is waited for in vain: a deadline costs nothing while it is kept, and a machine that is
shared takes several times as long. A test that waits for a deadline to pass gives its own."""
IN_VAIN = {"patience": 40}
"""Policy of a run that is to end because nothing gets well; longer than a moment of noise."""
NO_SSH = 255
"""Exit code of ssh when it is not the command's."""


def eventually(what: str, holds: Callable[[], bool], seconds: float = SETTLES) -> None:
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

    def scripted(self, release: str, *components: str, when_run: str, **over: Any) -> Pawl:
        """An operator whose artefacts of this release are shell scripts: they give the right
        version, let the real program check flags, and otherwise do `when_run`. `over` goes into its
        pawl.yaml."""
        local = self._directory / f"scripted-{release}"
        for component in components:
            directory = local / component / release
            directory.mkdir(parents=True, exist_ok=True)
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
            **over,
        )

    def status(self) -> Any:
        """What is seen now, complete or not: here something is often broken on purpose."""
        return Pawl(self.lab.dir.config).json("status", ok=(0, 1, 3))

    def whole(self) -> Any:
        """What is seen once nothing is hidden, where nothing is broken any more."""
        return Pawl(self.lab.dir.config).whole()

    # -- machines

    def ran(self, machine: str, line: str) -> subprocess.CompletedProcess[str]:
        """A line of shell on a machine, over its own SSH server."""
        ssh = self.lab.dir.ssh
        argv = ["ssh", "-i", str(ssh / "id_ed25519"), "-o", "BatchMode=yes"]
        argv += ["-o", f"UserKnownHostsFile={ssh / 'known_hosts'}", "-o", "LogLevel=ERROR"]
        argv += ["-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=30"]
        argv += [f"root@{self.lab.machine(machine).address()}", line]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def ssh(self, machine: str, *command: str) -> str:
        """A command that succeeds; a single word is a line of shell. A machine that takes no
        connection just now is asked again."""
        line = command[0] if len(command) == 1 else shlex.join(command)
        end = time.monotonic() + SETTLES
        while (done := self.ran(machine, line)).returncode == NO_SSH and time.monotonic() < end:
            time.sleep(1)
        assert done.returncode == 0, f"{line} on {machine}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def write(self, machine: str, path: str, text: str, mode: str = "644") -> None:
        self.ssh(
            machine,
            f"mkdir -p $(dirname {path}) && printf %s {shlex.quote(text)} >{path} && "
            f"chmod {mode} {path}",
        )

    def since(self, machine: str, unit: str) -> str:
        """When the unit's present process was started."""
        return self.ssh(
            machine, "systemctl", "show", "--value", "-p", "ExecMainStartTimestampMonotonic", unit
        )

    def active(self, machine: str, unit: str) -> str:
        return self.ssh(machine, "systemctl", "show", "--value", "-p", "ActiveState", unit)

    # -- etcd

    def hosts(self) -> list[str]:
        """Machines that have a member."""
        return [m.name for m in self.lab.dir.machines() if m.has_etcd]

    def etcdctl(self, machine: str, *words: str) -> str:
        """By the machine's own member. It is asked again while that has no answer: all that is
        ordered here may be ordered twice."""
        line = f". /etc/profile.d/pawl.sh; etcdctl {shlex.join(words)}"
        end = time.monotonic() + SETTLES
        while (done := self.ran(machine, line)).returncode != 0:
            assert time.monotonic() < end, f"{line} on {machine}: {done.stdout}{done.stderr}"
            time.sleep(1)
        return done.stdout.strip()

    def answering(self) -> dict[str, str]:
        """Host -> version of each member that answers now."""
        return {m["host"]: m["version"] for m in self.status()["members"] if m["version"]}

    def members(self, down: Collection[str] = ()) -> dict[str, dict[str, Any]]:
        """Host -> member as `pawl status` tells it, once all answer but those that are `down`."""
        found: dict[str, dict[str, Any]] = {}

        def told() -> bool:
            seen = {m["host"]: m for m in self.status()["members"] if m["version"]}
            found.clear()
            found.update(seen)
            return set(seen) == set(self.hosts()) - set(down)

        eventually(f"all members answer but {sorted(down)}", told)
        return found

    def etcd_versions(self, down: Collection[str] = ()) -> dict[str, str]:
        """Host -> version of each member, once all answer but those that are `down`."""
        return {host: str(m["version"]) for host, m in self.members(down).items()}

    def leadership(self) -> tuple[str, int]:
        """(host, term) of the leader, once there is one."""
        found: list[tuple[str, int]] = []

        def one() -> bool:
            found[:] = [(m["host"], m["term"]) for m in self.status()["members"] if m["leader"]]
            return len(found) == 1

        eventually("one member leads", one)
        return found[0]

    def leader(self) -> str:
        return self.leadership()[0]

    def has_left(self, host: str, term: int) -> bool:
        """Whether the leadership of that term has left the host. A disk that stalls may have
        brought it back by an election: then the term is two further at least."""
        leader, now = self.leadership()
        return leader != host or now >= term + 2

    def member_ids(self) -> dict[str, int]:
        """Host -> member id in decimal, as the JSON gateway takes it."""
        listed = json.loads(self.etcdctl("etcd-1", "member", "list", "-w", "json"))
        return {m["name"]: m["ID"] for m in listed["members"]}

    def lead(self, host: str) -> int:
        """Move etcd's leadership there, by its own command; returns the term."""
        terms: list[int] = []

        def leads() -> bool:
            leader, term = self.leadership()
            if leader != host:
                member = f"{self.member_ids()[host]:x}"
                self.ran(leader, f". /etc/profile.d/pawl.sh; etcdctl move-leader {member}")
            terms.append(term)
            return leader == host

        eventually(f"{host} leads", leads)
        return terms[-1]

    def raise_alarm(self, host: str, alarm: str) -> None:
        """Through etcd's own API, which is how a member raises it when its quota is spent."""
        pki, member = "/etc/etcd/pki", self.member_ids()[host]
        body = json.dumps({"action": "ACTIVATE", "memberID": str(member), "alarm": alarm})
        asked = (
            f"curl -s --cacert {pki}/ca.crt --cert {pki}/member.crt --key {pki}/member.key "
            f"https://127.0.0.1:2379/v3/maintenance/alarm -d {shlex.quote(body)}"
        )
        eventually(f"{alarm} is raised", lambda: alarm in self.ran(host, asked).stdout)

    def mend(self) -> None:
        """After a test that failed half way: machines and etcd up again."""
        for host in self.hosts():
            if not self.lab.machine(host).running():
                self.lab.power_on(host)
            self.ssh(host, "systemctl start etcd")
        self.members()

    def old_members(self, at_least: int) -> list[str]:
        """Hosts that still run OLD; all are brought back to it when there are not enough."""
        versions = self.answering()
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
        if set(self.answering()) != set(self.hosts()):
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
    follows is another test's business, also where it was quicker than the signal."""

    def done(event: Event) -> bool:
        return event["event"] == "step-done" and str(event["step"]).endswith(f"/swap/{host}")

    run.until(done)
    run.process.send_signal(signal.SIGINT)
    assert run.finish() in (0, 130), run.said()


def stopped(run: PawlRun, host: str) -> list[str]:
    """The stops that this run has made on the host."""
    return [t for t in run.done("stop") if t.startswith(f"{host}/")]


def going_on(pawl: Pawl) -> PawlRun:
    """A run that has begun. Where there is no word of the pawl that died (its lock file went with
    the disk), its Lease must expire first."""
    end = time.monotonic() + SETTLES
    while True:
        run = PawlRun(pawl, "--no-probe")
        if next(run.events(), None) is not None:
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
        self._thread.join()

    def has_written(self, count: int) -> None:
        """Until so many writes are acknowledged, from now on."""
        wanted = len(self.acknowledged) + count
        eventually("etcd takes writes", lambda: len(self.acknowledged) >= wanted)

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
        found: list[Any] = []

        def read() -> bool:
            try:
                found[:] = self._call(self._urls[0], "range", body).get("kvs", [])
            except httpx.HTTPError:
                return False
            return True

        eventually("etcd is read", read)
        return set(self.acknowledged) - {b64decode(kv["key"]).decode() for kv in found}
