"""The payload of an age file: 64 KiB pieces under ChaCha20-Poly1305, numbered, the last one marked.

pyrage holds the interpreter's lock while it encrypts; this does not, which is why it exists. The format is age's own
(STREAM, https://age-encryption.org/v1), and tests hold it to age, to pyrage and to age's published vectors.
"""

import os
from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from toolkit.crypto.age_header import hkdf

PIECE = 1 << 16
_TAG = 16
_NONCE = 16


class Payload:
    """An encrypted payload that grows behind its header while its plaintext comes. For one thread at a time."""

    def __init__(self, file_key: bytes, header: bytes, capacity: int, spare: bytearray | None = None) -> None:
        """Begin with room for so many bytes of plaintext, in the `spare` buffer if there is one."""
        nonce = os.urandom(_NONCE)
        self._cipher = ChaCha20Poly1305(hkdf(file_key, nonce, b"payload"))
        self._end = len(header) + _NONCE
        self._sealed = spare if spare is not None else bytearray()
        self._make_room(self._end + sealed_size(capacity))
        self._sealed[: self._end] = header + nonce
        self._counter = 0
        self._rest = bytearray()

    def write(self, plaintext: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""
        view = memoryview(plaintext)
        if self._rest:
            missing = PIECE - len(self._rest)
            self._rest += view[:missing]
            view = view[missing:]
        # The last piece is marked as such, so a whole one waits until something follows it.
        if self._rest and view:
            self._piece(self._rest, last=False)
            self._rest.clear()
        while len(view) > PIECE:
            self._piece(view[:PIECE], last=False)
            view = view[PIECE:]
        self._rest += view

    def finish(self) -> bytearray:
        """Return header and payload."""
        self._piece(self._rest, last=True)
        del self._sealed[self._end :]
        return self._sealed

    def _piece(self, piece: bytearray | memoryview, *, last: bool) -> None:
        end = self._end + len(piece) + _TAG
        self._make_room(end)
        # `encrypt_into` works without the interpreter's lock; plain `encrypt` does not.
        with memoryview(self._sealed) as target:
            self._cipher.encrypt_into(_piece_nonce(self._counter, last), piece, None, target[self._end : end])
        self._end, self._counter = end, self._counter + 1

    def _make_room(self, size: int) -> None:
        if size > len(self._sealed):
            self._sealed += bytes(size - len(self._sealed))


def decrypt(file_key: bytes, payload: memoryview) -> bytearray:
    """Return the plaintext. Raises ValueError for a payload that was changed, cut short or made longer."""
    cipher = ChaCha20Poly1305(hkdf(file_key, bytes(payload[:_NONCE]), b"payload"))
    source = payload[_NONCE:]
    pieces = max(-(-len(source) // (PIECE + _TAG)), 1)
    size = max(len(source) - pieces * _TAG, 0)
    if len(source) > _TAG and size == (pieces - 1) * PIECE:
        raise ValueError("an empty last piece")
    plaintext = bytearray(size)
    try:
        with memoryview(plaintext) as target:
            for counter, first, end in _pieces(len(source), PIECE + _TAG):
                at = counter * PIECE
                target_piece = target[at : at + end - first - _TAG]
                cipher.decrypt_into(_piece_nonce(counter, end == len(source)), source[first:end], None, target_piece)
    except InvalidTag as error:
        raise ValueError("the payload was changed or cut short") from error
    return plaintext


def sealed_size(size: int) -> int:
    """How many bytes a plaintext of this size has when encrypted, without header and nonce."""
    return size + _TAG * max(-(-size // PIECE), 1)


def _pieces(size: int, step: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, first byte and end of every piece; an empty payload still has one."""
    for counter, first in enumerate(range(0, max(size, 1), step)):
        yield counter, first, min(first + step, size)


def _piece_nonce(counter: int, last: bool) -> bytes:
    return counter.to_bytes(11, "big") + bytes([last])
