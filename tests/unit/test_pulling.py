"""Images that come while something else is done: waited for, told of when they fail, and ended with their context."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from toolkit.stack import images
from toolkit.stack.place import Place
from toolkit.stack.site import Site
from toolkit.words.clock import SystemClock
from toolkit.words.command import Command, Result, script
from toolkit.words.errors import HostError
from toolkit.words.report import Silent

WITHIN = 60.0
# It pulls what is named after what is to happen.
DOCKER = """#!/bin/sh
[ "$1" = --config ] && [ "$3" = pull ] || exit 9
echo "$4" >>"$2/asked"
case $4 in
  good*) echo "Status: Downloaded $4" ;;
  bad*) echo 'Error response from daemon: denied' ; exit 1 ;;
  slow*) echo $$ >"$2/pid"; exec sleep 600 ;;
esac
"""


class Here:
    """Runs commands on this machine, and finds the stand-in for Docker first."""

    def __init__(self, folder: Path) -> None:
        self.path = f"{folder}:{os.environ['PATH']}"

    def run(self, command: Command, **_: object) -> Result:
        done = subprocess.run(
            command.argv, capture_output=True, check=False, timeout=WITHIN, env={**os.environ, "PATH": self.path}
        )
        return Result(command, done.returncode, done.stdout, done.stderr)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(DOCKER)
    (tmp_path / "bin/docker").chmod(0o755)
    (tmp_path / "login").mkdir()
    return Site(Here(tmp_path / "bin"), Place("shop", tmp_path), SystemClock(), Silent())  # type: ignore[arg-type]


def until(path: Path) -> None:
    deadline = time.monotonic() + WITHIN
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_comes_meanwhile_is_waited_for(site: Site, tmp_path: Path) -> None:
    with images.pulling(site, ["good:1", "good:2"], str(tmp_path / "login")) as coming:
        coming.join()
    assert sorted((tmp_path / "login/asked").read_text().split()) == ["good:1", "good:2"]


def test_an_image_that_is_refused_is_told_in_the_engines_words(site: Site, tmp_path: Path) -> None:
    with (
        images.pulling(site, ["good:1", "bad:2"], str(tmp_path / "login")) as coming,
        pytest.raises(HostError, match="denied"),
    ):
        coming.join()


def test_a_pull_ends_with_its_context_and_one_that_was_ended_is_no_success(site: Site, tmp_path: Path) -> None:
    with images.pulling(site, ["slow:1"], str(tmp_path / "login")):
        until(tmp_path / "login/pid")
        pid = int((tmp_path / "login/pid").read_text())
        assert alive(pid)
    deadline = time.monotonic() + WITHIN
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with images.pulling(site, ["slow:1"], str(tmp_path / "login")) as coming:
        site.host.run(script('kill -KILL "-$1"', coming.process))
        with pytest.raises(HostError, match="ended from outside"):
            coming.join()
