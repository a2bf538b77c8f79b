"""A backup started and followed from the control side, across real processes and a connection that breaks."""

import json
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import RECIPIENTS
from tests.unit.test_agent_client import AgentHost, host
from toolkit.agent.backup import access, record
from toolkit.agent.backup.desk import Desk
from toolkit.agent.paths import Paths
from toolkit.stack.duty import Duty, Tree
from toolkit.stack.journal import Journal
from toolkit.vault.access import pack
from toolkit.words.clock import FakeClock
from toolkit.words.command import Command
from toolkit.words.errors import ConfigError, Detached, HostError, Locked, Stopped, Unreachable
from toolkit.words.values import Size
from toolkit.workflows import backup_now as workflow

__all__ = ["host"]


class Ears:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.progressed: list[float] = []

    def step(self, title: str) -> None:
        self.heard.append(("step", title))

    def line(self, text: str) -> None:
        self.heard.append(("line", text))

    def progress(self, done: float, total: float, note: str = "") -> None:
        self.progressed.append(done)

    def done(self, note: str = "") -> None:
        self.heard.append(("done", note))

    def warn(self, text: str) -> None:
        self.heard.append(("warn", text))


@pytest.fixture
def paths(host: AgentHost) -> Paths:
    found = Paths(host.root)
    (host.root / "srv").mkdir()
    (host.root / "srv/file").write_text("x" * 1000)
    (host.root / "store").mkdir()
    access.put(found, pack({}))
    give(found)
    return found


def give(paths: Paths, /, **changes: Any) -> None:
    given = {
        "host": "prod",
        "url": f"file://{paths.root}/store",
        "recipients": RECIPIENTS,
        "paths": (Tree("/srv", "srv"),),
    }
    paths.duty.parent.mkdir(parents=True, exist_ok=True)
    paths.duty.write_text(Duty(**{**given, **changes}).dumps())


def follow(host: Any, journal: str, ears: Ears | None = None) -> workflow.Following:
    return workflow.Following(host, journal, ears or Ears(), FakeClock())


def test_a_backup_is_made_on_the_host_and_heard_here(host: AgentHost, paths: Paths) -> None:
    ears = Ears()
    done = workflow.back_up(host, listener=ears, clock=FakeClock())
    assert (done["result"], done["sources"]["srv"]["bytes"]) == ("complete", 1000)
    assert ("step", "back up prod") in ears.heard
    assert ears.progressed
    assert all(isinstance(one, Size) for one in ears.progressed)
    assert record.read(paths)[-1].who.count("@") == 1


def test_one_that_is_incomplete_is_returned_and_one_that_failed_is_raised(host: AgentHost, paths: Paths) -> None:
    give(paths, paths=(Tree("/srv", "srv"), Tree("/gone", "gone")))
    assert workflow.back_up(host, listener=Ears(), clock=FakeClock())["result"] == "incomplete"
    give(paths, recipients=RECIPIENTS[:1])
    with pytest.raises(ConfigError, match="prod: backups need two recipients") as caught:
        workflow.back_up(host, listener=Ears(), clock=FakeClock())
    assert "escrow" in caught.value.hint


def test_one_at_work_is_named(host: AgentHost, paths: Paths) -> None:
    desk = Desk(paths)
    with desk.held():
        desk.begin("the schedule", "j")
        with pytest.raises(Locked, match="prod: the schedule is backing this host up"):
            workflow.back_up(host, listener=Ears(), clock=FakeClock())


def test_a_host_that_was_told_nothing_says_so(host: AgentHost, paths: Paths) -> None:
    paths.duty.unlink()
    with pytest.raises(HostError, match="nobody said what to back up"):
        workflow.back_up(host, listener=Ears(), clock=FakeClock())


def told(paths: Paths, *events: tuple[str, dict[str, Any]]) -> str:
    """Write a journal as a run would; return its name."""
    book = Journal(Desk(paths).journal("j1"))
    for kind, fields in events:
        book.write(kind, **fields)
    book.close()
    return "j1"


STEPS = [("step", {"text": f"step {number}"}) for number in range(6)]
END = ("end", {"run": {"result": "complete", "snapshot": "s", "code": 0, "said": "", "hint": ""}})


class Cut(AgentHost):
    """A connection that breaks after three lines, so many times: as over ssh, the stream ends, and has no exit code."""

    breaks: int = 1

    def open(self, command: Command) -> Any:
        process = super().open(command)
        if self.breaks and "follow" in command.argv:
            self.breaks -= 1
            return Breaking(process)
        return process


class Breaking:
    def __init__(self, process: Any) -> None:
        self._process = process
        self._whole = b""

    def finish(self) -> None:
        self._process.finish()

    def close(self) -> None:
        self._process.close()

    def read(self) -> tuple[bytes, bytes]:
        if self._whole:
            return b"", b""
        while more := self._process.read()[0]:
            self._whole += more
        return b"".join(self._whole.splitlines(keepends=True)[:3]), b""

    def wait(self) -> int:
        return -1


def test_a_connection_that_breaks_changes_nothing_and_repeats_nothing(host: AgentHost, paths: Paths) -> None:
    ears = Ears()
    cut = Cut(name="prod", lib=host.lib, root=host.root)
    assert follow(cut, told(paths, *STEPS, END), ears).finish()["snapshot"] == "s"
    assert [text for kind, text in ears.heard if kind == "step"] == [f"step {number}" for number in range(6)]
    assert ("warn", "prod: the connection was lost; the backup goes on there") in ears.heard


def test_one_that_stays_broken_is_left_to_itself(host: AgentHost, paths: Paths) -> None:
    cut = Cut(name="prod", lib=host.lib, root=host.root)
    cut.breaks = 99
    following = follow(cut, told(paths, *STEPS, END))
    with pytest.raises(Unreachable, match="the backup goes on there") as caught:
        following.finish()
    assert "backup.status" in caught.value.hint


def test_one_that_ended_without_a_word_is_no_success(host: AgentHost, paths: Paths, monkeypatch: Any) -> None:
    # As `kill -9` leaves it. Nobody holds the lock, so nobody is waited for any longer than one takes to begin.
    monkeypatch.setattr("toolkit.agent.backup.steer.BEGINS_WITHIN", 0.1)
    (host.lib / "toolkit/agent/backup/steer.py").write_text(
        (host.lib / "toolkit/agent/backup/steer.py").read_text().replace("BEGINS_WITHIN = 20.0", "BEGINS_WITHIN = 0.1")
    )
    with pytest.raises(HostError, match="ended without a word"):
        follow(host, told(paths, *STEPS)).finish()


@pytest.mark.parametrize(("result", "error"), [("stopped", Stopped), ("failed", HostError)])
def test_how_it_ended_decides_what_is_raised(
    host: AgentHost, paths: Paths, result: str, error: type[Exception]
) -> None:
    run = {"result": result, "snapshot": "", "code": 12, "said": "because", "hint": "do this"}
    with pytest.raises(error, match="prod: because"):
        follow(host, told(paths, ("end", {"run": run}))).finish()


@pytest.fixture
def patient() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_asks_once_and_lets_go_twice(host: AgentHost, paths: Paths, patient: None, tmp_path: Path) -> None:
    ears, asked = Ears(), queue.SimpleQueue[bool]()
    following = follow(host, told(paths, *STEPS), ears)
    following._stop = lambda: asked.put(True)  # type: ignore[method-assign]

    def press() -> None:
        for count in (1, 2):
            deadline = time.monotonic() + 120
            while len(ears.heard) < len(STEPS) + count - 1 and time.monotonic() < deadline:
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGINT)

    with Desk(paths).held():
        thread = threading.Thread(target=press)
        thread.start()
        with pytest.raises(Detached, match="the backup goes on there"):
            following.finish()
        thread.join()
    assert ears.heard[-1] == ("warn", "asked to stop; once more to leave it to itself")
    # It is asked in a thread of its own, which may not have begun yet.
    assert asked.get(timeout=120)
    assert asked.empty()
    assert json.loads(Desk(paths).journal("j1").read_text().splitlines()[0])["kind"] == "step"


def test_what_would_be_captured_is_asked_of_the_host(host: AgentHost, paths: Paths) -> None:
    assert [one["name"] for one in workflow.sources(host)["sources"]] == ["srv"]
