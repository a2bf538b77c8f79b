"""The script that resumes what was paused, with a Docker that hangs as the real one does."""

import os
import subprocess
from pathlib import Path

import pytest

from toolkit.sources import pause

DOCKER = """#!/bin/sh
cd "{folder}"
frozen() {{ grep -qsx FROZEN {file} || grep -qsx 1 {file}; }}
case $1 in
  version) ;;
  inspect) [ ! -e hangs ] || ! frozen || sleep 60; cat state ;;
  unpause) frozen || {{ echo "container not paused" >&2; exit 1; }}
           echo {thawed} >{file}; echo running >state ;;
esac
"""
# Ten seconds are long for a test.
TIMEOUT = '#!/bin/sh\nshift; exec /usr/bin/timeout 0.3 "$@"\n'
IDENTIFIER = "d460a86db0d9" * 5


@pytest.fixture(params=["freezer.state", "cgroup.freeze"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A machine with one paused container, by the first or the second kind of control groups."""
    group = tmp_path / "groups" / f"docker-{IDENTIFIER}.scope"
    group.mkdir(parents=True)
    frozen, thawed = ("FROZEN", "THAWED") if request.param == "freezer.state" else ("1", "0")
    (group / request.param).write_text(f"{frozen}\n")
    # The other kind may be there as well, and is left alone.
    (tmp_path / "groups/unified").mkdir()
    (tmp_path / "state").write_text("paused\n")
    (tmp_path / "note").write_text(f"{IDENTIFIER}\n")
    (tmp_path / "bin").mkdir()
    text = DOCKER.format(folder=tmp_path, file=group / request.param, thawed=thawed)
    for name, content in {"docker": text, "timeout": TIMEOUT}.items():
        (tmp_path / "bin" / name).write_text(content)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def resume(folder: Path) -> "subprocess.CompletedProcess[str]":
    words = ["sh", "-c", pause._RESUME, "sh", str(folder / "note"), str(folder / "groups"), IDENTIFIER]
    env = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}"}
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=30)


def test_what_is_paused_runs_again_and_the_note_is_gone(folder: Path) -> None:
    assert resume(folder).returncode == 0
    assert (folder / "state").read_text() == "running\n"
    assert not (folder / "note").exists()


def test_a_container_that_the_engine_waits_for_is_let_go_past_it(folder: Path) -> None:
    (folder / "hangs").touch()
    done = resume(folder)
    assert done.returncode == 0, done
    assert (folder / "state").read_text() == "running\n"
    assert not (folder / "note").exists()


def test_what_was_let_go_past_the_engine_by_one_who_was_killed_is_resumed_all_the_same(folder: Path) -> None:
    [file] = [path for path in (folder / "groups").rglob("*") if path.is_file()]
    file.write_text("THAWED\n" if file.name == "freezer.state" else "0\n")
    assert resume(folder).returncode == 0
    assert (folder / "state").read_text() == "running\n"


@pytest.mark.parametrize("folder", ["freezer.state"], indirect=True)
def test_where_both_kinds_of_groups_are_the_second_is_not_touched(folder: Path) -> None:
    other = folder / "groups/unified" / f"docker-{IDENTIFIER}.scope"
    other.mkdir()
    (other / "cgroup.freeze").write_text("untouched\n")
    (folder / "hangs").touch()
    assert resume(folder).returncode == 0
    assert (other / "cgroup.freeze").read_text() == "untouched\n"
    assert (folder / "state").read_text() == "running\n"


def test_a_container_that_runs_is_left_alone(folder: Path) -> None:
    (folder / "state").write_text("running\n")
    assert resume(folder).returncode == 0
    assert not (folder / "note").exists()
