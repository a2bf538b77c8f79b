"""A host over SSH: fabric's configuration, authentication and jump hosts; its transport used directly.

One TCP connection per run. Commands share a persistent shell because a channel per command costs a round trip or
more each, and data is written to channels as bytes because fabric's own input feeder manages 97 bytes per second
(pyinvoke/invoke#774).
"""

import logging
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fabric
import paramiko

from toolkit.config.models import Connection
from toolkit.host import keys
from toolkit.host.base import ShellHost
from toolkit.host.escalate import AskPassword
from toolkit.host.protocol import Process
from toolkit.words.errors import Error, Unreachable

# Its threads log what we raise anyway, with tracebacks, onto a person's terminal.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

CONNECT_TIMEOUT = 15
# A link that swallows packets is noticed after this many seconds, also while nothing is being sent.
DEAD_AFTER = 60
KEEPALIVE = 15
PIECE = 1 << 18
# AES-GCM moves 272 MB/s through paramiko where its first choice moves 185.
FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")


class SshProcess:
    """A command on a channel of its own."""

    def __init__(self, transport: paramiko.Transport, line: str) -> None:
        self._channel = transport.open_session()
        self._channel.exec_command(line.encode())

    def write(self, data: bytes) -> None:
        # In pieces: paramiko copies all that is left after each packet, which makes one large write quadratic.
        # A closed channel is no error here: the exit code says why the other side has gone.
        with suppress(OSError):
            for start in range(0, len(data), PIECE):
                self._channel.sendall(data[start : start + PIECE])

    def finish(self) -> None:
        with suppress(OSError):
            self._channel.shutdown_write()

    def read(self) -> tuple[bytes, bytes]:
        while True:
            # Asked before looking: what came before the end is then never missed.
            ended = self._channel.eof_received or self._channel.closed
            out = self._channel.recv(1 << 18) if self._channel.recv_ready() else b""
            err = self._channel.recv_stderr(1 << 16) if self._channel.recv_stderr_ready() else b""
            if out or err or ended:
                return out, err
            select.select([self._channel], [], [], KEEPALIVE)

    def wait(self) -> int:
        return self._channel.recv_exit_status()

    def close(self) -> None:
        # To close it is to say so to the other side, which may have gone a moment ago.
        with suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.close()

    def kill(self) -> None:
        self.close()


class SshHost(ShellHost):
    """A machine reached as its host file's `connection` says."""

    def __init__(self, name: str, connection: Connection, *, root: Path, ask: AskPassword) -> None:
        super().__init__(name, ask)
        self._connection = connection
        self._root_path = root
        self._fabric: fabric.Connection | None = None

    def spawn(self, line: str) -> Process:
        with self._translated():
            return SshProcess(self._transport(), line)

    def is_root(self) -> bool:
        self._transport()
        assert self._fabric is not None
        return bool(self._fabric.user == "root")

    def _transport(self) -> paramiko.Transport:
        if self._fabric is None:
            self._fabric = self._open(self._connection.port)
        transport: paramiko.Transport | None = self._fabric.client.get_transport()
        assert transport is not None
        return transport

    def _open(self, port: int | None) -> fabric.Connection:
        with self._translated():
            fabricated = self._fabricate(port)
            for hop in _hops(fabricated):
                pinned = self._pinned() if hop is fabricated else None
                keys.trust(hop.client, hop.host, hop.port, pinned)
            fabricated.open()
            _tune(fabricated.client.get_transport())
            return fabricated

    def _pinned(self) -> str | None:
        """Return the one key to accept: that of the host file, or of the connection that stands already."""
        if self._connection.host_key or self._fabric is None:
            return self._connection.host_key
        known = self._transport().get_remote_server_key()
        return f"{known.get_name()} {known.get_base64()}"

    def _fabricate(self, port: int | None) -> fabric.Connection:
        config = fabric.Config(overrides={"run": {"in_stream": False}})
        arguments: dict[str, Any] = {"transport_factory": _transport_factory, "banner_timeout": CONNECT_TIMEOUT}
        if self._connection.identity:
            path = self._root_path / Path(self._connection.identity).expanduser()
            if not path.is_file():
                raise Unreachable(f"{self.name}: no identity file {path}", hint="correct connection.identity")
            arguments |= {"key_filename": str(path), "look_for_keys": False, "allow_agent": False}
        jump = fabric.Connection(self._connection.jump, config=config) if self._connection.jump else None
        return fabric.Connection(
            self._connection.address,
            user=self._connection.user,
            port=port,
            gateway=jump,
            config=config,
            connect_timeout=CONNECT_TIMEOUT,
            connect_kwargs=arguments,
        )

    def where(self) -> tuple[str, int] | None:
        """Return the address and port that a connection goes to; None where another host or a program is between."""
        made = self._fabricate(self._connection.port)
        return None if made.gateway else (str(made.host), int(made.port))

    def prove_login(self, port: int | None = None) -> None:
        second = self._open(port or self._connection.port)
        try:
            process = SshProcess(second.client.get_transport(), "true")
            if process.wait() != 0:
                raise Unreachable(f"{self.name}: a second login was let in but could run nothing")
        finally:
            second.close()

    def close(self) -> None:
        super().close()
        if self._fabric is not None:
            self._fabric.close()
            self._fabric = None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except Error:
            raise
        except paramiko.BadHostKeyException as error:
            raise keys.changed(error.hostname, error.expected_key.asbytes(), error.key.asbytes()) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        where = f"{self._connection.address}" + (f":{self._connection.port}" if self._connection.port else "")
        what, hint = _explain(error)
        return Unreachable(f"{self.name}: {what} ({where})", hint=hint)


def _hops(connection: fabric.Connection) -> Iterator[fabric.Connection]:
    hop: Any = connection
    while isinstance(hop, fabric.Connection):
        yield hop
        hop = hop.gateway


def _transport_factory(sock: Any, **options: Any) -> paramiko.Transport:
    transport = paramiko.Transport(sock, **options)
    security = transport.get_security_options()
    fast = [cipher for cipher in FAST_CIPHERS if cipher in security.ciphers]
    security.ciphers = (*fast, *(cipher for cipher in security.ciphers if cipher not in fast))
    _no_delay(transport)
    return transport


def _no_delay(transport: paramiko.Transport) -> None:
    # Nagle turns 2.6 ms per request into 48. Behind a jump host the socket is a channel and has no such option.
    if isinstance(transport.sock, socket.socket):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER * 1000)


def _tune(transport: paramiko.Transport | None) -> None:
    assert transport is not None
    transport.set_keepalive(KEEPALIVE)


def _explain(error: Exception) -> tuple[str, str]:
    """Return what happened and what to do, in the words of a person who is locked out."""
    text = str(error) or type(error).__name__
    if isinstance(error, paramiko.PasswordRequiredException):
        return "the identity file has a passphrase", "add it to your ssh-agent first: `ssh-add FILE`"
    if isinstance(error, paramiko.AuthenticationException):
        return "the login was refused", "check connection.user and connection.identity; try `ssh -v` by hand"
    if isinstance(error, socket.gaierror):
        return "this name has no address", "check connection.address for a typing error"
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT} s", "check the address, the provider's firewall and that it runs"
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError | ConnectionRefusedError):
        return "nobody listens there", "check connection.port, and that sshd runs"
    if "banner" in text.lower():
        return "this port does not speak SSH", "check connection.port"
    return text, "try `ssh -v` by hand: it says more"
