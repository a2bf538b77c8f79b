"""The API: messages in and out, a limit for each client, `/health` and `/metrics`."""

import logging
from http import HTTPStatus

from standin.web import Request, Response, Route, Routes, Unfit, answer, health

from relay.office import PostOffice

LIMIT = 120
"""Requests a minute from one client. Without its cache the API has no limit rather than no service."""

log = logging.getLogger("relay")


def routes(office: PostOffice) -> Routes:
    limited = {
        ("POST", "/messages"): lambda request: accept(office, request),
        ("GET", "/messages"): lambda request: answer({"messages": office.table.latest(_limit(request))}),
        ("GET", "/messages/*"): lambda request: find(office, request),
    }
    return {
        ("GET", "/health"): lambda _: health({"database": office.table.ping, "queue": office.jobs.ping}),
        ("GET", "/metrics"): lambda _: metrics(office),
        **{key: _within_limit(office, route) for key, route in limited.items()},
    }


def accept(office: PostOffice, request: Request) -> Response:
    return answer(office.accept(request.text("to"), request.text("subject")), HTTPStatus.CREATED)


def find(office: PostOffice, request: Request) -> Response:
    known = request.last.isascii() and request.last.isdigit()
    message = office.table.find(int(request.last)) if known else None
    return answer(message) if message else answer({"error": "no such message"}, HTTPStatus.NOT_FOUND)


def metrics(office: PostOffice) -> Response:
    """Return what the workers counted last; nothing until they have, or while the cache is away."""
    try:
        text = office.cache.get("metrics") or ""
    except Exception as error:
        log.warning("no metrics: %s", type(error).__name__)
        text = ""
    return Response(HTTPStatus.OK, text.encode(), "text/plain; version=0.0.4")


def _limit(request: Request) -> int:
    asked = request.query.get("limit", ["50"])[0]
    if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked) <= 500:
        raise Unfit("limit is a number from 1 to 500")
    return int(asked)


def _within_limit(office: PostOffice, route: Route) -> Route:
    def limited(request: Request) -> Response:
        try:
            count = office.cache.count(request.client)
        except Exception as error:
            log.warning("no limit: the cache does not answer: %s", type(error).__name__)
            count = 0
        if count > LIMIT:
            return answer({"error": "too many requests, try again in a minute"}, HTTPStatus.TOO_MANY_REQUESTS)
        return route(request)

    return limited
