"""The lab's own folder, `<checkout>/.lab`: its identity, keys, passwords and what it remembers.

Two checkouts are two labs: the identity is a hash of the checkout's path, and every name and volume carries it.
The folder is for its owner alone and ignored by git. Files are written whole or not at all.
"""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from toolkit.crypto import ssh_keys
from toolkit.crypto.certificates import Certificate, authority
from toolkit.words.values import Secret

LABEL = "toolkit.lab"
EXAMPLE = "taskflow"
"""The example whose stack a host file has, where none is named."""


def identity(root: Path) -> str:
    """Return the short name that keeps this checkout's lab apart from all others on the machine."""
    return hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]


def replace(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put content at path so that no reader, and no crash, sees half of it."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
        os.fchmod(draft.fileno(), mode)
        draft.write(content)
        draft.flush()
        os.fsync(draft.fileno())
    Path(draft.name).replace(path)


@dataclass
class State:
    """What was chosen once and must stay: the subnet, ports on loopback, addresses, and how a VPS starts here."""

    subnet: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)  # name to operating system
    places: dict[str, int] = field(default_factory=dict)  # name to the last number of its address
    ways: dict[str, str] = field(default_factory=dict)  # operating system to the way that booted
    example: str = EXAMPLE  # whose stack the host files have


class Home:
    """The folder and what is made in it on first use."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.id = identity(self.root)
        self.folder = self.root / ".lab"
        self.label = f"{LABEL}={self.id}"

    def name(self, part: str) -> str:
        """Return the Engine's name for a part of this lab: `toolkit-1a2b3c4d-vps1`."""
        return f"toolkit-{self.id}-{part}"

    @contextmanager
    def locked(self, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lab for one change at a time, across processes; the lock ends with its holder.

        `waiting` is called once when somebody else holds it.
        """
        self._make()
        with (self.folder / "change.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def state(self) -> State:
        """Return what was remembered; an empty state where nothing was, or where it cannot be read."""
        try:
            return State(**json.loads((self.folder / "state.json").read_text()))
        except (OSError, ValueError, TypeError):
            return State()

    def remember(self, state: State) -> None:
        self._make()
        replace(self.folder / "state.json", json.dumps(asdict(state), indent=2).encode())

    def keep(self, name: str, content: str) -> None:
        """Write a file of the folder that is not secret but belongs to it."""
        replace(self.folder / name, content.encode())

    def forget(self) -> None:
        """Drop what belonged to containers that are gone; keys and passwords are drawn anew."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.suffix != ".lock":
                path.unlink()

    def secret(self, name: str, make: Callable[[], str] = lambda: secrets.token_hex(20)) -> Secret:
        """Return the secret kept in `.lab/<name>`, drawn at random on first use."""
        self._make()
        path = self.folder / name
        if not path.exists():
            replace(path, make().encode())
        return Secret(path.read_bytes())

    def ssh_key(self, name: str = "id_ed25519", *, comment: str = "lab") -> Path:
        """Return the path of an SSH key pair, made on first use; the public half is beside it with `.pub`."""
        path = self.folder / name
        public = path.with_suffix(".pub")
        if not (path.exists() and public.exists()):
            self._make()
            path.parent.mkdir(mode=0o700, exist_ok=True)
            key = ssh_keys.generate(comment)
            replace(path, key.private.reveal())
            replace(public, key.public.encode(), mode=0o644)
        return path

    def authority(self) -> Certificate:
        """Return the lab's own certificate authority, made on first use."""
        certificate, key = self.folder / "ca.crt", self.folder / "ca.key"
        if not (certificate.exists() and key.exists()):
            made = authority(f"lab {self.id}")
            self._make()
            replace(key, made.key.reveal())
            replace(certificate, made.certificate, mode=0o644)
        return Certificate(certificate.read_bytes(), Secret(key.read_bytes()))

    def _make(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.folder.chmod(0o700)
