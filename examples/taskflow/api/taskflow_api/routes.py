"""Routes: one request in, one response out, and no socket anywhere."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from taskflow_api.board import Board, Unfit, readiness

log = logging.getLogger("taskflow_api")


@dataclass(frozen=True)
class Response:
    status: HTTPStatus
    body: bytes
    type: str = "application/json"


def respond(board: Board, method: str, target: str, body: bytes = b"") -> Response:
    """Answer one request; a store that fails is a 503 and a line in the log, never a dropped connection."""
    try:
        return _route(board, method, target, body)
    except Unfit as error:
        return _json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
    except Exception:
        log.exception("%s %s failed", method, urlsplit(target).path)
        return _json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "a store does not answer, try again"})


def _route(board: Board, method: str, target: str, body: bytes) -> Response:
    url = urlsplit(target)
    match method, url.path.strip("/").split("/"):
        case "GET", ["health"]:
            ready, answers = readiness(board)
            status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
            return _json(status, {"status": "ok" if ready else "unavailable"} | answers)
        case "GET", ["metrics"]:
            return Response(HTTPStatus.OK, metrics(board.table.counts()).encode(), "text/plain; version=0.0.4")
        case "GET", ["tasks"]:
            return _json(HTTPStatus.OK, {"tasks": board.table.latest(_limit(url.query))})
        case "GET", ["tasks", number] if number.isascii() and number.isdigit():
            task = board.table.find(int(number))
            return _json(HTTPStatus.OK, task) if task else _json(HTTPStatus.NOT_FOUND, {"error": "no such task"})
        case "POST", ["tasks"]:
            return _json(HTTPStatus.CREATED, board.accept(_parsed(body)))
        case _, ["health" | "metrics" | "tasks"]:
            return _json(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "not this way"})
    return _json(HTTPStatus.NOT_FOUND, {"error": "no such page"})


def metrics(counts: Mapping[str, int]) -> str:
    """Return the counts in Prometheus' text format."""
    rows = [f'taskflow_tasks{{status="{status}"}} {count}' for status, count in sorted(counts.items())]
    return "\n".join(["# HELP taskflow_tasks Tasks by status.", "# TYPE taskflow_tasks gauge", *rows, ""])


def _limit(query: str) -> int:
    asked = parse_qs(query).get("limit", ["50"])[0]
    if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked) <= 500:
        raise Unfit("limit is a number from 1 to 500")
    return int(asked)


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError as error:
        raise Unfit("the body is not JSON") from error


def _json(status: HTTPStatus, value: object) -> Response:
    # Times are the only values JSON does not know, and `str` writes them as ISO 8601.
    return Response(status, json.dumps(value, default=str).encode() + b"\n")
