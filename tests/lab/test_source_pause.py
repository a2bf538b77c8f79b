"""Paused consumers on a host with systemd: they run again whatever happens to whoever paused them."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.lab import Lab
from toolkit.lab.hosts import Vps

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
PAUSE = """
import os, sys
sys.path.insert(0, "/opt/test")
from toolkit.sources.docker import Docker
from toolkit.sources.pause import Pause, paused
how, end = sys.argv[1:3]
with paused(Docker(), "shop", sys.argv[3:], Pause(how=how, at_most=4)):
    print(*[each["State"]["Status"] for each in Docker().inspect("container", *sys.argv[3:])], flush=True)
    if end == "killed":
        os.kill(os.getpid(), 9)
"""
HEAL = """
import sys
sys.path.insert(0, "/opt/test")
from toolkit.sources.pause import heal
print(*heal("shop"))
"""


class Consumers:
    """Two containers on a host with Docker, and the part of the toolkit that pauses them."""

    def __init__(self, lab: Lab, vps: Vps) -> None:
        self.lab, self.vps = lab, vps
        self.run("systemctl enable --quiet --now docker.service")
        image = lab.pictures.base("trixie")
        self.pipe(["docker", "save", image], "docker load -q")
        parts = ("toolkit/__init__.py", "toolkit/words", "toolkit/sources")
        self.pipe(["tar", "-C", str(ROOT), "-c", *parts], "mkdir -p /opt/test && tar -xC /opt/test")
        for name in ("one", "two"):
            self.run(f"docker run --detach --restart unless-stopped --init --name {name} {image} sleep 100000")

    def run(self, text: str, stdin: str = "") -> str:
        words = self.lab.ssh_command(self.vps, "sudo", "sh", "-c", f"'{text}'")
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode in (0, 137), (text, done.stdout, done.stderr)
        return done.stdout.strip()

    def pipe(self, source: list[str], sink: str) -> None:
        with subprocess.Popen(source, stdout=subprocess.PIPE) as sent:
            words = self.lab.ssh_command(self.vps, "sudo", "sh", "-c", f"'{sink}'")
            subprocess.run(words, stdin=sent.stdout, check=True, capture_output=True, timeout=240)

    def pause(self, how: str, end: str) -> str:
        return self.run(f"python3 - {how} {end} one two || true", stdin=PAUSE)

    def states(self) -> list[str]:
        return self.run("docker inspect --format {{.State.Status}} one two").split()

    def until(self, states: list[str], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while self.states() != states:
            assert time.monotonic() < deadline, self.states()
            time.sleep(0.3)

    def armed(self) -> str:
        return self.run("systemctl list-units --all --plain --no-legend toolkit-resume-*")

    def notes(self) -> str:
        return self.run("ls -A /var/lib/toolkit/paused")


@pytest.fixture(scope="module")
def consumers(lab: Lab) -> Iterator[Consumers]:
    try:
        yield Consumers(lab, lab.host("source-pause", stocked=True))
    finally:
        lab.remove("source-pause")


@pytest.mark.parametrize(("how", "state"), [("pause", "paused"), ("stop", "exited")])
def test_consumers_run_again_at_the_end_and_nothing_is_left(consumers: Consumers, how: str, state: str) -> None:
    assert consumers.pause(how, "well").split() == [state, state]
    assert consumers.states() == ["running", "running"]
    assert (consumers.armed(), consumers.notes()) == ("", "")


@pytest.mark.parametrize(("how", "state"), [("pause", "paused"), ("stop", "exited")])
def test_a_timer_resumes_what_a_killed_process_paused(consumers: Consumers, how: str, state: str) -> None:
    assert consumers.pause(how, "killed").split() == [state, state]
    assert consumers.states() == [state, state]
    assert "toolkit-resume-shop.timer" in consumers.armed()
    consumers.until(["running", "running"])
    assert consumers.notes() == ""


def test_the_next_run_resumes_what_a_killed_one_paused(consumers: Consumers) -> None:
    consumers.pause("pause", "killed")
    assert consumers.pause("stop", "well").split() == ["exited", "exited"]
    assert consumers.states() == ["running", "running"]
    assert (consumers.armed(), consumers.notes()) == ("", "")


def test_what_was_stopped_when_the_host_went_down_is_started_by_the_note(consumers: Consumers) -> None:
    consumers.pause("stop", "killed")
    consumers.lab.reboot(consumers.vps.name)
    consumers.run("timeout 60 systemctl is-system-running --wait || true")
    assert consumers.states() == ["exited", "exited"]
    assert consumers.run("python3 -", stdin=HEAL).split() == ["one", "two"]
    assert consumers.states() == ["running", "running"]
    assert consumers.notes() == ""


def test_without_a_timer_nothing_is_paused(consumers: Consumers) -> None:
    consumers.run("mv /usr/bin/systemd-run /usr/bin/systemd-run.away")
    try:
        assert consumers.pause("pause", "well") == ""
        assert consumers.states() == ["running", "running"]
        assert consumers.notes() == ""
    finally:
        consumers.run("mv /usr/bin/systemd-run.away /usr/bin/systemd-run")
