"""Choice of the base and of the shippings after it that bring a database back as it was at one moment.

A database may have several lives: restored, it goes on under another timeline, and with `restore.undo` the earlier life
goes on where it was. A base serves the shippings of its own life only. What is in the store is a host's claim, so
every fact is checked before anything follows from it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path

from toolkit.repository.layout import SnapshotName
from toolkit.repository.pools import workers
from toolkit.repository.read import Repository, Snapshot
from toolkit.sources.protocol import Facts, Withheld, Write
from toolkit.sources.stored import FromSnapshot, facts_of
from toolkit.sources.wal import BASE, SEGMENTS, believed, utc, written
from toolkit.words.errors import RepositoryError

# A snapshot says when it was finished in whole seconds, and is named for when it was begun.
_SECOND = timedelta(seconds=1)
_SLACK = timedelta(seconds=60)
_WORKERS, _AT_ONCE = 8, 64
_MOST_LIVES = 1000
"""Each restore of a database is one. Every one in between costs a file where the log is played."""


@dataclass(frozen=True)
class Link:
    """One base or one shipping of a database's log, as its manifest was believed; `files` has sizes by name.

    The manifest itself is not held: each names every pack of its epoch so far, and a day has thousands of shippings.
    """

    name: SnapshotName
    facts: Facts
    base: bool
    finished: str
    files: Mapping[str, int]

    @property
    def life(self) -> tuple[str, int]:
        return str(self.facts["system"]), int(self.facts["timeline"])

    @property
    def moment(self) -> datetime:
        """What the log up to here reaches; for a base, when it was begun."""
        return datetime.fromisoformat(str(self.facts["moment"]))

    @property
    def usable(self) -> datetime:
        """From when on a base can be played to: it is in itself of one moment only once it has ended."""
        return datetime.fromisoformat(self.finished).astimezone(UTC) + _SECOND


@dataclass(frozen=True)
class Chosen:
    """What it takes to be back at a moment. `beyond` is the highest timeline that other lives are known to have."""

    repository: Repository
    source: str
    to: datetime
    base: Link
    log: Sequence[Link]
    beyond: int

    @property
    def bytes(self) -> int:
        """How much is read at most: the base, and each file of the log once."""
        files = {name: size for link in self.log for name, size in link.files.items()}
        return sum(self.base.files.values()) + sum(files.values())

    def open_base(self) -> Snapshot:
        """Open the base once more. Raises RepositoryError."""
        return self.repository.open(self.base.name)

    def stored(self, link: Link) -> "Shipped":
        """A link as the player reads it."""
        return Shipped(self.repository, link, self.source)


@dataclass(frozen=True)
class Shipped:
    """Reads one base or shipping, which is opened for each file that is wanted of it, and for no longer."""

    repository: Repository
    link: Link
    source: str

    @property
    def names(self) -> Sequence[str]:
        return list(self.link.files)

    def size(self, name: str) -> int:
        return self.link.files.get(name, 0)

    def facts(self, name: str = "") -> Facts:
        return self.link.facts if name in self.link.files else {}

    def pour(self, name: str, write: Write) -> int:
        return self._opened().pour(name, write)

    def lay(self, name: str, target: Path) -> Withheld:
        return self._opened().lay(name, target)

    def _opened(self) -> FromSnapshot:
        return FromSnapshot(self.repository.open(self.link.name), folder(self.source))


def folder(source: str) -> str:
    """Where the log of a source lies in its snapshots: `wal/db` for `postgres/db`."""
    return f"wal/{source.partition('/')[2]}"


def choose(repository: Repository, source: str, to: datetime) -> Chosen:
    """Find what brings a source back as it was at a moment.

    Raises RepositoryError where nothing does: no log at all, a moment before its first base or behind its end, a gap.
    """
    log = _Log(repository, source)
    at, end = log.first_behind(to)
    links, base = log.back_to_base(at, end, to)
    if base is None:
        raise log.nothing_before(to)
    between = [link for link in links if link.life == end.life and not link.base]
    chain = (base, *between, end)
    _refuse_gap(source, links[-1] if links else base, end, chain, to)
    newest = log.newest() or end
    known = [one.life[1] for one in (base, *links, end, newest) if one.life[0] == base.life[0]]
    if max(known) - base.life[1] > _MOST_LIVES:
        told = f"the log of {source} claims {max(known) - base.life[1]} other lives of its database"
        raise RepositoryError(told, hint="nobody restores that often: restore a snapshot, without --at")
    return Chosen(repository, source, to, base, chain[1:], max(known))


def _refuse_gap(source: str, before: Link, end: Link, chain: Sequence[Link], to: datetime) -> None:
    """Raise RepositoryError where log is missing that leads to the moment."""
    for one, other in pairwise(chain):
        if int(other.facts["start"]) > int(one.facts["end"]):
            missing = f"{written(int(one.facts['end']))} to {written(int(other.facts['start']))}"
            raise _gap(source, one, other, f"the log from {missing} was never shipped")
    if before.life != end.life:
        raise _gap(source, before, end, f"{source} was restored or made anew before {utc(to)} was shipped")


def _gap(source: str, before: Link, after: Link, what: str) -> RepositoryError:
    between = f"between {utc(before.moment)} and {utc(after.moment)}"
    hint = f"the latest moment before it that can be reached: --at {utc(before.moment)}"
    return RepositoryError(f"gap in the log of {source} {between}: {what}", hint=hint)


@dataclass
class _Log:
    """The log of one source in a repository, opened as far as it is needed."""

    repository: Repository
    source: str

    def __post_init__(self) -> None:
        self.names = self.repository.snapshots()
        self._opened: dict[SnapshotName, Link | None] = {}

    def first_behind(self, to: datetime) -> tuple[int, Link]:
        """Find the first shipping that reaches behind a moment, and its place. Raises RepositoryError."""
        # Names tell when each was begun, by the host's clock: a hint where to look, and no more.
        behind = (place for place, name in enumerate(self.names) if name.when >= to - _SLACK)
        first = next(behind, len(self.names))
        for place, link in self._walk(range(first, len(self.names))):
            if not link.base and link.moment >= to:
                return place, link
        for _, link in self._walk(range(len(self.names) - 1, -1, -1)):
            if not link.base:
                reaches = utc(link.moment)
                told = f"the log of {self.source} reaches to {reaches}, not to {utc(to)}"
                hint = "nothing was written after it, or it was not shipped (`invoke backup.status`)"
                raise RepositoryError(told, hint=f"{hint}; the latest moment: --at {reaches}")
        raise RepositoryError(
            f"{self.repository.host} has no log of {self.source}",
            hint="write `wal: true` at the source in the backup file; meanwhile restore a snapshot, without --at",
        )

    def back_to_base(self, place: int, end: Link, to: datetime) -> tuple[list[Link], Link | None]:
        """Go back to the newest base that serves; return what lies between the two, oldest first, and the base."""
        links: list[Link] = []
        for _, link in self._walk(range(place - 1, -1, -1)):
            if link.base and link.life == end.life and link.usable <= to:
                return links[::-1], link
            links.append(link)
        return links[::-1], None

    def nothing_before(self, to: datetime) -> RepositoryError:
        """Why no base serves a moment that the log reaches behind of."""
        links = [link for _, link in self._walk(range(len(self.names)))]
        earliest = min((link.usable for link in links if link.base), default=None)
        if earliest is None:
            hint = "the next base makes the log of use; until then restore a snapshot, without --at"
            return RepositoryError(f"there is log of {self.source}, and no base to play it on", hint=hint)
        if to < earliest:
            told = f"the first base of {self.source} is of {utc(earliest)}, and {utc(to)} is before it"
            hint = f"the earliest moment: --at {utc(earliest)}; for what was before, restore a snapshot without --at"
            return RepositoryError(told, hint=hint)
        before = max((link for link in links if not link.base and link.moment <= to), key=_by_moment, default=None)
        after = min((link for link in links if link.base and link.usable > to), key=_by_moment, default=None)
        what = "the database was restored or made anew meanwhile"
        latest = f"the latest moment before it: --at {utc(before.moment)}" if before else "choose a later moment"
        later = f"; the earliest after it: --at {utc(after.usable)}" if after else ""
        since = f"between {utc(before.moment)} and " if before else "before "
        until = utc(after.usable) if after else "now"
        return RepositoryError(f"gap in the log of {self.source} {since}{until}: {what}", hint=f"{latest}{later}")

    def newest(self) -> Link | None:
        return next((link for _, link in self._walk(range(len(self.names) - 1, -1, -1))), None)

    def _walk(self, places: range) -> Iterator[tuple[int, Link]]:
        """Yield the links of the source at these places, in their order. Many are opened at once: most is waiting."""
        left = iter(places)
        with workers(_WORKERS, "open") as pool:
            while batch := list(islice(left, _AT_ONCE)):
                names = [self.names[place] for place in batch]
                for place, link in zip(batch, pool.map(self._open, names), strict=True):
                    if link:
                        yield place, link

    def _open(self, name: SnapshotName) -> Link | None:
        """Open one snapshot; None where it is of another source, or cannot be believed: that is then a gap."""
        if name not in self._opened:
            try:
                self._opened[name] = link_of(self.repository.open(name), self.source)
            except RepositoryError as error:
                self.repository.told(f"passed over: {error.message}")
                self._opened[name] = None
        return self._opened[name]


def _by_moment(link: Link) -> datetime:
    return link.moment


def link_of(snapshot: Snapshot, source: str) -> Link | None:
    """A snapshot as a link of a source's log; None where it is of another source. Raises RepositoryError."""
    document = snapshot.manifest
    facts = facts_of(document.sources, folder(source))
    named = [name for name in facts if name == BASE or name.startswith(f"{SEGMENTS}/")]
    if not named:
        return None
    base = BASE in facts
    try:
        datetime.fromisoformat(document.finished)
    except ValueError as error:
        raise RepositoryError(f"snapshot {snapshot.name} ends at no time", hint="choose another moment") from error
    about = believed(facts[BASE if base else named[0]])
    return Link(snapshot.name, about, base, document.finished, {name: int(facts[name]["bytes"]) for name in named})
