"""A private authority: its certificates hold for the names they were made for and nothing else."""

import socket
import ssl
import threading
from pathlib import Path

import pytest

from toolkit.crypto.certificates import Certificate, authority, issue


def handshake(folder: Path, server: Certificate, trusted: Certificate, name: str) -> None:
    pair = folder / "server.pem"
    pair.write_bytes(server.certificate + server.key.reveal())
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pair)
    asking = ssl.create_default_context(cadata=trusted.certificate.decode())
    near, far = socket.socketpair()
    thread = threading.Thread(target=accept, args=(serving, far), daemon=True)
    thread.start()
    with near:
        asking.wrap_socket(near, server_hostname=name).close()
    thread.join()


def accept(context: ssl.SSLContext, end: socket.socket) -> None:
    with end:
        try:
            context.wrap_socket(end, server_side=True).close()
        except (ssl.SSLError, OSError):
            return


@pytest.mark.parametrize("name", ["ghcr.io", "127.0.0.1"])
def test_a_client_that_trusts_the_authority_accepts_its_certificate(tmp_path: Path, name: str) -> None:
    ca = authority("lab")
    handshake(tmp_path, issue(ca, ["ghcr.io", "127.0.0.1"]), ca, name)


def test_a_certificate_does_not_hold_for_another_name(tmp_path: Path) -> None:
    ca = authority("lab")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, issue(ca, ["ghcr.io"]), ca, "docker.io")


def test_another_authority_of_the_same_name_is_not_trusted(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLError):
        handshake(tmp_path, issue(authority("lab"), ["ghcr.io"]), authority("lab"), "ghcr.io")


def test_the_key_is_masked() -> None:
    assert "PRIVATE" not in repr(issue(authority("lab"), ["ghcr.io"]))
