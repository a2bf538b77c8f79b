"""The host contract over the fake and over this machine."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.contracts.host import HostContract
from toolkit.host import File, archive
from toolkit.host.fake import FakeHost
from toolkit.host.local import LocalHost
from toolkit.words.command import Command, Result, command, script
from toolkit.words.errors import HostError, Unreachable
from toolkit.words.values import Secret


def real(given: Command) -> Result:
    """A program of the fake that is the real one, so that the contract can speak of real programs."""
    done = subprocess.run(
        ["env", *(f"{k}={v}" for k, v in given.env), *given.argv], input=given.input(), capture_output=True, check=False
    )
    return Result(given, done.returncode, done.stdout, done.stderr)


def nobody() -> Secret:
    raise AssertionError("no password is needed here")


class TestFakeHost(HostContract):
    @pytest.fixture
    def host(self) -> FakeHost:
        return FakeHost(programs=dict.fromkeys(("sh", "printf", "cat", "true", "printenv"), real))

    @pytest.fixture
    def folder(self) -> str:
        return "/srv"

    def test_it_remembers_what_was_asked(self, host: FakeHost) -> None:
        host.run(command("true"))
        assert host.ran == [command("true")]


class TestLocalHost(HostContract):
    @pytest.fixture
    def host(self) -> Iterator[LocalHost]:
        host = LocalHost("here", nobody)
        yield host
        host.close()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> str:
        return str(tmp_path)

    @pytest.fixture(autouse=True)
    def _rooted(self, host: LocalHost) -> None:
        if not host.is_root() and subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True).returncode:
            pytest.fail("these tests run commands as root: run them as root, or with sudo that asks no password")

    def test_modes_are_those_asked_for(self, host: LocalHost, tmp_path: Path) -> None:
        host.send([File(f"{tmp_path}/m", b"", 0o640)])
        assert (tmp_path / "m").stat().st_mode & 0o7777 == 0o640

    def test_a_folder_in_a_files_place_is_refused_and_left_alone(self, host: LocalHost, tmp_path: Path) -> None:
        (tmp_path / "taken").mkdir()
        with pytest.raises(HostError, match="taken is a directory"):
            host.send([File(f"{tmp_path}/taken", b"x")])
        assert list((tmp_path / "taken").iterdir()) == []

    def test_an_archive_that_fails_leaves_no_drafts_and_no_new_files(self, host: LocalHost, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("old")
        with pytest.raises(HostError):
            host.send([File(f"{tmp_path}/file", b"new"), File(f"{tmp_path}/file/below", b"x")])
        assert (tmp_path / "file").read_text() == "old"
        assert list(tmp_path.iterdir()) == [tmp_path / "file"]

    def test_drafts_of_a_killed_run_go_once_they_are_old(
        self, host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = File(f"{tmp_path}/a file", b"new")
        left = tmp_path / "a file.toolkit-draft-0a1b2c3d"
        left.write_text("half")
        host.send([file])
        assert left.exists()
        # Nobody can make an inode old: what is a day becomes less than nothing.
        monkeypatch.setattr(archive, "LAY_OUT", archive.LAY_OUT.replace("-C $_ > 1", "-C $_ > -1"))
        host.send([file])
        assert [path.name for path in tmp_path.iterdir()] == ["a file"]

    def test_two_runs_may_write_the_same_file_at_once(self, host: LocalHost, tmp_path: Path) -> None:
        other = LocalHost("other", nobody)
        both = Barrier(2)

        def write(one: LocalHost) -> None:
            for _ in range(30):
                both.wait(timeout=30)
                one.send([File(f"{tmp_path}/shared", one.name.encode())])

        try:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(write, (host, other)))
        finally:
            other.close()
        assert [path.name for path in tmp_path.iterdir()] == ["shared"]

    def test_paths_that_climb_are_refused(self, host: LocalHost) -> None:
        with pytest.raises(HostError, match="not an absolute path"):
            host.send([File("/tmp/../etc/passwd", b"")])

    def test_a_shell_that_dies_is_told_as_a_lost_connection(self, host: LocalHost) -> None:
        with pytest.raises(Unreachable, match="the connection ended while running"):
            host.run(script("kill -9 0"))
