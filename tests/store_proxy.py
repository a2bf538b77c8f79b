"""A proxy in front of an S3 server that does to requests what networks and servers do on bad days.

A test queues faults with `proxy.once(method, fault)` and looks at `proxy.seen` afterwards.
A fault is a function of one `Exchange`; the functions at the end of this file are those that tests need.
"""

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_HOP_BY_HOP = ("connection", "content-length", "transfer-encoding")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass
class Exchange:
    """One request under way, in the hands of a fault."""

    handler: BaseHTTPRequestHandler
    upstream: str
    body: bytes

    def forward(self, body: bytes | None = None) -> Answer:
        """Ask the real server, with another body if one is given."""
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=60)
        headers = {name: value for name, value in self.handler.headers.items() if name.lower() != "expect"}
        sent = self.body if body is None else body
        connection.request(self.handler.command, self.handler.path, sent or None, headers)
        with contextlib.closing(connection):
            response = connection.getresponse()
            body = response.read()
            # A HEAD has a length and no body; a chunked body has no length until it is here.
            length = response.headers.get("Content-Length", str(len(body)))
            kept = tuple(pair for pair in response.getheaders() if pair[0].lower() not in _HOP_BY_HOP)
            return Answer(response.status, (*kept, ("Content-Length", length)), body)

    def reply(self, answer: Answer, body: bytes | None = None) -> None:
        """Send an answer; `body` replaces its body but not its length."""
        self.handler.send_response_only(answer.status)
        for name, value in answer.headers:
            self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(answer.body if body is None else body)
        self.handler.wfile.flush()

    def reset(self) -> None:
        """Drop the connection as a crashed server does: with RST, not FIN."""
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.close_connection = True
        self.handler.connection.shutdown(socket.SHUT_RDWR)
        self.handler.connection.close()


Fault = Callable[[Exchange], None]


@dataclass
class FaultyProxy:
    """The proxy: an address to give to a client, the faults to come and the requests seen."""

    upstream: str
    endpoint: str = ""
    seen: list[str] = field(default_factory=list)
    faults: list[tuple[str, Fault, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def once(self, method: str, fault: Fault, *, times: int = 1) -> None:
        """Do this to the next requests whose method and path contain `method`, such as `PUT` or `GET /bucket?list`."""
        self.faults.append((method, fault, times))

    def always(self, method: str, fault: Fault) -> None:
        self.once(method, fault, times=1_000_000)

    def count(self, method: str) -> int:
        return sum(line.startswith(method) for line in self.seen)

    def due(self, line: str) -> Fault:
        with self.lock:
            self.seen.append(line)
            for position, (method, fault, times) in enumerate(self.faults):
                if line.startswith(method):
                    self.faults[position : position + 1] = [(method, fault, times - 1)] if times > 1 else []
                    return fault
        return pass_through


@contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with contextlib.suppress(OSError):
                proxy.due(f"{self.command} {self.path}")(Exchange(self, upstream, body))

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None: ...

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


def pass_through(exchange: Exchange) -> None:
    exchange.reply(exchange.forward())


def stall(seconds: float) -> Fault:
    """Say nothing for so long, then drop the connection."""

    def fault(exchange: Exchange) -> None:
        time.sleep(seconds)
        exchange.reset()

    return fault


def refuse(status: int, code: str, message: str = "") -> Fault:
    """Answer with an error of the server's own."""

    def fault(exchange: Exchange) -> None:
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        headers = (("Content-Type", "application/xml"), ("Content-Length", str(len(body))))
        exchange.reply(Answer(status, headers, body))

    return fault


def reset(exchange: Exchange) -> None:
    """Drop the connection before anything reached the server."""
    exchange.reset()


def lose_answer(exchange: Exchange) -> None:
    """Let the server do the work, and drop the connection instead of its answer."""
    exchange.forward()
    exchange.reset()


def break_off(exchange: Exchange) -> None:
    """Reset in the middle of the answer's body."""
    answer = exchange.forward()
    exchange.reply(answer, answer.body[: len(answer.body) // 2])
    exchange.reset()


def truncate(exchange: Exchange) -> None:
    """End the answer's body early, politely."""
    answer = exchange.forward()
    exchange.reply(answer, answer.body[: len(answer.body) // 2])
    exchange.handler.close_connection = True


def damage_request(exchange: Exchange) -> None:
    """Flip one bit of what is stored."""
    exchange.reply(exchange.forward(_flipped(exchange.body)))


def damage_answer(exchange: Exchange) -> None:
    """Flip one bit of what is read."""
    answer = exchange.forward()
    exchange.reply(answer, _flipped(answer.body))


def shift_clock(seconds: float) -> Fault:
    """Let the server's clock be wrong by so much; for the client it is its own that is wrong."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.forward()
        kept = tuple(pair for pair in answer.headers if pair[0].lower() != "date")
        exchange.reply(replace(answer, headers=(*kept, ("Date", formatdate(time.time() + seconds, usegmt=True)))))

    return fault


def replay(answer: Answer) -> Fault:
    """Give an answer of the past, as an eventually consistent listing does."""

    def fault(exchange: Exchange) -> None:
        exchange.reply(answer)

    return fault


def record(answers: list[Answer]) -> Fault:
    """Pass the answer on and keep it."""

    def fault(exchange: Exchange) -> None:
        answers.append(exchange.forward())
        exchange.reply(answers[-1])

    return fault


def _flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
