"""What the tests of the repository share: a host with its keys, trees with every kind of file, and comparing trees."""

import os
import random
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.crypto import age
from toolkit.repository import Options, Origin, Pin, Report, Repository, Terms, Tree, backup
from toolkit.repository.inputs import Input
from toolkit.store import MemoryStore

# Drawn once: drawing keys is slow and no test depends on which they are.
OPERATOR, ESCROW = age.new_identity(), age.new_identity()
RECIPIENTS = (age.recipient_of(OPERATOR), age.recipient_of(ESCROW))


@dataclass
class Host:
    """A host that backs up into a store, and a reader who trusts it."""

    directory: Path
    store: Any = field(default_factory=lambda: MemoryStore(versioned=True))
    name: str = "prod"
    terms: Terms = field(default_factory=Terms)

    @property
    def origin(self) -> Origin:
        return Origin(host=self.name, store=self.store, state=self.directory, recipients=RECIPIENTS, terms=self.terms)

    def backup(self, *inputs: Input | Path, **options: Any) -> Report:
        """Back up trees at once: files count as settled the moment they are written."""
        given = [Tree("data", each) if isinstance(each, Path) else each for each in inputs]
        return backup(self.origin, given, options=Options(**{"settle_within": 0.0, **options}))

    def pin(self) -> Pin:
        return Pin(self.origin.signing_key().verify_key, RECIPIENTS)

    def repository(self, store: Any = None, pin: Pin | None = None, **others: Any) -> Repository:
        return Repository(store or self.store, self.name, (OPERATOR,), pin or self.pin(), **others)


def plain_tree(root: Path) -> Path:
    """A few files, small and large, with the same content twice."""
    (root / "sub" / "deeper").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"hello\n")
    (root / "empty").touch()
    (root / "sub" / "noise").write_bytes(noise(300_000, 1))
    (root / "sub" / "noise.again").write_bytes(noise(300_000, 1))
    (root / "sub" / "deeper" / "large").write_bytes(noise(6_000_000, 2))
    (root / "sub.txt").write_text("sorts between sub and sub/deeper in a naive order")
    return root


def rich_tree(root: Path) -> Path:
    """Everything a file system has to offer to whoever runs the test."""
    plain_tree(root)
    (root / os.fsdecode(b"caf\xe9 \xff")).write_text("a name that is not UTF-8")
    (root / 'quote"back\\slash\nline').write_text("a name that JSON must escape")
    (root / "ünï").write_text("a name beyond ASCII")
    os.link(root / "sub" / "noise", root / "zz-second-name")
    (root / "pointer").symlink_to("sub/noise")
    (root / "dangling").symlink_to("/nowhere/\udcff")
    os.mkfifo(root / "pipe")
    _sparse(root / "sparse")
    (root / "private").write_text("mine")
    (root / "private").chmod(0o600)
    (root / "closed").mkdir(mode=0o555)
    os.setxattr(root / "a.txt", "user.note", b"\x00\xffbinary")
    os.utime(root / "a.txt", ns=(1, 981_173_106_123_456_789))
    os.utime(root / "sub", ns=(1, -1_000_000_001))
    if os.geteuid() == 0:
        os.chown(root / "private", 12345, 54321)
        os.chown(root / "pointer", 11, 22, follow_symlinks=False)
    return root


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not compress, the same ones for the same seed."""
    return random.Random(seed).randbytes(size)


def look(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything that a restore has to bring back, as values to compare."""
    found = {}
    inodes: dict[int, bytes] = {}
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        name = os.fsencode(path.relative_to(root))
        first = inodes.setdefault(status.st_ino, name) if status.st_nlink > 1 and not path.is_dir() else name
        content: object = None
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif path.is_symlink():
            content = os.fsencode(path.readlink())
        attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in _xattrs(path)}
        mode, owner = status.st_mode, (status.st_uid, status.st_gid)
        found[name] = (mode, owner, status.st_mtime_ns, first, content, tuple(attributes.items()))
    return found


def _xattrs(path: Path) -> list[str]:
    return sorted(name for name in os.listxattr(path, follow_symlinks=False) if name != "security.selinux")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(50_000_000)
        file.seek(10_000_000)
        file.write(noise(200_000, 3))
