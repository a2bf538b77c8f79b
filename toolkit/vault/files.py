"""Secrets at rest: `secrets/<host>/<name>.age` and `secrets/common/<name>.age`, armoured for every recipient.

Names are visible, values are not. Stock `age -d` opens every file here, and what stock `age -R` made is read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.config.providers import KEPT_NAME, KEPT_NAME_TOLD
from toolkit.crypto import age
from toolkit.vault import recipients
from toolkit.vault.identity import Keyring
from toolkit.words import atomic
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret, Size

FOLDER, COMMON, SUFFIX = "secrets", "common", ".age"
LARGEST = Size(1024 * 1024)
# Armour makes a third more of it, and each recipient a line or two.
_LARGEST_SEALED = 2 * LARGEST


def check_name(name: str) -> str:
    """Return the name of a secret. Raises SecretError for one that could be a path or be lost on some disk."""
    if not re.fullmatch(KEPT_NAME, name):
        raise SecretError(f"{name!r} is not the name of a secret", hint=f"use {KEPT_NAME_TOLD}")
    return name


@dataclass(frozen=True)
class Vault:
    """The secrets of the repository at `root`. A place is a host's name, or `common` for all hosts."""

    root: Path

    def places(self) -> tuple[str, ...]:
        """Return `common` and every host that has secrets of its own."""
        found = {folder.name for folder in (self.root / FOLDER).glob("*") if any(folder.glob(f"*{SUFFIX}"))}
        return (COMMON, *sorted(found - {COMMON}))

    def kept(self, place: str) -> tuple[str, ...]:
        """Return the names kept in one place, sorted."""
        files = self.path(place, "any").parent.glob(f"[!.]*{SUFFIX}")
        return tuple(sorted(file.name.removesuffix(SUFFIX) for file in files))

    def names(self, host: str) -> Mapping[str, str]:
        """Return every name a host can have, with its place; the host's own come before common ones."""
        found = dict.fromkeys(self.kept(COMMON), COMMON) | dict.fromkeys(self.kept(host), host)
        return dict(sorted(found.items()))

    def recipients(self) -> tuple[str, ...]:
        return recipients.read(self.root)

    def path(self, place: str, name: str) -> Path:
        """Return the file of a secret. Raises SecretError where that would be outside of the vault."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", place):
            raise SecretError(
                f"{place!r} is not the name of a host", hint="use the name of a file in hosts/, or common"
            )
        path = self.root / FOLDER / place / f"{check_name(name)}{SUFFIX}"
        # A symbolic link in a pull request could lead anywhere.
        if not path.resolve().is_relative_to((self.root / FOLDER).resolve()):
            raise SecretError(f"{self.shown(path)} leads out of {FOLDER}/", hint="remove the symbolic link")
        return path

    def shown(self, path: Path) -> str:
        """Return a path as people read it: from the repository's root."""
        return str(path.relative_to(self.root))

    def place_of(self, host: str, name: str) -> str:
        """Return where a host has the secret from. Raises SecretError where it has none."""
        check_name(name)
        for place in dict.fromkeys((host, COMMON)):
            if self.path(place, name).is_file():
                return place
        looked = " or ".join(self.shown(self.path(place, name)) for place in dict.fromkeys((host, COMMON)))
        option = "" if host == COMMON else f" --host {host}"
        raise SecretError(f"no secret {name} in {looked}", hint=f"invoke secrets.set {name}{option}")

    def read(self, host: str, name: str, identity: Keyring) -> Secret:
        """Return a host's secret: its own, or the common one. Raises SecretError."""
        return self.open(self.place_of(host, name), name, identity)

    def open(self, place: str, name: str, identity: Keyring) -> Secret:
        """Return the secret of exactly this place. Raises SecretError."""
        keys, sealed = identity.identities(), self.sealed(place, name)
        try:
            return _fit(Secret(bytes(age.unseal(sealed, keys))))
        except SecretError as error:
            shown = self.shown(self.path(place, name))
            hint = f"{error.hint}; {recipients.FILE} names them, the identity in use is {identity.path}"
            raise SecretError(f"{shown}: {error.message}", hint=hint) from error

    def sealed(self, place: str, name: str) -> bytes:
        """Return the age file as it is. Raises SecretError for one that is too large or cannot be read."""
        path = self.path(place, name)
        try:
            with path.open("rb") as stream:
                content = stream.read(_LARGEST_SEALED + 1)
        except OSError as error:
            raise SecretError(f"{self.shown(path)} cannot be read: {error.strerror}", hint="check the file") from error
        if len(content) > _LARGEST_SEALED:
            raise SecretError(
                f"{self.shown(path)} is over the limit of {LARGEST}", hint="it is no secret of this vault"
            )
        return content

    def write(self, place: str, name: str, value: Secret) -> Path:
        """Seal a secret for every recipient and put it at its place, whole. Raises SecretError."""
        path = self.path(place, name)
        self.put(path, self.seal(name, value))
        return path

    def seal(self, name: str, value: Secret) -> bytes:
        """Return a secret as the age file it will be. Raises SecretError for one that is unfit."""
        try:
            _fit(value)
        except SecretError as error:
            raise SecretError(f"{check_name(name)}: {error.message}", hint=error.hint) from error
        return bytes(age.seal(value.reveal(), self.recipients(), armoured=True))

    def put(self, path: Path, sealed: bytes) -> None:
        """Write an age file whole, or leave what was there. Raises SecretError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.replace(path, sealed, mode=0o644)
        except OSError as error:
            raise SecretError(
                f"{self.shown(path)} cannot be written: {error.strerror}", hint="check the folder"
            ) from error


def _fit(value: Secret) -> Secret:
    size = len(value.reveal())
    if not size:
        raise SecretError("empty, which is no secret", hint="give it a value, or remove it")
    if size > LARGEST:
        raise SecretError(
            f"over the limit of {LARGEST}", hint="a secret is a password or a key; mount large files instead"
        )
    return value
