"""Bases in a repository of shipped logs: the first one of each epoch, for whoever decides what may expire."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from toolkit.repository.expire import Epoch
from toolkit.repository.layout import SnapshotName
from toolkit.repository.pools import workers
from toolkit.repository.read import Repository
from toolkit.sources.wal import BASE
from toolkit.sources.wal_choose import link_of
from toolkit.words.errors import RepositoryError

_WORKERS, _AT_ONCE = 8, 16


@dataclass
class Bases:
    """The first base of each epoch that has one, and snapshots that could not be opened or believed on the way."""

    first: dict[str, SnapshotName] = field(default_factory=dict)
    believed: set[str] = field(default_factory=set)
    """Epochs of which something was opened and believed."""

    doubted: set[SnapshotName] = field(default_factory=set)


def bases_in(repository: Repository, epochs: Iterable[Epoch]) -> Bases:
    """Look into every epoch from its beginning, where its base is, and no further."""
    found = Bases()
    with workers(_WORKERS, "open") as pool:
        for epoch in epochs:
            for batch in _batches(sorted(epoch.snapshots)):
                verdicts = zip(batch, pool.map(lambda name: _is_base(repository, name), batch), strict=True)
                for name, base in verdicts:
                    if base is None:
                        found.doubted.add(name)
                        continue
                    found.believed.add(epoch.name)
                    if base:
                        found.first.setdefault(epoch.name, name)
                if epoch.name in found.first:
                    break
    return found


def _batches(names: Sequence[SnapshotName]) -> Iterator[list[SnapshotName]]:
    left = iter(names)
    while batch := list(islice(left, _AT_ONCE)):
        yield batch


def _is_base(repository: Repository, name: SnapshotName) -> bool | None:
    """Whether a snapshot is a base of whichever source; None where it cannot be believed."""
    try:
        snapshot = repository.open(name)
        for info in snapshot.manifest.sources:
            if info.name.startswith("wal/") and info.name.endswith(f"/{BASE}"):
                label = info.name.removeprefix("wal/").removesuffix(f"/{BASE}")
                link = link_of(snapshot, f"postgres/{label}")
                return link is not None and link.base
    except RepositoryError:
        return None
    return False
