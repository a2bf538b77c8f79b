"""Writing a tree that somebody else described: nothing lands outside the target, whatever the description says.

Every component of every path is opened on its own and without following links. Contents come first, then hard links,
devices and symbolic links, and owners, modes and times last: as long as anything is written there is no link to follow.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.repository.listing import Entry
from toolkit.words.errors import RepositoryError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = stat.S_ISUID | stat.S_ISGID
# Attributes that grant rights or belong to the machine; the rest is the owner's own.
_PRIVILEGED = ("security.", "trusted.")


class Descent:
    """Directories below a root, opened one component at a time; the way to the last one stays open."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._way: list[tuple[str, int]] = []

    def open(self, path: str) -> int:
        """Return a descriptor of the directory at path, valid until the next call. Raises OSError."""
        parts = path.split("/") if path else []
        common = 0
        while common < min(len(parts), len(self._way)) and parts[common] == self._way[common][0]:
            common += 1
        self._back_to(common)
        for part in parts[common:]:
            self._way.append((part, os.open(part, _DIRECTORY, dir_fd=self._here)))
        return self._here

    def parent(self, path: str) -> tuple[int, str]:
        """Return the directory that holds path, and the name in it."""
        above, _, name = path.rpartition("/")
        return self.open(above), name

    def close(self) -> None:
        self._back_to(0)

    @property
    def _here(self) -> int:
        return self._way[-1][1] if self._way else self._root

    def _back_to(self, depth: int) -> None:
        while len(self._way) > depth:
            os.close(self._way.pop()[1])


@dataclass
class Notes:
    """What was left out on purpose."""

    withheld: list[tuple[str, str]] = field(default_factory=list)


class SafeTree:
    """A fresh directory that is being filled. Paths are those of entries, relative to it."""

    def __init__(self, root: int, *, privileged: bool, owners: bool) -> None:
        self.root = root
        self.notes = Notes()
        self._privileged = privileged
        self._owners = owners
        self._directories: list[Entry] = []
        self._later: list[Entry] = []

    def directory(self, descent: Descent, entry: Entry) -> None:
        """Make a directory; its owner, mode and times come at the end. Raises OSError."""
        self._directories.append(entry)
        if entry.path:
            at, name = descent.parent(entry.path)
            os.mkdir(name, 0o700, dir_fd=at)

    def make_parents(self, descent: Descent, path: str) -> None:
        """Make the directories above a path whose own lines are lost. Raises OSError."""
        above = ""
        for part in path.split("/")[:-1]:
            at = descent.open(above)
            with suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=at)
            above = f"{above}/{part}".lstrip("/")

    def whole_file(self, descent: Descent, entry: Entry, content: bytes) -> None:
        """Make a file of which everything is at hand. Raises OSError."""
        at, name = descent.parent(entry.path)
        descriptor = os.open(name, _NEW, 0o600, dir_fd=at)
        try:
            write_all(descriptor, content, 0)
            self._dress(descriptor, entry)
        finally:
            os.close(descriptor)

    def empty_file(self, descent: Descent, entry: Entry) -> None:
        """Make a file of the right length whose content will come in pieces. Raises OSError."""
        at, name = descent.parent(entry.path)
        descriptor = os.open(name, _NEW, 0o600, dir_fd=at)
        try:
            os.truncate(descriptor, entry.size)
        finally:
            os.close(descriptor)

    def write(self, descent: Descent, path: str, offset: int, content: bytes) -> None:
        """Write a piece of a file. Raises OSError."""
        with _existing(descent, path) as descriptor:
            write_all(descriptor, content, offset)

    def finish_file(self, descent: Descent, entry: Entry) -> None:
        """Give a file whose pieces are all there its owner, mode and times. Raises OSError."""
        with _existing(descent, entry.path) as descriptor:
            self._dress(descriptor, entry)

    def remove_file(self, descent: Descent, path: str) -> None:
        """Take away a file that could not be made whole."""
        at, name = descent.parent(path)
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=at)

    def later(self, entry: Entry) -> None:
        """Take a link or a device, to be made when all contents are there."""
        self._later.append(entry)

    def finish(self) -> Iterator[tuple[str, OSError]]:
        """Make links and devices, then dress the directories; yield what failed."""
        descent = Descent(self.root)
        try:
            order = ("link", "fifo", "character", "block", "symlink")
            for kind in order:
                yield from self._make_all(descent, kind)
            for entry in reversed(self._directories):
                try:
                    self._dress(descent.open(entry.path), entry)
                except OSError as error:
                    yield entry.path, error
        finally:
            descent.close()

    def _make_all(self, descent: Descent, kind: str) -> Iterator[tuple[str, OSError]]:
        for entry in self._later:
            if entry.kind == kind:
                try:
                    self._make(descent, entry)
                except OSError as error:
                    yield entry.path, error

    def _make(self, descent: Descent, entry: Entry) -> None:
        if entry.kind == "link":
            self._link(descent, entry)
            return
        at, name = descent.parent(entry.path)
        if entry.kind == "symlink":
            os.symlink(entry.target, name, dir_fd=at)
        elif entry.kind == "fifo":
            os.mkfifo(name, 0o600, dir_fd=at)
        elif not self._privileged:
            self.notes.withheld.append((entry.path, "a device node"))
            return
        else:
            bits = stat.S_IFCHR if entry.kind == "character" else stat.S_IFBLK
            os.mknod(name, bits | 0o600, os.makedev(*(entry.device or (0, 0))), dir_fd=at)
        self._dress_name(at, name, entry)

    def _link(self, descent: Descent, entry: Entry) -> None:
        source = Descent(self.root)
        try:
            source_at, source_name = source.parent(entry.target)
            if not stat.S_ISREG(os.stat(source_name, dir_fd=source_at, follow_symlinks=False).st_mode):
                raise OSError(errno.EINVAL, "a link to something that is no file")
            at, name = descent.parent(entry.path)
            os.link(source_name, name, src_dir_fd=source_at, dst_dir_fd=at, follow_symlinks=False)
        finally:
            source.close()

    def _dress(self, descriptor: int, entry: Entry) -> None:
        """Set owner, attributes, mode and times, in the order in which each survives the next."""
        if self._owners:
            os.fchown(descriptor, entry.uid, entry.gid)
        self._attributes(descriptor, entry)
        os.fchmod(descriptor, self._mode(entry))
        os.utime(descriptor, ns=(entry.mtime, entry.mtime))

    def _dress_name(self, at: int, name: str, entry: Entry) -> None:
        """The same for what cannot be opened."""
        if self._owners:
            os.chown(name, entry.uid, entry.gid, dir_fd=at, follow_symlinks=False)
        if entry.kind != "symlink":
            os.chmod(name, self._mode(entry), dir_fd=at)
        self._attributes(f"/proc/self/fd/{at}/{name}", entry)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=at, follow_symlinks=False)

    def _attributes(self, where: int | str, entry: Entry) -> None:
        for attribute, value in entry.xattrs.items():
            if attribute.startswith(_PRIVILEGED) and not self._privileged:
                self.notes.withheld.append((entry.path, f"the attribute {attribute}"))
                continue
            try:
                os.setxattr(where, attribute, value, follow_symlinks=isinstance(where, int))
            except OSError as error:
                self.notes.withheld.append((entry.path, f"the attribute {attribute}: {error.strerror}"))

    def _mode(self, entry: Entry) -> int:
        special = entry.mode & _SPECIAL
        # On a directory, setgid only decides the group of new files.
        if special and not self._privileged and entry.kind != "directory":
            self.notes.withheld.append((entry.path, "setuid or setgid"))
            return entry.mode & ~_SPECIAL
        return entry.mode


@contextmanager
def fresh_directory(target: Path) -> Iterator[int]:
    """Open the target, made if it is not there. Raises RepositoryError for one that has something in it."""
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(target, _DIRECTORY)
    except OSError as error:
        raise RepositoryError(f"cannot restore into {target}: {error.strerror}", hint="choose a directory") from error
    try:
        if any(target.iterdir()):
            raise RepositoryError(
                f"{target} is not empty", hint="restore into a new directory, then move it into place"
            )
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _existing(descent: Descent, path: str) -> Iterator[int]:
    at, name = descent.parent(path)
    descriptor = os.open(name, _OLD, dir_fd=at)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes, offset: int) -> None:
    """Write everything, in as many calls as it takes. Raises OSError."""
    view = memoryview(content)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count
