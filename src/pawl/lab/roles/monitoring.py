"""The monitoring machine: Prometheus, Alertmanager and kube-state-metrics, each its own unit."""

from __future__ import annotations

import json

from pawl.lab import monitoring as m
from pawl.lab.cloudinit import File, Files, Seed, kubeconfig

_STATE = f"{m.ETC}/kube-state-metrics.kubeconfig"


def render(seed: Seed, files: Files) -> None:
    name, address = seed.machine.name, seed.address()
    files[f"{m.PKI}/ca.crt"] = File(seed.pki.ca("ca"))
    files.pair(f"{m.PKI}/prometheus", seed.pki.pair("prometheus", "ca", m.USER))
    files.pair(
        f"{m.PKI}/serving",
        seed.pki.pair(f"monitoring-{name}", "ca", name, hosts=(name, address), client=False),
    )
    for path, content in (
        ("prometheus.yml", m.prometheus(seed.lab)),
        ("rules.yml", m.rules()),
        ("alertmanager.yml", m.alertmanager()),
        ("web.yml", m.web("serving")),
    ):
        files.text(f"{m.ETC}/{path}", json.dumps(content, indent=1))
    state = seed.pki.pair("kube-state-metrics", "ca", m.STATE_USER)
    files.text(_STATE, kubeconfig(seed.api, seed.pki.ca("ca"), state, m.STATE_USER), 0o600)
    for unit, flags in (
        (
            "prometheus",
            [
                f"--config.file={m.ETC}/prometheus.yml",
                f"--web.config.file={m.ETC}/web.yml",
                f"--web.listen-address={address}:{m.PROMETHEUS}",
                "--storage.tsdb.path=/var/lib/prometheus",
                "--storage.tsdb.retention.time=2d",
                "--log.level=warn",
            ],
        ),
        (
            "alertmanager",
            [
                f"--config.file={m.ETC}/alertmanager.yml",
                f"--web.config.file={m.ETC}/web.yml",
                f"--web.listen-address={address}:{m.ALERTMANAGER}",
                "--storage.path=/var/lib/prometheus/alertmanager",
                "--cluster.listen-address=",
                "--log.level=warn",
            ],
        ),
        ("kube-state-metrics", m.state_flags(_STATE)),
    ):
        files.text(f"{m.ETC}/{unit}.env", f"FLAGS={' '.join(flags)}\n")
    files.text(
        f"{m.ETC}/pod-discovery.env",
        f"API={seed.api}\nCA={m.PKI}/ca.crt\nCERT={m.PKI}/prometheus.crt\n"
        f"KEY={m.PKI}/prometheus.key\nFILE={m.PODS}\n",
    )
    files.text(m.PODS, "[]")
    files.enable(
        "prometheus.service",
        "alertmanager.service",
        "kube-state-metrics.service",
        "pod-discovery.service",
    )
