"""SSH key pairs in OpenSSH's own formats, for machines that the toolkit makes itself."""

from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from toolkit.words.values import Secret


@dataclass(frozen=True)
class SshKey:
    """An Ed25519 key pair; `public` is one line as `authorized_keys` takes it."""

    private: Secret
    public: str


def generate(comment: str) -> SshKey:
    """Return a new key pair without a passphrase."""
    key = Ed25519PrivateKey.generate()
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.OpenSSH, plain)
    openssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return SshKey(Secret(private), f"{key.public_key().public_bytes(*openssh).decode()} {comment}\n")
