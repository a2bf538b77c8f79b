"""The lab's link: a proxy that is slow, breaks and counts, as asked."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from toolkit.lab import Link


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets, and closes when its client does."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection:
                while piece := connection.recv(65536):
                    connection.sendall(piece)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def connect(link: Link) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", link.port), timeout=5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_all(connection: socket.socket) -> bytes:
    whole = b""
    try:
        while piece := connection.recv(65536):
            whole += piece
    except ConnectionResetError:
        pass
    return whole


def test_everything_arrives_in_order_and_the_end_arrives_too(echo: int) -> None:
    sent = b"".join(number.to_bytes(4) for number in range(100_000))
    with Link(echo, round_trip=0.01) as link, connect(link) as connection:
        writer = threading.Thread(target=lambda: (connection.sendall(sent), connection.shutdown(socket.SHUT_WR)))
        writer.start()
        assert read_all(connection) == sent
        writer.join()
        assert link.carried == 2 * len(sent)


def test_each_question_takes_one_round_trip(echo: int) -> None:
    with Link(echo, round_trip=0.04) as link, connect(link) as connection:
        start = time.monotonic()
        for _ in range(5):
            connection.sendall(b"?")
            assert connection.recv(1) == b"?"
        took = time.monotonic() - start
    # Not less, and not a delay for each piece on its own; a busy machine takes longer than it should.
    assert 0.2 <= took < 2


def test_latency_does_not_hold_back_what_follows(echo: int) -> None:
    with Link(echo, round_trip=0.1) as link, connect(link) as connection:
        start = time.monotonic()
        for _ in range(50):
            connection.sendall(b"x" * 100)
            time.sleep(0.002)
        connection.shutdown(socket.SHUT_WR)
        assert len(read_all(connection)) == 5000
        # Held back one after the other they would take five seconds.
        assert time.monotonic() - start < 2.5


def test_a_connection_breaks_after_so_many_bytes(echo: int) -> None:
    with Link(echo, cut_after=10_000) as link, connect(link) as connection:
        with pytest.raises(OSError):
            for _ in range(1000):
                connection.sendall(b"x" * 1000)
                if not connection.recv(65536):
                    raise ConnectionResetError
        assert link.carried < 10_000


def test_connections_are_cut_on_demand_and_new_ones_are_let_in(echo: int) -> None:
    with Link(echo) as link:
        with connect(link) as first:
            first.sendall(b"1")
            assert first.recv(1) == b"1"
            link.cut()
            assert read_all(first) == b""
        with connect(link) as second:
            second.sendall(b"2")
            assert second.recv(1) == b"2"
        assert link.connections == 2


def test_a_closed_link_refuses_connections(echo: int) -> None:
    with Link(echo) as link:
        pass
    with pytest.raises(ConnectionRefusedError):
        connect(link)
