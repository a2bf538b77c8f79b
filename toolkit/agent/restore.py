"""Restore and list: the sealed copies back in memory after a boot, and what stands where, in names.

Docker waits for the restore. One hole, and it fails: a service that starts without its secret does harm later and
elsewhere.
"""

from collections.abc import Iterator
from typing import Any

from toolkit.agent import memory
from toolkit.agent.drafts import Drafts
from toolkit.agent.paths import Paths
from toolkit.agent.shelf import Shelf, locked, read_identity, read_key, stacks
from toolkit.vault.delivery import Index
from toolkit.words.errors import Error, SecretError


def restore(paths: Paths) -> int:
    """Lay out every sealed secret and return how many there are. Raises SecretError naming every hole."""
    memory.ensure(paths)
    found = stacks(paths)
    if not found:
        return 0
    with locked(paths):
        key, identity = read_key(paths), read_identity(paths)
        holes: list[str] = []
        counts = [_restore(Shelf(paths, stack, key, identity), holes) for stack in found]
    if holes:
        raise SecretError(
            "not every secret is back:\n" + "\n".join(holes),
            hint="`invoke deploy` brings them all, and starts Docker",
        )
    return sum(counts)


def _restore(shelf: Shelf, holes: list[str]) -> int:
    """Lay out what can be; what cannot is told, not in the way of the rest."""
    count = 0
    try:
        index = shelf.index()
        shelf.memory.mkdir(mode=memory.MODE, exist_ok=True)
        shelf.memory.chmod(memory.MODE)
        with Drafts() as drafts:
            count = _lay_all(shelf, index, drafts, holes)
            drafts.commit()
    except Error as error:
        holes.append(f"{error.message} ({error.hint})")
    return count


def _lay_all(shelf: Shelf, index: Index, drafts: Drafts, holes: list[str]) -> int:
    count = 0
    for entry in index.files:
        try:
            value = shelf.unseal(entry)
            # One that is there already keeps its inode: running containers hold on to it.
            if shelf.held(entry) is None:
                shelf.lay(drafts, entry, value)
            else:
                shelf.own(entry)
            count += 1
        except Error as error:
            holes.append(f"{error.message} ({error.hint})")
    return count


def listing(paths: Paths) -> dict[str, Any]:
    """Return what stands where: names, tags, sizes, modes and holes. Values are read only to prove them whole."""
    described = [{"stack": stack, **_described(paths, stack)} for stack in stacks(paths)]
    return {"in_memory": memory.stays_in_memory(paths), "stacks": described}


def _described(paths: Paths, stack: str) -> dict[str, Any]:
    try:
        shelf = Shelf(paths, stack, read_key(paths), read_identity(paths))
        index = shelf.index()
    except SecretError as error:
        return {"release": "", "files": [], "holes": [error.message]}
    return {"release": index.release, "files": list(_rows(index)), "holes": list(_holes(shelf, index))}


def _rows(index: Index) -> Iterator[dict[str, Any]]:
    for entry in index.files:
        owner = {"mode": f"{entry.mode:04o}", "uid": entry.uid, "gid": entry.gid}
        yield {"name": entry.name, "tag": entry.tag, "size": entry.size, **owner}


def _holes(shelf: Shelf, index: Index) -> Iterator[str]:
    for entry in index.files:
        try:
            if shelf.held(entry) is None:
                yield f"{shelf.place(entry)} is missing or was changed"
            shelf.unseal(entry)
        except Error as error:
            yield error.message
