"""Swap: two directories change their content's places in one step, so that nobody ever finds neither.

`renameat2` with RENAME_EXCHANGE (rename(2), Linux 3.15) exchanges two names of one file system. A Docker volume of the
local driver is the directory `_data`; a stopped container finds whatever lies there when it is started again.
"""

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.words import atomic
from toolkit.words.errors import HostError

_EXCHANGE = 2
_AT_FDCWD = -100


@dataclass(frozen=True)
class Swap:
    """One directory in use, what was loaded beside it, and which of the two it was at first: `inode`.

    `volume` and `beside_volume` name the volumes that they belong to; both are empty for a path of the host.
    """

    live: str
    beside: str
    inode: int
    volume: str = ""
    beside_volume: str = ""

    @property
    def done(self) -> bool:
        """Whether the two have changed places."""
        return Path(self.live).stat().st_ino != self.inode

    def exchange(self) -> None:
        """Let them change places. Raises HostError."""
        exchange(Path(self.live), Path(self.beside))


def there(swaps: Sequence[Swap]) -> None:
    """Have every new directory in its place."""
    for swap in swaps:
        if not swap.done:
            swap.exchange()


def back(swaps: Sequence[Swap]) -> None:
    """Have every old directory in its place."""
    for swap in swaps:
        if swap.done:
            swap.exchange()


def exchange(one: Path, other: Path) -> None:
    """Exchange two directories. Raises HostError where they are not on one file system, or one is a mount."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE)
    if code:
        text = os.strerror(ctypes.get_errno())
        raise HostError(f"cannot exchange {one} and {other}: {text}", hint="both must be on one disk, and no mounts")
    atomic.sync(one.parent)
    atomic.sync(other.parent)
