"""Files written whole or not at all."""

import os
import tempfile
from pathlib import Path


def replace(path: Path, content: bytes, *, mode: int) -> None:
    """Put content at path so that no reader, no crash and no loss of power sees half of it."""
    draft = _draft(path, content, mode)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink()
        raise
    sync(path.parent)


def create(path: Path, content: bytes, *, mode: int) -> None:
    """Put content at path, complete at once. Raises FileExistsError, and leaves alone, what is there already."""
    draft = _draft(path, content, mode)
    try:
        # A link, not a rename: it never replaces.
        os.link(draft, path)
    finally:
        draft.unlink()
    sync(path.parent)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _draft(path: Path, content: bytes, mode: int) -> Path:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as draft:
            os.fchmod(draft.fileno(), mode)
            draft.write(content)
            draft.flush()
            os.fsync(draft.fileno())
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)
