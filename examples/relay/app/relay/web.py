"""The page: the newest messages, asked of the API."""

import html
import json
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from standin.web import Request, Response, Routes, health, page

PATIENCE = 4

Ask = Callable[[str], Mapping[str, Any]]


def asker(api: str) -> Ask:
    """Return a function that asks the API for a path."""

    def ask(path: str) -> Mapping[str, Any]:
        with urllib.request.urlopen(f"{api}{path}", timeout=PATIENCE) as response:  # noqa: S310 - our own setting
            found: Mapping[str, Any] = json.load(response)
        return found

    return ask


def routes(api: str, ask: Ask | None = None) -> Routes:
    asked = ask or asker(api)

    def show(_: Request) -> Response:
        return page(render(asked("/messages?limit=20")["messages"]))

    return {("GET", "/"): show, ("GET", "/health"): lambda _: health({"api": lambda: asked("/health")})}


def render(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the page. What people wrote is text, whatever it looks like."""
    cells = ("id", "recipient", "subject", "status")
    rows = ("".join(f"<td>{html.escape(str(one[cell]))}</td>" for cell in cells) for one in messages)
    table = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<!doctype html><title>Relay</title><h1>Relay</h1><table>{table}</table>\n"
