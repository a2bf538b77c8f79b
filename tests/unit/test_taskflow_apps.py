"""Taskflow's API and worker, without their stores: the pure parts over fakes."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from types import ModuleType

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "taskflow"
sys.path += [str(EXAMPLE / "api"), str(EXAMPLE / "worker")]

from taskflow_api import board, routes, server  # noqa: E402
from taskflow_api import settings as api_settings  # noqa: E402
from taskflow_worker import loop  # noqa: E402
from taskflow_worker import settings as worker_settings  # noqa: E402


class Down(Exception):
    """What a fake store raises while it is switched off."""


@dataclass
class MemoryTable:
    """Both applications' table: a list of tasks, with a switch to make it fail."""

    tasks: list[board.Task] = field(default_factory=list)
    late: bool = False
    down: bool = False

    def ping(self) -> None:
        if self.down:
            raise Down("password=hunter2")

    def add(self, title: str) -> board.Task:
        self.ping()
        self.tasks.append({"id": len(self.tasks) + 1, "title": title, "status": "queued", "result": None})
        return self.tasks[-1]

    def find(self, number: int) -> board.Task | None:
        self.ping()
        return next((task for task in self.tasks if task["id"] == number), None)

    def latest(self, count: int) -> Sequence[board.Task]:
        self.ping()
        return self.tasks[::-1][:count]

    def counts(self) -> Mapping[str, int]:
        done = sum(task["status"] == "done" for task in self.tasks)
        return {"queued": len(self.tasks) - done, "done": done}

    def overdue(self) -> int | None:
        self.ping()
        waiting = [task["id"] for task in self.tasks if task["status"] == "queued" and self.late]
        return int(str(waiting[0])) if waiting else None

    def title(self, number: int) -> str | None:
        task = self.find(number)
        return str(task["title"]) if task and task["status"] == "queued" else None

    def finish(self, number: int, result: str) -> bool:
        if self.title(number) is None:
            return False
        self.tasks[number - 1] |= {"status": "done", "result": result}
        return True


@dataclass
class MemoryQueue:
    numbers: list[int] = field(default_factory=list)
    down: bool = False

    def ping(self) -> None:
        if self.down:
            raise Down

    def announce(self, number: object) -> None:
        self.ping()
        self.numbers.append(int(str(number)))

    def take(self) -> int | None:
        self.ping()
        return self.numbers.pop(0) if self.numbers else None


@pytest.fixture
def table() -> MemoryTable:
    return MemoryTable()


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def tasks(table: MemoryTable, queue: MemoryQueue) -> board.Board:
    return board.Board(table, queue)


def ask(tasks: board.Board, method: str, target: str, sent: object = None) -> tuple[int, dict[str, object]]:
    response = routes.respond(tasks, method, target, json.dumps(sent).encode())
    return response.status, json.loads(response.body)


def rounds(count: int) -> Iterator[bool]:
    yield from [False] * count
    while True:
        yield True


def test_a_task_goes_from_the_api_through_the_queue_to_done(
    tasks: board.Board, table: MemoryTable, queue: MemoryQueue
) -> None:
    assert ask(tasks, "POST", "/tasks", {"title": " write it down "})[0] == 201
    assert loop.round_of_work(queue, table) == 1
    status, task = ask(tasks, "GET", "/tasks/1")
    assert (status, task["status"], task["result"]) == (200, "done", "3 words, 13 characters")


@pytest.mark.parametrize(
    "sent", [None, [], "title", {}, {"title": 1}, {"title": "  "}, {"title": "x" * 201}, {"title": "a\0b"}], ids=repr
)
def test_what_is_not_a_task_is_refused_and_not_kept(tasks: board.Board, table: MemoryTable, sent: object) -> None:
    status, answer = ask(tasks, "POST", "/tasks", sent)
    assert (status, table.tasks) == (400, [])
    assert answer["error"]


def test_a_body_that_is_not_json_is_refused(tasks: board.Board) -> None:
    assert routes.respond(tasks, "POST", "/tasks", b"\xff{").status == 400


@pytest.mark.parametrize("number", ["2", "x", "-1", "²", ""])
def test_a_task_that_does_not_exist_is_not_found_or_listed(tasks: board.Board, number: str) -> None:
    status, answer = ask(tasks, "GET", f"/tasks/{number}")
    assert status == 404 or answer == {"tasks": []}


def test_the_list_is_newest_first_and_bounded(tasks: board.Board) -> None:
    for title in ("one", "two", "three"):
        ask(tasks, "POST", "/tasks", {"title": title})
    listed = json.loads(routes.respond(tasks, "GET", "/tasks?limit=2").body)["tasks"]
    assert [task["title"] for task in listed] == ["three", "two"]
    assert ask(tasks, "GET", "/tasks?limit=501")[0] == 400


@pytest.mark.parametrize(("method", "target", "status"), [("POST", "/health", 405), ("GET", "/secret", 404)])
def test_other_pages_and_methods_are_refused(tasks: board.Board, method: str, target: str, status: int) -> None:
    assert ask(tasks, method, target)[0] == status


def test_health_is_ok_while_both_stores_answer(tasks: board.Board) -> None:
    assert ask(tasks, "GET", "/health") == (200, {"status": "ok", "database": "ok", "cache": "ok"})


def test_health_names_the_store_that_is_down_and_quotes_nothing(tasks: board.Board, table: MemoryTable) -> None:
    table.down = True
    assert ask(tasks, "GET", "/health") == (503, {"status": "unavailable", "database": "Down", "cache": "ok"})


def test_a_store_that_fails_is_a_503_and_tells_the_client_nothing_more(tasks: board.Board, table: MemoryTable) -> None:
    table.down = True
    status, answer = ask(tasks, "GET", "/tasks")
    assert status == 503
    assert "hunter2" not in str(answer)


def test_metrics_count_tasks_by_status() -> None:
    assert 'taskflow_tasks{status="queued"} 3\n' in routes.metrics({"queued": 3, "done": 1})


def test_a_task_is_kept_while_the_cache_is_away_and_done_once_overdue(
    tasks: board.Board, table: MemoryTable, queue: MemoryQueue
) -> None:
    queue.down = True
    assert ask(tasks, "POST", "/tasks", {"title": "patience"})[0] == 201
    queue.down = False
    assert loop.round_of_work(queue, table) is None
    table.late = True
    assert loop.round_of_work(queue, table) == 1


@pytest.mark.parametrize(("stopped", "asked"), [(False, 5), (True, 1)])
def test_the_table_is_asked_once_the_queue_stayed_empty_for_a_while(
    table: MemoryTable, queue: MemoryQueue, monkeypatch: pytest.MonkeyPatch, stopped: bool, asked: int
) -> None:
    heard: list[str] = []
    monkeypatch.setattr(queue, "take", lambda: heard.append("queue"))
    monkeypatch.setattr(table, "overdue", lambda: heard.append("table"))
    assert loop.round_of_work(queue, table, lambda: stopped) is None
    assert heard == [*["queue"] * asked, "table"]


def test_a_task_announced_twice_is_done_once(tasks: board.Board, table: MemoryTable, queue: MemoryQueue) -> None:
    ask(tasks, "POST", "/tasks", {"title": "once"})
    queue.announce(1)
    assert [loop.round_of_work(queue, table) for _ in range(3)] == [1, None, None]


def test_an_announcement_of_nothing_is_passed_over(table: MemoryTable, queue: MemoryQueue) -> None:
    queue.announce(7)
    assert loop.round_of_work(queue, table) is None


def test_the_worker_pauses_without_a_heartbeat_while_a_store_is_down(table: MemoryTable, queue: MemoryQueue) -> None:
    heard: list[str] = []
    stopped = rounds(2)

    def recover() -> None:
        heard.append("pause")
        queue.down = False

    queue.down = True
    loop.run(queue, table, stopped=lambda: next(stopped), pause=recover, beat=lambda: heard.append("beat"))
    assert heard == ["pause", "beat"]


@pytest.mark.parametrize(("title", "result"), [("a", "1 word, 1 character"), ("two words", "2 words, 9 characters")])
def test_work_counts_words_and_characters(title: str, result: str) -> None:
    assert loop.work(title) == result


URLS = {"DATABASE_URL": "postgres://app@db/app", "REDIS_URL": "redis://cache"}


@pytest.mark.parametrize("settings", [api_settings, worker_settings], ids=["api", "worker"])
class TestSettings:
    def test_a_password_file_beats_the_variable(self, settings: ModuleType, tmp_path: Path) -> None:
        (tmp_path / "password").write_text("from file\n")
        named = {"DATABASE_PASSWORD": "from variable", "DATABASE_PASSWORD_FILE": str(tmp_path / "password")}
        read = settings.read(URLS | named | {"REDIS_PASSWORD": "from variable"})
        assert (read.database_password, read.redis_password) == ("from file", "from variable")

    def test_without_one_the_url_is_left_to_speak(self, settings: ModuleType) -> None:
        assert settings.read(URLS).database_password is None

    @pytest.mark.parametrize("missing", ["DATABASE_URL", "REDIS_URL"])
    def test_a_missing_url_is_named(self, settings: ModuleType, missing: str) -> None:
        with pytest.raises(settings.BadSettings, match=missing):
            settings.read(URLS | {missing: ""})

    def test_a_missing_password_file_is_named(self, settings: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(settings.BadSettings, match=r"REDIS_PASSWORD_FILE.*nothing"):
            settings.read(URLS | {"REDIS_PASSWORD_FILE": str(tmp_path / "nothing")})

    def test_printing_settings_shows_no_password(self, settings: ModuleType) -> None:
        assert "hunter2" not in repr(settings.read(URLS | {"DATABASE_PASSWORD": "hunter2"}))


def test_both_applications_read_their_settings_alike() -> None:
    # Two images with two contexts: the module is written in both, and this is what keeps them one.
    api, worker = (EXAMPLE / name / "settings.py" for name in ("api/taskflow_api", "worker/taskflow_worker"))
    assert api.read_text() == worker.read_text()


@contextmanager
def served(tasks: board.Board) -> Iterator[HTTPConnection]:
    with server.Server(("127.0.0.1", 0), tasks) as listening:
        thread = Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            with closing(HTTPConnection("127.0.0.1", listening.server_port, timeout=2)) as connection:
                yield connection
        finally:
            listening.shutdown()
            thread.join()


def test_the_server_takes_a_task_over_http(tasks: board.Board, queue: MemoryQueue) -> None:
    with served(tasks) as connection:
        connection.request("POST", "/tasks", '{"title": "over the wire"}')
        assert connection.getresponse().status == 201
    assert queue.numbers == [1]


@pytest.mark.parametrize(("declared", "status"), [("70000", 413), ("many", 411), ("", 411)])
def test_the_server_refuses_a_body_by_its_declared_size(tasks: board.Board, declared: str, status: int) -> None:
    with served(tasks) as connection:
        connection.request("POST", "/tasks", headers={"Content-Length": declared})
        assert connection.getresponse().status == status
