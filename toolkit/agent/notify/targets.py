"""Targets: who is told, and where. Addresses let anybody write there, so they are kept sealed to the host's identity.

    /var/lib/toolkit/notify/targets.age     all of it, sealed
    /var/lib/toolkit/notify/targets.json    names and kinds, and a salted proof of the rest; no address

Only the process that sends opens them, in memory.
"""

import json
import re
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from toolkit.agent.paths import Paths
from toolkit.vault.addresses import FORMAT, proof
from toolkit.words import atomic
from toolkit.words.errors import HostError
from toolkit.words.values import Secret

WEBHOOK, APPRISE = "webhook", "apprise"


@dataclass(frozen=True)
class Target:
    """One who is told. The address is empty in the index."""

    name: str
    kind: str = WEBHOOK
    on: tuple[str, ...] = ()
    url: Secret = field(default=Secret(b""), repr=False)


def put(paths: Paths, body: bytes) -> tuple[str, ...]:
    """Take `{"host": …, "targets": [{"name", "kind", "on", "url"}]}` in the place of what was there; return the names.

    Raises HostError for what is no such thing.
    """
    from toolkit.agent.shelf import own_identity
    from toolkit.crypto import age

    host, found = _parse(body)
    paths.queue.mkdir(mode=0o700, parents=True, exist_ok=True)
    sealed = age.seal(body, [age.recipient_of(own_identity(paths))])
    salt = secrets.token_hex(16)
    named = [{key: value for key, value in asdict(one).items() if key != "url"} for one in found]
    index = {"format": FORMAT, "host": host, "salt": salt, "proof": proof(salt, body), "targets": named}
    # The index last: it says that the rest is there.
    atomic.replace(paths.notify / "targets.age", bytes(sealed), mode=0o600)
    atomic.replace(paths.notify / "targets.json", json.dumps(index).encode(), mode=0o600)
    return tuple(one.name for one in found)


def read(paths: Paths) -> dict[str, Target]:
    """Return everybody who is told, with addresses. Raises SecretError or HostError where that cannot be opened."""
    from toolkit.agent.shelf import read_identity
    from toolkit.crypto import age

    try:
        sealed = (paths.notify / "targets.age").read_bytes()
    except FileNotFoundError:
        return {}
    return {one.name: one for one in _parse(bytes(age.unseal(sealed, [read_identity(paths)])))[1]}


def index(paths: Paths) -> tuple[str, tuple[Target, ...]]:
    """Return the host's name in its host file, and who is told, without addresses; nobody where it cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        body = json.loads((paths.notify / "targets.json").read_bytes())
        return str(body["host"]), tuple(_target(one) for one in body["targets"])
    return "", ()


def _parse(body: bytes) -> tuple[str, tuple[Target, ...]]:
    try:
        found = json.loads(body)
        return str(found["host"]), tuple(_target(one) for one in found["targets"])
    except (ValueError, KeyError, TypeError) as error:
        raise HostError("targets that this agent does not understand", hint="provision again") from error


def _target(body: dict[str, Any]) -> Target:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", body["name"]):
        # It becomes a part of a file's name.
        raise ValueError("no name for a target")
    url = Secret(str(body.get("url", "")).encode())
    return Target(body["name"], str(body["kind"]), tuple(map(str, body["on"])), url)
