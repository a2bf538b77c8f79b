"""Paths inside a container as this host sees them: found through its mounts, and never through its links.

Whoever owns a container may plant a link in its volume that leads to a file of the host. So only the mount's own path
is taken as it is; every component below is opened by itself, and one that is a link is refused.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from toolkit.sources.docker import Docker, Inspected
from toolkit.words.errors import HostError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def mount_of(container: Inspected, path: str) -> dict[str, Any] | None:
    """The innermost volume or bind mount that a path in a container lies in; None where it lies in the container."""
    wanted = PurePosixPath(path)
    mounts = [mount for mount in container.get("Mounts") or () if wanted.is_relative_to(mount["Destination"])]
    return max(mounts, key=lambda mount: len(mount["Destination"]), default=None)


def located(container: Inspected, path: str) -> tuple[Path, str]:
    """A path in a container as a directory of this host and the rest below it. Raises HostError where it cannot be."""
    if mount := mount_of(container, path):
        return Path(mount["Source"]), str(PurePosixPath(path).relative_to(mount["Destination"]))
    if not (pid := container["State"].get("Pid")):
        raise HostError(f"{container['Name'].lstrip('/')} does not run, and {path} is in no volume of it")
    return Path(f"/proc/{pid}/root"), str(PurePosixPath(path).relative_to("/"))


@contextmanager
def beneath(root: Path, relative: str) -> Iterator[Path]:
    """Give a path to a directory below a root, valid inside the context, that no link can lead elsewhere.

    Raises HostError where there is no such directory.
    """
    parts = PurePosixPath(relative).parts
    if {"/", ".."} & set(parts):
        raise HostError(f"{relative} leads out of {root}")
    descriptor = _open(root, _DIRECTORY & ~os.O_NOFOLLOW, None, root)
    try:
        for part in parts:
            below = _open(part, _DIRECTORY, descriptor, root / relative)
            os.close(descriptor)
            descriptor = below
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


@contextmanager
def directory(container: Inspected, path: str) -> Iterator[Path]:
    """Give a directory of a container to this host."""
    with beneath(*located(container, path)) as found:
        yield found


def open_file(folder: Path, name: str) -> int:
    """Open a regular file in a directory of `beneath` for reading. Raises HostError."""
    return _open(f"{folder}/{plain(name)}", _FILE, None, Path(name))


def plain(name: str) -> str:
    """Return a name that a container gave, if it is one file's in a directory. Raises HostError."""
    if not name or "/" in name or name in (".", ".."):
        raise HostError(f"{name!r} is no plain file name")
    return name


def mountpoint(docker: Docker, volume: str) -> Path:
    """Where a volume lies on this host. Raises HostError where it does not, or is not mounted now."""
    found = docker.inspect("volume", volume)[0]
    path = Path(found.get("Mountpoint") or "/nonexistent")
    if not path.is_dir():
        hint = f"its driver is {found['Driver']}; only volumes on this host's own disks can be read"
        raise HostError(f"volume {volume} has no directory here", hint=hint)
    # Docker mounts such a volume while a container uses it; below it lies an empty directory that looks the same.
    if (found.get("Options") or {}).get("device") and str(path) not in mounted():
        raise HostError(f"volume {volume} is not mounted", hint="start a container that uses it, then try again")
    return path


def mounted() -> set[str]:
    """Where something is mounted on this host (proc(5), mountinfo: the fifth field, with escapes)."""
    rows = (line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return {row[4].encode().decode("unicode_escape") for row in rows}


def _open(path: str | Path, flags: int, at: int | None, shown: Path) -> int:
    try:
        return os.open(path, flags, dir_fd=at)
    except OSError as error:
        raise HostError(f"{shown}: {error.strerror}", hint="a link there is never followed") from error
