"""What every store must do, written once. A test class inherits it and gives a `store` fixture."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from toolkit.store import AdminStore
from toolkit.words.errors import Exists, Missing, StoreError

BODY = bytes(range(256)) * 64


class StoreContract:
    """The promises of `toolkit.store.protocol`."""

    def test_what_was_put_comes_back(self, store: AdminStore) -> None:
        store.put_new("web/packs/one.age", BODY, content_sha256=hashlib.sha256(BODY).digest())
        assert store.get("web/packs/one.age") == BODY

    def test_an_empty_object_is_an_object(self, store: AdminStore) -> None:
        store.put_new("empty", b"")
        assert store.get("empty") == b""
        assert store.head("empty").size == 0

    def test_a_second_put_is_refused_and_the_first_body_stays(self, store: AdminStore) -> None:
        store.put_new("snapshots/1.age", b"first")
        with pytest.raises(Exists, match=r"snapshots/1\.age"):
            store.put_new("snapshots/1.age", b"second")
        assert store.get("snapshots/1.age") == b"first"

    def test_of_many_writers_at_once_exactly_one_wins(self, store: AdminStore) -> None:
        def write(number: int) -> bool:
            try:
                store.put_new("contested", b"%d" % number)
            except Exists:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(write, range(8)))
        assert won.count(True) == 1
        assert store.get("contested") == b"%d" % won.index(True)

    def test_what_is_not_there_is_missing(self, store: AdminStore) -> None:
        for ask in (store.get, store.head):
            with pytest.raises(Missing, match="nowhere/at-all"):
                ask("nowhere/at-all")
        assert list(store.versions("nowhere/at-all")) == []

    def test_a_body_over_the_limit_is_not_read(self, store: AdminStore) -> None:
        store.put_new("large", b"x" * 100)
        with pytest.raises(StoreError, match="large has 100 bytes, more than the 99 expected"):
            store.get("large", limit=99)
        assert len(store.get("large", limit=100)) == 100

    def test_head_knows_size_and_time(self, store: AdminStore) -> None:
        store.put_new("known", b"12345")
        found = store.head("known")
        assert (found.key, found.size) == ("known", 5)
        assert abs(found.modified - datetime.now(UTC)) < timedelta(minutes=1)

    def test_a_listing_is_sorted_by_whole_keys(self, store: AdminStore) -> None:
        keys = ["a/b", "a.b", "a-b/c", "a/b-c", "a/b.c", "ab", "b/a", "a0"]
        for key in keys:
            store.put_new(key, key.encode())
        assert [found.key for found in store.list()] == sorted(keys)
        assert [found.size for found in store.list()] == [len(key) for key in sorted(keys)]

    def test_a_listing_keeps_to_its_prefix(self, store: AdminStore) -> None:
        for key in ("host/epochs/1/epoch.json", "host/epochs/1/packs/x.age", "host/epochs/10/epoch.json", "hosts"):
            store.put_new(key, b"x")
        assert [found.key for found in store.list("host/epochs/1/")] == [
            "host/epochs/1/epoch.json",
            "host/epochs/1/packs/x.age",
        ]
        assert [found.key for found in store.list("host/epochs/1")][-1] == "host/epochs/10/epoch.json"
        assert list(store.list("other/")) == []

    def test_a_long_listing_is_complete(self, store: AdminStore) -> None:
        # The buckets under test are asked for ten names at a time.
        keys = [f"many/{number:02}" for number in range(25)]
        for key in keys:
            store.put_new(key, b"")
        assert [found.key for found in store.list("many/")] == keys

    def test_versions_are_of_exactly_this_key(self, store: AdminStore) -> None:
        store.put_new("name", b"1")
        store.put_new("name-longer", b"2")
        store.put_new("names", b"3")
        assert [found.key for found in store.versions("name")] == ["name"]
        version = next(iter(store.versions("name"))).version
        assert store.get("name", version=version) == b"1"

    def test_a_version_that_never_was_is_missing(self, store: AdminStore) -> None:
        store.put_new("name", b"1")
        with pytest.raises(StoreError, match="name"):
            store.get("name", version="nonsense")

    def test_delete_removes_for_good_and_may_be_repeated(self, store: AdminStore) -> None:
        store.put_new("old/epoch", b"x")
        store.put_new("old/other", b"x")
        store.delete("old/epoch")
        store.delete("old/epoch")
        assert [found.key for found in store.list("old/")] == ["old/other"]
        assert list(store.versions("old/epoch")) == []
        store.put_new("old/epoch", b"again")
        assert store.get("old/epoch") == b"again"

    def test_an_overwrite_is_what_is_read_from_then_on(self, store: AdminStore) -> None:
        store.overwrite("README.md", b"first")
        store.overwrite("README.md", b"second")
        assert store.get("README.md") == b"second"
        assert [found.size for found in store.list()] == [6]

    @pytest.mark.parametrize(
        "key", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a\n", "ü", "x" * 513]
    )
    def test_a_name_that_could_mean_something_else_is_refused(self, store: AdminStore, key: str) -> None:
        for ask in (store.get, store.head, store.delete, lambda key: store.put_new(key, b"x")):
            with pytest.raises(StoreError, match="is not an object name"):
                ask(key)
        assert list(store.list()) == []
