"""Sealing under a passphrase, in age's scrypt format: what `age -p` writes, and `age -d` opens after asking."""

import pyrage  # type: ignore[import-untyped]

from toolkit.words.errors import SecretError
from toolkit.words.values import Secret


def seal(plaintext: Secret, passphrase: Secret) -> bytes:
    """Return an armoured age file that this passphrase opens. Takes about a second, which is its purpose."""
    return bytes(pyrage.passphrase.encrypt(plaintext.reveal(), passphrase.reveal().decode(), armored=True))


def unseal(sealed: bytes, passphrase: Secret) -> Secret:
    """Return what `seal` or `age -p` sealed. Raises SecretError."""
    try:
        return Secret(bytes(pyrage.passphrase.decrypt(sealed, passphrase.reveal().decode())))
    except pyrage.DecryptError as error:
        raise SecretError(
            "the passphrase does not open this age file", hint="type it again; if it is lost, so is the identity"
        ) from error


def is_sealed(content: bytes) -> bool:
    """Say whether these bytes are an age file rather than an identity in clear."""
    return content.lstrip().startswith((b"-----BEGIN AGE ENCRYPTED FILE-----", b"age-encryption.org/v1"))
