"""Room: whether images that have to be pulled will fit on the host's disk."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from toolkit.stack.site import Site
from toolkit.words.command import command
from toolkit.words.errors import HostError
from toolkit.words.values import Size

# Layers are laid out beside their archives, and grow to two or three times their size.
UNPACKED = 3.5
# So much stays free for what runs meanwhile.
SPARE = 256 << 20
# An image of a distribution has some ten thousand files.
INODES = 10_000
LEAST = 64 << 20
# Set aside while containers are touched, and given back when the way is back: making containers needs room too.
BALLAST = 32 << 20


def check(site: Site, images_in: str, missing: Sequence[str], *, login: str) -> None:
    """Raise HostError where a file system has too few bytes or inodes left."""
    for path in (site.place.folder, site.place.state):
        _enough(str(path), LEAST, 100)
    if not missing:
        return
    wanted = sum(_sizes(site, missing, login))
    _enough(str(site.place.absolute(images_in)), int(wanted * UNPACKED) + SPARE, INODES * len(missing))


def keep_back(site: Site) -> None:
    """Set room aside for the way back. Raises HostError where there is none."""
    path = _ballast(site)
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, BALLAST)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise HostError(
            f"{path}: {error.strerror}", hint="free some space (`docker system df`, `df -h`) or take a larger disk"
        ) from error


def give_back(site: Site) -> None:
    with suppress(OSError):
        _ballast(site).unlink(missing_ok=True)


def _ballast(site: Site) -> Path:
    return site.place.state / "ballast"


def _enough(path: str, bytes_needed: int, inodes_needed: int) -> None:
    with suppress(FileNotFoundError):
        found = os.statvfs(path)
        free = found.f_bavail * found.f_frsize
        if free < bytes_needed:
            raise HostError(
                f"{path} has {Size(free)} free, and {Size(bytes_needed)} are needed",
                hint="free some space (`docker system df`, `df -h`) or take a larger disk",
            )
        # Some file systems have no fixed number of inodes, and say 0 of 0.
        if found.f_files and found.f_favail < inodes_needed:
            raise HostError(
                f"{path} has {found.f_favail} inodes free, and {inodes_needed} are needed",
                hint="remove what consists of many small files (`df -i`)",
            )


def _sizes(site: Site, images: Sequence[str], login: str) -> Iterator[int]:
    """Yield the size of each image as its registry stores it; 0 where the registry does not tell."""
    for image in images:
        asked = command("timeout", 20, "docker", "--config", login, "manifest", "inspect", "--verbose", image)
        told = site.host.run(asked, check=False)
        with suppress(ValueError, KeyError, TypeError):
            yield _size(json.loads(told.text)) if told.ok else 0


def _size(told: object) -> int:
    # For an image of several platforms there is a list; the largest stands for the one that is pulled.
    if isinstance(told, list):
        return max((_size(one) for one in told), default=0)
    body = told.get("SchemaV2Manifest") or told.get("OCIManifest") or {} if isinstance(told, dict) else {}
    return sum(int(layer["size"]) for layer in body.get("layers", ()))
