"""Verify: is everything that was written still there as it was written, and if not, which files are touched?

Without keys, every pack's hash is compared with its name, and what is there with what should be. With them, signatures,
the chain, and every chunk inside the packs are checked as well. Both can be spread over a calendar, so that small daily
shares come round to everything.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise

from toolkit.repository import layout, structure
from toolkit.repository.fetch import Packs, Plaintext, bodies
from toolkit.repository.layout import SnapshotName
from toolkit.repository.listing import Ref
from toolkit.repository.manifest import PackInfo
from toolkit.repository.pins import Pin
from toolkit.repository.pools import workers
from toolkit.repository.read import Lost, Repository, Snapshot
from toolkit.store import ObjectStore
from toolkit.words.errors import RepositoryError
from toolkit.words.report import Listener, Silent
from toolkit.words.values import Size

KEYLESS_DAYS = 30
KEYED_DAYS = 90
_WORKERS = 4
_DAY = 86400

Places = dict[str, dict[int, Ref]]
"""The chunks that are referred to, by their pack's hash and by offset: two clones of a host may number packs alike."""

Bad = dict[str, set[int]]
"""The offsets of chunks that cannot be had, by their pack's hash."""


@dataclass(frozen=True)
class Share:
    """Which part of the packs is due: those whose hash falls on `day` of a round of `days`. One day is everything."""

    days: int = 1
    day: int = 0

    @classmethod
    def today(cls, days: int, wall: float) -> "Share":
        return cls(days, int(wall // _DAY) % days)

    def due(self, digest: str) -> bool:
        return int(digest[:8], 16) % self.days == self.day % self.days


@dataclass(frozen=True)
class Touched:
    """A snapshot that cannot be restored as it was: why, and which of its files are lost."""

    snapshot: str
    complaint: str
    files: tuple[str, ...] = ()


@dataclass
class Findings:
    """What a verification found. Nothing in `damaged`, `touched` or `gaps` means that all is well.

    `strange` objects have no place in a repository; `healed` ones are good in an older version only; `notes` are no
    fault, and worth knowing.
    """

    snapshots: int = 0
    packs: int = 0
    bytes: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    touched: list[Touched] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    healed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not (self.damaged or self.touched or self.gaps)


def verify_hashes(
    store: ObjectStore,
    host: str,
    *,
    share: Share | None = None,
    pin: Pin | None = None,
    listener: Listener | None = None,
) -> Findings:
    """Compare the packs' bytes with their names, and the rest with the pin; needs no keys. Raises StoreError."""
    share, listener, findings = share or Share(), listener or Silent(), Findings()
    places = {info.key: layout.place(host, info.key) for info in store.list(layout.epochs_prefix(host))}
    findings.strange = [key for key, found in places.items() if found.strange]
    findings.snapshots = sum(found.snapshot is not None for found in places.values())
    findings.gaps = _gaps_without_keys(store, host, list(places.values()), pin, findings.healed)
    due = [key for key, found in places.items() if found.pack and share.due(found.pack)]
    listener.step(f"verify {len(due)} packs of {host}")
    with workers(_WORKERS, "verify") as pool:
        verdicts = pool.map(lambda key: _hash_verdict(store, key, places[key].pack), due)
        for key, (size, verdict) in zip(due, verdicts, strict=True):
            findings.packs += 1
            findings.bytes += size
            listener.progress(findings.packs, len(due))
            if verdict:
                findings.damaged[key] = verdict
            elif verdict is None:
                findings.healed.append(f"{key}: only an older version is what its name says")
    listener.done()
    return findings


def _gaps_without_keys(
    store: ObjectStore, host: str, places: Sequence[layout.Place], pin: Pin | None, healed: list[str]
) -> list[str]:
    names = sorted(found.snapshot for found in places if found.snapshot)
    epochs = {found.epoch for found in places} - {""}
    found = [*structure.documents(store, host, epochs, pin, healed.append), *structure.jumps(names, pin)]
    return [*found, *(structure.head(store, host, names, pin) if pin else ())]


def _hash_verdict(store: ObjectStore, key: str, digest: str) -> tuple[int, str | None]:
    """Bytes read, and what is wrong: nothing for a good pack, None for one whose older version is good."""
    size = 0
    for version, body in bodies(store, key, layout.SEALED_LIMIT):
        size += len(body)
        if hashlib.sha256(body).hexdigest() == digest:
            return size, "" if version is None else None
    return size, "its bytes are not what its name says"


def verify(
    repository: Repository,
    *,
    share: Share | None = None,
    recipients: Sequence[str] = (),
    listener: Listener | None = None,
) -> Findings:
    """Check snapshots, their chain and their chunks with the reader's keys.

    The newest one must be sealed for as many as are pinned, or as there are `recipients` by now. Raises StoreError, and
    RepositoryError for a store that was set back.
    """
    expected = {len(repository.pin.recipients), len(recipients)} - {0}
    return _Verification(repository, share or Share(), expected, listener or Silent()).perform()


class _Verification:
    def __init__(self, repository: Repository, share: Share, expected: Collection[int], listener: Listener) -> None:
        self._expected = expected
        self._findings = Findings()
        self._repository = replace(repository, told=self._findings.healed.append)
        self._share = share
        self._listener = listener
        self._before = 0

    def perform(self) -> Findings:
        names = self._repository.snapshots()
        self._findings.snapshots = len(names)
        self._listener.step(f"verify {len(names)} snapshots of {self._repository.host}")
        opened = list(self._open_all(names))
        self._findings.gaps = [*self._documents(), *structure.jumps(names, self._repository.pin), *forks(opened)]
        self._findings.gaps += unsealed(opened, self._expected)
        self._findings.notes = list(lost_states(opened))
        for epoch in dict.fromkeys(name.epoch for name in names):
            self._epoch(epoch, [snapshot for snapshot in opened if snapshot.name.epoch == epoch])
        self._listener.done()
        return self._findings

    def _documents(self) -> Iterator[str]:
        found = self._repository
        return structure.documents(found.store, found.host, found.listed.epochs, found.pin, found.told)

    def _open_all(self, names: Sequence[SnapshotName]) -> Iterator[Snapshot]:
        for name in names:
            try:
                yield self._repository.open(name)
            except RepositoryError as error:
                self._findings.touched.append(Touched(str(name), error.message))

    def _epoch(self, epoch: str, snapshots: Sequence[Snapshot]) -> None:
        """Check the chunks of one epoch once, then see which snapshots and files need those that are bad."""
        due: dict[str, tuple[Packs, int]] = {}
        for snapshot in snapshots:
            for number, info in snapshot.manifest.packs.items():
                if info.digest not in due and self._due(epoch, info):
                    due[info.digest] = (snapshot.packs, number)
        places: Places = {digest: {} for digest in due}
        bad: Bad = {}
        complaints = {snapshot.name: self._gather(snapshot, places, bad) for snapshot in snapshots}
        whole = sum(packs.info(number).size for packs, number in due.values())
        for digest, refs in places.items():
            self._listener.progress(Size(self._findings.bytes), Size(self._before + whole), epoch)
            if refs and (found := self._pack(*due[digest], refs)):
                bad.setdefault(digest, set()).update(found)
        self._before += whole
        for snapshot in snapshots:
            if bad or complaints[snapshot.name]:
                self._snapshot(snapshot, bad, complaints[snapshot.name])

    def _due(self, epoch: str, pack: PackInfo) -> bool:
        """It is its day, or the store does not show it as it should be."""
        return self._share.due(pack.digest) or self._repository.listed.packs.get(f"{epoch}/{pack.digest}") != pack.size

    def _gather(self, snapshot: Snapshot, places: Places, bad: Bad) -> str:
        """Note where the chunks are that a snapshot refers to; return what is wrong with its listing."""

        def lost(ref: Ref, error: RepositoryError) -> None:
            # Seen today, whenever the pack is due.
            digest = snapshot.packs.info(ref.pack).digest
            self._findings.damaged[digest] = error.message
            bad.setdefault(digest, set()).add(ref.offset)

        try:
            for ref in _references(snapshot, lost):
                if (found := places.get(snapshot.packs.info(ref.pack).digest)) is not None:
                    found[ref.offset] = ref
        except RepositoryError as error:
            return error.message
        return ""

    def _pack(self, packs: Packs, number: int, refs: Mapping[int, Ref]) -> set[int]:
        """Check one pack; return the offsets of the chunks in it that cannot be had."""
        info = packs.info(number)
        self._findings.packs += 1
        self._findings.bytes += info.size
        try:
            plaintext = packs.plaintext(number)
        except RepositoryError as error:
            self._findings.damaged[info.digest] = error.message
            return set(refs)
        return {offset for offset, ref in refs.items() if not self._chunk(packs, number, plaintext, ref)}

    def _chunk(self, packs: Packs, number: int, plaintext: Plaintext, ref: Ref) -> bool:
        try:
            # Under the number that this opener's snapshot has for the pack.
            packs.take(plaintext, ref._replace(pack=number))
        except RepositoryError as error:
            self._findings.damaged[packs.info(number).digest] = error.message
            return False
        return True

    def _snapshot(self, snapshot: Snapshot, bad: Bad, complaint: str) -> None:
        def is_bad(ref: Ref) -> bool:
            return not ref.hole and ref.offset in bad.get(snapshot.packs.info(ref.pack).digest, ())

        files: dict[str, None] = {}
        with suppress(RepositoryError):
            if any(is_bad(ref) for ref in snapshot.manifest.listing):
                complaint = complaint or "its listing is damaged: files may be lost that are not named here"
            for part in snapshot.parts(lenient=True):
                if any(is_bad(ref) for ref in part.refs):
                    files[part.entry.path] = None
        if files or complaint:
            told = complaint or "files are lost"
            self._findings.touched.append(Touched(str(snapshot.name), told, tuple(files)))


def _references(snapshot: Snapshot, lost: Lost) -> Iterator[Ref]:
    """All chunks that a snapshot refers to, as far as its listing can be read. Raises RepositoryError."""
    yield from snapshot.manifest.listing
    for part in snapshot.parts(lenient=True, lost=lost):
        yield from (ref for ref in part.refs if not ref.hole)


def forks(snapshots: Sequence[Snapshot]) -> Iterator[str]:
    """Say where a snapshot follows another than the one before it."""
    for before, after in pairwise(snapshots):
        follows = after.manifest.sequence == before.manifest.sequence + 1
        if follows and after.manifest.previous not in (None, before.digest):
            yield f"snapshot {after.manifest.sequence} follows another snapshot than {before.name}"


def lost_states(snapshots: Sequence[Snapshot]) -> Iterator[str]:
    """Say where a host began anew because it had forgotten what it wrote. The first snapshot has none before it."""
    for snapshot in snapshots[1:]:
        if snapshot.manifest.previous is None:
            sequence = snapshot.manifest.sequence
            yield f"snapshot {sequence} does not know the one before it: the host had lost its state"


def unsealed(snapshots: Sequence[Snapshot], expected: Collection[int]) -> Iterator[str]:
    """Say where the newest snapshot is not sealed for as many as it should be: a lost key could then lose it."""
    for snapshot in snapshots[-1:]:
        if expected and snapshot.sealed_for not in expected:
            told = f"sealed for {snapshot.sealed_for} recipients instead of {' or '.join(map(str, sorted(expected)))}"
            yield f"snapshot {snapshot.manifest.sequence} is {told}"
