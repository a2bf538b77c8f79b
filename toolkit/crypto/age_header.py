"""The header of an age file: which recipients it is for, and the file key wrapped for each of them.

Only age's native X25519 recipients are handled here (https://age-encryption.org/v1); stanzas of other kinds are
carried and skipped. The header ends with a MAC under the file key, so nobody can add or remove a recipient.
"""

import base64
import hmac
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

VERSION = b"age-encryption.org/v1"
FILE_KEY = 16
_WRAPPED = FILE_KEY + 16
_COLUMNS = 64
LIMIT = 1 << 16
_WRAP_NONCE = bytes(12)


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt or None, info=info).derive(key)


@dataclass(frozen=True)
class Stanza:
    """One recipient's part: arguments in clear and a body that only this recipient understands."""

    arguments: tuple[str, ...]
    body: bytes

    def encode(self) -> bytes:
        text = _base64(self.body)
        # The last line is always short of 64 columns, and empty if need be: that is how a reader finds the end.
        lines = [text[start : start + _COLUMNS] for start in range(0, len(text) + 1, _COLUMNS)]
        return ("-> " + " ".join(self.arguments) + "\n" + "\n".join(lines) + "\n").encode()


def wrap(file_key: bytes, recipients: Iterable[bytes]) -> bytes:
    """Return a whole header for these X25519 public keys."""
    stanzas = b"".join(_wrap_for(recipient, file_key).encode() for recipient in recipients)
    signed = VERSION + b"\n" + stanzas + b"---"
    return signed + b" " + _base64(_mac(file_key, signed)).encode() + b"\n"


def _wrap_for(recipient: bytes, file_key: bytes) -> Stanza:
    ephemeral = X25519PrivateKey.from_private_bytes(os.urandom(32))
    share = ephemeral.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    # The nonce may be constant: this key wraps this one file key and nothing else.
    body = ChaCha20Poly1305(_wrap_key(shared, share, recipient)).encrypt(_WRAP_NONCE, file_key, None)
    return Stanza(("X25519", _base64(share)), body)


def unwrap(sealed: bytes, identities: Sequence[bytes]) -> tuple[bytes, int]:
    """Return the file key and where the header ends.

    Raises ValueError for a header that is no header, PermissionError where no identity fits.
    """
    stanzas, signed, mac, end = _parse(sealed)
    for identity in identities:
        private = X25519PrivateKey.from_private_bytes(identity)
        for stanza in stanzas:
            file_key = _unwrap_with(private, stanza)
            if file_key is None:
                continue
            if not hmac.compare_digest(_mac(file_key, signed), mac):
                raise ValueError("the header's MAC is wrong")
            return file_key, end
    raise PermissionError("no identity fits")


def _unwrap_with(private: X25519PrivateKey, stanza: Stanza) -> bytes | None:
    if stanza.arguments[0] != "X25519":
        return None
    if len(stanza.arguments) != 2 or len(stanza.body) != _WRAPPED:
        raise ValueError("a malformed X25519 stanza")
    share = _unbase64(stanza.arguments[1])
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    # A share of low order makes the exchange fail: ValueError, as it should.
    shared = private.exchange(X25519PublicKey.from_public_bytes(share))
    try:
        return ChaCha20Poly1305(_wrap_key(shared, share, public)).decrypt(_WRAP_NONCE, stanza.body, None)
    except InvalidTag:
        return None


def _wrap_key(shared: bytes, share: bytes, recipient: bytes) -> bytes:
    return hkdf(shared, share + recipient, VERSION + b"/X25519")


def _mac(file_key: bytes, signed: bytes) -> bytes:
    return hmac.digest(hkdf(file_key, b"", b"header"), signed, "sha256")


def _parse(text: bytes) -> tuple[list[Stanza], bytes, bytes, int]:
    """Split into stanzas, the bytes under the MAC, the MAC, and the length of it all."""
    if not text.startswith(VERSION + b"\n"):
        raise ValueError("not an age file")
    position = len(VERSION) + 1
    stanzas: list[Stanza] = []
    while text[position : position + 3] == b"-> ":
        stanza, position = _parse_stanza(text, position)
        stanzas.append(stanza)
    line, after = _line(text, position)
    if not line.startswith("--- ") or not stanzas:
        raise ValueError("a header without an end")
    return stanzas, text[: position + 3], _unbase64(line[4:]), after


def _parse_stanza(text: bytes, position: int) -> tuple[Stanza, int]:
    first, position = _line(text, position)
    arguments = tuple(first[3:].split(" "))
    body = ""
    while True:
        line, position = _line(text, position)
        if len(line) > _COLUMNS:
            raise ValueError("a long line in the header")
        body += line
        if len(line) < _COLUMNS:
            return Stanza(arguments, _unbase64(body)), position


def _line(text: bytes, position: int) -> tuple[str, int]:
    end = text.find(b"\n", position)
    if end < 0:
        raise ValueError("a header without an end")
    return text[position:end].decode("ascii"), end + 1


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _unbase64(text: str) -> bytes:
    """Decode base64 without padding, and accept only the one right spelling."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    if _base64(data) != text:
        raise ValueError("base64 that is not canonical")
    return data
