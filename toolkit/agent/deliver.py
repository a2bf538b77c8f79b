"""Delivery: a release's secrets arrive complete, or nothing changes.

What is named by its value is never written over, so a new set stands beside the old one until the index names it. Then
what no retained release needs is overwritten and removed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.agent import memory
from toolkit.agent.drafts import SUFFIX, Drafts, wipe
from toolkit.agent.paths import Paths
from toolkit.agent.shelf import INDEX, SEALED, Shelf, locked, own_identity, read_key
from toolkit.vault.delivery import Delivery, Entry, Index
from toolkit.words.errors import SecretError


@dataclass(frozen=True)
class Receipt:
    """What a delivery did, in names."""

    written: tuple[str, ...]
    removed: tuple[str, ...]
    lost: tuple[str, ...]
    """Kept tags that this host has no value for any more."""

    in_memory: bool
    """Whether the kernel keeps the values out of swap."""


def put(paths: Paths, delivery: Delivery, body: bytes) -> Receipt:
    """Bring a set to its places. Raises SecretError or HostError, with the old set untouched."""
    given = _cut(delivery, body)
    with locked(paths):
        shelf = Shelf(paths, delivery.stack, read_key(paths), own_identity(paths))
        _check_tags(shelf, given)
        memory.ensure(paths)
        for folder, mode in ((shelf.memory, memory.MODE), (shelf.sealed, 0o700)):
            folder.mkdir(mode=mode, exist_ok=True)
            folder.chmod(mode)
        values, lost = _kept(shelf, delivery)
        written = _write(shelf, delivery, values | given)
        return Receipt(written, _remove(shelf), lost, memory.stays_in_memory(paths))


def _cut(delivery: Delivery, body: bytes) -> dict[Entry, bytes]:
    sizes = sum(entry.size for entry in delivery.files)
    if sizes != len(body):
        raise SecretError(f"{len(body)} bytes for secrets of {sizes} bytes", hint="run the same again")
    values, start = {}, 0
    for entry in delivery.files:
        values[entry] = body[start : start + entry.size]
        start += entry.size
    return values


def _check_tags(shelf: Shelf, given: Mapping[Entry, bytes]) -> None:
    for entry, value in given.items():
        if not shelf.fits(entry, value):
            raise SecretError(
                f"{entry.name}: the tag is not that of the value under this host's key",
                hint="the key on the host has changed since it was read: deploy again",
            )


def _kept(shelf: Shelf, delivery: Delivery) -> tuple[dict[Entry, bytes], tuple[str, ...]]:
    """Return the values that retained releases need beside the new ones, and the tags of those that are lost."""
    fresh = {entry.tag for entry in delivery.files}
    values: dict[Entry, bytes] = {}
    for entry in shelf.index().files:
        if entry.tag in delivery.keep - fresh:
            held = shelf.held(entry)
            if held is not None or shelf.is_sealed(entry):
                values[entry] = shelf.unseal(entry) if held is None else held
    return values, tuple(sorted(delivery.keep - fresh - {entry.tag for entry in values}))


def _write(shelf: Shelf, delivery: Delivery, values: Mapping[Entry, bytes]) -> tuple[str, ...]:
    written = []
    with Drafts() as drafts:
        for entry, value in values.items():
            if shelf.held(entry) is None:
                shelf.lay(drafts, entry, value)
                written.append(entry.file)
            if not shelf.is_sealed(entry):
                shelf.seal(drafts, entry, value)
        shelf.note(drafts, Index(delivery.release, tuple(values)))
        drafts.commit()
    for entry in values:
        shelf.own(entry)
    return tuple(written)


def _remove(shelf: Shelf) -> tuple[str, ...]:
    """Wipe what the index does not name, in both places."""
    entries = shelf.index().files
    belong = {entry.file for entry in entries} | {entry.file + SEALED for entry in entries} | {INDEX}
    removed = []
    for path in [*shelf.memory.iterdir(), *shelf.sealed.iterdir()]:
        if path.name not in belong and path.is_file() and not path.is_symlink():
            wipe(path)
            if not path.name.endswith((SEALED, SUFFIX)):
                removed.append(path.name)
    return tuple(sorted(removed))
