"""Certificates for servers in tests: one good, the others each with one fault."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

import gevent.ssl
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["Certificates", "Kind"]

Kind = Literal["good", "wrong-name", "expired", "self-signed", "client"]

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Signer:
    name: x509.Name
    key: ec.EllipticCurvePrivateKey


class Certificates:
    """A certification authority in a directory of its own, and what it has issued.

    `good` is for `localhost`, `mx.test`, 127.0.0.1 and ::1; `wrong-name` for `elsewhere.test`; `expired` was good until
    yesterday; `self-signed` has the names of `good` and nobody's signature; `client` is for the other side.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca_file = directory / "ca.pem"
        ca = _Signer(_name("filterd test authority"), ec.generate_private_key(ec.SECP256R1()))
        self._write("ca", ca, ca, hosts=[], authority=True)
        good = ["localhost", "mx.test", "127.0.0.1", "::1"]
        for kind, hosts in {"good": good, "wrong-name": ["elsewhere.test"], "expired": good, "client": []}.items():
            subject = _Signer(_name(kind), ec.generate_private_key(ec.SECP256R1()))
            self._write(kind, subject, ca, hosts=hosts, until=-DAY if kind == "expired" else DAY)
        alone = _Signer(_name("self-signed"), ec.generate_private_key(ec.SECP256R1()))
        self._write("self-signed", alone, alone, hosts=good)

    def certificate(self, kind: Kind) -> Path:
        return self.directory / f"{kind}.pem"

    def key(self, kind: Kind) -> Path:
        return self.directory / f"{kind}.key"

    def server_context(self, kind: Kind = "good", *, ask_client: bool = False) -> ssl.SSLContext:
        """For a server that runs in greenlets; `ask_client=True` demands a certificate of the client."""
        context: ssl.SSLContext = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate(kind), self.key(kind))
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca_file)
        return context

    def _write(
        self,
        stem: str,
        subject: _Signer,
        issuer: _Signer,
        *,
        hosts: list[str],
        until: timedelta = DAY,
        authority: bool = False,
    ) -> None:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject.name)
            .issuer_name(issuer.name)
            .public_key(subject.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 30 * DAY)
            .not_valid_after(now + until)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        certificate = builder.sign(issuer.key, hashes.SHA256())
        (self.directory / f"{stem}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (self.directory / f"{stem}.key").write_bytes(
            subject.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
