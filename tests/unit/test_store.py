import errno
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contracts.store import StoreContract
from toolkit.store import AdminStore, Credentials, MemoryStore, open_store
from toolkit.store.directory import DirectoryStore
from toolkit.words.clock import FakeClock
from toolkit.words.errors import ConfigError, Denied, Missing, StoreError
from toolkit.words.values import Secret


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> AdminStore:
        return MemoryStore()


class TestVersionedMemory(StoreContract):
    @pytest.fixture
    def store(self) -> AdminStore:
        return MemoryStore(versioned=True)


class TestDirectory(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> AdminStore:
        return DirectoryStore(tmp_path / "not" / "yet" / "there")


class TestLocksInMemory:
    def test_a_locked_object_stays_until_its_time_has_come(self) -> None:
        clock = FakeClock()
        store = MemoryStore(versioned=True, clock=clock)
        until = datetime.fromtimestamp(clock.wall(), UTC) + timedelta(days=30)
        store.put_new("pack", b"x", retain_until=until)
        with pytest.raises(Denied, match="pack is locked until 2023-12-14"):
            store.delete("pack")
        clock.sleep(31 * 86400)
        store.delete("pack")
        assert list(store.list()) == []

    def test_a_lock_can_be_extended_but_not_shortened(self) -> None:
        store, until = MemoryStore(versioned=True), datetime.now(UTC) + timedelta(days=2)
        store.put_new("pack", b"x", retain_until=until)
        store.extend_lock("pack", until - timedelta(days=1))
        assert store.head("pack").retain_until == until
        store.extend_lock("pack", until + timedelta(days=1))
        assert store.head("pack").retain_until == until + timedelta(days=1)

    def test_a_newer_version_laid_over_leaves_the_older_readable(self) -> None:
        store = MemoryStore(versioned=True)
        store.put_new("pack", b"good")
        store.overwrite("pack", b"evil")
        assert store.get("pack") == b"evil"
        assert [store.get("pack", version=found.version) for found in store.versions("pack")] == [b"evil", b"good"]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    DirectoryStore(tmp_path / "store").put_new("folder/object", b"inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "object").write_bytes(b"outside")
    return tmp_path / "store"


class TestDirectoryOnDisk:
    def test_a_symbolic_link_is_neither_read_nor_listed_nor_written_through(self, root: Path) -> None:
        store = DirectoryStore(root)
        (root / "link").symlink_to(root.parent / "outside" / "object")
        (root / "away").symlink_to(root.parent / "outside")
        for key in ("link", "away/object"):
            with pytest.raises(StoreError, match=key):
                store.get(key)
        with pytest.raises(StoreError, match="away/new"):
            store.put_new("away/new", b"x")
        assert [found.key for found in store.list()] == ["folder/object"]
        assert [path.name for path in (root.parent / "outside").iterdir()] == ["object"]

    def test_a_named_pipe_does_not_hold_the_reader(self, root: Path) -> None:
        os.mkfifo(root / "pipe")
        with pytest.raises(Missing, match="pipe is not a file"):
            DirectoryStore(root).get("pipe")

    def test_an_interrupted_put_is_not_listed(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def lose_power(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "link", lose_power)
        with pytest.raises(KeyboardInterrupt):
            DirectoryStore(root).put_new("folder/second", b"x")
        (root / ".partial" / "left-by-a-crash").write_bytes(b"half")
        assert [found.key for found in DirectoryStore(root).list()] == ["folder/object"]

    def test_object_and_folder_are_flushed_before_put_returns(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flushed: list[str] = []
        monkeypatch.setattr(os, "fsync", lambda number: flushed.append(str(Path(f"/proc/self/fd/{number}").readlink())))
        DirectoryStore(root).put_new("folder/new/object", b"x")
        assert flushed[0].startswith(f"{root}/folder")
        assert Path(flushed[-2]).parent == root / ".partial"
        assert flushed[-1] == f"{root}/folder/new"

    def test_a_full_disk_says_what_to_do_and_leaves_nothing(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StoreError, match="folder/second: no space left on device") as caught:
            DirectoryStore(root).put_new("folder/second", b"x")
        assert caught.value.hint == "make room on the store's disk"
        assert list((root / ".partial").iterdir()) == []
        assert [found.key for found in DirectoryStore(root).list()] == ["folder/object"]

    def test_a_file_in_the_place_of_the_store_is_not_taken_for_an_object(self, root: Path) -> None:
        with pytest.raises(StoreError, match="not a directory") as caught:
            DirectoryStore(root / "folder" / "object").put_new("key", b"x")
        assert type(caught.value) is StoreError

    def test_only_the_owner_may_read(self, root: Path) -> None:
        assert (root / "folder" / "object").stat().st_mode & 0o077 == 0
        assert (root / "folder").stat().st_mode & 0o077 == 0

    def test_delete_takes_empty_folders_along(self, root: Path) -> None:
        DirectoryStore(root).delete("folder/object")
        assert not (root / "folder").exists()
        assert root.exists()


class TestUrls:
    def test_a_file_url_is_a_directory(self, tmp_path: Path) -> None:
        open_store(f"file://{tmp_path}/a%20b").put_new("object", b"x")
        assert (tmp_path / "a b" / "object").read_bytes() == b"x"

    def test_a_bucket_url_names_bucket_prefix_and_server(self) -> None:
        who = Credentials("KEY", Secret.of("secret"))
        place = open_store("s3://backups/site/a?endpoint=http://127.0.0.1:1&region=eu&ca=/ca.pem", who).place
        assert (place.bucket, place.prefix, place.endpoint) == ("backups", "site/a", "http://127.0.0.1:1")
        assert (place.region, place.ca) == ("eu", "/ca.pem")

    @pytest.mark.parametrize("url", ["", "backups", "file://host/path", "ftp://x/y", "s3://", "file:relative"])
    def test_anything_else_is_refused_with_an_example(self, url: str) -> None:
        with pytest.raises(ConfigError, match="is not a store") as caught:
            open_store(url)
        assert "s3://bucket/prefix" in caught.value.hint

    def test_the_authority_of_a_server_lies_in_the_repository(self, tmp_path: Path) -> None:
        url, who = "s3://backups?endpoint=https://s3.example.com&ca=", Credentials("key", Secret.of("secret"))
        for ca, expected in (("keys/ca.pem", str(tmp_path / "keys" / "ca.pem")), ("/etc/ca.pem", "/etc/ca.pem")):
            assert open_store(url + ca, who, root=tmp_path).place.ca == expected

    def test_a_misspelt_option_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="unknown option 'endpont'"):
            open_store("s3://backups?endpont=x", Credentials("KEY", Secret.of("secret")))

    def test_a_bucket_without_credentials_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="needs credentials"):
            open_store("s3://backups")

    def test_a_memory_store_is_a_fresh_one(self) -> None:
        open_store("memory:").put_new("object", b"x")
        assert list(open_store("memory:").list()) == []
