"""HAProxy before the API servers, and before the NodePorts of the workers.

API servers are balanced as TCP with `/readyz` asked over verified TLS every 500 ms. The workers'
NodePorts are balanced as HTTP by the health that kube-proxy itself reports (KEP-3836: it says 503
once its node is being removed), with one line for each possible worker, as a cloud's target group
follows its machines.
"""

from __future__ import annotations

from pawl.lab.addressing import MAX_WORKERS
from pawl.lab.cloudinit import File, Files, Seed

NODE_PORTS = {"web": 30080, "backend": 30081}
"""Workload -> its NodePort, and the same port on the load balancer."""

_GLOBAL = """\
global
    log /dev/log local0 info
    stats socket /run/haproxy/admin.sock mode 600 level admin expose-fd listeners
    stats timeout 1m
    maxconn 4000
    server-state-file /var/lib/haproxy/state

defaults
    log global
    option dontlognull
    timeout connect 2s
    timeout check 2s
    retries 3
    option redispatch 1
    load-server-state-from-file global

frontend stats
    mode http
    bind :8404
    timeout client 10s
    http-request use-service prometheus-exporter if { path /metrics }
    stats enable
    stats uri /
    stats refresh 2s

frontend apiserver
    mode tcp
    option tcplog
    bind :6443
    timeout client 1h
    default_backend apiservers

backend apiservers
    mode tcp
    balance roundrobin
    timeout server 1h
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host kubernetes
    http-check expect status 200
    default-server check check-ssl verify required ca-file /etc/haproxy/ca.crt inter 500ms \
fastinter 250ms downinter 500ms fall 2 rise 1
"""


def server_line(name: str, address: str) -> str:
    """The line of an API server in the backend `apiservers`."""
    return f"    server {name} {address}:6443"


def render(seed: Seed, files: Files) -> None:
    files[f"{'/etc/haproxy'}/ca.crt"] = File(seed.pki.ca("ca"))
    lines = [
        server_line(m.name, seed.address(m)) for m in seed.machines if m.role == "control-plane"
    ]
    text = _GLOBAL + "\n".join(lines) + "\n"
    for name, port in NODE_PORTS.items():
        text += f"\nfrontend {name}\n    mode http\n    bind :{port}\n    timeout client 60s\n"
        text += f"    timeout http-keep-alive 60s\n    default_backend {name}\n"
        text += f"\nbackend {name}\n    mode http\n    balance roundrobin\n    timeout server 30s\n"
        text += "    retry-on conn-failure empty-response\n    option httpchk GET /healthz\n"
        text += "    default-server check port 10256 inter 500ms downinter 3s fall 2 rise 1\n"
        for slot in range(MAX_WORKERS):
            address = seed.lab.network.address("worker", slot)
            text += f"    server node-{slot + 1} {address}:{port}\n"
    files.text("/etc/haproxy/haproxy.cfg", text)
    files.text("/var/lib/haproxy/state", "1\n")
    files.enable("haproxy.service")
