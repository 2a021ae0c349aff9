"""The lab's own certificate authorities and every certificate it hands out.

Three authorities, as the Kubernetes documentation recommends ("PKI certificates and requirements"):
`ca` for the cluster, `etcd-ca`, and `front-proxy-ca`. Keys are ECDSA P-256, files 0600. A
certificate is made once for a name and kept: a machine made anew gets the same one back, as from a
secret store.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pawl.lab.store import flock, write

_DAY = datetime.timedelta(days=1)
_YEARS_CA, _DAYS_LEAF = 10, 365


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class Pki:
    """Certificates below `directory`, made when first asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def ca(self, authority: str) -> bytes:
        """PEM certificate of `authority` ("ca", "etcd-ca" or "front-proxy-ca")."""
        path = self.directory / f"{authority}.crt"
        with flock(self.directory / ".lock"):
            if not path.exists():
                self._make_ca(authority, path)
        return path.read_bytes()

    def ca_key(self, authority: str) -> bytes:
        self.ca(authority)
        return (self.directory / f"{authority}.key").read_bytes()

    def _make_ca(self, authority: str, path: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pawl-lab {authority}")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + 365 * _YEARS_CA * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        write(self.directory / f"{authority}.key", _pem(key), 0o600)
        write(path, certificate.public_bytes(serialization.Encoding.PEM))

    def pair(
        self,
        name: str,
        authority: str,
        common_name: str,
        *,
        organization: str = "",
        hosts: Sequence[str] = (),
        client: bool = True,
    ) -> tuple[bytes, bytes]:
        """Certificate and key (PEM) kept as `name`; a server certificate when `hosts` are given."""
        certificate_path = self.directory / f"{name}.crt"
        key_path = self.directory / f"{name}.key"
        self.ca(authority)
        with flock(self.directory / f".lock-{name}"):
            if not certificate_path.exists():
                certificate, key = self._issue(authority, common_name, organization, hosts, client)
                write(key_path, key, 0o600)
                write(certificate_path, certificate)
        return certificate_path.read_bytes(), key_path.read_bytes()

    def _issue(
        self,
        authority: str,
        common_name: str,
        organization: str,
        hosts: Sequence[str],
        client: bool,
    ) -> tuple[bytes, bytes]:
        issuer = x509.load_pem_x509_certificate((self.directory / f"{authority}.crt").read_bytes())
        issuer_key = serialization.load_pem_private_key(
            (self.directory / f"{authority}.key").read_bytes(), None
        )
        if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{authority}.key is not an ECDSA key")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if organization:
            subject.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] if hosts else []
        if client:
            usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAYS_LEAF * _DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                critical=False,
            )
        )
        if hosts:
            names = x509.SubjectAlternativeName([_alternative(h) for h in dict.fromkeys(hosts)])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(issuer_key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), _pem(key)

    def service_account_key(self) -> tuple[bytes, bytes]:
        """Public and private key (PEM, RSA 2048) that sign service account tokens."""
        private, public = self.directory / "sa.key", self.directory / "sa.pub"
        with flock(self.directory / ".lock"):
            if not public.exists():
                key = rsa.generate_private_key(65537, 2048)
                write(private, _pem(key), 0o600)
                write(
                    public,
                    key.public_key().public_bytes(
                        serialization.Encoding.PEM,
                        serialization.PublicFormat.SubjectPublicKeyInfo,
                    ),
                )
        return public.read_bytes(), private.read_bytes()


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def ssh_key(path: Path, comment: str) -> bytes:
    """An Ed25519 key pair in OpenSSH's format at `path` and `path.pub`; returns the public line."""
    public = path.with_name(path.name + ".pub")
    with flock(path.with_name(f".lock-{path.name}")):
        if not public.exists():
            key = ed25519.Ed25519PrivateKey.generate()
            write(
                path,
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.OpenSSH,
                    serialization.NoEncryption(),
                ),
                0o600,
            )
            line = key.public_key().public_bytes(
                serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
            )
            write(public, line + f" {comment}\n".encode())
    return public.read_bytes()
