"""Notifications: kept until somebody took them, bounded, in order, and with addresses nowhere in clear."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from toolkit.agent import notify
from toolkit.agent.notify import outbox, sender, targets, ways
from toolkit.agent.notify.sender import KEEP, PAUSES, Sender
from toolkit.agent.notify.targets import Target
from toolkit.agent.paths import Paths
from toolkit.vault import addresses
from toolkit.words.clock import FakeClock
from toolkit.words.errors import HostError
from toolkit.words.values import Secret

CANARY = "hook-canary-4711"
URL = f"http://127.0.0.1:9/{CANARY}"
GAVE_UP = notify.Event("watchdog.gave-up", "error", "shop/web", "web is given up", "exit code 3", {"exit_code": 3})


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path)


def tell(paths: Paths, *named: dict[str, Any]) -> None:
    told = [{"kind": "webhook", "on": [], "url": URL} | one for one in named]
    targets.put(paths, json.dumps({"host": "prod", "targets": told}).encode())


@dataclass
class Receiver:
    """Takes messages, or does not, as each target's list of faults says."""

    faults: dict[str, list[ways.NotSent]] = field(default_factory=dict)
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, target: Target, message: Any) -> None:
        if self.faults.get(target.name):
            raise self.faults[target.name].pop(0)
        self.got.append((target.name, dict(message)))


def clock() -> FakeClock:
    return FakeClock(epoch=time.time())


def test_an_event_waits_for_each_who_wants_it_and_is_sent_in_order(paths: Paths) -> None:
    tell(paths, {"name": "ops"}, {"name": "owner", "on": ["deploy.mixed", "watchdog"]}, {"name": "x", "on": ["backup"]})
    notify.post(paths, GAVE_UP)
    notify.post(paths, notify.Event("deploy.rolled-back", "error", "shop", "rolled back"))
    receiver = Receiver()
    Sender(paths, clock(), receiver).run()
    assert [(name, one["kind"]) for name, one in receiver.got] == [
        ("ops", "watchdog.gave-up"),
        ("ops", "deploy.rolled-back"),
        ("owner", "watchdog.gave-up"),
    ]
    message = receiver.got[0][1]
    assert message["host"] == "prod"
    assert message["text"] == "prod: web is given up\nexit code 3"
    assert message["details"] == {"exit_code": 3}
    assert outbox.waiting(paths) == []


def test_what_is_not_taken_is_kept_and_tried_again_after_growing_pauses(paths: Paths) -> None:
    tell(paths, {"name": "ops"}, {"name": "owner"})
    receiver = Receiver({"ops": [ways.NotSent("answered 503")] * 4})
    time_of_day = clock()
    notify.post(paths, GAVE_UP)
    Sender(paths, time_of_day, receiver).run()
    assert [name for name, _ in receiver.got] == ["owner", "ops"]
    assert sum(PAUSES[:4]) <= time_of_day.now() <= sum(PAUSES[:4]) + 5
    assert sender.status(paths)["ops"].keys() == {"sent", "tried"}


def test_a_fault_is_told_with_the_time_since_when_and_nobody_waits_for_another(paths: Paths) -> None:
    tell(paths, {"name": "ops"}, {"name": "owner"})
    notify.post(paths, GAVE_UP)
    receiver = Receiver({"ops": [ways.NotSent("no route to host")]})
    one = Sender(paths, clock(), receiver)
    one.round(outbox.waiting(paths))
    assert [name for name, _ in receiver.got] == ["owner"]
    ops, owner = sender.overview(paths)
    assert (ops["name"], ops["waiting"], ops["fault"]) == ("ops", 1, "no route to host")
    assert (owner["waiting"], "fault" in owner) == (0, False)


def test_a_message_that_is_refused_for_good_does_not_stop_those_behind_it(paths: Paths) -> None:
    tell(paths, {"name": "ops"})
    notify.post(paths, GAVE_UP)
    notify.post(paths, notify.Event("deploy.mixed", "error", "shop", "mixed"))
    receiver = Receiver({"ops": [ways.NotSent("answered 400", final=True)]})
    Sender(paths, clock(), receiver).run()
    [(_, message)] = receiver.got
    assert message["kind"] == "deploy.mixed"
    assert message["text"].endswith("(1 older messages could not be sent)")
    assert outbox.dropped(paths, "ops") == 0


def test_the_outbox_is_bounded_and_says_how_many_it_lost(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MOST", 3)
    tell(paths, {"name": "ops"}, {"name": "owner"})
    for number in range(5):
        notify.post(paths, notify.Event("watchdog.healed", "warning", "shop", f"heal {number}"))
    kept = [one.message()["title"] for one in outbox.waiting(paths) if one.target == "ops"]
    assert kept == ["heal 2", "heal 3", "heal 4"]
    receiver = Receiver()
    Sender(paths, clock(), receiver).run()
    assert "(2 older messages could not be sent)" in receiver.got[0][1]["text"]
    assert "could not" not in receiver.got[1][1]["text"]


def test_what_nobody_took_for_days_is_given_up(paths: Paths) -> None:
    tell(paths, {"name": "ops"})
    notify.post(paths, GAVE_UP)
    receiver = Receiver()
    Sender(paths, FakeClock(epoch=time.time() + KEEP + 1), receiver).run()
    assert receiver.got == []
    assert outbox.dropped(paths, "ops") == 1


def test_messages_for_nobody_and_damaged_ones_are_removed(paths: Paths) -> None:
    tell(paths, {"name": "ops"}, {"name": "gone"})
    notify.post(paths, GAVE_UP)
    next(one for one in outbox.waiting(paths) if one.target == "ops").path.write_bytes(b"{")
    tell(paths, {"name": "ops"})
    Sender(paths, clock(), Receiver()).run()
    assert outbox.waiting(paths) == []


def test_posting_never_raises_and_without_targets_does_nothing(paths: Paths) -> None:
    notify.post(paths, GAVE_UP)
    assert not paths.queue.exists()
    tell(paths, {"name": "ops"})
    paths.queue.rmdir()
    notify.post(paths, GAVE_UP)


def test_addresses_are_nowhere_in_clear(paths: Paths) -> None:
    tell(paths, {"name": "ops", "url": URL})
    notify.post(paths, GAVE_UP)
    Sender(paths, clock(), Receiver({"ops": [ways.NotSent("answered 503")]})).round(outbox.waiting(paths))
    for path in paths.root.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
        assert not path.is_file() or path.stat().st_mode & 0o077 == 0, path
    assert CANARY not in repr(targets.read(paths))
    assert targets.read(paths)["ops"].url == Secret(URL.encode())


def test_the_index_proves_what_was_put_to_whoever_has_it(paths: Paths) -> None:
    body = json.dumps({"host": "prod", "targets": []}).encode()
    targets.put(paths, body)
    index = json.loads((paths.notify / "targets.json").read_text())
    assert addresses.proof(index["salt"], body) == index["proof"]
    assert addresses.proof(index["salt"], body + b" ") != index["proof"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"host": "a"}', b'{"host": "a", "targets": [{"name": "../x", "kind": "webhook", "on": []}]}']
)
def test_what_are_no_targets_is_refused(paths: Paths, body: bytes) -> None:
    with pytest.raises(HostError, match="does not understand"):
        targets.put(paths, body)


def test_targets_that_cannot_be_opened_are_told_and_tried_again_later(paths: Paths) -> None:
    tell(paths, {"name": "ops"})
    notify.post(paths, GAVE_UP)
    paths.identity.unlink()
    one = Sender(paths, clock(), Receiver())
    one.round(outbox.waiting(paths))
    [told] = sender.overview(paths)
    assert told["waiting"] == 1
    assert "identity is missing" in told["fault"]


@contextmanager
def server(status: int, wait: float = 0.0) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    seen: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, dict(self.headers), body))
            time.sleep(wait)
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            raise AssertionError("a redirect was followed")

        def log_message(self, *_: object) -> None: ...

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{found.server_address[1]}", seen
    finally:
        found.shutdown()
        found.server_close()
        thread.join()


def webhook(url: str) -> Target:
    return Target("ops", url=Secret(url.encode()))


def test_a_webhook_is_posted_json_and_its_login_travels_as_one() -> None:
    with server(204) as (address, seen):
        ways.send(webhook(f"http://me:p%40ss@{address}/hook?x=1"), GAVE_UP.message("prod"))
    [(path, headers, body)] = seen
    assert path == "/hook?x=1"
    assert headers["Authorization"] == "Basic bWU6cEBzcw=="
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["content"].startswith("prod: web is given up")


@pytest.mark.parametrize(("status", "final"), [(302, False), (400, True), (404, False), (429, False), (503, False)])
def test_an_answer_that_is_no_success_is_told_without_the_address(status: int, final: bool) -> None:
    with server(status) as (address, seen), pytest.raises(ways.NotSent) as caught:
        ways.send(webhook(f"http://{address}/{CANARY}"), {})
    assert (str(caught.value), caught.value.final) == (f"answered {status}", final)
    assert len(seen) == 1
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [f"http://127.0.0.1:1/{CANARY}", f"ftp://{CANARY}/", f"{CANARY}", f"http://[{CANARY}", f"http://127.0.0.1:x/{CANARY}",
     f"http://127.0.0.1:80/ {CANARY}", f"http://nowhere.invalid/{CANARY}", ""],
)  # fmt: skip
def test_an_address_that_does_not_work_is_told_and_never_shown(url: str) -> None:
    with pytest.raises(ways.NotSent) as caught:
        ways.send(webhook(url), {})
    assert str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_webhook_that_does_not_answer_costs_its_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "TIMEOUT", 0.1)
    with server(200, wait=0.5) as (address, _), pytest.raises(ways.NotSent, match="timed out"):
        ways.send(webhook(f"http://{address}/"), {})


def test_apprise_sends_what_its_addresses_name() -> None:
    with server(200) as (address, seen):
        ways.send(Target("ops", "apprise", (), Secret(f"json://{address}/x".encode())), GAVE_UP.message("prod"))
    told = json.loads(seen[0][2])
    assert (told["title"], told["type"]) == ("web is given up", "failure")
    assert "exit code 3" in told["message"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [(f"nonsense://{CANARY}", "does not understand"), (f"json://127.0.0.1:1/{CANARY}", "could not send")],
)
def test_what_apprise_cannot_do_is_told_without_the_address(
    url: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ways.NotSent, match=reason):
        ways.send(Target("ops", "apprise", (), Secret(url.encode())), GAVE_UP.message("prod"))
    told = capfd.readouterr()
    assert CANARY not in told.out + told.err


def test_a_host_without_apprise_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    with pytest.raises(ways.NotSent, match="provision again"):
        ways.send(Target("ops", "apprise", (), Secret(b"json://x")), GAVE_UP.message("prod"))


def test_waiting_for_a_test_ends_when_everything_was_tried(paths: Paths) -> None:
    tell(paths, {"name": "ops"}, {"name": "owner"})
    notify.post(paths, notify.Event("notify.test", "info", "prod", "a test"))
    receiver = Receiver({"ops": [ways.NotSent("answered 404")]})

    def work(_seconds: float) -> None:
        Sender(paths, FakeClock(epoch=time.time()), receiver).round(outbox.waiting(paths))

    ops, owner = sender.settle(paths, within=10, sleep=work)
    assert ops["fault"] == "answered 404"
    assert owner["sent"] >= time.time() - 60


def test_a_message_that_was_taken_in_the_same_second_is_not_the_one_that_is_waited_for(paths: Paths) -> None:
    tell(paths, {"name": "ops"})
    receiver = Receiver({})
    for title in ("the one before", "a test"):
        notify.post(paths, notify.Event("notify.test", "info", "prod", title))
        if title == "the one before":
            Sender(paths, FakeClock(epoch=time.time()), receiver).round(outbox.waiting(paths))

    def work(_seconds: float) -> None:
        Sender(paths, FakeClock(epoch=time.time()), receiver).round(outbox.waiting(paths))

    (ops,) = sender.settle(paths, within=10, sleep=work)
    assert ops["waiting"] == 0
