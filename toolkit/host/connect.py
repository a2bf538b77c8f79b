"""From a host file to a host."""

import getpass
import os
import sys

from toolkit.config.models import HostFile
from toolkit.config.providers import resolve
from toolkit.host.local import LocalHost
from toolkit.host.protocol import Host
from toolkit.words.errors import Unreachable
from toolkit.words.values import Secret


def connect(host_file: HostFile) -> Host:
    """Return the host this file describes. Nothing is sent before the first command."""

    def ask() -> Secret:
        return _sudo_password(host_file)

    if host_file.connection == "local":
        return LocalHost(host_file.name, ask)
    # fabric takes 0.2 s to import: only who needs it pays.
    from toolkit.host.ssh import SshHost

    return SshHost(host_file.name, host_file.connection, root=host_file.root, ask=ask)


def _sudo_password(host_file: HostFile) -> Secret:
    connection = host_file.connection
    if connection != "local" and connection.sudo_password:
        return resolve(connection.sudo_password, root=host_file.root, environ=os.environ)
    if not sys.stdin.isatty():
        raise Unreachable(
            f"{host_file.name}: sudo wants a password",
            hint="set connection.sudo_password to a provider such as env:SUDO_PASSWORD, or run on a terminal",
        )
    return Secret.of(getpass.getpass(f"sudo password for {host_file.name}: "))
