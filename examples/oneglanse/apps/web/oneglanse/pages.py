"""The landing page and the documentation: pages that need no store."""

import html

from standin.web import Routes, answer, page

_PAGE = "<!doctype html><title>{title}</title><h1>{title}</h1><p>{text}</p>\n"
GUIDES = {"events": "Send each event to POST /events.", "runs": "Ask for a run with POST /runs."}


def landing(app: str) -> Routes:
    text = f'<a href="{html.escape(app)}">The application</a>'
    return {
        ("GET", "/"): lambda _: page(_PAGE.format(title="Oneglanse", text=text)),
        ("GET", "/health"): lambda _: answer({"page": "ok"}),
    }


def docs() -> Routes:
    guides = {
        ("GET", f"/{name}"): lambda _, name=name, text=text: page(_PAGE.format(title=name, text=text))
        for name, text in GUIDES.items()
    }
    index = " ".join(f'<a href="/{name}">{name}</a>' for name in GUIDES)
    return {
        ("GET", "/"): lambda _: page(_PAGE.format(title="Documentation", text=index)),
        ("GET", "/health"): lambda _: answer({"pages": len(GUIDES)}),
        **guides,
    }
