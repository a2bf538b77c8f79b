"""The application's API: events in, counts out, runs for the agent."""

from http import HTTPStatus

from standin.web import Request, Response, Routes, answer, health, page

from oneglanse.product import Product


def routes(product: Product) -> Routes:
    checks = {"database": product.runs.ping, "events": product.events.ping, "queue": product.jobs.ping}
    return {
        ("GET", "/"): lambda _: page("<!doctype html><title>Oneglanse</title><h1>Oneglanse</h1>\n"),
        ("GET", "/health"): lambda _: health(checks),
        ("POST", "/events"): lambda request: happened(product, request),
        ("GET", "/counts/*"): lambda request: answer(product.counts(request.last)),
        ("POST", "/runs"): lambda request: answer(product.ask_for_run(request.text("site")), HTTPStatus.CREATED),
        ("GET", "/runs/*"): lambda request: find(product, request),
    }


def happened(product: Product, request: Request) -> Response:
    product.happened(request.text("site"), request.text("kind", 40), request.text("path", 1000))
    return answer({"kept": True}, HTTPStatus.CREATED)


def find(product: Product, request: Request) -> Response:
    known = request.last.isascii() and request.last.isdigit()
    run = product.runs.find(int(request.last)) if known else None
    return answer(run) if run else answer({"error": "no such run"}, HTTPStatus.NOT_FOUND)
