"""Access: the keys of the store's user and the address of pings, sealed to the host's identity.

    /var/lib/toolkit/backup/access.age     all of it, sealed
    /var/lib/toolkit/backup/access.json    a salted proof of it, and nothing else

Only a run opens them, in memory.
"""

import json
import secrets
from dataclasses import dataclass, field

from toolkit.agent.paths import Paths
from toolkit.vault.access import FORMAT, NAMES
from toolkit.vault.addresses import proof
from toolkit.words import atomic
from toolkit.words.errors import HostError, SecretError
from toolkit.words.values import Secret


@dataclass(frozen=True)
class Access:
    """What a host was given; empty secrets are those that it was not."""

    access_key: str = ""
    secret_key: Secret = field(default=Secret(b""), repr=False)
    session_token: Secret | None = field(default=None, repr=False)
    ping: Secret | None = field(default=None, repr=False)


def put(paths: Paths, body: bytes) -> None:
    """Take what `toolkit.vault.access.pack` made, in the place of what was there. Raises HostError, SecretError."""
    from toolkit.agent.shelf import own_identity
    from toolkit.crypto import age

    _parse(body)
    paths.backup.mkdir(mode=0o700, parents=True, exist_ok=True)
    sealed = age.seal(body, [age.recipient_of(own_identity(paths))])
    salt = secrets.token_hex(16)
    index = {"format": FORMAT, "salt": salt, "proof": proof(salt, body)}
    # The index last: it says that the rest is there.
    atomic.replace(paths.backup / "access.age", bytes(sealed), mode=0o600)
    atomic.replace(paths.backup / "access.json", json.dumps(index).encode(), mode=0o600)


def read(paths: Paths) -> Access:
    """Return what the host was given. Raises SecretError where it was given nothing, or cannot open it."""
    from toolkit.agent.shelf import read_identity
    from toolkit.crypto import age

    try:
        sealed = (paths.backup / "access.age").read_bytes()
    except FileNotFoundError as error:
        raise SecretError("this host was given no access to its backups", hint="provision it") from error
    try:
        return _parse(bytes(age.unseal(sealed, [read_identity(paths)])))
    except SecretError as error:
        raise SecretError(f"the access to the backups: {error.message}", hint="provision: it is sealed anew") from error


def _parse(body: bytes) -> Access:
    try:
        found = json.loads(body)
        values = {name: str(found.get(name, "")) for name in NAMES}
    except (ValueError, AttributeError):
        # Not `from` the cause: its words may quote what was sent.
        raise HostError("an access that this agent does not understand", hint="provision again") from None
    token, ping = (Secret.of(values[name]) if values[name] else None for name in ("session_token", "ping"))
    return Access(values["access_key"], Secret.of(values["secret_key"]), token, ping)
