"""A throw-away CA and certificates for loopback, as real programs want them."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import asyncssh
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def credentials(directory: Path) -> None:
    """The files that a pawl.yaml names, good ones: `key` and `known_hosts` of SSH, `ca.crt`,
    `etcd.crt` and `etcd.key`, and an empty `kubeconfig`."""
    for name in ("kubeconfig", "known_hosts"):
        (directory / name).touch(mode=0o600)
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(directory / "key")
    (directory / "key").chmod(0o600)
    Authority(directory).issue("etcd")


LOOPBACK = range(1, 9)


class Authority:
    """Signs certificates that are good for 127.0.0.1 to 127.0.0.8, as server and as client."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
        certificate = self._builder(self._name, self._key.public_key(), days=30).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.ca = directory / "ca.crt"
        self._write(self.ca, certificate.sign(self._key, hashes.SHA256()))

    def issue(self, name: str, *, organization: str = "", days: int = 30) -> tuple[Path, Path]:
        """`name.crt` and `name.key` (mode 0600)."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if organization:
            attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        builder = (
            self._builder(x509.Name(attributes), key.public_key(), days)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName(
                    [
                        *(
                            x509.IPAddress(ipaddress.ip_address(f"127.0.0.{n}"))
                            for n in range(1, 9)
                        ),
                        x509.DNSName("localhost"),
                    ]
                ),
                critical=False,
            )
        )
        crt, key_file = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        self._write(crt, builder.sign(self._key, hashes.SHA256()))
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        return crt, key_file

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=days))
        )

    @staticmethod
    def _write(path: Path, certificate: x509.Certificate) -> None:
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
