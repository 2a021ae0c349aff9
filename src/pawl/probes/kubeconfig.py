"""As much of a kubeconfig as the prober needs: server, CA, client certificate or token.

Exec plugins are refused: the prober must not run programs, and its credentials must outlast the
API servers that it watches being replaced. Key material given inline never touches a disk: it goes
to OpenSSL through an anonymous memory file.
"""

from __future__ import annotations

import base64
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from pawl.core.errors import ConfigError


@dataclass(frozen=True)
class ApiAccess:
    """How to reach the API through its load balancer. `headers` may hold a bearer token."""

    host: str
    port: int
    server_name: str
    context: ssl.SSLContext
    headers: dict[str, str]


def load(path: Path, endpoint: str) -> ApiAccess:
    """Access to `endpoint` (host:port or URL) with the credentials of the current context."""
    try:
        document = yaml.safe_load(path.read_text())
        current = _named(document, "contexts", document["current-context"], "context")
        cluster = _named(document, "clusters", current["cluster"], "cluster")
        user = _named(document, "users", current["user"], "user")
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise ConfigError(
            str(path),
            [
                f"cannot use this kubeconfig ({type(error).__name__}: {error}); the prober needs a "
                "current-context with a cluster and a user"
            ],
        ) from error
    context = ssl.create_default_context(cadata=_pem(path, cluster, "certificate-authority"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    headers: dict[str, str] = {}
    certificate, key = _pem(path, user, "client-certificate"), _pem(path, user, "client-key")
    token = user.get("token") or _read(path, user.get("tokenFile"))
    if certificate and key:
        _load_chain(context, certificate, key)
    elif token:
        headers["authorization"] = f"Bearer {token.strip()}"
    else:
        raise ConfigError(
            str(path),
            [
                "its user has neither a client certificate nor a token, and the prober runs no "
                "exec plugin; give it a kubeconfig with a certificate of its own"
            ],
        )
    url = urlsplit(endpoint if "//" in endpoint else f"https://{endpoint}")
    if url.scheme != "https" or not url.hostname:
        raise ConfigError("api.endpoint", [f"{endpoint!r} is not an https address"])
    return ApiAccess(
        url.hostname,
        url.port or 443,
        cluster.get("tls-server-name") or url.hostname,
        context,
        headers,
    )


def etcd_context(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """mTLS to etcd's client port, HTTP/1.1 (its JSON gateway)."""
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(str(certificate), str(key))
    return context


def _named(document: Any, group: str, name: str, key: str) -> dict[str, Any]:
    found: dict[str, Any] = next(e for e in document[group] if e["name"] == name)[key]
    return found


def _read(base: Path, name: Any) -> str:
    return (base.parent / str(name)).read_text() if name else ""


def _pem(base: Path, section: dict[str, Any], key: str) -> str | None:
    if data := section.get(f"{key}-data"):
        return base64.b64decode(data).decode()
    return _read(base, section.get(key)) or None


def _load_chain(context: ssl.SSLContext, certificate: str, key: str) -> None:
    handle = os.memfd_create("pawl-probe-credential", os.MFD_CLOEXEC)
    try:
        os.write(handle, f"{certificate}\n{key}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
