"""One file or folder put back: what changes places, what is refused, and what was probably meant."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import Host
from tests.unit.test_restoring import CONTAINERS, FakeDocker, stream
from toolkit.agent.restoring import aside, excerpt
from toolkit.agent.restoring.swap import Swap
from toolkit.repository import Snapshot, Tree
from toolkit.repository.browse import near
from toolkit.sources import excerpts
from toolkit.sources.excerpts import Excerpt
from toolkit.words.errors import ConfigError, HostError, RepositoryError
from toolkit.words.report import Silent


@pytest.fixture
def taken(tmp_path: Path) -> Snapshot:
    """A snapshot with a volume, a database, an SQLite file in the volume, a listed directory and a release."""
    tree = tmp_path / "tree"
    (tree / "letters/2026").mkdir(parents=True)
    (tree / "letters/2026/may.txt").write_text("may")
    (tree / "letters/2026/june.txt").write_text("june")
    (tree / "letters/empty").mkdir(mode=0o750)
    (tree / "link").symlink_to("letters")
    host = Host(tmp_path / "state")
    host.backup(
        Tree("volume/files", tree, (), "volume"),
        Tree("listed", tree, (), "tree"),
        stream("postgres/db/globals.sql", "postgres"),
        stream("sqlite/files.app.db/database.sqlite", "sqlite", file="app.db"),
        stream("stack/release/release.json", "release"),
    )
    return host.repository().newest()


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("volume/files/letters/2026/may.txt", ("volume/files", "letters/2026/may.txt", False, 1, 3)),
        ("volume/files/letters", ("volume/files", "letters", True, 5, 7)),
        ("volume/files/link", ("volume/files", "link", False, 1, 0)),
        ("listed/letters/2026", ("listed", "letters/2026", True, 3, 7)),
    ],
)
def test_a_path_of_a_source_with_files_is_found_with_its_size(
    taken: Snapshot, path: str, wanted: tuple[Any, ...]
) -> None:
    assert excerpts.find(taken, path, ("listed",)) == Excerpt(path, *wanted)


@pytest.mark.parametrize(
    ("path", "complaint", "hint"),
    [
        ("postgres/db/globals.sql", "postgres/db is a database", "`--source postgres/db` restores it whole"),
        ("sqlite/files.app.db/database.sqlite", "sqlite/files.app.db is a database", "--to DIRECTORY"),
        ("volume/files", "is a whole source", "`--source volume/files`"),
        ("stack/release/release.json", "is in no source", "those with files are listed, volume/files"),
        ("volume", "is in no source", "begins with the name of a source"),
        ("etc/passwd", "is in no source", "those with files are"),
    ],
)
def test_what_cannot_be_put_back_by_itself_says_what_can(taken: Snapshot, path: str, complaint: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        excerpts.find(taken, path, ("listed",))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("volume/files/letters/2026/mai.txt", ["volume/files/letters/2026/may.txt"]),
        ("volume/files/leters/2026/may.txt", ["listed/letters/2026/may.txt", "volume/files/letters/2026/may.txt"]),
        ("volume/files/leters/2026", ["listed/letters/2026", "volume/files/letters/2026"]),
        ("volume/files/lettres", ["volume/files/letters"]),
        ("volume/file/letters/unheard-of", ["volume/files"]),
        ("volumes/x", ["volume"]),
        ("nothing/like/it", []),
    ],
)
def test_what_was_probably_meant_is_named(taken: Snapshot, path: str, meant: list[str]) -> None:
    assert near(taken, path) == meant


def test_a_path_that_is_not_there_asks_what_was_meant(taken: Snapshot) -> None:
    with pytest.raises(RepositoryError, match=r"has no 'volume/files/lettres'") as caught:
        excerpts.find(taken, "volume/files/lettres")
    assert "did you mean volume/files/letters?" in caught.value.hint
    with pytest.raises(RepositoryError) as nothing:
        excerpts.find(taken, "volume/files/zzzzzz")
    assert nothing.value.hint.startswith("`invoke backup.ls`")


class Volume:
    """A volume in use, and one beside it with what was loaded."""

    def __init__(self, folder: Path) -> None:
        self.docker = FakeDocker(folder / "volumes")
        self.live = folder / "volumes/shop_files/_data"
        (self.live / "letters").mkdir(parents=True)
        self.beside = folder / "volumes/shop_files.restore-1/_data"

    def swap(self, path: str) -> Swap:
        part = _part()
        found = aside.swap_within(self.docker, part, path, "1")  # type: ignore[arg-type]
        self.beside.mkdir(parents=True)
        return found

    def load(self, name: str) -> None:
        (self.beside / name).write_text("new")

    def texts(self) -> Sequence[tuple[str, str]]:
        root = self.live.parent.parent
        return [(str(path.relative_to(root)), path.read_text()) for path in sorted(root.rglob("*")) if path.is_file()]


def _part() -> Any:
    from toolkit.sources.protocol import Place
    from toolkit.sources.refill import Part
    from toolkit.sources.volume import Volume as Source

    return Part(Source(name="volume/files"), Place(volume="shop_files", replace=True), volumes=("shop_files",))


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path)


LIVE, BESIDE = "shop_files/_data/letters/may", "shop_files.restore-1/_data/may"


def test_two_files_change_places_and_back_and_nothing_else_does(volume: Volume) -> None:
    (volume.live / "letters/may").write_text("old")
    (volume.live / "letters/june").write_text("june")
    june = ("shop_files/_data/letters/june", "june")
    one = volume.swap("letters/may")
    volume.load("may")
    assert not one.done
    one.exchange()
    assert one.done
    assert volume.texts() == [june, (LIVE, "new"), (BESIDE, "old")]
    one.exchange()
    assert not one.done
    assert volume.texts() == [june, (LIVE, "old"), (BESIDE, "new")]
    assert one.places == (str(volume.live / "letters/may"), str(volume.beside / "may"))


def test_what_is_not_there_is_moved_in_and_out_again(volume: Volume) -> None:
    one = volume.swap("letters/may")
    volume.load("may")
    assert (one.inode, one.done) == (0, False)
    one.exchange()
    assert one.done
    assert volume.texts() == [(LIVE, "new")]
    one.exchange()
    assert not one.done
    assert volume.texts() == [(BESIDE, "new")]


def test_a_folder_that_went_away_meanwhile_is_no_way_in(volume: Volume) -> None:
    one = volume.swap("letters/may")
    volume.load("may")
    (volume.live / "letters").rmdir()
    assert not one.done
    with pytest.raises(OSError, match="No such file"):
        one.exchange()


def test_a_path_whose_folder_is_not_there_is_refused_with_the_one_to_put_back(volume: Volume) -> None:
    with pytest.raises(HostError, match="letters/2026 is not there in volume/files") as caught:
        volume.swap("letters/2026/may")
    assert "--path volume/files/letters" in caught.value.hint


def test_no_link_of_a_container_leads_a_swap_elsewhere(volume: Volume, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "may").write_text("mine")
    (volume.live / "away").symlink_to(outside)
    with pytest.raises(HostError, match="Not a directory"):
        volume.swap("away/may")
    one = volume.swap("letters/may")
    volume.load("may")
    # Between the choice and the swap, the folder becomes a link.
    (volume.live / "letters").rmdir()
    (volume.live / "letters").symlink_to(outside)
    with pytest.raises(HostError, match="Not a directory"):
        one.exchange()
    assert (outside / "may").read_text() == "mine"
    assert [path.name for path in outside.iterdir()] == ["may"]


def test_a_link_changes_places_itself(volume: Volume, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (volume.live / "letters/may").symlink_to(tmp_path / "mine")
    one = volume.swap("letters/may")
    volume.load("may")
    one.exchange()
    assert (volume.live / "letters/may").read_text() == "new"
    assert (volume.beside / "may").is_symlink()
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("below", ["letters/2026/may.txt", "letters", "letters/empty", "link"])
def test_an_excerpt_is_written_beside_under_its_own_name(taken: Snapshot, volume: Volume, below: str) -> None:
    found = excerpts.find(taken, f"volume/files/{below}")
    one = volume.swap(found.name)
    done = excerpt.load(taken, found, one, Silent())
    assert done.good, done
    assert [path.name for path in volume.beside.iterdir()] == [found.name]
    written = volume.beside / found.name
    if below == "letters":
        assert (written / "2026/june.txt").read_text() == "june"
        assert (written / "empty").stat().st_mode & 0o777 == 0o750
    if below == "letters/empty":
        assert written.stat().st_mode & 0o777 == 0o750


def test_what_cannot_be_written_without_rights_is_refused_before_anything_changes_places(
    taken: Snapshot, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = excerpts.find(taken, "volume/files/letters")
    real = excerpt.restore

    def withholding(*given: Any, **more: Any) -> Any:
        return dataclasses.replace(real(*given, **more), withheld=[("letters/disk", "a device")])

    monkeypatch.setattr(excerpt, "restore", withholding)
    with pytest.raises(HostError, match=r"1 things were left out of .*: letters/disk \(a device\)") as caught:
        excerpt.load(taken, found, volume.swap("letters"), Silent())
    assert "nothing was touched" in caught.value.hint
    assert [path for path, _ in volume.texts() if path.startswith("shop_files/")] == []


def test_an_excerpt_belongs_where_its_source_does(taken: Snapshot) -> None:
    found = excerpts.find(taken, "volume/files/link")
    assert excerpt.placed(taken, found, CONTAINERS, {}, ()).volumes == ("shop_files",)
    with pytest.raises(HostError, match="no container of the stack has this volume"):
        excerpt.placed(taken, found, CONTAINERS[:1], {}, ())
    listed = excerpts.find(taken, "listed/link", ("listed",))
    assert excerpt.placed(taken, listed, (), {"listed": "/srv/x"}, ()).place.path == "/srv/x"
