"""Chunking: where the content says so, under a seed that is drawn per epoch.

The cuts of a stream do not depend on how it was read, only on its bytes and the seed; golden vectors hold the library
to that. Nothing outside this module knows FastCDC.
"""

from collections.abc import Iterator

from pyfastcdc import FastCDC

MEAN = 256 * 1024
SMALLEST = 64 * 1024
LARGEST = 1024 * 1024
SEED_BITS = 63


class Cutter:
    """Cuts one stream. Feed it pieces of any size; it gives a chunk as soon as its end is certain."""

    def __init__(self, seed: int) -> None:
        self._chunker = FastCDC(MEAN, min_size=SMALLEST, max_size=LARGEST, normalized_chunking=1, seed=seed)
        self._rest = b""

    def whole(self, content: bytes) -> Iterator[memoryview]:
        """Cut content that is complete in itself."""
        if len(content) <= SMALLEST:
            if content:
                yield memoryview(content)
            return
        for chunk in self._chunker.cut_buf(content):
            yield chunk.data

    def feed(self, piece: bytes) -> Iterator[memoryview]:
        """Take the next piece of the stream and yield the chunks that it completes."""
        content = self._rest + piece if self._rest else piece
        chunks = list(self.whole(content))
        # The last cut is only where the bytes ended; what comes next may move it.
        last = len(chunks[-1]) if chunks else 0
        self._rest = content[len(content) - last :]
        yield from chunks[:-1]

    def finish(self) -> Iterator[memoryview]:
        """Yield what is left, and be ready for another stream."""
        rest, self._rest = self._rest, b""
        yield from self.whole(rest)
