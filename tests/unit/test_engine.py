"""The Engine's API over a socket: one connection is kept, silence is told from refusal, nothing wakes a stopped one."""

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from toolkit.stack import engine
from toolkit.stack.engine import Engine, Gone, Silent
from toolkit.words.errors import HostError

Answer = tuple[int, str, bytes]


@dataclass
class Daemon:
    """Answers at `run/docker.sock` below a root, and counts connections."""

    root: Path
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    connections: int = 0
    close_after: bool = False
    hang: threading.Event = field(default_factory=threading.Event)
    open: list[socket.socket] = field(default_factory=list)

    def says(self, path: str, value: Any, status: int = 200) -> None:
        self.answers[path] = status, "application/json", json.dumps(value).encode()


@contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            daemon.connections += 1
            daemon.open.append(self.request)
            super().setup()

        def address_string(self) -> str:
            return "unix"

        def do_GET(self) -> None:
            daemon.asked.append(f"{self.command} {self.path}")
            status, kind, body = daemon.answers.get(self.path.partition("?")[0], (404, "", b'{"message": "no such"}'))
            if status == 0:
                daemon.hang.wait(5)
                return
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            with suppress(OSError):
                self.end_headers()
                self.wfile.write(body)
            self.close_connection = daemon.close_after

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None: ...

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    (daemon.root / "run").mkdir(parents=True, exist_ok=True)
    (daemon.root / "run/docker.pid").write_text("1")
    server = Server(str(daemon.root / "run/docker.sock"), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield daemon
    finally:
        daemon.hang.set()
        server.shutdown()
        for one in daemon.open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        server.server_close()
        thread.join()
        (daemon.root / "run/docker.sock").unlink()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(Daemon(tmp_path)) as found:
        yield found


def test_many_questions_take_one_connection(daemon: Daemon) -> None:
    daemon.says("/containers/json", [{"Id": "a"}, {"Id": "b"}])
    daemon.says("/containers/a/json", {"Id": "a", "State": {}})
    asked = Engine(daemon.root)
    # One was removed between the two questions.
    assert [one["Id"] for one in asked.containers("shop")] == ["a"]
    assert asked.containers("shop")
    assert daemon.connections == 1
    assert "com.docker.compose.project%3Dshop" in daemon.asked[0]


def test_a_connection_that_ended_meanwhile_is_made_again(daemon: Daemon) -> None:
    daemon.says("/info", {"a": 1})
    daemon.close_after = True
    asked = Engine(daemon.root)
    assert asked.get("/info") == {"a": 1}
    assert asked.get("/info") == {"a": 1}
    assert daemon.connections == 2


def test_an_engine_that_was_restarted_is_found_again(tmp_path: Path) -> None:
    asked = Engine(tmp_path)
    for _ in range(2):
        with running(Daemon(tmp_path)) as daemon:
            daemon.says("/info", {})
            assert asked.get("/info") == {}
        with pytest.raises(Silent):
            asked.get("/info")


def test_without_a_daemon_the_socket_is_not_touched(daemon: Daemon) -> None:
    (daemon.root / "run/docker.pid").unlink()
    with pytest.raises(Silent, match="does not run"):
        Engine(daemon.root).get("/info")
    assert daemon.connections == 0


def test_one_that_hangs_is_silent_and_is_not_asked_twice(daemon: Daemon) -> None:
    daemon.answers["/info"] = (0, "", b"")
    with pytest.raises(Silent, match="does not answer"):
        Engine(daemon.root, patience=0.1).get("/info")
    assert daemon.asked == ["GET /info"]


def test_what_changes_something_is_not_repeated(daemon: Daemon) -> None:
    daemon.says("/info", {})
    daemon.close_after = True
    daemon.says("/containers/a/kill", {})
    asked = Engine(daemon.root)
    asked.get("/info")
    with pytest.raises(Silent):
        asked.kill("a")
    assert daemon.asked == ["GET /info"]


def test_refusals_are_told_in_the_engines_words(daemon: Daemon) -> None:
    daemon.says("/containers/a/start", {"message": "port is already allocated"}, 500)
    daemon.answers["/info"] = (500, "text/plain", b"oh")
    daemon.answers["/version"] = (200, "text/plain", b"not json")
    asked = Engine(daemon.root)
    with pytest.raises(Gone, match="no such"):
        asked.restart("b", within=1)
    with pytest.raises(HostError, match="port is already allocated"):
        asked.start("a")
    with pytest.raises(HostError, match="status 500"):
        asked.get("/info")
    with pytest.raises(HostError, match="no JSON"):
        asked.get("/version")


def test_starting_what_runs_is_no_fault(daemon: Daemon) -> None:
    daemon.answers["/containers/a/start"] = (304, "", b"")
    Engine(daemon.root).start("a")


def frame(stream: int, text: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


@pytest.mark.parametrize(
    ("kind", "body", "lines"),
    [
        ("application/vnd.docker.multiplexed-stream", frame(1, b"one\ntw") + frame(2, b"o\n"), ["one", "two"]),
        ("application/vnd.docker.raw-stream", frame(1, b"old engines say raw\n"), ["old engines say raw"]),
        ("application/vnd.docker.raw-stream", b"from a terminal\r\n\xff", ["from a terminal", "\ufffd"]),
        ("application/vnd.docker.raw-stream", b"", []),
    ],
)
def test_logs_are_read_with_and_without_a_terminal(daemon: Daemon, kind: str, body: bytes, lines: list[str]) -> None:
    daemon.answers["/containers/a/logs"] = (200, kind, body)
    assert Engine(daemon.root).logs("a", 20) == lines


# Recorded from the API: Engine 26.1 on version 2 of control groups, and 20.10 on version 1; shortened.
V2 = {
    "memory_stats": {
        "usage": 60_000_000,
        "limit": 67_108_864,
        "stats": {"anon": 30_000_000, "file": 25_000_000, "shmem": 4096, "slab_unreclaimable": 300_000},
    }
}
V1 = {
    "memory_stats": {
        "usage": 60_000_000,
        "limit": 67_108_864,
        "stats": {"cache": 1, "total_rss": 30_000_000, "total_shmem": 4096, "total_cache": 25_000_000},
    }
}


@pytest.mark.parametrize(
    ("stats", "found"),
    [(V2, (30_304_096, 67_108_864)), (V1, (30_004_096, 67_108_864)), ({"memory_stats": {}}, None), ({}, None)],
    ids=["v2", "v1", "no control of memory", "not running"],
)
def test_memory_is_what_cannot_be_given_back(stats: dict[str, Any], found: tuple[int, int] | None) -> None:
    assert engine.memory(stats) == found


def test_processor_time_is_seconds() -> None:
    assert engine.cpu({"cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}}}) == 1.5
    assert engine.cpu({}) is None
