"""Excerpts: one file or folder of a snapshot that may be put back by itself, and what is said of any other."""

from collections.abc import Collection
from dataclasses import dataclass

from toolkit.repository.browse import entries, missing
from toolkit.repository.read import Snapshot
from toolkit.sources.refill import sources_in
from toolkit.words.errors import ConfigError

KINDS = ("volume", "path")


@dataclass(frozen=True)
class Excerpt:
    """One path of a snapshot: in which source, where below that, and how much it is."""

    path: str
    source: str
    below: str
    directory: bool
    entries: int
    bytes: int

    @property
    def name(self) -> str:
        return self.below.rpartition("/")[2]


def find(snapshot: Snapshot, path: str, trees: Collection[str] = ()) -> Excerpt:
    """Find a path that can be put back in place. `trees` names directories of the host that were captured.

    Raises ConfigError for one of a database, a whole source or none at all, RepositoryError for one that is not there.
    """
    source = source_of(snapshot, path, trees)
    kind, count, size = "", 0, 0
    for entry in entries(snapshot, path):
        kind = entry.kind if entry.path == path else kind
        count, size = count + 1, size + entry.size
    if not kind:
        raise missing(snapshot, path)
    return Excerpt(path, source, path[len(source) + 1 :], kind == "directory", count, size)


def source_of(snapshot: Snapshot, path: str, trees: Collection[str] = ()) -> str:
    """The source of a path below it. Raises ConfigError."""
    known = sources_in(snapshot.manifest.sources, trees)
    whole = max((name for name in known if path == name or path.startswith(f"{name}/")), key=len, default="")
    files = ", ".join(sorted(name for name, kind in known.items() if kind in KINDS)) or "none"
    if not whole:
        hint = (
            f"a path begins with the name of a source; those with files are {files}; with --to DIRECTORY any path goes"
        )
        raise ConfigError(f"{path!r} is in no source that could be put back in place", hint=hint)
    if known[whole] not in KINDS:
        hint = f"`--source {whole}` restores it whole; `--to DIRECTORY` brings its files aside; files are in {files}"
        raise ConfigError(f"{whole} is a database: no single file of it can be put back", hint=hint)
    if path == whole:
        raise ConfigError(f"{path} is a whole source", hint=f"`--source {path}` restores it")
    return whole
