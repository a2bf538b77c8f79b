"""Compression into frames: one chunk each, on its own, so that a chunk can be read without its neighbours."""

import sys
import threading

from toolkit.words.errors import RepositoryError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 1
# A chunk's frame never needs a larger window; a hostile header may ask for gigabytes.
_WINDOW_LOG = 23
_SKIPPABLE = (0x184D2A50).to_bytes(4, "little")
EMPTY_PADDING = _SKIPPABLE + bytes(4)
_per_thread = threading.local()


def compress(chunk: bytes | memoryview) -> bytes:
    """Return the chunk as one zstd frame that carries its size."""
    compressor: zstd.ZstdCompressor | None = getattr(_per_thread, "compressor", None)
    if compressor is None:
        compressor = _per_thread.compressor = zstd.ZstdCompressor(level=LEVEL)
    return compressor.compress(chunk, zstd.ZstdCompressor.FLUSH_FRAME)


def expand(frame: bytes, limit: int) -> bytes:
    """Return the content of one frame of a size that only it knows, up to a limit. Raises RepositoryError."""
    try:
        size = zstd.get_frame_info(frame).decompressed_size
    except zstd.ZstdError as error:
        raise RepositoryError(f"a frame that zstd cannot read: {error}") from error
    if size is None or size > limit:
        raise RepositoryError("a frame without a size, or larger than it may be")
    return decompress(frame, size, window_log=27)


def decompress(frame: bytes | memoryview, size: int, *, window_log: int = _WINDOW_LOG) -> bytes:
    """Return the content of one frame that must be `size` bytes long. Raises RepositoryError; never allocates more."""
    decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: window_log})
    try:
        content = decompressor.decompress(frame, max_length=size + 1)
    except zstd.ZstdError as error:
        raise RepositoryError(f"a frame that zstd cannot read: {error}") from error
    if len(content) != size or not decompressor.eof or decompressor.unused_data:
        raise RepositoryError("a frame that is not as long as it should be")
    return content


def padding(length: int) -> bytes:
    """Return a skippable frame that brings a plaintext of this length to a Padmé length."""
    least = length + len(EMPTY_PADDING)
    space = padme(least) - least
    return _SKIPPABLE + space.to_bytes(4, "little") + bytes(space)


def padme(length: int) -> int:
    """Round up so that a length tells little more than its magnitude, at a cost of at most 12 %."""
    exponent = length.bit_length() - 1
    step = 1 << max(exponent - exponent.bit_length(), 0)
    return -(-length // step) * step
