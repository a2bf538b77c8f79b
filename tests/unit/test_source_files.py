"""Files of containers as the host sees them: through mounts, never through links; walked, cleared and counted."""

import os
from pathlib import Path

import pytest

from tests.repository_setup import Host, plain_tree
from toolkit.sources.docker import Docker
from toolkit.sources.files import OpenFile
from toolkit.sources.paths import beneath, located, mount_of, plain
from toolkit.sources.protocol import Place
from toolkit.sources.stored import Followed, FromFolder, FromSnapshot, facts_of
from toolkit.sources.volume import Directory, clear
from toolkit.words.errors import ConfigError, HostError, RepositoryError
from toolkit.words.report import Silent

DOCKER = Docker()
CONTAINER = {
    "Name": "/shop-db-1",
    "State": {"Pid": 4242},
    "Mounts": [
        {"Type": "volume", "Name": "shop_db", "Source": "/volumes/shop_db/_data", "Destination": "/var/lib/db"},
        {"Type": "bind", "Source": "/srv/inner", "Destination": "/var/lib/db/inner"},
    ],
}


def test_the_innermost_mount_has_a_path() -> None:
    assert located(CONTAINER, "/var/lib/db/a/b") == (Path("/volumes/shop_db/_data"), "a/b")
    assert located(CONTAINER, "/var/lib/db/inner/x") == (Path("/srv/inner"), "x")
    assert located(CONTAINER, "/var/lib/dbx") == (Path("/proc/4242/root"), "var/lib/dbx")
    assert mount_of(CONTAINER, "/var/lib") is None


def test_what_lies_in_a_stopped_container_cannot_be_reached() -> None:
    with pytest.raises(HostError, match="shop-db-1 does not run, and /etc is in no volume of it"):
        located({**CONTAINER, "State": {"Pid": 0}}, "/etc")


def test_links_in_a_volume_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "volume/real/deep").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("x")
    (tmp_path / "volume/link").symlink_to(tmp_path / "outside")
    (tmp_path / "volume/real/secret").symlink_to(tmp_path / "outside/secret")
    with beneath(tmp_path / "volume", "real/deep") as found:
        assert found.is_dir()
    for path in ("link", "real/../link", "..", "real/nowhere", str(tmp_path / "outside"), "/etc"):
        with pytest.raises(HostError), beneath(tmp_path / "volume", path):
            pass
    with beneath(tmp_path / "volume", "real") as folder, pytest.raises(HostError), OpenFile.of(folder, "secret"):
        pass


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd"])
def test_a_name_that_a_container_gives_is_one_name(name: str) -> None:
    with pytest.raises(HostError, match="no plain file name"):
        plain(name)


def test_an_open_file_stays_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"as it was")
    with OpenFile.of(tmp_path, "file") as opened:
        with path.open("ab") as more:
            more.write(b", and more")
        (tmp_path / "new").write_bytes(b"another file altogether")
        (tmp_path / "new").rename(path)
        with opened.read() as content:
            assert content.read(4) + content.read(100) + content.read(100) == b"as it was"


def test_a_tree_comes_back_and_is_counted(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    plain_tree(tmp_path / "files")
    os.link(tmp_path / "files/a.txt", tmp_path / "files/second")
    (tmp_path / "files/skip.tmp").write_text("not this one")
    host, source = Host(tmp_path / "state"), Directory(name="path/files", exclude=("*.tmp",))
    with source.capture(DOCKER, Place(path=str(tmp_path / "files"))) as capture:
        assert capture.moment is None
        assert host.backup(*capture.inputs).outcome == "complete"
    snapshot = host.repository().newest()
    facts = facts_of(snapshot.manifest.sources, source.name)
    assert facts[""]["live"] is True
    assert facts[""]["began"] <= facts[""]["ended"]
    (tmp_path / "back").mkdir()
    (tmp_path / "back/old").write_text("in the way")
    place = Place(path=str(tmp_path / "back"))
    with pytest.raises(RepositoryError, match="is not empty"):
        source.load(DOCKER, FromSnapshot(snapshot, source.name), place)
    source.load(DOCKER, FromSnapshot(snapshot, source.name), Place(path=place.path, replace=True))
    assert source.probe(DOCKER, place, facts).good
    assert not (tmp_path / "back/skip.tmp").exists()
    (tmp_path / "back/a.txt").write_text("changed")
    assert not source.probe(DOCKER, place, facts).good
    (tmp_path / "again").mkdir()
    source.load(DOCKER, FromFolder(tmp_path / "files"), Place(path=str(tmp_path / "again")))
    assert (tmp_path / "again/sub/noise").read_bytes() == (tmp_path / "files/sub/noise").read_bytes()


def test_who_watches_a_load_hears_how_far_it_is(tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(bytes(3 << 20))
    heard: list[tuple[float, float, str]] = []

    class Ears(Silent):
        def progress(self, done: float, total: float, note: str = "") -> None:
            heard.append((done, total, note))

    followed, written = Followed(FromFolder(tmp_path), Ears()), bytearray()
    assert followed.pour("dump", written.extend) == len(written) == 3 << 20
    assert heard == [(size << 20, 3 << 20, "dump") for size in (1, 2, 3)]


def test_a_file_that_grows_while_it_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    log = tmp_path / "files/log"
    log.write_bytes(bytes(6_000_000))
    real = os.pread

    def growing(*words: int) -> bytes:
        with log.open("ab") as file:
            file.write(b"one more line\n")
        return real(*words)

    monkeypatch.setattr(os, "pread", growing)
    with Directory(name="path/files").capture(DOCKER, Place(path=str(tmp_path / "files"))) as capture:
        report = Host(tmp_path / "state").backup(*capture.inputs)
    assert report.changed == ("path/files/log",)


def test_without_facts_a_probe_does_not_know(tmp_path: Path) -> None:
    probe = Directory(name="path/x").probe(DOCKER, Place(path=str(tmp_path)), {})
    assert [verdict.state for verdict in probe.verdicts] == ["unknown"]
    assert not probe.good


def test_setuid_bits_of_a_snapshot_are_told_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/tool").write_text("#!/bin/sh\n")
    (tmp_path / "files/tool").chmod(0o4755)
    host, source = Host(tmp_path / "state"), Directory(name="path/files")
    with source.capture(DOCKER, Place(path=str(tmp_path / "files"))) as capture:
        host.backup(*capture.inputs)
    (tmp_path / "back").mkdir()
    with pytest.raises(HostError, match=r"left out of path/files: tool \(setuid or setgid\)"):
        source.load(DOCKER, FromSnapshot(host.repository().newest(), source.name), Place(path=str(tmp_path / "back")))
    assert (tmp_path / "back/tool").stat().st_mode & 0o7777 == 0o755


def test_clearing_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep/file").write_text("x")
    (tmp_path / "folder/sub").mkdir(parents=True)
    (tmp_path / "folder/sub/file").write_text("x")
    (tmp_path / "folder/link").symlink_to(tmp_path / "keep")
    (tmp_path / "folder/sub/link").symlink_to(tmp_path / "keep/file")
    clear(tmp_path / "folder")
    assert not [*(tmp_path / "folder").iterdir()]
    assert (tmp_path / "keep/file").read_text() == "x"


def test_a_place_must_have_what_a_source_needs() -> None:
    with pytest.raises(ConfigError, match="works on a volume and image"):
        Place(container="x").need("volume", "image")
