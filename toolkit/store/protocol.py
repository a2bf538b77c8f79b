"""Object stores: where backups live, as five verbs for a host and two more for the control side.

Every method may be called from several threads at once. A put is whole or not at all: a reader meets nothing or the
complete object. Keys are relative, with `/` between names; a listing may show strange names that `get` then refuses.
Whatever goes wrong is a `StoreError`; `Missing`, `Exists` and `Denied` are those that callers may expect.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self, runtime_checkable

from toolkit.words.values import Secret


@dataclass(frozen=True)
class Credentials:
    """Who somebody is to a store. Directories and memory need none."""

    access_key: str
    secret_key: Secret
    session_token: Secret | None = None


@dataclass(frozen=True)
class ObjectInfo:
    """What a store tells about an object without its body. Times are aware and in UTC.

    `version` is None where the store keeps only one. Listings leave `retain_until` None; `head` knows it.
    """

    key: str
    size: int
    modified: datetime
    version: str | None = None
    retain_until: datetime | None = None


@dataclass(frozen=True)
class BucketFacts:
    """How a bucket is set. `deleting` names the lifecycle rules that remove objects by age."""

    versioned: bool
    lockable: bool
    conditional: bool
    aborts_uploads: bool
    deleting: Sequence[str]
    policy: str | None


@dataclass(frozen=True)
class Attempt:
    """Something a store should not let happen: `run` returns where it did, and raises `Denied` where it did not."""

    name: str
    run: Callable[[], object]


Body = bytes | bytearray
"""What is put; a large one need not be copied to be immutable first. Nobody changes it during the put."""


class ObjectStore(Protocol):
    """What a host may do: add objects and list them. Reading needs the control side's credentials."""

    def put_new(
        self, key: str, body: Body, *, retain_until: datetime | None = None, content_sha256: bytes | None = None
    ) -> None:
        """Store a new object durably. Raises Exists and leaves the old one alone where the name is taken.

        `content_sha256` is the body's SHA-256 digest if the caller knows it: a server then refuses what arrived
        different. `retain_until` locks the object; a directory has no locks and ignores it, a bucket without refuses.
        """

    def get(self, key: str, *, version: str | None = None, limit: int | None = None) -> bytes:
        """Return the whole body. Raises Missing, and StoreError for a body over `limit` bytes before reading it."""

    def head(self, key: str) -> ObjectInfo:
        """Return what is known about one object. Raises Missing."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield all objects whose key starts with prefix, sorted by key, the newest version of each."""

    def versions(self, key: str) -> Iterator[ObjectInfo]:
        """Yield every version of exactly this key that still has a body, newest first; nothing where there is none."""


class AdminStore(ObjectStore, Protocol):
    """What the control side may do as well."""

    def overwrite(self, key: str, body: bytes) -> None:
        """Lay a body over whatever has this name; a store with versions keeps what was there below it."""

    def delete(self, key: str, *, version: str | None = None) -> None:
        """Remove an object for good: this version of it, or all. A name that is not there is no error."""

    def extend_lock(self, key: str, until: datetime) -> None:
        """Keep every version of an object from being deleted until then. Never shortens."""


class Bucket(Protocol):
    """A bucket as a whole, for the control side: what the server promises, and the few settings we make."""

    name: str
    prefix: str

    def create(self) -> bool:
        """Make the bucket, with object lock; say whether it was not there before."""

    def facts(self) -> BucketFacts: ...

    def policy(self) -> str | None: ...

    def enable_versioning(self) -> None: ...

    def set_policy(self, policy: str | None) -> None: ...

    def abort_unfinished_uploads(self) -> None: ...


@runtime_checkable
class BucketStore(AdminStore, Protocol):
    """A store whose server has rights and rules of its own."""

    @property
    def bucket(self) -> Bucket: ...

    def attempts(self, owner: Self, bait: str) -> Iterator[Attempt]:
        """Yield what a thief of these credentials might try, for `backup.audit`; `owner` undoes what worked."""
