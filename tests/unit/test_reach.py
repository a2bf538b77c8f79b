"""Reach: who listens is told from who only seems to, and nothing that hangs holds up the rest."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from toolkit.stack.containers import Container
from toolkit.stack.manifest import Probe
from toolkit.stack.watchdog import reach
from toolkit.stack.watchdog.reach import Asker


def container(*ports: str, service: str = "web") -> Container:
    return Container("id", "shop-web-1", service, "web:1", "running", "healthy", 0, False, 0, 100.0, ports)


@contextmanager
def listening(behaviour: str) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                if behaviour == "greets":
                    connection.sendall(b"220 hello\r\n")
                if behaviour == "drops":
                    connection.close()
                else:
                    kept.append(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for one in kept:
            one.close()


@pytest.mark.parametrize(("behaviour", "said"), [("waits", ""), ("greets", ""), ("drops", "nobody is behind it")])
def test_a_port_answers_when_somebody_is_behind_it(behaviour: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "LISTENS", 0.05)
    with listening(behaviour) as port:
        found = reach.knock("127.0.0.1", port)
    assert said in found
    assert bool(found) == bool(said)


def test_a_port_where_nobody_listens_is_told_by_its_number() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert reach.knock("127.0.0.1", port) == f"port {port} does not answer: Connection refused"


def test_doors_are_published_tcp_ports_as_the_host_reaches_them() -> None:
    found = reach.doors(container("0.0.0.0:80→80", ":::80→80", "127.0.0.1:8100→8000", "0.0.0.0:53→53/udp"))
    assert found == [("127.0.0.1", 80), ("::1", 80), ("127.0.0.1", 8100)]


@pytest.mark.parametrize(
    ("probe", "owner"),
    [
        (Probe("https://127.0.0.1/health"), "proxy"),
        (Probe("http://127.0.0.1/health"), ""),
        (Probe("http://127.0.0.1:8100/"), "web"),
        (Probe("http://127.0.0.1:8100/", service="api"), "api"),
    ],
)
def test_a_probe_belongs_to_who_publishes_its_port(probe: Probe, owner: str) -> None:
    running = [container("127.0.0.1:8100→8000"), container("0.0.0.0:443→443", service="proxy")]
    assert reach.owner(probe, running) == owner


def test_what_fails_once_is_no_fault_and_what_fails_twice_is() -> None:
    tries = {"a": 0}

    def once() -> str:
        tries["a"] += 1
        return "no" if tries["a"] == 1 else ""

    found = Asker(again=0.0).complaints({"a": once, "b": lambda: "never", "c": lambda: ""})
    assert found == {"b": "never"}


def test_what_hangs_is_told_in_time_and_not_asked_again_until_it_has_come_back() -> None:
    release, begun = threading.Event(), []

    def hang() -> str:
        begun.append(time.monotonic())
        release.wait(10)
        return ""

    asker = Asker(within=0.1, again=0.0)
    for _ in range(3):
        assert asker.complaints({"a": hang, "b": lambda: ""}) == {"a": "no answer within 0.1 s"}
    assert len(begun) == 1
    release.set()
    while asker._late["a"].is_alive():
        time.sleep(0.01)
    assert asker.complaints({"a": hang}) == {}
    assert len(begun) == 2


def test_a_question_that_breaks_is_no_good_answer() -> None:
    found = Asker(again=0.0).complaints({"a": lambda: str(1 // 0)})
    assert found == {"a": "a: ZeroDivisionError: integer division or modulo by zero"}
