"""A small HTTP server: routes to functions, sizes and signals, and one way to answer `/health`."""

import json
import logging
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

BODY_LIMIT = 64 * 1024

log = logging.getLogger("standin")


class Unfit(Exception):
    """What was sent cannot be taken; the message says why."""


@dataclass(frozen=True)
class Request:
    """What was asked. `last` is the last part, decoded, of a path whose route ends in `*`."""

    method: str
    path: str
    query: Mapping[str, list[str]] = field(default_factory=dict)
    body: bytes = b""
    client: str = ""
    last: str = ""

    def json(self) -> dict[str, object]:
        """Return the body as an object. Raises Unfit."""
        try:
            found = json.loads(self.body)
        except ValueError as error:
            raise Unfit("the body is not JSON") from error
        if not isinstance(found, dict):
            raise Unfit("the body is not an object")
        return found

    def text(self, name: str, limit: int = 200) -> str:
        """Return a field of the body that is text, neither empty nor too long. Raises Unfit."""
        found = self.json().get(name)
        # PostgreSQL text holds every character but the zero byte.
        if not isinstance(found, str) or not found.strip() or len(found) > limit or "\0" in found:
            raise Unfit(f'send a "{name}" of 1 to {limit} characters')
        return found.strip()


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    type: str = "application/json"


Route = Callable[[Request], Response]
Routes = Mapping[tuple[str, str], Route]
"""Method and path; a path that ends in `/*` takes any last part."""


def answer(value: object, status: int = HTTPStatus.OK) -> Response:
    """Return a value as JSON; times, which JSON does not know, become text."""
    return Response(status, json.dumps(value, default=str).encode() + b"\n")


def page(html: str) -> Response:
    return Response(HTTPStatus.OK, html.encode(), "text/html; charset=utf-8")


def health(checks: Mapping[str, Callable[[], object]]) -> Response:
    """Ask everything a real question: 200 when all answer, 503 and who did not otherwise."""
    said = {}
    for name, check in checks.items():
        try:
            check()
            said[name] = "ok"
        except Exception as error:  # whatever went wrong, the answer is "not ready"
            # The kind alone: a message may quote an address, and this answer is public.
            said[name] = type(error).__name__
    good = all(word == "ok" for word in said.values())
    return answer(said, HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE)


def respond(routes: Routes, request: Request) -> Response:
    """Return the answer to a request; a fault of ours is logged, and told as no more than that."""
    parent, _, last = request.path.rpartition("/")
    route = routes.get((request.method, request.path))
    if route is None and last:
        route, request = routes.get((request.method, f"{parent}/*")), _with_last(request, unquote(last))
    if route is None:
        return answer({"error": "no such page"}, HTTPStatus.NOT_FOUND)
    try:
        return route(request)
    except Unfit as error:
        return answer({"error": str(error)}, HTTPStatus.BAD_REQUEST)
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return answer({"error": "try again later"}, HTTPStatus.SERVICE_UNAVAILABLE)


def _with_last(request: Request, last: str) -> Request:
    return Request(request.method, request.path, request.query, request.body, request.client, last)


class Server(ThreadingHTTPServer):
    """Answers each request in a thread of its own, and on the way out lets those under way finish."""

    daemon_threads = False

    def __init__(self, address: tuple[str, int], routes: Routes) -> None:
        super().__init__(address, Handler)
        self.routes = routes


class Handler(BaseHTTPRequestHandler):
    server: Server
    # A client that falls silent holds its thread, and so the shutdown, no longer than this.
    timeout = 5

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        declared = self.headers.get("Content-Length", "")
        if not declared.isascii() or not declared.isdigit():
            return self.send_error(HTTPStatus.LENGTH_REQUIRED)
        if int(declared) > BODY_LIMIT:
            return self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return self._answer(self.rfile.read(int(declared)))

    def _answer(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        client = self.headers.get("X-Forwarded-For", self.client_address[0])
        response = respond(
            self.server.routes, Request(self.command, parts.path, parse_qs(parts.query), body, client=client)
        )
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
