"""The loading core: damage stops it, a count that differs is no proof, and a server is waited for until it is one."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import Host
from toolkit.repository import Tree
from toolkit.sources import ready
from toolkit.sources.docker import Docker, Inspected
from toolkit.sources.protocol import Facts, Into, Place, Probe, Verdict
from toolkit.sources.redis import Redis
from toolkit.sources.refill import Layout, Part, Refill, layout
from toolkit.store import MemoryStore
from toolkit.words.clock import FakeClock
from toolkit.words.errors import HostError, RepositoryError
from toolkit.words.report import Silent


class Nobody:
    """Starts nothing: there are no servers in these tests."""

    def start(self, service: str) -> str:
        raise AssertionError(service)

    def stop(self, service: str) -> None:
        raise AssertionError(service)


class Heard(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.ends: list[str] = []
        self.notes: set[str] = set()

    def step(self, title: str) -> None:
        self.steps.append(title)

    def done(self, note: str = "") -> None:
        self.ends.append(note)

    def progress(self, done: float, total: float, note: str = "") -> None:
        self.notes.add(note)


def captured(folder: Path, store: MemoryStore) -> tuple[Host, Path]:
    tree = folder / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "one").write_bytes(bytes(range(256)) * 4000)
    (tree / "sub/two").write_text("two")
    host = Host(folder / "state", store)
    host.backup(Tree("files", tree))
    return host, tree


def placed(host: Host, target: Path) -> Layout:
    target.mkdir()
    return layout(host.repository().newest(), (), trees={"files": str(target)})


def test_files_come_back_and_are_proven(tmp_path: Path) -> None:
    host, _ = captured(tmp_path, MemoryStore(versioned=True))
    found = placed(host, tmp_path / "target")
    done = list(Refill(Docker(), host.repository().newest(), Nobody()).run(found.parts))
    assert [(one.source, one.good) for one in done] == [("files", True)]
    assert (tmp_path / "target/sub/two").read_text() == "two"


def test_what_is_there_already_is_replaced(tmp_path: Path) -> None:
    host, _ = captured(tmp_path, MemoryStore(versioned=True))
    found = placed(host, tmp_path / "target")
    (tmp_path / "target/old").write_text("half of an attempt before")
    list(Refill(Docker(), host.repository().newest(), Nobody()).run(found.parts))
    assert sorted(path.name for path in (tmp_path / "target").iterdir()) == ["one", "sub"]


def test_a_damaged_pack_stops_the_load(tmp_path: Path) -> None:
    store = MemoryStore(versioned=True)
    host, _ = captured(tmp_path, store)
    found, snapshot = placed(host, tmp_path / "target"), host.repository().newest()
    for info in list(store.list("prod/epochs/")):
        if "/packs/" in info.key:
            for version in list(store.versions(info.key)):
                store.delete(info.key, version=version.version)
    with pytest.raises(RepositoryError):
        list(Refill(Docker(), snapshot, Nobody()).run(found.parts))


class Counted:
    """A source whose probe says what it is told."""

    name, kind = "volume/x", "volume"
    loads_into: Into = "volume"

    def __init__(self, probe: Callable[[], Probe]) -> None:
        self._probe = probe

    def capture(self, docker: Docker, place: Place) -> Any:
        raise AssertionError("nobody captures here")

    def load(self, docker: Docker, stored: Any, place: Place) -> None: ...

    def probe(self, docker: Docker, place: Place, facts: dict[str, Facts]) -> Probe:
        return self._probe()


def test_a_probe_that_finds_something_or_cannot_look_is_no_proof(tmp_path: Path) -> None:
    def refuse() -> Probe:
        raise HostError("no such tool")

    host, _ = captured(tmp_path, MemoryStore(versioned=True))
    bad = Probe("volume/x", (Verdict("counts", "bad", "expected 2, found 1"),))
    for probe, state in ((lambda: bad, "bad"), (refuse, "unknown")):
        part = Part(Counted(probe), Place())
        done = next(Refill(Docker(), host.repository().newest(), Nobody()).run([part]))
        assert (done.good, done.probe.verdicts[0].state) == (False, state)


class Starting:
    """A container that is asked about again and again: each look takes the next of what it is told."""

    def __init__(self, *looks: tuple[bool, str, bool]) -> None:
        self.looks, self.asked = list(looks), 0

    def inspect(self, _kind: str, *_names: str) -> list[Inspected]:
        self.asked += 1
        self.now = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        running, health, _ = self.now
        return [{"State": {"Running": running, "Health": {"Status": health}, "Pid": 0}, "Name": "/x"}]

    def ask(self, *_words: Any) -> Any:
        return type("Said", (), {"stdout": b"last words", "stderr": b""})()


@pytest.fixture
def greeted(monkeypatch: pytest.MonkeyPatch) -> None:
    def greet(docker: Any, *_: object) -> None:
        if not docker.now[2]:
            raise HostError("connection refused")

    monkeypatch.setattr(ready, "greet", greet)


def waited(docker: Starting, clock: FakeClock) -> None:
    ready.wait(docker, Redis(name="redis/x"), "x", clock=clock, listener=Silent())  # type: ignore[arg-type]


@pytest.mark.usefixtures("greeted")
def test_a_server_is_ready_when_it_is_healthy_and_answers() -> None:
    docker = Starting((True, "starting", True), (True, "healthy", False), (True, "healthy", True))
    waited(docker, FakeClock())
    assert docker.asked == 3


@pytest.mark.usefixtures("greeted")
def test_a_server_that_ends_or_never_answers_is_an_error() -> None:
    with pytest.raises(HostError, match="last words"):
        waited(Starting((False, "starting", False)), FakeClock())
    clock = FakeClock()
    with pytest.raises(HostError, match="no answer within 600 s: connection refused"):
        waited(Starting((True, "healthy", False)), clock)
    assert clock.time >= ready.WITHIN


@pytest.mark.usefixtures("greeted")
def test_first_start_scripts_are_waited_for_and_a_shell_that_stays_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    shells = ["docker-entrypoi"] * 5
    monkeypatch.setattr(ready, "_first", lambda _: shells.pop() if shells else "supervisord")
    clock = FakeClock()
    waited(Starting((True, "healthy", True)), clock)
    assert not shells
    monkeypatch.setattr(ready, "_first", lambda _: "sh")
    clock = FakeClock()
    waited(Starting((True, "healthy", True)), clock)
    assert 30 < clock.time < 60


@pytest.mark.usefixtures("greeted")
@pytest.mark.parametrize(("first", "looks"), [("redis-server", 1), ("supervisord", 3), ("sh", 3)])
def test_only_where_the_first_process_is_the_server_does_its_answer_stand_for_its_health(
    monkeypatch: pytest.MonkeyPatch, first: str, looks: int
) -> None:
    names = [first, first, "redis-server"]
    monkeypatch.setattr(ready, "_first", lambda _: names.pop(0) if first == "sh" else first)
    docker = Starting((True, "starting", True), (True, "starting", True), (True, "healthy", True))
    waited(docker, FakeClock())
    assert docker.asked == looks


class Served:
    """A database of which only the load matters: it does as it is told."""

    kind = "redis"
    loads_into: Into = "volume"

    def __init__(self, name: str, load: Callable[[Any], None]) -> None:
        self.name, self._load = name, load

    def capture(self, docker: Docker, place: Place) -> Any:
        raise AssertionError("nobody captures here")

    def load(self, docker: Docker, stored: Any, place: Place) -> None:
        self._load(stored)

    def probe(self, docker: Docker, place: Place, facts: dict[str, Facts]) -> Probe:
        return Probe(self.name, (Verdict("counts", "good", "as many"),))


class Starters:
    """Starts servers by name; says so where two are started at the same time."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self._alone = threading.Lock()

    def start(self, service: str) -> str:
        assert self._alone.acquire(blocking=False), "two servers are started at once"
        time.sleep(0.02)
        self._alone.release()
        self.order.append(service)
        return service

    def stop(self, service: str) -> None: ...


def side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int = 2, **loads: Callable[[Any], None]
) -> Any:
    monkeypatch.setattr(ready, "wait", lambda *_, **__: None)
    host, _ = captured(tmp_path, MemoryStore(versioned=True))
    parts = [Part(Served(f"redis/{name}", load), Place(), service=name) for name, load in loads.items()]
    servers, heard = Starters(), Heard()
    refill = Refill(Docker(), host.repository().newest(), servers, listener=heard, at_once=at_once)
    return refill.run(parts), servers, heard


def test_databases_are_loaded_side_by_side_and_started_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    # Neither load ends before the other has begun.
    meet = lambda _: (both.wait(timeout=60), None)[1]  # noqa: E731
    run, servers, heard = side_by_side(tmp_path, monkeypatch, one=meet, two=meet)
    assert {one.source for one in run} == {"redis/one", "redis/two"}
    assert sorted(servers.order) == ["one", "two"]
    assert heard.steps == ["load redis/one, redis/two"]
    assert all(f"redis/{name}: 1 checks" in heard.ends[0] for name in ("one", "two"))


def test_one_that_fails_ends_the_others_before_anybody_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, ended = threading.Event(), threading.Event()

    def fail(_: Any) -> None:
        assert began.wait(timeout=60)
        raise HostError("no room")

    def go_on(stored: Any) -> None:
        began.set()
        try:
            while True:
                stored.listener.progress(1, 2, "rows")
                time.sleep(0.01)
        finally:
            ended.set()

    run, _, heard = side_by_side(tmp_path, monkeypatch, bad=fail, large=go_on)
    with closing(run), pytest.raises(HostError, match="no room"):
        list(run)
    assert ended.is_set()
    assert "redis/large: rows" in heard.notes


def test_one_after_the_other_is_what_nobody_asked_to_be_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work = threading.Lock()

    def load(_: Any) -> None:
        assert at_work.acquire(blocking=False), "another one is loaded at the same time"
        time.sleep(0.02)
        at_work.release()

    run, servers, heard = side_by_side(tmp_path, monkeypatch, at_once=1, one=load, two=load)
    assert [one.source for one in run] == ["redis/one", "redis/two"]
    assert servers.order == ["one", "two"]
    assert heard.steps == ["load redis/one", "load redis/two"]
