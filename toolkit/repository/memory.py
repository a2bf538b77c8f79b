"""Memory under glibc: buffers of a pack's size go back to the system when they are freed, smaller ones stay at hand.

By default glibc comes to keep the large ones, some 80 MiB at the peak, and gives the top of its heap back after every
chunk, so that the system has to clear the same memory again and again.
"""

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD = -3
_M_TRIM_THRESHOLD = -1
_LARGE, _SLACK = 8 << 20, 64 << 20


def settle() -> None:
    """Set both limits for this process. Other C libraries have no such knobs and no need."""
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_M_TRIM_THRESHOLD, _SLACK)
