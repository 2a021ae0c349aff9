"""Whether the files that pawl.yaml names hold what they should: keys, certificates, known hosts.

A path that is wrong is told with the other mistakes (`semantics`); here each file that is there is
opened as it will be used, so that a key with a passphrase or a certificate of another key is one of
the mistakes too, and not a failure in the middle of a reading.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncssh

from pawl.adapters.config.semantics import resolved


def problems_of(data: Mapping[str, Any], base: Path) -> Iterator[str]:
    """One sentence for each file that cannot be used. A file that is not there is passed over."""
    ssh = _there(data, "ssh", base)
    if key := ssh.get("key"):
        yield from _ssh_key(key)
    if known := ssh.get("known_hosts"):
        yield from _known_hosts(known)
    for section in ("etcd", "metrics"):
        files = _there(data, section, base)
        if ca := files.get("ca"):
            yield from _authority(f"{section}.ca", ca)
        if "cert" in files and "key" in files:
            yield from _pair(section, files["cert"], files["key"])


def _there(data: Mapping[str, Any], name: str, base: Path) -> dict[str, Path]:
    """The files of a section that exist and may be read."""
    section = data.get(name)
    if not isinstance(section, Mapping):
        return {}
    paths = {
        key: resolved(base, given)
        for key in ("key", "known_hosts", "ca", "cert")
        if isinstance(given := section.get(key), str) and given
    }
    return {key: path for key, path in paths.items() if path.is_file()}


def _ssh_key(path: Path) -> Iterator[str]:
    try:
        asyncssh.read_private_key(path)
    except asyncssh.KeyEncryptionError:
        yield _locked(path)
    except asyncssh.KeyImportError as error:
        if "assphrase" in str(error):
            yield _locked(path)
        else:
            yield (
                f"ssh.key: {path} is no private key of SSH ({error}); name the private key, "
                "not the .pub beside it"
            )
    except OSError as error:
        yield f"ssh.key: {path} cannot be read: {error.strerror}"


def _locked(path: Path) -> str:
    return (
        f"ssh.key: {path} is locked by a passphrase, and nobody is there to type it when a run is "
        "gone on with; name a key of pawl's own without one (`ssh-keygen -t ed25519 -N ''`)"
    )


def _known_hosts(path: Path) -> Iterator[str]:
    try:
        asyncssh.read_known_hosts(str(path))
    except (ValueError, OSError) as error:
        yield (
            f"ssh.known_hosts: {path} cannot be read as known hosts ({error}); fill it with "
            "`ssh-keyscan HOST`, and compare the keys"
        )


def _authority(where: str, path: Path) -> Iterator[str]:
    try:
        ssl.create_default_context(cafile=str(path))
    except (ssl.SSLError, OSError) as error:
        yield f"{where}: {path} holds no certificate ({_plainly(error)}); name a PEM file"


def _pair(section: str, cert: Path, key: Path) -> Iterator[str]:
    context = ssl.create_default_context()
    try:
        context.load_cert_chain(cert, key, password=_no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            yield f"{section}.key: {key} is not the key of the certificate {cert}; name its own"
        else:
            yield (
                f"{section}.cert: {cert} with {key} is no certificate with its key, without a "
                f"passphrase ({_plainly(error)}); name PEM files"
            )
    except OSError as error:
        yield f"{section}.cert: {cert} or {key} cannot be read: {error.strerror}"


def _no_passphrase() -> str:
    """OpenSSL would ask the terminal."""
    return ""


def _plainly(error: OSError) -> str:
    """OpenSSL names its reasons, but for "this is no PEM at all"."""
    reason = getattr(error, "reason", None) or "not PEM"
    return str(reason).replace("_", " ").lower()
