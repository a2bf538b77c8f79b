"""The operator's identity: the private half that opens the secrets. It lives outside of the repository."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.crypto import age, passphrase
from toolkit.vault import terminal
from toolkit.words import atomic
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

VARIABLE = "TOOLKIT_IDENTITY"


def where(environ: Mapping[str, str]) -> Path:
    """Return the file the identity is looked for in: $TOOLKIT_IDENTITY, or one in the folder of configuration."""
    if named := environ.get(VARIABLE):
        return Path(named).expanduser()
    folder = environ.get("XDG_CONFIG_HOME", "")
    # The specification says that a path which is not absolute is to be ignored.
    base = Path(folder) if folder.startswith("/") else Path(environ.get("HOME", "~")).expanduser() / ".config"
    return base / "toolkit" / "identity"


@dataclass
class Keyring:
    """The operator's identities, read when first needed; a passphrase is asked for once."""

    environ: Mapping[str, str] = field(repr=False)
    ask: Callable[[str], Secret] = terminal.hidden
    _opened: tuple[Secret, ...] | None = field(default=None, repr=False)

    @property
    def path(self) -> Path:
        return where(self.environ)

    def identities(self) -> tuple[Secret, ...]:
        """Return them. Raises SecretError where there are none, or others could read them."""
        if self._opened is None:
            content = _owners_only(self.path)
            try:
                self._opened = _checked(age.identities_in(self._unlocked(content)))
            except SecretError as error:
                raise SecretError(f"{self.path}: {error.message}", hint=error.hint) from error
        return self._opened

    def _unlocked(self, content: bytes) -> Secret:
        if not passphrase.is_sealed(content):
            return Secret(content)
        return passphrase.unseal(content, self.ask("passphrase of the identity"))


def _checked(identities: tuple[Secret, ...]) -> tuple[Secret, ...]:
    marks = (b"AGE-SECRET-KEY-", b"-----BEGIN")
    if not all(identity.reveal().upper().startswith(marks) for identity in identities):
        raise SecretError("not an identity", hint="it holds an AGE-SECRET-KEY-1… line, or is an SSH private key")
    return identities


def _owners_only(path: Path) -> bytes:
    looked = f"it is looked for in ${VARIABLE}, or in toolkit/identity under $XDG_CONFIG_HOME or ~/.config"
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if mode & 0o077:
                raise SecretError(f"others may read the identity {path}", hint=f"chmod 600 {path}")
            return stream.read(1 << 20)
    except FileNotFoundError as error:
        hint = f"{looked}; copy yours there, or make one with invoke secrets.init"
        raise SecretError(f"no identity at {path}", hint=hint) from error
    except OSError as error:
        raise SecretError(f"the identity {path} cannot be read: {error.strerror}", hint=looked) from error


def make(path: Path, protection: Secret | None = None) -> str:
    """Draw an identity, keep it at `path` for its owner alone, and return its recipient. Raises SecretError."""
    identity = age.new_identity()
    recipient = age.recipient_of(identity)
    content = Secret(f"# public key: {recipient}\n".encode() + identity.reveal() + b"\n")
    _store(path, content.reveal() if protection is None else passphrase.seal(content, protection))
    return recipient


def _store(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic.create(path, content, mode=0o600)
    except FileExistsError as error:
        raise SecretError(f"an identity is at {path} already", hint="it is never overwritten") from error
    except OSError as error:
        raise SecretError(
            f"the identity {path} cannot be written: {error.strerror}", hint="name another file"
        ) from error
