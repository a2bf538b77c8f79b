"""A stack's secrets on this host: what stands in memory, what is sealed, and the index that says what belongs there."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.agent.drafts import Drafts, refuse_directory
from toolkit.agent.paths import Paths
from toolkit.crypto import age, tags
from toolkit.vault.delivery import Entry, Index
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

INDEX = "set.json"
SEALED = ".age"


class Shelf:
    """Reads both places of one stack. A value counts only when its tag is right."""

    def __init__(self, paths: Paths, stack: str, key: bytes, identity: Secret) -> None:
        self.memory = paths.memory / stack
        self.sealed = paths.sealed / stack
        self._key = key
        self._identity = identity

    def index(self) -> Index:
        """Return what is on the shelf; an empty index where nothing ever was. Raises SecretError."""
        return read_index(self.sealed)

    def place(self, entry: Entry) -> Path:
        return self.memory / entry.file

    def copy(self, entry: Entry) -> Path:
        return self.sealed / (entry.file + SEALED)

    def held(self, entry: Entry) -> bytes | None:
        """Return the value in memory; None where it is missing or not what the tag says."""
        place = self.place(entry)
        refuse_directory(place)
        try:
            value = place.read_bytes()
        except FileNotFoundError:
            return None
        return value if self.fits(entry, value) else None

    def unseal(self, entry: Entry) -> bytes:
        """Return the value of the sealed copy. Raises SecretError, naming the file."""
        copy = self.copy(entry)
        try:
            value = bytes(age.unseal(copy.read_bytes(), [self._identity]))
        except FileNotFoundError as error:
            raise SecretError(f"{copy} is missing", hint="deploy again: it brings every secret") from error
        except OSError as error:
            raise SecretError(f"{copy}: {error.strerror}", hint="look at this path on the host") from error
        except SecretError as error:
            raise SecretError(f"{copy}: {error.message}", hint="deploy again: it seals every secret anew") from error
        if not self.fits(entry, value):
            raise SecretError(f"{copy} holds another value than its name says", hint="deploy again")
        return value

    def fits(self, entry: Entry, value: bytes) -> bool:
        return tags.tag(self._key, entry.name, value) == entry.tag

    def is_sealed(self, entry: Entry) -> bool:
        try:
            self.unseal(entry)
        except SecretError:
            return False
        return True

    def lay(self, drafts: Drafts, entry: Entry, value: bytes) -> None:
        """Draft the file that a service reads."""
        drafts.add(self.place(entry), value, mode=entry.mode, uid=entry.uid, gid=entry.gid)

    def own(self, entry: Entry) -> None:
        """Give the file in memory its owner and mode, in place: running containers hold on to its inode."""
        place = self.place(entry)
        found = place.stat()
        if (found.st_uid, found.st_gid, found.st_mode & 0o7777) != (entry.uid, entry.gid, entry.mode):
            os.chown(place, entry.uid, entry.gid)
            place.chmod(entry.mode)

    def seal(self, drafts: Drafts, entry: Entry, value: bytes) -> None:
        """Draft the copy that outlives a reboot."""
        drafts.add(self.copy(entry), bytes(age.seal(value, [age.recipient_of(self._identity)])), **_OURS)

    def note(self, drafts: Drafts, index: Index) -> None:
        drafts.add(self.sealed / INDEX, index.dumps(), **_OURS)


# Whoever runs the agent: root on a host, anybody in a test.
_OURS = {"mode": 0o600, "uid": os.getuid(), "gid": os.getgid()}


def read_index(folder: Path) -> Index:
    """Return the index of a folder of sealed copies. Raises SecretError."""
    try:
        return Index.parse((folder / INDEX).read_bytes(), folder / INDEX)
    except FileNotFoundError:
        return Index()


def stacks(paths: Paths) -> list[str]:
    """Return every stack that secrets were delivered for."""
    return sorted(folder.name for folder in paths.sealed.glob("*") if (folder / INDEX).exists())


def read_key(paths: Paths) -> bytes:
    """Return the key of tags. Raises SecretError."""
    try:
        key = paths.key.read_bytes().strip()
    except FileNotFoundError:
        key = b""
    if not key:
        raise SecretError(f"{paths.key} is missing", hint="deploy: it makes the key and brings every secret")
    return key


def read_identity(paths: Paths) -> Secret:
    """Return the host's identity. Raises SecretError."""
    try:
        identity = Secret(paths.identity.read_bytes().strip())
        age.recipient_of(identity)
    except FileNotFoundError as error:
        raise SecretError(f"{paths.identity} is missing", hint="deploy: it makes one and seals every secret") from error
    except SecretError as error:
        raise SecretError(f"{paths.identity}: {error.message}", hint="remove it and deploy again") from error
    return identity


def own_identity(paths: Paths) -> Secret:
    """Return the host's identity; one is made on first use."""
    if not paths.identity.exists():
        paths.identity.parent.mkdir(parents=True, exist_ok=True)
        with Drafts() as drafts:
            drafts.add(paths.identity, age.new_identity().reveal() + b"\n", **_OURS)
            drafts.commit()
    return read_identity(paths)


@contextmanager
def locked(paths: Paths) -> Iterator[None]:
    """Keep others from writing meanwhile; they wait. The lock ends with the process, however it ends."""
    paths.sealed.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(paths.sealed, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
