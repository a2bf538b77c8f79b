"""The HTTP server: sockets, sizes and signals around `routes`."""

import logging
import signal
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from taskflow_api.board import Board
from taskflow_api.routes import Response, respond

BODY_LIMIT = 64 * 1024

log = logging.getLogger("taskflow_api")


class Server(ThreadingHTTPServer):
    """Answers each request in a thread of its own, and on the way out lets those under way finish."""

    daemon_threads = False

    def __init__(self, address: tuple[str, int], board: Board) -> None:
        super().__init__(address, Handler)
        self.board = board


class Handler(BaseHTTPRequestHandler):
    server: Server
    # A client that falls silent holds its thread, and so the shutdown, no longer than this.
    timeout = 5

    def do_GET(self) -> None:
        self._send(respond(self.server.board, "GET", self.path))

    def do_POST(self) -> None:
        declared = self.headers.get("Content-Length", "")
        if not declared.isascii() or not declared.isdigit():
            return self.send_error(HTTPStatus.LENGTH_REQUIRED)
        if int(declared) > BODY_LIMIT:
            return self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self._send(respond(self.server.board, "POST", self.path, self.rfile.read(int(declared))))
        return None

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.type)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the parent's
        # Probes come every few seconds and would drown the rest.
        level = logging.DEBUG if getattr(self, "path", "") == "/health" else logging.INFO
        log.log(level, "%s " + format, self.address_string(), *args)


def serve(server: Server) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way."""

    def stop(number: int, _frame: object) -> None:
        log.info("%s: no more requests", signal.Signals(number).name)
        # `shutdown` waits for the loop this handler interrupts, so it needs a thread of its own.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.serve_forever(poll_interval=0.2)
    server.server_close()
