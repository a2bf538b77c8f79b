"""What the examples' applications share, without any store."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.append(str(EXAMPLES / "images" / "python"))

from standin import migrate, settings, start, web, worker  # noqa: E402


def test_a_file_wins_over_a_variable_and_a_variable_over_the_default(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    environment = {"A_FILE": str(tmp_path / "secret"), "A": "from the variable"}
    assert settings.value(environment, "A") == "from the file"
    assert settings.value({"A": "from the variable"}, "A", "default") == "from the variable"
    assert settings.value({"A": ""}, "A", "default") == "default"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "neither A_FILE nor A is set"),
        ({"A_FILE": "/nowhere", "A": "hunter2"}, "A_FILE cannot be read: No such file"),
    ],
)
def test_a_setting_that_is_missing_is_named_and_no_value_told(environment: dict[str, str], message: str) -> None:
    with pytest.raises(settings.BadSettings, match=message) as told:
        settings.value(environment, "A")
    assert "hunter2" not in str(told.value)


def test_a_setting_that_is_no_number_is_named() -> None:
    assert settings.number({"N": "1.5"}, "N", 3) == 1.5
    assert settings.number({}, "N", 3) == 3
    with pytest.raises(settings.BadSettings, match="N is no number"):
        settings.number({"N": "many"}, "N", 3)


def fail() -> None:
    raise OSError("password=hunter2")


def test_health_asks_everything_and_says_who_did_not_answer() -> None:
    good = web.health({"a": lambda: 1})
    bad = web.health({"a": lambda: 1, "b": fail})
    assert (good.status, json.loads(good.body)) == (200, {"a": "ok"})
    assert (bad.status, json.loads(bad.body)) == (503, {"a": "ok", "b": "OSError"})


ROUTES: web.Routes = {
    ("GET", "/things"): lambda _: web.answer({"all": True}),
    ("GET", "/things/*"): lambda request: web.answer({"one": request.last}),
    ("POST", "/things"): lambda request: web.answer({"name": request.text("name", 5)}, 201),
    ("GET", "/broken"): lambda _: fail(),  # type: ignore[dict-item,func-returns-value,return-value]
}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/things", b"", 200, {"all": True}),
        ("GET", "/things/7", b"", 200, {"one": "7"}),
        ("GET", "/things/it%27s%2Fhere", b"", 200, {"one": "it's/here"}),
        ("GET", "/things/", b"", 404, {"error": "no such page"}),
        ("GET", "/else", b"", 404, {"error": "no such page"}),
        ("POST", "/things", b'{"name": " ab "}', 201, {"name": "ab"}),
        ("POST", "/things", b"{", 400, {"error": "the body is not JSON"}),
        ("POST", "/things", b"[]", 400, {"error": "the body is not an object"}),
        ("POST", "/things", b'{"name": "far too long"}', 400, {"error": 'send a "name" of 1 to 5 characters'}),
        ("POST", "/things", b'{"name": "a\\u0000"}', 400, {"error": 'send a "name" of 1 to 5 characters'}),
        ("GET", "/broken", b"", 503, {"error": "try again later"}),
    ],
)
def test_a_request_finds_its_route(method: str, path: str, body: bytes, status: int, said: object) -> None:
    response = web.respond(ROUTES, web.Request(method, path, body=body))
    assert (response.status, json.loads(response.body)) == (status, said)


@contextmanager
def served() -> Iterator[HTTPConnection]:
    server = web.Server(("127.0.0.1", 0), ROUTES)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with closing(HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)) as connection:
            yield connection
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("length", "status"),
    [("13", 201), ("70000", 413), ("no", 411), ("", 411)],
    ids=["fits", "too large", "no number", "none"],
)
def test_the_server_takes_bodies_of_a_known_and_bounded_size(length: str, status: int) -> None:
    with served() as connection:
        connection.putrequest("POST", "/things")
        connection.putheader("Content-Length", length)
        connection.endheaders(b'{"name": "a"}' if status == 201 else None)
        assert connection.getresponse().status == status


def test_a_worker_beats_after_each_round_that_worked_and_pauses_after_one_that_failed() -> None:
    done: list[str] = []
    rounds = iter([lambda: done.append("work"), fail, lambda: done.append("work")])
    stop = iter([False, False, False, True])
    clock = iter(range(100))
    worker.work(
        lambda: next(rounds)(),
        [worker.Repeated(3, lambda: done.append("repeat"))],
        stopped=lambda: next(stop),
        pause=lambda: done.append("pause"),
        beat=lambda: done.append("beat"),
        now=lambda: next(clock),
    )
    assert done == ["repeat", "work", "beat", "pause", "work", "beat"]


class Remembering:
    def __init__(self) -> None:
        self.done: list[str] = []

    def rows(self, query: str, *values: object) -> list[dict[str, object]]:
        return [{"name": name} for name in self.done]

    def script(self, text: str) -> None:
        if "VALUES" in text:
            self.done.append(text.rsplit("'", 2)[1])


def test_migrations_run_once_and_in_order(tmp_path: Path) -> None:
    database = Remembering()
    for name in ("002-b.sql", "001-a.sql"):
        (tmp_path / name).write_text("SELECT 1")
    assert migrate.migrate(database, tmp_path) == ["001-a.sql", "002-b.sql"]
    (tmp_path / "003-c.sql").write_text("SELECT 1")
    assert migrate.migrate(database, tmp_path) == ["003-c.sql"]
    assert migrate.migrate(database, tmp_path) == []


class Starting(Remembering):
    """A database that refuses so often before it answers."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals

    def rows(self, query: str, *values: object) -> list[dict[str, object]]:
        self.refusals -= 1
        if self.refusals >= 0:
            raise ConnectionRefusedError
        return super().rows(query, *values)


def test_migrations_wait_for_a_database_that_is_on_its_way_up() -> None:
    slept: list[float] = []
    migrate.awaited(Starting(3), slept.append)
    assert slept == [1, 1, 1]
    with pytest.raises(ConnectionRefusedError):
        migrate.awaited(Starting(1000), slept.append)
    assert len(slept) == 3 + migrate.PATIENCE - 1


def test_a_role_that_lacks_a_setting_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.argv", ["app", "api"])
    assert start.start({"api": lambda _: settings.value({}, "NAME")}) == 1
    assert "neither NAME_FILE nor NAME is set" in caplog.text
    assert start.start({"api": lambda _: None}) == 0
    monkeypatch.setattr("sys.argv", ["app"])
    assert start.start({"api": lambda _: None}) == 2
    assert "name what to run: api" in caplog.text
