"""An etcd member: mTLS for clients and peers, flags in one file, data on its own disk."""

from __future__ import annotations

from pawl.lab.cloudinit import File, Files, Seed


def render(seed: Seed, files: Files) -> None:
    name, address = seed.machine.name, seed.address()
    pki = "/etc/etcd/pki"
    files[f"{pki}/ca.crt"] = File(seed.pki.ca("etcd-ca"))
    files.pair(
        f"{pki}/member",
        seed.pki.pair(
            f"etcd-{name}", "etcd-ca", name, hosts=(name, address, "127.0.0.1", "localhost")
        ),
    )
    members = ",".join(f"{m.name}=https://{seed.address(m)}:2380" for m in seed.with_etcd())
    files.flags(
        seed,
        "etcd",
        [
            f"--name={name}",
            "--data-dir=/var/lib/etcd",
            f"--listen-client-urls=https://{address}:2379,https://127.0.0.1:2379",
            f"--advertise-client-urls=https://{address}:2379",
            f"--listen-peer-urls=https://{address}:2380",
            f"--initial-advertise-peer-urls=https://{address}:2380",
            f"--initial-cluster={members}",
            f"--initial-cluster-token={seed.lab.token}",
            # Ignored once the disk holds a member; "new" is given at the first bootstrap alone.
            f"--initial-cluster-state={seed.machine.etcd_state}",
            "--client-cert-auth=true",
            f"--trusted-ca-file={pki}/ca.crt",
            f"--cert-file={pki}/member.crt",
            f"--key-file={pki}/member.key",
            "--peer-client-cert-auth=true",
            f"--peer-trusted-ca-file={pki}/ca.crt",
            f"--peer-cert-file={pki}/member.crt",
            f"--peer-key-file={pki}/member.key",
            f"--listen-metrics-urls=http://{address}:2381",
            "--logger=zap",
        ],
    )
    files.enable("etcd.service")
