"""Ed25519 signatures: who wrote this. Age seals for a reader but names no writer, so manifests are signed.

The signed bytes begin with the name and version of what they are, so a signature on one kind of document never
passes for another; callers put that first line there.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from toolkit.words.errors import SecretError
from toolkit.words.values import Secret


@dataclass(frozen=True)
class VerifyKey:
    """The public half, 32 bytes; printed and stored as 64 hexadecimal digits."""

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        try:
            raw = bytes.fromhex(text.strip())
        except ValueError:
            raw = b""
        if len(raw) != 32:
            raise SecretError(f"{text!r} is no signing key", hint="a public signing key is 64 hexadecimal digits")
        return cls(raw)

    def accepts(self, signature: bytes, signed: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    def __str__(self) -> str:
        return self.raw.hex()


@dataclass(frozen=True)
class SigningKey:
    """The secret half. It stays on the host that drew it."""

    seed: Secret

    @classmethod
    def generate(cls) -> Self:
        return cls(Secret(os.urandom(32)))

    @classmethod
    def keep(cls, path: Path) -> Self:
        """Read the key kept at path, or draw one and keep it there for its owner alone."""
        try:
            return cls._read(path)
        except FileNotFoundError:
            _store(cls.generate().seed, path)
            return cls._read(path)

    @property
    def verify_key(self) -> VerifyKey:
        return VerifyKey(self._private().public_key().public_bytes_raw())

    def sign(self, content: bytes) -> bytes:
        return self._private().sign(content)

    @classmethod
    def _read(cls, path: Path) -> Self:
        seed = path.read_bytes()
        if len(seed) != 32:
            raise SecretError(f"{path} is no signing key", hint="restore the file, or remove it and pin the new key")
        return cls(Secret(seed))

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed.reveal())


def _store(seed: Secret, path: Path) -> None:
    descriptor, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    draft = Path(name)
    try:
        os.write(descriptor, seed.reveal())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        # A link, not a rename: whoever comes second keeps the first one's key.
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
