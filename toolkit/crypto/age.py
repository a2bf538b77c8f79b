"""Sealing for recipients in age's format: what is sealed here, stock `age -d` opens, and the other way round.

Native keys (`age1…`, `AGE-SECRET-KEY-1…`) take a path that lets other threads run; every other kind that pyrage knows
(SSH keys, hardware tags) goes through pyrage. Both write the same format.
"""

import base64
import os
from collections.abc import Sequence

import pyrage  # type: ignore[import-untyped]

from toolkit.crypto import age_header, age_payload, bech32
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

_ARMOUR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_KINDS = (("age1tagpq1", pyrage.tagpq), ("age1tag1", pyrage.tag), ("age1", pyrage.x25519), ("ssh-", pyrage.ssh))


def new_identity() -> Secret:
    """Draw a native identity, as the line that `age-keygen` prints."""
    return Secret.of(str(pyrage.x25519.Identity.generate()))


def recipient_of(identity: Secret) -> str:
    """Return the public half of a native identity. Raises SecretError."""
    try:
        return str(pyrage.x25519.Identity.from_str(identity.reveal().decode().strip()).to_public())
    except (pyrage.IdentityError, UnicodeDecodeError) as error:
        raise SecretError("not an age identity", hint="give the line that begins with AGE-SECRET-KEY-1") from error


def identities_in(text: Secret) -> tuple[Secret, ...]:
    """Split an identity file (`age-keygen`'s, or one SSH private key) into identities. Raises SecretError for none."""
    content = text.reveal()
    if b"PRIVATE KEY-----" in content:
        return (text,)
    lines = (line.strip() for line in content.splitlines())
    found = tuple(Secret(line) for line in lines if line and not line.startswith(b"#"))
    if not found:
        raise SecretError(
            "no identity in the identity file", hint="give what `age-keygen` wrote, or an SSH private key"
        )
    return found


def check_recipient(recipient: str) -> None:
    """Raise SecretError for anything that cannot be sealed to."""
    _recipient(recipient)


def seal(plaintext: bytes, recipients: Sequence[str], *, armoured: bool = False) -> bytes:
    """Return an age file that any one of the recipients opens. Raises SecretError for a recipient that is none."""
    if armoured:
        return _seal_with_pyrage(plaintext, recipients, armoured=True)
    sealer = Sealer(recipients, len(plaintext))
    sealer.write(plaintext)
    return bytes(sealer.finish())


class Sealer:
    """Seals an age file while its plaintext comes, so that only the result is held. For one thread at a time."""

    def __init__(self, recipients: Sequence[str], capacity: int, spare: bytearray | None = None) -> None:
        """Begin with room for so many bytes, in the `spare` buffer if there is one. Raises SecretError."""
        if not recipients:
            raise SecretError("nobody to seal for", hint="name at least one recipient")
        native = [_native(recipient, "age") for recipient in recipients]
        keys = [key for key in native if key is not None]
        self._recipients = recipients
        self._payload: age_payload.Payload | None = None
        self._plaintext = bytearray()
        if len(keys) == len(native):
            file_key = os.urandom(age_header.FILE_KEY)
            self._payload = age_payload.Payload(file_key, age_header.wrap(file_key, keys), capacity, spare)

    def write(self, plaintext: bytes | memoryview) -> None:
        """Take the next bytes."""
        if self._payload:
            self._payload.write(plaintext)
        else:
            # Only pyrage knows the other kinds of recipients, and it wants all at once.
            self._plaintext += plaintext

    def finish(self) -> bytearray:
        """Return the age file. Raises SecretError for a recipient that is none."""
        if self._payload:
            return self._payload.finish()
        return bytearray(_seal_with_pyrage(bytes(self._plaintext), self._recipients, armoured=False))


def _seal_with_pyrage(plaintext: bytes, recipients: Sequence[str], *, armoured: bool) -> bytes:
    if not recipients:
        raise SecretError("nobody to seal for", hint="name at least one recipient")
    return bytes(pyrage.encrypt(plaintext, [_recipient(text) for text in recipients], armored=armoured))


def unseal(sealed: bytes | bytearray, identities: Sequence[Secret]) -> bytes:
    """Return the plaintext. Raises SecretError where no identity fits or the file is not what was sealed."""
    return bytes(unseal_large(sealed, identities))


def unseal_large(sealed: bytes | bytearray, identities: Sequence[Secret]) -> bytes | bytearray:
    """The same, without the copy that makes it immutable."""
    native = [_native(identity.reveal().decode(errors="replace").strip(), "age-secret-key-") for identity in identities]
    keys = [key for key in native if key is not None]
    if len(keys) < len(native) or sealed[: len(_ARMOUR)] == _ARMOUR:
        return _unseal_with_pyrage(bytes(sealed), identities)
    try:
        file_key, start = age_header.unwrap(bytes(sealed[: age_header.LIMIT]), keys)
        return age_payload.decrypt(file_key, memoryview(sealed)[start:])
    except PermissionError as error:
        raise _not_ours() from error
    except ValueError as error:
        raise SecretError(f"a damaged age file: {error}", hint="take another copy of it") from error


def sealed_for(sealed: bytes) -> int | None:
    """Return for how many recipients a file is sealed, None where its header cannot be read."""
    try:
        header = _head(sealed)
    except ValueError:
        return None
    kinds = [line.split(b" ")[1] for line in header.splitlines() if line.startswith(b"-> ")]
    # Some writers add a stanza that nobody opens, so that readers learn to skip what they do not know.
    return sum(not kind.endswith(b"grease") for kind in kinds)


def _head(sealed: bytes) -> bytes:
    if sealed[:1024].lstrip().startswith(_ARMOUR):
        sealed = base64.b64decode(b"".join(sealed.strip().splitlines()[1:-1]), validate=True)
    header, mark, _ = sealed[: age_header.LIMIT].partition(b"\n---")
    if not mark or not header.startswith(age_header.VERSION + b"\n"):
        raise ValueError("no header")
    return header


def _unseal_with_pyrage(sealed: bytes, identities: Sequence[Secret]) -> bytes:
    keys = [_identity(identity) for identity in identities]
    try:
        return bytes(pyrage.decrypt(sealed, keys))
    except pyrage.DecryptError as error:
        if "No matching keys" in str(error):
            raise _not_ours() from error
        raise SecretError(f"a damaged age file: {error}", hint="take another copy of it") from error


def _not_ours() -> SecretError:
    return SecretError("no identity opens this age file", hint="use the identity of one of its recipients")


def _native(text: str, prefix: str) -> bytes | None:
    """Return the raw X25519 key of a native recipient or identity, None for another kind."""
    try:
        found, key = bech32.decode(text)
    except ValueError:
        return None
    return key if found == prefix and len(key) == 32 else None


def _recipient(text: str) -> object:
    for prefix, kind in _KINDS:
        if text.startswith(prefix):
            try:
                return kind.Recipient.from_str(text)
            except pyrage.RecipientError as error:
                raise SecretError(f"{text!r} is no recipient", hint="copy the whole public key") from error
    raise SecretError(f"{text!r} is no recipient", hint="give an age1… public key or an ssh- public key")


def _identity(identity: Secret) -> object:
    content = identity.reveal()
    try:
        if b"PRIVATE KEY-----" in content:
            return pyrage.ssh.Identity.from_buffer(content)
        return pyrage.x25519.Identity.from_str(content.decode().strip())
    except (pyrage.IdentityError, UnicodeDecodeError) as error:
        raise SecretError("not an identity", hint="give an AGE-SECRET-KEY-1… line or an SSH private key") from error
