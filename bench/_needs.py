"""What the programs of an upgrade need by themselves: seconds for each kind of pawl's steps.

Each is done on an upgraded lab with a tight loop instead of pawl, as quickly as it can be done
without losing a request: the same stops, starts, drains and boots, no plan, no fence, no journal
and no second look. Where three can be done, the median of three counts.
"""

from __future__ import annotations

import http.client
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pawl.core.config import Config, HostConfig
from pawl.probes import kubeconfig

Command = Callable[[HostConfig, str], list[str]]
POLL = 0.02
MONITOR_TICK = 4.0
"""etcd's leader looks at its members' versions every 4 s; nothing makes it look sooner."""
PROVIDER = "app=redis"
"""Labels of the pods that others depend on."""
SETS = (
    "go-template={{range .items}}-n {{.metadata.namespace}} {{.kind}}/{{.metadata.name}}\n{{end}}"
)
PORTS = {"kube-controller-manager": 10257, "kube-scheduler": 10259}


def timed(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def shell(command: Command, host: HostConfig, line: str) -> str:
    done = subprocess.run(command(host, line), check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout


class Needs:
    def __init__(self, config: Config, kubernetes: str, command: Command, lab: str) -> None:
        self.config, self.kubernetes, self.command, self.lab = config, kubernetes, command, lab
        self.etcd = config.with_role("etcd")
        self.control = config.with_role("control-plane")

    def answers(self, host: HostConfig, port: int, path: str) -> None:
        """Until the component answers 200 at its own address."""
        access = kubeconfig.load(Path(self.config.api.kubeconfig), f"https://{host.address}:{port}")
        access.context.set_alpn_protocols(["http/1.1"])
        self.until_200(host, port, path, access.context)

    @staticmethod
    def until_200(host: HostConfig, port: int, path: str, context: ssl.SSLContext) -> None:
        while True:
            connection = http.client.HTTPSConnection(host.address, port, context=context, timeout=2)
            try:
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(POLL)

    def socket(self, line: str) -> str:
        balancer = self.config.load_balancer
        assert balancer is not None
        host = self.config.host(balancer.host)
        return shell(self.command, host, f"echo '{line}' | socat - {balancer.socket}")

    def swap_etcd(self, host: HostConfig) -> None:
        shell(self.command, host, "systemctl stop etcd; systemctl start etcd")
        e = self.config.etcd
        context = kubeconfig.etcd_context(Path(e.ca), Path(e.cert), Path(e.key))
        self.until_200(host, e.client_port, "/health", context)

    def swap_api_server(self, host: HostConfig) -> None:
        backend = self.config.load_balancer.backend if self.config.load_balancer else ""
        self.socket(f"set server {backend}/{host.name} state drain")
        time.sleep(1.0)
        shell(self.command, host, "systemctl stop kube-apiserver; systemctl start kube-apiserver")
        self.answers(host, self.config.api.port, "/readyz")
        self.socket(f"set server {backend}/{host.name} state ready")

    def swap_controller(self, host: HostConfig, component: str) -> None:
        shell(self.command, host, f"systemctl stop {component}; systemctl start {component}")
        self.answers(host, PORTS[component], "/healthz")

    def stage(self, host: HostConfig, component: str) -> None:
        """The component's binaries over SSH to the host, and their checksum there."""
        directory = f"{self.config.layout.root}/{component}"
        with tempfile.NamedTemporaryFile() as file:
            read = self.command(host, f"cat {directory}/current/*")
            subprocess.run(read, check=True, stdout=file)
            file.seek(0)
            target = f"{directory}/.needs"
            line = f"cat > {target} && sha256sum {target} && rm {target}"
            began = time.monotonic()
            subprocess.run(
                self.command(host, line), check=True, stdin=file, stdout=subprocess.DEVNULL
            )
            self.staged.append(time.monotonic() - began)

    def measure(self) -> dict[str, float]:
        self.staged: list[float] = []
        found = {"converge-etcd": MONITOR_TICK}
        self.stage(self.etcd[0], "etcd")
        for component in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
            self.stage(self.control[0], component)
        found["stage-binaries"] = statistics.mean(self.staged)
        found["swap-etcd-member"] = self.median([lambda h=h: self.swap_etcd(h) for h in self.etcd])
        swap = self.median([lambda h=h: self.swap_api_server(h) for h in self.control])
        found["swap-api-server"] = found["finish-emulation"] = swap
        found["swap-controller"] = self.median(
            [lambda h=h, c=c: self.swap_controller(h, c) for h in self.control for c in PORTS]
        )
        found["add-node"], found["retire-node"] = self.nodes()
        found["backup-etcd"] = self.backup()
        return found

    def backup(self) -> float:
        host = self.etcd[0]
        root = f"{self.config.layout.root}/etcd/current"
        pki = "/etc/etcd/pki"
        member = f"--cacert={pki}/ca.crt --cert={pki}/member.crt --key={pki}/member.key"
        line = (
            f"set -e; d=$(mktemp -d); cd $d; {root}/etcdctl --endpoints=https://127.0.0.1:2379 "
            f"{member} snapshot save s.db >/dev/null 2>&1; {root}/etcdutl snapshot restore s.db "
            "--data-dir restored >/dev/null 2>&1; cd /; rm -rf $d"
        )
        return timed(lambda: shell(self.command, host, line))

    def nodes(self) -> tuple[float, float]:
        """A new machine until its node is Ready; then drained, deleted and removed."""
        with tempfile.TemporaryDirectory() as directory:
            pawl = (sys.executable, "-m", "pawl")
            run = subprocess.run
            fetch = (*pawl, "artifact", "fetch", "kubectl", self.kubernetes, "--into", directory)
            run(fetch, check=True, capture_output=True)
            kubectl = (f"{directory}/kubectl", f"--kubeconfig={self.config.api.kubeconfig}")
            name, lab = "worker-needs", ("--name", self.lab)
            image = ("--role", "worker", "--kubernetes", self.kubernetes)
            quiet: Any = {"check": True, "text": True, "capture_output": True}

            def add() -> None:
                run((*pawl, "lab", "machine", "add", name, *image, *lab), check=True)
                wait = ("wait", "--for=condition=Ready", f"node/{name}", "--timeout=5s")
                while run((*kubectl, *wait), capture_output=True).returncode:
                    time.sleep(0.1)
                # Its Services are reached once kube-proxy has found its node.
                asked = ("--", "ss", "-Hltn", "sport", "=", ":10256")
                while not run((*pawl, "lab", "ssh", *lab, name, *asked), **quiet).stdout.strip():
                    time.sleep(0.1)

            def retire() -> None:
                """Providers first and each Ready elsewhere before what uses it goes; nobody waits
                for a thing to stay Ready."""
                found = run((*kubectl, "get", "nodes", "-o", "name"), **quiet)
                old = next(n for n in found.stdout.split() if name not in n).split("/")[1]
                drain = (*kubectl, "drain", old, "--ignore-daemonsets", "--delete-emptydir-data")
                for pods in (("--pod-selector", PROVIDER), ()):
                    run((*drain, "--timeout=120s", *pods), **quiet)
                    every = ("-A", *(("-l", PROVIDER) if pods else ()), "-o", SETS)
                    sets = run((*kubectl, "get", "deployments,statefulsets", *every), **quiet)
                    for each in sets.stdout.splitlines():
                        run(
                            (*kubectl, "rollout", "status", *each.split(), "--timeout=60s"), **quiet
                        )
                run((*kubectl, "delete", "node", old), **quiet)
                run((*pawl, "lab", "machine", "remove", old, *lab), check=True)

            return timed(add), timed(retire)

    @staticmethod
    def median(actions: list[Callable[[], object]]) -> float:
        return statistics.median(timed(a) for a in actions)


def measure(config: Config, kubernetes: str, command: Command, lab: str) -> dict[str, float]:
    """Kind of step -> seconds. Kinds that need no program's time (reading, deciding) are absent."""
    return Needs(config, kubernetes, command, lab).measure()
