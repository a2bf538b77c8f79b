"""Oneglanse's product over stores in memory, its agent and its pages."""

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "oneglanse"
sys.path += [str(EXAMPLE / "apps" / "web"), str(EXAMPLE.parent / "images" / "python")]

from oneglanse import agent, pages, web  # noqa: E402
from oneglanse.product import Product, Run, literal, names  # noqa: E402
from standin.web import Request, Routes, Server, respond  # noqa: E402

from toolkit.config import compose  # noqa: E402
from toolkit.stack.lint import env_files  # noqa: E402


class Down(Exception):
    """What a store raises while it is switched off."""


@dataclass
class Runs:
    rows: list[Run] = field(default_factory=list)

    def ping(self) -> None: ...

    def add(self, site: str) -> Run:
        self.rows.append({"id": len(self.rows) + 1, "site": site, "status": "queued"})
        return self.rows[-1]

    def find(self, number: int) -> Run | None:
        return next((one for one in self.rows if one["id"] == number), None)

    def finish(self, number: int, file: str, size: int) -> bool:
        first = self.rows[number - 1]["status"] == "queued"
        self.rows[number - 1] |= {"status": "done", "file": file, "size": size}
        return first


@dataclass
class Events:
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    asked: int = 0
    down: bool = False

    def ping(self) -> None:
        if self.down:
            raise Down

    def add(self, site: str, kind: str, path: str) -> None:
        self.seen[site, kind] += 1

    def counts(self, site: str) -> Mapping[str, int]:
        self.asked += 1
        return {kind: count for (owner, kind), count in self.seen.items() if owner == site}


@dataclass
class Jobs:
    waiting: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)

    def ping(self) -> None: ...

    def put(self, job: str) -> None:
        self.waiting.append(job)

    def take(self) -> str | None:
        if not self.waiting:
            return None
        self.taken.append(self.waiting.pop(0))
        return self.taken[-1]

    def finish(self, job: str) -> None:
        self.taken.remove(job)

    def recover(self, older_than: float) -> list[str]:
        return []


@dataclass
class Cache:
    kept: dict[str, Mapping[str, int]] = field(default_factory=dict)

    def get(self, name: str) -> Mapping[str, int] | None:
        return self.kept.get(name)

    def keep(self, name: str, counts: Mapping[str, int], seconds: int) -> None:
        self.kept[name] = counts


@pytest.fixture
def product() -> Product:
    return Product(Runs(), Events(), Jobs(), Cache())


def ask(routes: Routes, method: str, path: str, sent: object = None) -> tuple[int, bytes]:
    response = respond(routes, Request(method, path, body=json.dumps(sent).encode()))
    return response.status, response.body


def test_events_are_counted_and_counts_are_kept_for_a_moment(product: Product) -> None:
    routes = web.routes(product)
    for _ in range(2):
        assert ask(routes, "POST", "/events", {"site": "a", "kind": "view", "path": "/"})[0] == 201
    assert [json.loads(ask(routes, "GET", "/counts/a")[1]) for _ in range(2)] == [{"view": 2}] * 2
    assert product.events.asked == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("sent", [{}, {"site": "a", "kind": "b"}, {"site": "a", "kind": "x" * 41, "path": "/"}, []])
def test_what_is_no_event_is_refused(product: Product, sent: object) -> None:
    assert ask(web.routes(product), "POST", "/events", sent)[0] == 400
    assert product.events.seen == {}  # type: ignore[attr-defined]


def test_an_event_store_that_is_away_is_no_ready_product(product: Product) -> None:
    product.events.down = True  # type: ignore[attr-defined]
    status, body = ask(web.routes(product), "GET", "/health")
    assert (status, json.loads(body)) == (503, {"database": "ok", "events": "Down", "queue": "ok"})


class Window:
    def look(self, site: str) -> bytes:
        return f"<h1>{site}</h1>".encode()


def test_a_run_becomes_a_file_a_row_and_an_event(product: Product, tmp_path: Path) -> None:
    routes = web.routes(product)
    assert ask(routes, "POST", "/runs", {"site": "a"})[0] == 201
    assert agent.one_run(product, Window(), tmp_path) == 1
    run = json.loads(ask(routes, "GET", "/runs/1")[1])
    assert (run["status"], run["size"]) == ("done", 10)
    assert [path.name for path in tmp_path.iterdir()] == ["run-1.html"]
    assert product.counts("a") == {"run": 1}
    assert ask(routes, "GET", "/runs/2")[0] == ask(routes, "GET", "/runs/x")[0] == 404


def test_a_run_that_is_done_or_gone_is_not_done_again(product: Product, tmp_path: Path) -> None:
    product.ask_for_run("a")
    agent.one_run(product, Window(), tmp_path)
    for job in ("1", "7"):
        product.jobs.put(job)
    assert [agent.one_run(product, Window(), tmp_path) for _ in range(3)] == [1, 7, None]
    assert product.counts("a") == {"run": 1}
    assert product.jobs.taken == []  # type: ignore[attr-defined]


def test_the_browser_keeps_a_page_in_shared_memory_on_the_way(tmp_path: Path) -> None:
    server = Server(("127.0.0.1", 0), pages.landing("https://app.example.com/?a&b"))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        seen = agent.Browser(f"http://127.0.0.1:{server.server_address[1]}/", tmp_path).look("a")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert re.match(rb"<!-- [0-9a-f]{64} -->\n<!doctype html>", seen)
    assert b'href="https://app.example.com/?a&amp;b"' in seen
    assert list(tmp_path.iterdir()) == []


def test_every_guide_has_a_page() -> None:
    routes = pages.docs()
    index = ask(routes, "GET", "/")[1].decode()
    for name, text in pages.GUIDES.items():
        assert f'href="/{name}"' in index
        assert text in ask(routes, "GET", f"/{name}")[1].decode()


def test_what_people_wrote_stays_text_in_a_query() -> None:
    assert literal("it's \\ here") == "'it\\'s \\\\ here'"
    assert names([{"kind": "view", "count": "3"}]) == {"view": 3}


def test_the_example_env_files_agree() -> None:
    both = [env_files.parse((EXAMPLE / name).read_text()) for name in (".env.example", "apps/agent/.env.example")]
    assert both[0]["REDIS_PASSWORD"] == both[1]["REDIS_PASSWORD"]
    assert both[0]["CLICKHOUSE_PASSWORD"] == both[1]["CLICKHOUSE_PASSWORD"]
    assert both[0]["POSTGRES_PASSWORD"] == both[1]["DATABASE_PASSWORD"]


def test_limits_and_reservations_add_up_to_what_the_readme_says() -> None:
    services = compose.read(EXAMPLE / "docker-compose.yml")["services"]
    quotas = sum(body["cpu_quota"] for body in services.values())
    limits = [body["deploy"]["resources"]["limits"]["memory"] for body in services.values()]
    memory = sum(int(text[:-1]) * {"G": 1024, "M": 1}[text[-1]] for text in limits)
    assert (quotas / 100_000, memory / 1024) == (7.5, 9.5)
    assert "7.5 cores and 9.5 GB" in (EXAMPLE / "README.md").read_text()
