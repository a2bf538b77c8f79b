"""Files that change while they are read: noticed and said, and never waited for or followed elsewhere."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import Host, noise
from toolkit.repository import How, Tree, restore
from toolkit.repository.browse import entries
from toolkit.repository.walk import Node, walk


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    for name in ("a", "b", "c"):
        (root / name).write_bytes(noise(6_000_000, ord(name)))
    return root


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "state")


def meanwhile(monkeypatch: pytest.MonkeyPatch, call: str, name: str | None, action: Callable[[], Any]) -> None:
    """Do something once, right after the engine's first call of one system call, on one name if that is given."""
    real, acted = getattr(os, call), False

    def wrapped(*words: Any, **named: Any) -> Any:
        nonlocal acted
        result = real(*words, **named)
        if not acted and name in (None, words[0]):
            acted = True
            action()
        return result

    monkeypatch.setattr(os, call, wrapped)


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_a_growing_file_is_read_as_long_as_it_was(
    host: Host, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, "pread", None, lambda: append(tree / "a", b"more" * 1000))
    report = host.backup(tree)
    assert report.changed == ("data/a",)
    assert report.outcome == "complete"
    restore(host.repository().newest(), tmp_path / "out")
    assert (tmp_path / "out/data/a").read_bytes() == noise(6_000_000, ord("a"))
    changed = {entry.path for entry in entries(host.repository().newest()) if entry.changed}
    assert changed == {"data/a"}


def test_a_shrinking_file_is_kept_as_far_as_it_went(
    host: Host, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, "pread", None, lambda: os.truncate(tree / "a", 4_500_000))
    report = host.backup(tree)
    assert report.changed == ("data/a",)
    restore(host.repository().newest(), tmp_path / "out")
    assert (tmp_path / "out/data/a").read_bytes() == noise(6_000_000, ord("a"))[:4_500_000]


def test_a_shrinking_sparse_file_ends_where_it_ends(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "sparse"
    root.mkdir()
    with (root / "holes").open("wb") as file:
        file.truncate(60_000_000)
        file.seek(20_000_000)
        file.write(noise(9_000_000, 1))
    meanwhile(monkeypatch, "pread", None, lambda: os.truncate(root / "holes", 25_000_000))
    report = host.backup(root)
    assert report.changed == ("data/holes",)
    restore(host.repository().newest(), tmp_path / "out")
    size = (tmp_path / "out/data/holes").stat().st_size
    assert 24_000_000 < size <= 25_000_000


def test_a_vanished_file_is_simply_not_there(host: Host, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, "stat", "b", (tree / "b").unlink)
    report = host.backup(tree)
    assert (report.outcome, report.unread) == ("complete", ())
    assert [entry.path for entry in entries(host.repository().newest())] == ["data", "data/a", "data/c"]


@pytest.mark.parametrize("kind", ["symlink", "fifo"])
def test_a_file_replaced_by_something_else_is_never_followed(
    host: Host, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "secret").write_bytes(b"not part of the backup" * 1000)

    def replace() -> None:
        (tree / "b").unlink()
        if kind == "symlink":
            (tree / "b").symlink_to(tmp_path / "secret")
        else:
            os.mkfifo(tree / "b")

    meanwhile(monkeypatch, "stat", "b", replace)
    report = host.backup(tree)
    assert report.changed == ("data/b",)
    kinds = {entry.path: entry.kind for entry in entries(host.repository().newest())}
    assert kinds["data/b"] == kind


def test_a_directory_replaced_by_a_link_is_not_entered(
    host: Host, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("x")
    (tree / "dir").mkdir()

    def replace() -> None:
        (tree / "dir").rmdir()
        (tree / "dir").symlink_to(tmp_path / "outside")

    meanwhile(monkeypatch, "stat", "dir", replace)
    report = host.backup(tree)
    assert report.outcome == "incomplete"
    assert report.unread[0][0] == "data/dir"
    assert not any("secret" in entry.path for entry in entries(host.repository().newest()))


def test_a_file_that_cannot_be_read_makes_the_backup_incomplete(
    host: Host, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: Any, *words: Any, **named: Any) -> int:
        if path == "b":
            raise OSError(5, "Input/output error")
        return real(path, *words, **named)

    monkeypatch.setattr(os, "open", refuse)
    report = host.backup(tree)
    assert report.outcome == "incomplete"
    assert report.unread == (("data/b", "Input/output error"),)
    assert host.repository().newest().manifest.outcome == "incomplete"


def test_a_tree_deeper_than_the_format_allows_is_told_and_does_not_run_out_of_anything(tmp_path: Path) -> None:
    root = tmp_path / "deep"
    root.mkdir()
    at = os.open(root, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    problems: list[tuple[str, str]] = []
    nodes: list[Node] = list(walk(root, "data", lambda path, text: problems.append((path, text))))
    assert [text for _, text in problems] == ["too deep to be backed up"]
    assert max(node.path.count("/") for node in nodes) < 256


def test_two_walks_of_one_tree_are_the_same_and_parents_come_first(tree: Path) -> None:
    (tree / "x").mkdir()
    (tree / "x/inner").touch()
    (tree / "x.y").touch()
    (tree / "x-y").touch()
    first = [node.path for node in walk(tree, "t", lambda *_: None)]
    assert first == ["t", "t/a", "t/b", "t/c", "t/x", "t/x/inner", "t/x-y", "t/x.y"]


def test_a_socket_is_left_out_without_a_word(host: Host, tmp_path: Path) -> None:
    import socket

    root = tmp_path / "s"
    root.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "sock"))
        assert host.backup(Tree("data", root)).outcome == "complete"
    restore(host.repository().newest(), tmp_path / "out", How())
    assert list((tmp_path / "out/data").iterdir()) == []
