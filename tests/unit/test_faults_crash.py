"""Crashes: a backup is stopped at every store call and every commit, in both ways, and nothing earlier is harmed.

`kill -9` is a real signal to a real child process. Every earlier snapshot must restore byte for byte afterwards, and
the next run must succeed and restore as well.
"""

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import Host, look, noise
from toolkit.repository import Report, restore
from toolkit.repository.state import connect
from toolkit.store import open_store


class Stop(Exception):
    """The injected failure."""


class Fuse:
    """Burns down by one at each step, and then does what it was laid for. A step has a before and an after."""

    def __init__(self, steps: int, blow: Callable[[], None]) -> None:
        self.left = steps
        self._blow = blow

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            self._blow()


class FusedStore:
    """A store in which every call may be the last, before or after its effect."""

    def __init__(self, store: Any, fuse: Fuse) -> None:
        self._store, self._fuse = store, fuse

    def put_new(self, *words: Any, **named: Any) -> None:
        self._fuse.step()
        self._store.put_new(*words, **named)
        self._fuse.step()

    def list(self, prefix: str = "") -> Any:
        self._fuse.step()
        return self._store.list(prefix)


def fused_connect(fuse: Fuse) -> Callable[[Path], sqlite3.Connection]:
    class Fused(sqlite3.Connection):
        def commit(self) -> None:
            fuse.step()
            super().commit()
            fuse.step()

    return lambda path: sqlite3.connect(path, check_same_thread=False, timeout=30, factory=Fused)


def change(tree: Path) -> None:
    (tree / "a").write_bytes(noise(400_000, 21))
    (tree / "new").write_bytes(noise(700_000, 22))
    (tree / "b").unlink()


@pytest.fixture
def before(tmp_path: Path) -> tuple[Path, dict[bytes, tuple[object, ...]]]:
    """A directory with a tree, a store and a state after one backup, and the tree already changed for the next."""
    place = tmp_path / "before"
    (place / "tree" / "sub").mkdir(parents=True)
    (place / "store").mkdir()
    for number, name in enumerate(("a", "b", "sub/c")):
        (place / "tree" / name).write_bytes(noise(300_000, number))
    host_at(place).backup(place / "tree")
    seen = look(place / "tree")
    change(place / "tree")
    return place, seen


def host_at(place: Path) -> Host:
    return Host(place / "state", open_store(f"file://{place}/store"))


def attempt(place: Path, fuse: Fuse) -> Report:
    host = host_at(place)
    host.store = FusedStore(host.store, fuse)
    return host.backup(place / "tree", connect=fused_connect(fuse), workers=1)


def everything_restores(place: Path, first: dict[bytes, tuple[object, ...]], out: Path) -> None:
    """The first snapshot is as it was, every other is whole, and the next backup works and restores."""
    host_at(place).backup(place / "tree", connect=connect)
    repository = host_at(place).repository()
    names = repository.snapshots()
    for name in names:
        restore(repository.open(name), out / str(name))
    assert look(out / str(names[0]) / "data") == first
    for name in names[1:]:
        assert look(out / str(name) / "data") == look(place / "tree")


def raise_stop() -> None:
    raise Stop


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_exception_at_every_step_harms_nothing(before: tuple[Path, Any], tmp_path: Path) -> None:
    place, first = before
    stopped = 0
    for steps in count(1):
        trial = tmp_path / f"trial{steps}"
        shutil.copytree(place, trial)
        fuse = Fuse(steps, raise_stop)
        try:
            attempt(trial, fuse)
        except Stop:
            stopped += 1
        everything_restores(trial, first, tmp_path / f"out{steps}")
        shutil.rmtree(trial)
        if fuse.left > 0:
            break
    assert stopped == steps - 1 >= 12


def test_an_exception_at_every_step_of_the_very_first_backup_harms_nothing(tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / "tree").mkdir(parents=True)
    (place / "tree" / "a").write_bytes(noise(300_000, 0))
    for steps in count(1):
        (place / "store").mkdir()
        fuse = Fuse(steps, raise_stop)
        try:
            attempt(place, fuse)
        except Stop:
            assert host_at(place).backup(place / "tree").outcome == "complete"
        restore(host_at(place).repository().newest(), tmp_path / f"out{steps}")
        assert look(tmp_path / f"out{steps}" / "data") == look(place / "tree")
        shutil.rmtree(place / "store")
        shutil.rmtree(place / "state")
        if fuse.left > 0:
            break
    assert steps >= 16


def test_a_kill_at_every_step_harms_nothing(before: tuple[Path, Any], tmp_path: Path) -> None:
    place, first = before
    killed = 0
    for steps in count(1):
        trial = tmp_path / f"trial{steps}"
        shutil.copytree(place, trial)
        child = os.fork()
        if child == 0:
            attempt(trial, Fuse(steps, kill_self))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        everything_restores(trial, first, tmp_path / f"out{steps}")
        shutil.rmtree(trial)
        if not os.WIFSIGNALED(status):
            break
        killed += 1
    assert os.WEXITSTATUS(status) == 0
    assert killed == steps - 1 >= 12


def test_a_crash_between_manifest_and_memory_does_not_cost_a_new_epoch(
    before: tuple[Path, Any], tmp_path: Path
) -> None:
    """The manifest is stored and the host died before it could note that: the next run knows it for its own."""
    place, _ = before

    class DiesAfterManifest:
        def __init__(self, store: Any) -> None:
            self._store = store

        def put_new(self, key: str, body: bytes, **named: Any) -> None:
            self._store.put_new(key, body, **named)
            if "/snapshots/" in key:
                raise Stop

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

    host = host_at(place)
    host.store = DiesAfterManifest(host.store)
    with pytest.raises(Stop):
        host.backup(place / "tree")
    report = host_at(place).backup(place / "tree")
    assert (report.sequence, report.fresh_epoch, report.stored) == (3, False, 0)
    newest = host_at(place).repository().newest()
    assert (
        newest.manifest.previous == host_at(place).repository().open(host_at(place).repository().snapshots()[1]).digest
    )
