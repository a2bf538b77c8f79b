"""Backups from the control side: one host's repository, reached with what its backup file names.

Nothing is looked up before it is needed: a verb that reads no snapshot needs no identity, and a directory no
credentials. The pin lies in this repository, `backups/<host>.head`.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from toolkit.config import backup_files, providers
from toolkit.config.backups import BackupFile, User
from toolkit.config.models import HostFile
from toolkit.crypto.signing import VerifyKey
from toolkit.host import Host
from toolkit.repository import Pin, Repository
from toolkit.repository.backup import PUBLIC_KEY
from toolkit.repository.epochs import Listed
from toolkit.repository.fetch import Told
from toolkit.repository.layout import epochs_prefix
from toolkit.stack.duty import SHIPPED
from toolkit.store import AdminStore, Credentials, open_store
from toolkit.vault import recipients
from toolkit.vault.identity import Keyring
from toolkit.vault.sources import Sources
from toolkit.words.command import command
from toolkit.words.errors import ConfigError, RepositoryError, SecretError
from toolkit.words.values import Secret

STATE = Path("/var/lib/toolkit/backup")
"""Where a host keeps its side of a repository."""


@dataclass(frozen=True)
class Backups:
    """One host's backups, with whatever the control side needs to reach them."""

    described: HostFile
    file: BackupFile
    keyring: Keyring

    @classmethod
    def of(cls, described: HostFile, keyring: Keyring) -> Self:
        """Return the backups of a host. Raises ConfigError where its backup file is missing or wrong."""
        folder = described.root / backup_files.FOLDER
        return cls(described, backup_files.load(folder / f"{described.name}.yml"), keyring)

    @property
    def host(self) -> str:
        return self.file.name

    @property
    def pin_path(self) -> Path:
        return self.file.root / backup_files.FOLDER / f"{self.host}.head"

    @cached_property
    def recipients(self) -> tuple[str, ...]:
        """Who can open the backups. Raises SecretError where nobody is named, ConfigError for only one."""
        found = self.file.recipients or recipients.read(self.file.root)
        if len(set(found)) < 2:
            hint = "name the operator and an escrow key: with one key lost, everything is lost"
            raise ConfigError(f"backups of {self.host} are for one recipient only", hint=hint)
        return found

    @cached_property
    def owner(self) -> AdminStore:
        """The store with the operator's rights. Raises ConfigError, SecretError."""
        return self._store("operator", self.file.repository.operator)

    @cached_property
    def thief(self) -> AdminStore:
        """The store with the host's rights, as whoever took the host over would have them."""
        return self._store("host", self.file.repository.host)

    def pin(self) -> Pin:
        """What is believed of the host. Raises RepositoryError where nothing is yet."""
        return Pin.load(self.pin_path)

    def pinned(self) -> Pin | None:
        """What is believed of the host, if anything is."""
        return self.pin() if self.pin_path.exists() else None

    def repository(self, told: Told) -> Repository:
        """The repository as its reader sees it; `told` hears of damage that did no harm."""
        return Repository(self.owner, self.host, self.keyring.identities(), self.pin(), told)

    @property
    def log_host(self) -> str:
        """Under which name the host ships logs of databases."""
        return f"{self.host}{SHIPPED}"

    @property
    def shipping(self) -> dict[str, str]:
        """The sources whose log the host ships, with the service of each."""
        return {
            f"postgres/{one.label or one.service}": str(one.service or one.label)
            for one in self.file.sources
            if one.wal
        }

    def log_repository(self, told: Told) -> Repository:
        """The repository of shipped logs, believed under the same keys."""
        return Repository(self.owner, self.log_host, self.keyring.identities(), self.pin().of_log(), told)

    @property
    def operator(self) -> Credentials | None:
        """The operator's credentials; None for a directory. Raises SecretError."""
        user = self.file.repository.operator
        return self._credentials("operator", user) if user else None

    def access(self) -> dict[str, Secret]:
        """What the host needs beside its duty, by the names of `toolkit.vault.access`. Raises SecretError."""
        found: dict[str, Secret] = {}
        if self.file.repository.host:
            given = self._credentials("host", self.file.repository.host)
            found = {"access_key": Secret.of(given.access_key), "secret_key": given.secret_key}
            found |= {"session_token": given.session_token} if given.session_token else {}
        if self.file.ping:
            found["ping"] = self._resolved("ping", self.file.ping)
        return found

    def _store(self, key: str, user: User | None) -> AdminStore:
        credentials = self._credentials(key, user) if user else None
        return open_store(self.file.repository.url, credentials, root=self.file.root)

    def _credentials(self, key: str, user: User) -> Credentials:
        def resolved(name: str, text: str) -> Secret:
            return self._resolved(f"repository.{key}.{name}", text)

        try:
            access_key = resolved("access_key", user.access_key).reveal().decode()
        except UnicodeDecodeError as error:
            raise SecretError(f"{self._at}: repository.{key}.access_key is no text", hint="correct it") from error
        token = resolved("session_token", user.session_token) if user.session_token else None
        return Credentials(access_key, resolved("secret_key", user.secret_key), token)

    def _resolved(self, key: str, text: str) -> Secret:
        environ, root = self.keyring.environ, self.file.root
        vault = Sources(self.described, environ, self.keyring).value
        try:
            return providers.resolve(text, root=root, environ=environ, vault=vault)
        except SecretError as error:
            raise SecretError(f"{self._at}: {key}: {error.message}", hint=error.hint) from error

    @property
    def _at(self) -> str:
        return f"{backup_files.FOLDER}/{self.host}.yml"


@dataclass(frozen=True)
class Trust:
    """What is believed of a host from now on. `changed` is false where it was believed before."""

    host: str
    signing_key: str
    pin: Path
    changed: bool


def trust(backups: Backups, key: VerifyKey, *, replace: bool = False) -> Trust:
    """Pin a host's signing key. Raises RepositoryError where another one is pinned, unless that is to be replaced.

    What the key before signed is still believed, as far as it is stored by now.
    """
    pin, path = backups.pinned(), backups.pin_path
    changed = pin is None or pin.signing_key != key
    if pin and changed and not replace:
        hint = "a host that was set up anew has a new key: if that is so, add --replace; if not, somebody else answers"
        raise RepositoryError(f"{backups.host} is pinned with another signing key", hint=hint)
    if pin and changed:
        pin.renewed(key, _last(backups, backups.host), _last(backups, backups.log_host)).save(path)
    elif changed:
        Pin(key, backups.recipients).save(path)
    return Trust(backups.host, str(key), path.relative_to(backups.file.root), changed)


def _last(backups: Backups, host: str) -> int:
    stored = Listed.of(host, backups.owner.list(epochs_prefix(host))).snapshots
    return max((name.sequence for name in stored), default=0)


def ask_for_key(machine: Host) -> VerifyKey:
    """Ask a host for the public half of its signing key. Raises RepositoryError where it has none yet."""
    found = machine.run(command("cat", str(STATE / PUBLIC_KEY)), check=False)
    if not found.ok:
        hint = "it draws one at its first backup; or give the key with --key"
        raise RepositoryError(f"{machine.name} has drawn no signing key yet", hint=hint)
    return VerifyKey.parse(found.text)


class Heard:
    """Collects what a reader was told of damage that did no harm, and passes it on."""

    def __init__(self, told: Told) -> None:
        self.texts: list[str] = []
        self._told = told

    def __call__(self, text: str) -> None:
        if text not in self.texts:
            self.texts.append(text)
            self._told(text)
