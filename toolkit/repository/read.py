"""Reading a repository: the snapshots of a host, believed only under its pinned key, and what is in them."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from toolkit.crypto import age
from toolkit.repository import layout, listing, manifest
from toolkit.repository.epochs import Listed
from toolkit.repository.fetch import Kept, Packs, Told, bodies, ignore
from toolkit.repository.layout import SnapshotName
from toolkit.repository.listing import Part, Ref
from toolkit.repository.manifest import Manifest
from toolkit.repository.pins import Pin
from toolkit.store import ObjectStore
from toolkit.words.errors import RepositoryError
from toolkit.words.values import Secret

Lost = Callable[[Ref, RepositoryError], None]
"""Hears of a chunk of a listing that cannot be had."""


@dataclass(frozen=True)
class Snapshot:
    """One opened snapshot. `sealed_for` is the number of its recipients."""

    name: SnapshotName
    digest: str
    manifest: Manifest
    packs: Packs
    sealed_for: int | None = None

    def parts(self, *, lenient: bool = False, lost: Lost | None = None) -> Iterator[Part]:
        """Yield the listing. Raises RepositoryError for damage, or with `lenient` passes over it, and tells `lost`."""
        entries = size = 0
        for part in listing.read(self._blocks(lenient, lost)):
            entries += part.offset == 0
            size += sum(ref.size for ref in part.refs)
            if entries > self.manifest.entries or size > self.manifest.bytes:
                raise RepositoryError("the listing has more than its snapshot says")
            yield part
        if not lenient and (entries, size) != (self.manifest.entries, self.manifest.bytes):
            raise RepositoryError("the listing has less than its snapshot says")

    def _blocks(self, lenient: bool, lost: Lost | None) -> Iterator[bytes | None]:
        for ref in self.manifest.listing:
            try:
                yield self.packs.chunk(ref)
            except RepositoryError as error:
                if not lenient:
                    raise
                if lost:
                    lost(ref, error)
                yield None


@dataclass(frozen=True)
class Repository:
    """A host's backups as a reader sees them. `told` hears of oddities that did no harm."""

    store: ObjectStore
    host: str
    identities: Sequence[Secret]
    pin: Pin
    told: Told = field(default=ignore)

    @cached_property
    def listed(self) -> Listed:
        """What the store shows, asked once."""
        return Listed.of(self.host, self.store.list(layout.epochs_prefix(self.host)))

    @cached_property
    def _kept(self) -> Kept:
        return Kept()

    def snapshots(self) -> list[SnapshotName]:
        """All snapshots, oldest first. Raises RepositoryError where the store is older than the pinned head."""
        names = list(self.listed.snapshots)
        if self.pin.sequence > max((name.sequence for name in names), default=0):
            hint = "the store may have been set back; look for newer versions of its objects before you rely on it"
            raise RepositoryError(f"the store lacks snapshot {self.pin.sequence}, which was seen before", hint=hint)
        return names

    def open(self, name: SnapshotName) -> Snapshot:
        """Open one snapshot. Raises RepositoryError where it is not the host's own, or is not what was pinned."""
        document, body = self._manifest(name)
        digest = hashlib.sha256(body).hexdigest()
        if (document.host, document.epoch, document.sequence) != (self.host, name.epoch, name.sequence):
            raise RepositoryError(f"snapshot {name} lies under a name that is not its own")
        if name.sequence == self.pin.sequence and digest != self.pin.digest:
            raise RepositoryError(f"snapshot {name} is not the one that was pinned")
        return Snapshot(name, digest, document, self._packs(document), age.sealed_for(body))

    def newest(self) -> Snapshot:
        """Open the newest snapshot. Raises RepositoryError where there is none."""
        names = self.snapshots()
        if not names:
            raise RepositoryError(f"{self.host} has no snapshot", hint="run a backup, or check the host's name")
        return self.open(names[-1])

    def find(self, text: str) -> SnapshotName:
        """The snapshot that a person means: `latest`, a sequence number, or a snapshot's name."""
        names = self.snapshots()
        if text == "latest" and names:
            return names[-1]
        for name in reversed(names):
            if text in (str(name), str(name.sequence)):
                return name
        raise RepositoryError(f"{self.host} has no snapshot {text!r}", hint="list the snapshots to see their names")

    def _manifest(self, name: SnapshotName) -> tuple[Manifest, bytes]:
        key = name.key(self.host)
        complaint = RepositoryError(f"snapshot {name} is missing")
        for version, body in bodies(self.store, key, layout.MANIFEST_LIMIT):
            try:
                document = manifest.unseal(body, self.identities, self.pin.keys(name.sequence))
            except RepositoryError as error:
                complaint = complaint if version else RepositoryError(f"{name}: {error.message}", hint=error.hint)
                continue
            if version is not None:
                self.told(f"{key}: an older version was taken, the newest is not what the host wrote")
            return document, body
        raise complaint

    def _packs(self, document: Manifest) -> Packs:
        host, epoch = document.host, document.epoch
        key = document.chunk_key.reveal()
        return Packs(
            self.store,
            lambda digest: layout.pack_key(host, epoch, digest),
            document.packs,
            self.identities,
            key,
            kept=self._kept,
            told=self.told,
        )
