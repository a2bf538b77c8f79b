"""A person's own terminal on a host: the system's `ssh`, told exactly what our own connection knows."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from toolkit.config.models import Connection, HostFile
from toolkit.words.errors import HostError

# The pinned key goes under a name of its own: what an alias of `~/.ssh/config` stands for does not matter then.
ALIAS = "toolkit-pinned-host"


def run(host_file: HostFile, words: Sequence[str] = (), *, root: bool = False) -> int:
    """Run a command, or a login shell, on the person's terminal; return its exit code."""
    command = [*(["sudo"] if root and words else []), *words]
    if host_file.connection == "local":
        return subprocess.run(command or [os.environ.get("SHELL", "/bin/sh")], check=False).returncode
    with _arguments(host_file.connection, host_file.root) as arguments:
        line = [shlex.join(command)] if command else []
        try:
            return subprocess.run(
                ["ssh", *arguments, "--", host_file.connection.address, *line], check=False
            ).returncode
        except FileNotFoundError as error:
            raise HostError("no `ssh` on this machine", hint="install OpenSSH's client") from error


@contextmanager
def _arguments(connection: Connection, root: Path) -> Iterator[list[str]]:
    """Yield ssh's options; a pinned host key is the only one trusted."""
    given = ["-t"] if os.isatty(0) else []
    given += ["-l", connection.user] if connection.user else []
    given += ["-p", str(connection.port)] if connection.port else []
    given += ["-J", connection.jump] if connection.jump else []
    if connection.identity:
        given += ["-i", str(root / Path(connection.identity).expanduser()), "-o", "IdentitiesOnly=yes"]
    if not connection.host_key:
        yield given
        return
    with tempfile.NamedTemporaryFile("w", prefix="toolkit-known-hosts-") as known:
        known.write(f"{ALIAS} {connection.host_key}\n")
        known.flush()
        trusted = (f"UserKnownHostsFile={known.name}", "GlobalKnownHostsFile=/dev/null", "StrictHostKeyChecking=yes")
        yield [*given, *(word for option in (*trusted, f"HostKeyAlias={ALIAS}") for word in ("-o", option))]
