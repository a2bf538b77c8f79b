"""Swap: two directories change their content's places in one step, so that nobody ever finds neither.

`renameat2` with RENAME_EXCHANGE (rename(2), Linux 3.15) exchanges two names of one file system. A Docker volume of the
local driver is the directory `_data`; a stopped container finds whatever lies there when it is started again. One file
or folder inside of it changes places the same way; where there is none on one of the sides, the other is moved there.
"""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolkit.sources.paths import beneath
from toolkit.words import atomic
from toolkit.words.errors import HostError

_NO_REPLACE, _EXCHANGE = 1, 2
_AT_FDCWD = -100


@dataclass(frozen=True)
class Swap:
    """One directory in use, what was loaded beside it, and which of the two it was at first: `inode`.

    `volume` and `beside_volume` name the volumes that they belong to; both are empty for a path of the host. With
    `within`, only this path of the directory changes places with the same last name beside, and an `inode` of 0 says
    that nothing was there.
    """

    live: str
    beside: str
    inode: int
    volume: str = ""
    beside_volume: str = ""
    within: str = ""

    @property
    def places(self) -> tuple[str, str]:
        """What changes places, for people."""
        if not self.within:
            return self.live, self.beside
        return f"{self.live}/{self.within}", f"{self.beside}/{self._name}"

    def now(self) -> int:
        """Which of the two is in use: its inode, or 0 where nothing is there."""
        if not self.within:
            return Path(self.live).stat().st_ino
        try:
            with self.folder() as folder:
                return (folder / self._name).lstat().st_ino
        except FileNotFoundError:
            return 0

    @property
    def done(self) -> bool:
        """Whether the two have changed places."""
        return self.now() != self.inode

    def exchange(self) -> None:
        """Let them change places. Raises HostError."""
        if not self.within:
            exchange(Path(self.live), Path(self.beside))
            return
        with self.folder() as folder, beneath(Path(self.beside), ".") as beside:
            trade(folder / self._name, beside / self._name, self.places)

    @property
    def _name(self) -> str:
        return self.within.rpartition("/")[2]

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """The directory that holds the path, which no link in a container's volume can lead elsewhere.

        Raises FileNotFoundError where there is none, HostError where something else is in the way.
        """
        try:
            with beneath(Path(self.live), self.within.rpartition("/")[0] or ".") as found:
                yield found
        except HostError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise error.__cause__ from error
            raise


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
    _rename(one, other, _EXCHANGE, (str(one), str(other)))


def trade(one: Path, other: Path, shown: tuple[str, str]) -> None:
    """Let what is at two names change places, or move what is at one of them to the other. Raises HostError."""
    if os.path.lexists(one) and os.path.lexists(other):
        _rename(one, other, _EXCHANGE, shown)
    elif os.path.lexists(one):
        _rename(one, other, _NO_REPLACE, shown)
    else:
        _rename(other, one, _NO_REPLACE, shown)


def _rename(one: Path, other: Path, how: int, shown: tuple[str, str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    code = libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), how)
    if code:
        text = os.strerror(ctypes.get_errno())
        hint = "both must be on one disk, and no mounts"
        raise HostError(f"cannot exchange {shown[0]} and {shown[1]}: {text}", hint=hint)
    atomic.sync(one.parent)
    atomic.sync(other.parent)
