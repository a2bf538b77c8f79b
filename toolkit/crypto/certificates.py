"""Certificates of a private authority, for services that have no public name."""

import base64
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from toolkit.words.values import Secret

YEARS = timedelta(days=3650)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: Secret


def authority(name: str) -> Certificate:
    """Return a new authority that may sign certificates and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        _blank(_named(name), _named(name), key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _packed(builder.sign(key, hashes.SHA256()), key)


def issue(signer: Certificate, names: Iterable[str]) -> Certificate:
    """Return a server certificate for these host names and addresses, signed by the authority."""
    parent = x509.load_pem_x509_certificate(signer.certificate)
    parent_key = serialization.load_pem_private_key(signer.key.reveal(), password=None)
    assert isinstance(parent_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = [_alternative(name) for name in names]
    builder = (
        _blank(_named(str(alternatives[0].value)), parent.subject, key.public_key())
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(parent_key.public_key()), critical=False)
    )
    return _packed(builder.sign(parent_key, hashes.SHA256()), key)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _blank(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    # A day back, so that a machine whose clock lags accepts it too.
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    validity = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + YEARS)
    return validity.serial_number(x509.random_serial_number())


def _packed(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certificate:
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return Certificate(certificate.public_bytes(serialization.Encoding.PEM), Secret(private))


def validity(text: str) -> tuple[float, float]:
    """Return from when to when a certificate is good, in seconds since 1970. PEM, or DER in base64.

    Raises ValueError for anything else.
    """
    if "-----BEGIN" in text:
        found = x509.load_pem_x509_certificate(text.encode())
    else:
        found = x509.load_der_x509_certificate(base64.b64decode(text))
    return found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()
