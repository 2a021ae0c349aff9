"""Asking the lab's programs whether they serve, with verified TLS and its own certificates."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from pawl.core.errors import PawlError
from pawl.lab import monitoring
from pawl.lab.pki import Pki
from pawl.lab.spec import LabSpec, MachineSpec

SERVES = 300.0
"""Seconds in which a program of the lab serves: some ten on an idle machine, and several times that
where others share its cores and its disk."""
ANSWERS = 15.0
"""Seconds in which one question is answered."""


class NotReady(PawlError):
    """Something of the lab does not become ready in time."""


class Prober:
    """Clients for etcd, the API servers and the load balancer of one lab."""

    def __init__(self, lab: LabSpec, pki: Pki) -> None:
        self.lab = lab
        self._etcd = self._client(pki.directory, "etcd-ca", "pawl-etcd-client")
        self._api = self._client(pki.directory, "ca", "admin")

    @staticmethod
    def _client(directory: Path, authority: str, name: str) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(directory / f"{authority}.crt"))
        context.load_cert_chain(directory / f"{name}.crt", directory / f"{name}.key")
        timeout = httpx.Timeout(ANSWERS, connect=5)
        return httpx.Client(verify=context, timeout=timeout, trust_env=False)

    def close(self) -> None:
        self._etcd.close()
        self._api.close()

    def address(self, machine: MachineSpec) -> str:
        return str(self.lab.network.address(machine.role, machine.slot))

    def etcd_serves(self, machine: MachineSpec) -> bool:
        """Healthy: it knows a leader and has no alarm."""
        return self._says(
            self._etcd, f"https://{self.address(machine)}:2379/health", '"health":"true"'
        )

    def api_ready(self, address: str) -> bool:
        return self._says(self._api, f"https://{address}:6443/readyz", "ok")

    def proxy_serves(self, machine: MachineSpec) -> bool:
        return self._says(self._api, f"http://{self.address(machine)}:10256/healthz", "")

    def serves(self, machine: MachineSpec) -> bool:
        """Whether the machine does what its role is for."""
        if machine.role == "etcd":
            return self.etcd_serves(machine)
        if machine.role == "worker":
            return self.proxy_serves(machine)
        if machine.role == "monitoring":
            return self._says(self._api, f"{monitoring.url(self.lab)}/-/ready", "")
        return self.api_ready(self.address(machine))

    def unmeasured(self) -> list[str]:
        """What Prometheus does not read yet, each with the reason."""
        try:
            answer = self._api.get(f"{monitoring.url(self.lab)}/api/v1/targets?state=active")
            targets = answer.json()["data"]["activeTargets"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            return [f"Prometheus itself: {error}"]
        return [
            f"{t['scrapePool']} at {t['scrapeUrl']}: {t['lastError'] or 'not asked yet'}"
            for t in targets
            if t["health"] != "up"
        ] or ([] if targets else ["nothing is known to it yet"])

    @staticmethod
    def _says(client: httpx.Client, url: str, expected: str) -> bool:
        try:
            answer = client.get(url)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and expected in answer.text.replace(" ", "")

    def request(
        self, address: str, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """One API request; PATCH is a server-side apply. Raises `NotReady` with the answer."""
        headers = {}
        if method == "PATCH":
            headers["Content-Type"] = "application/apply-patch+yaml"
        try:
            answer = self._api.request(
                method, f"https://{address}:6443{path}", json=body, headers=headers
            )
        except httpx.HTTPError as error:
            raise NotReady(f"{method} {path} at {address}: {error}") from error
        if answer.status_code >= 300:
            raise NotReady(f"{method} {path} at {address}: {answer.text.strip()[:500]}")
        found: dict[str, Any] = answer.json()
        return found


def wait(
    what: str, ready: Callable[[], bool], timeout: float = SERVES, interval: float = 0.25
) -> None:
    """Return when `ready()` holds; `NotReady` says `what` was waited for. A question that gets no
    answer, or a bad one, is asked again: with one API server its balancer may have none for a
    moment. The last such answer is part of the error."""
    deadline = time.monotonic() + timeout
    while True:
        complaint = ""
        try:
            if ready():
                return
        except NotReady as error:
            complaint = f": {error}"
        if time.monotonic() > deadline:
            raise NotReady(f"{what} is not there after {timeout:.0f} s{complaint}")
        time.sleep(interval)
