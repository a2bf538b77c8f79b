"""Host keys: the pinned one is let in, an unknown or a changed one ends the connection before a byte of ours left."""

import base64
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from toolkit.host import keys
from toolkit.words.errors import ConfigError, UntrustedHost

# As printed by ssh-keygen, with the fingerprints that `ssh-keygen -lf` gave for them.
RECORDED = {
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMOBWSD/BbnYROmRaXpDxWEK36gAn8VgUvhHtTT/j/7g": (
        "SHA256:KVEtbdg7uIM5FFeZ+cDcLRwIHaZ6Qph7LQOW4JsHCek"
    ),
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBOT3D1MVVN4igaLNTIAEl2qzJqfNaXYZGOzIqXQC"
    "IJFjFk+XQlymF2f18j7kbsjPLtdRezX50bR37lIyjpfdfkI=": "SHA256:dO/FuoQzQagk9KoQVOFKVVMzGnDueGGjFdTNbPHrXBg",
}


@pytest.mark.parametrize(("line", "printed"), RECORDED.items())
def test_a_fingerprint_is_the_one_that_ssh_keygen_prints(line: str, printed: str) -> None:
    if shutil.which("ssh-keygen"):
        listed = subprocess.run(["ssh-keygen", "-lf", "-"], input=line, check=True, capture_output=True, text=True)
        assert listed.stdout.split()[1] == printed
    assert keys.fingerprint(keys.parse(f"{line} root@web")[1]) == printed


@pytest.mark.parametrize("line", ["", "ssh-ed25519", "ssh-ed25519 not*base64", "web ssh-ed25519 AAAA", "SHA256:abc"])
def test_what_is_no_public_key_is_refused_with_a_way_to_get_one(line: str) -> None:
    with pytest.raises(ConfigError, match="host_key is not a public key") as caught:
        keys.parse(line)
    assert "ssh-keyscan" in caught.value.hint


@pytest.mark.parametrize("line", ["ssh-foo AAAAB3NzaA==", "ssh-ed25519 eHh4"])
def test_a_pinned_key_of_no_known_kind_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match=r"connection\.host_key"):
        keys.trust(paramiko.SSHClient(), "web", 22, line)


class Server(paramiko.ServerInterface):
    """Remembers who tried to log in, and lets nobody in."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def check_auth_password(self, username: str, password: str) -> int:
        self.tried.append(username)
        return paramiko.common.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "password"


@pytest.fixture(scope="module")
def host_key() -> paramiko.PKey:
    return paramiko.ECDSAKey.generate()


@pytest.fixture(scope="module")
def other_key() -> paramiko.PKey:
    return paramiko.ECDSAKey.generate()


@pytest.fixture
def near(host_key: paramiko.PKey) -> Iterator[tuple[socket.socket, Server]]:
    """Return our end of a connection to a machine with this host key."""
    ours, theirs = socket.socketpair()
    transport, server = paramiko.Transport(theirs), Server()
    transport.add_server_key(host_key)
    transport.start_server(event=threading.Event(), server=server)
    yield ours, server
    transport.close()
    ours.close()


def line_of(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {base64.b64encode(key.asbytes()).decode()}"


def log_in(near: tuple[socket.socket, Server], pinned: str | None, *, name: str = "web", port: int = 22) -> None:
    """Connect the way a host does, and hand out a password if the key allows it."""
    with paramiko.SSHClient() as client:
        keys.trust(client, name, port, pinned)
        client.connect(
            name, port=port, sock=near[0], username="ann", password="pw", look_for_keys=False, allow_agent=False
        )


@pytest.fixture(autouse=True)
def _no_known_hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(keys, "KNOWN_HOSTS", (tmp_path / "known_hosts", tmp_path / "missing"))


@pytest.mark.parametrize("port", [22, 2222])
def test_a_pinned_key_is_let_through_to_the_login(
    near: tuple[socket.socket, Server], host_key: paramiko.PKey, port: int
) -> None:
    with pytest.raises(paramiko.AuthenticationException):
        log_in(near, line_of(host_key), port=port)
    assert near[1].tried == ["ann"]


def test_an_unknown_key_ends_the_connection_before_any_login(
    near: tuple[socket.socket, Server], host_key: paramiko.PKey
) -> None:
    with pytest.raises(UntrustedHost, match="web: this host's key is not known") as caught:
        log_in(near, None)
    assert keys.fingerprint(host_key.asbytes()) in caught.value.message
    assert f"host_key: {line_of(host_key)}" in caught.value.hint
    assert near[1].tried == []


def test_a_changed_key_ends_the_connection_before_any_login(
    near: tuple[socket.socket, Server], host_key: paramiko.PKey, other_key: paramiko.PKey
) -> None:
    with pytest.raises(paramiko.BadHostKeyException) as caught:
        log_in(near, line_of(other_key))
    assert caught.value.key == host_key
    assert caught.value.expected_key == other_key
    assert near[1].tried == []


@pytest.mark.parametrize(("entry", "port"), [("web", 22), ("[web]:2222", 2222)])
def test_known_hosts_are_asked_where_nothing_is_pinned(
    near: tuple[socket.socket, Server], host_key: paramiko.PKey, tmp_path: Path, entry: str, port: int
) -> None:
    (tmp_path / "known_hosts").write_text(f"{entry} {line_of(host_key)}\n")
    with pytest.raises(paramiko.AuthenticationException):
        log_in(near, None, port=port)
    assert near[1].tried == ["ann"]


def test_a_pinned_key_beats_known_hosts(
    near: tuple[socket.socket, Server], host_key: paramiko.PKey, other_key: paramiko.PKey, tmp_path: Path
) -> None:
    (tmp_path / "known_hosts").write_text(f"web {line_of(host_key)}\n")
    with pytest.raises(paramiko.BadHostKeyException):
        log_in(near, line_of(other_key))
    assert near[1].tried == []


def test_a_changed_key_is_told_in_capitals_with_both_fingerprints() -> None:
    failure = keys.changed("web", b"expected", b"found")
    assert "HOST KEY HAS CHANGED" in failure.message
    assert keys.fingerprint(b"expected") in failure.message
    assert keys.fingerprint(b"found") in failure.message
    assert "nothing was sent" in failure.message
    assert failure.exit_code == 14
