"""Selecting a part of a snapshot: what is below one path, as a tree of its own.

A file in the selection may be a second name of one outside it; its content is then taken from there, under the first
selected name.
"""

from collections.abc import Iterator
from dataclasses import replace

from toolkit.repository.listing import Part
from toolkit.repository.read import Snapshot
from toolkit.words.errors import RepositoryError


def below(snapshot: Snapshot, path: str, *, lenient: bool) -> Iterator[Part]:
    """Yield what is below a path, renamed relative to it. Raises RepositoryError where there is no such path.

    The path itself becomes the empty path if it is a directory, and keeps its last name otherwise.
    """
    root = path.strip("/")
    kind, outside = _survey(snapshot, root, lenient)
    if kind is None:
        raise RepositoryError(f"snapshot {snapshot.name} has no {root!r}", hint="list it to see its paths")
    cut = len(root) + 1 if kind == "directory" else root.rfind("/") + 1
    held: dict[str, list[Part]] = {}
    first: dict[str, str] = {}
    for part in snapshot.parts(lenient=lenient):
        entry = part.entry
        if not _inside(entry.path, root):
            if entry.path in outside:
                held.setdefault(entry.path, []).append(part)
            continue
        name = entry.path[cut:]
        if entry.kind != "link":
            yield part._replace(entry=replace(entry, path=name))
        elif _inside(entry.target, root):
            yield part._replace(entry=replace(entry, path=name, target=entry.target[cut:]))
        elif entry.target in first:
            yield part._replace(entry=replace(entry, path=name, target=first[entry.target]))
        else:
            first[entry.target] = name
            yield from (each._replace(entry=replace(each.entry, path=name)) for each in held.pop(entry.target, ()))


def _survey(snapshot: Snapshot, root: str, lenient: bool) -> tuple[str | None, set[str]]:
    """The kind of the selected entry, and the files outside that something inside is a link to."""
    kind: str | None = None
    outside = set()
    for part in snapshot.parts(lenient=lenient):
        entry = part.entry
        if entry.path == root:
            kind = entry.kind
        if entry.kind == "link" and _inside(entry.path, root) and not _inside(entry.target, root):
            outside.add(entry.target)
    return kind, outside


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")


def one(snapshot: Snapshot, path: str) -> Iterator[Part]:
    """Yield the parts of one file, following a hard link. Raises RepositoryError for anything else."""
    for part in below(snapshot, path, lenient=False):
        if part.entry.kind != "file":
            raise RepositoryError(f"{path!r} is a {part.entry.kind}, not a file", hint="name one file")
        yield part
