"""Whose machine is this: pinned host keys, and nothing accepted unseen.

Fabric accepts any key by default (fabric/fabric#1804). Here a key is pinned in the host file or stands in
known_hosts; everything else ends the connection before a byte of ours has left.
"""

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.words.errors import ConfigError, UntrustedHost

if TYPE_CHECKING:
    from paramiko import PKey, SSHClient

KNOWN_HOSTS = (Path("~/.ssh/known_hosts"), Path("/etc/ssh/ssh_known_hosts"))


def trust(client: "SSHClient", hostname: str, port: int, pinned: str | None) -> None:
    """Let a client trust the pinned key only or, without one, what known_hosts says."""
    from paramiko import MissingHostKeyPolicy

    class Refuse(MissingHostKeyPolicy):
        def missing_host_key(self, client: "SSHClient", hostname: str, key: "PKey") -> None:  # noqa: ARG002
            raise unknown(hostname, key.get_name(), key.asbytes())

    client.set_missing_host_key_policy(Refuse())
    if pinned is None:
        for path in KNOWN_HOSTS:
            if path.expanduser().is_file():
                client.load_system_host_keys(str(path.expanduser()))
        return
    name = hostname if port == 22 else f"[{hostname}]:{port}"
    kind, blob = parse(pinned)
    key = _public_key(kind, blob)
    client.get_host_keys().add(name, key.get_name(), key)


def parse(line: str) -> tuple[str, bytes]:
    """Split `ssh-ed25519 AAAA… comment` into its type and key bytes. Raises ConfigError."""
    words = line.split()
    try:
        return words[0], base64.b64decode(words[1], validate=True)
    except (IndexError, ValueError) as error:
        raise ConfigError(
            "connection.host_key is not a public key", hint="paste a line of `ssh-keyscan HOST`, without the host name"
        ) from error


def _public_key(kind: str, blob: bytes) -> "PKey":
    from paramiko import PKey, SSHException
    from paramiko.pkey import UnknownKeyType

    try:
        return PKey.from_type_string(kind, blob)
    except UnknownKeyType as error:
        raise ConfigError(
            f"connection.host_key has the unknown type {kind}", hint="pin an ed25519, ecdsa or rsa key"
        ) from error
    except (SSHException, ValueError) as error:
        raise ConfigError("connection.host_key is damaged", hint="paste the whole line again") from error


def fingerprint(blob: bytes) -> str:
    """Return a key's fingerprint the way `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def unknown(hostname: str, kind: str, blob: bytes) -> UntrustedHost:
    line = f"{kind} {base64.b64encode(blob).decode()}"
    return UntrustedHost(
        f"{hostname}: this host's key is not known: {fingerprint(blob)}; nothing was sent",
        hint=f"compare the fingerprint with the provider's console, then write `host_key: {line}` under connection:",
    )


def changed(hostname: str, expected: bytes, found: bytes) -> UntrustedHost:
    return UntrustedHost(
        f"{hostname}: THE HOST KEY HAS CHANGED: expected {fingerprint(expected)}, found {fingerprint(found)}; "
        "nothing was sent",
        hint="if the machine was rebuilt, pin its new key; if it was not, somebody stands in between",
    )
