"""The watchdog's process: what it says to systemd, to the audit log and to people."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolkit.agent import audit, watch
from toolkit.agent.notify import outbox, targets
from toolkit.agent.paths import Paths
from toolkit.stack.place import Place
from toolkit.stack.watchdog import history
from toolkit.stack.watchdog.history import Incident
from toolkit.stack.watchdog.policy import Policy

ROOT = Path(__file__).parents[2]
EVIDENCE = {
    "containers": [
        {"name": "shop-web-1", "status": "exited", "exit_code": 3, "restarts": 2, "oom_killed": True,
         "health_log": ["no answer"], "last_lines": ["the reason why"]}
    ],
    "release": {"id": "r1", "created": "2026-01-01", "who": "ann@laptop", "commit": "abc"},
}  # fmt: skip


def incident(result: str, service: str = "web", kind: str = "dead") -> Incident:
    return Incident(
        "2026-01-01T00:00:00Z", service, kind, "ended with exit code 3", result, ("restarted",), "", 3.2, "r1", EVIDENCE
    )


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    targets.put(
        Paths(tmp_path),
        json.dumps({"host": "prod", "targets": [{"name": "ops", "kind": "webhook", "on": [], "url": "x"}]}).encode(),
    )
    return Paths(tmp_path)


def test_a_heal_is_in_the_history_the_audit_log_and_the_outbox(paths: Paths) -> None:
    place = Place("shop", paths.root)
    watch.tell(paths, place, incident("healed"))
    assert history.read(place, 1)[0]["result"] == "healed"
    [entry] = audit.read(paths, 5)
    assert (entry["verb"], entry["who"], entry["service"], entry["did"]) == (
        "heal",
        "the watchdog",
        "web",
        ["restarted"],
    )
    assert "evidence" not in entry
    [waiting] = outbox.waiting(paths)
    message = waiting.message()
    assert message is not None
    assert message["kind"] == "watchdog.healed"
    assert message["title"] == "web had ended and is well again after 3.2 s"
    for words in ("ended with exit code 3", "the reason why", "no answer", "killed for memory", "r1", "ann@laptop"):
        assert words in message["text"]


@pytest.mark.parametrize(
    ("told", "kind", "severity"),
    [
        (incident("given up"), "watchdog.gave-up", "error"),
        (incident("recovered"), "watchdog.recovered", "info"),
        (incident("silent", "", "docker"), "watchdog.docker-silent", "error"),
        (incident("back", "", "docker"), "watchdog.docker-back", "info"),
        (incident("silent", "", "silent"), "watchdog.address-silent", "error"),
    ],
)
def test_people_are_told_what_they_can_do_something_about(told: Incident, kind: str, severity: str) -> None:
    event = watch.event_of("shop", told)
    assert event is not None
    assert (event.kind, event.severity) == (kind, severity)


def test_one_failed_try_of_several_is_kept_and_told_to_nobody(paths: Paths) -> None:
    watch.tell(paths, Place("shop", paths.root), incident("failed"))
    assert outbox.waiting(paths) == []
    assert history.read(Place("shop", paths.root), 1)


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_that_it_is_ready_and_alive(tmp_path: Path, abstract: bool) -> None:
    Place("shop", tmp_path).prepare()
    Paths(tmp_path).policy.parent.mkdir(parents=True)
    Paths(tmp_path).policy.write_text(Policy("shop", every=1).dumps())
    name = f"toolkit-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"\0{name}" if abstract else name)
        ear.settimeout(20)
        process = subprocess.Popen(
            [sys.executable, "-m", "toolkit.agent", "--root", str(tmp_path), "watchdog", "run"],
            env={**os.environ, "NOTIFY_SOCKET": f"@{name}" if abstract else name},
            cwd=ROOT,
        )
        try:
            heard = [ear.recv(1000).decode() for _ in range(4)]
            deadline = time.monotonic() + 20
            while not history.shown(Place("shop", tmp_path)) and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()
    assert heard[0] == "READY=1\nSTATUS=watching shop"
    assert heard[1:] == ["WATCHDOG=1"] * 3
    found = watch.status(Paths(tmp_path), "shop")
    assert found["watching"] is True
    assert found["seen"]["aside"] == "nothing is deployed yet"


@pytest.mark.parametrize(("said", "seconds"), [("30000000", 10.0), ("3000000", 1.0), ("", 10.0), ("0", 10.0)])
def test_it_beats_three_times_as_often_as_systemd_asks(
    monkeypatch: pytest.MonkeyPatch, said: str, seconds: float
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", said)
    assert watch.beat() == seconds


def test_without_systemd_nobody_is_told_and_nothing_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    watch.alive()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    watch.alive()


def test_a_watchdog_that_is_not_there_is_told_from_one_that_watches(tmp_path: Path) -> None:
    paths, place = Paths(tmp_path), Place("shop", tmp_path)
    assert watch.status(paths, "shop")["watching"] is False
    place.prepare()
    paths.policy.parent.mkdir(parents=True)
    paths.policy.write_text(Policy("shop").dumps())
    history.show(place, {"at": time.time() - 50, "every": 30})
    assert watch.status(paths, "shop")["watching"] is True
    history.show(place, {"at": time.time() - 500, "every": 30})
    assert watch.status(paths, "shop")["watching"] is False


def test_a_watchdog_without_a_policy_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "toolkit.agent", "--root", str(tmp_path), "watchdog", "run"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 12
    assert "watchdog.json cannot be understood" in done.stderr
