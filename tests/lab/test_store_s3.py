import hashlib
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contracts.store import StoreContract
from toolkit.lab.services import S3
from toolkit.store import AdminStore, Credentials, open_store
from toolkit.store.s3 import S3Place, S3Store
from toolkit.words.errors import Denied, Exists, Missing, StoreError
from toolkit.words.values import Secret

pytestmark = pytest.mark.lab


Part = Callable[[S3Place], S3Store]


def make_bucket(s3: S3, *, lock: bool) -> S3Place:
    place = S3Place(bucket=f"test-{secrets.token_hex(6)}", endpoint=s3.endpoint, page=10)
    S3Store(place, Credentials(*s3.operator)).ask_bucket("create_bucket", ObjectLockEnabledForBucket=lock)
    return place


@pytest.fixture(scope="module")
def operator(s3: S3) -> Credentials:
    return Credentials(*s3.operator)


@pytest.fixture(scope="module")
def plain(s3: S3) -> S3Place:
    return make_bucket(s3, lock=False)


@pytest.fixture(scope="module")
def lockable(s3: S3) -> S3Place:
    return make_bucket(s3, lock=True)


@pytest.fixture
def part_of(operator: Credentials) -> Part:
    """Give a store in a part of a bucket that nobody else uses."""
    return lambda place: S3Store(replace(place, prefix=f"site/{secrets.token_hex(6)}"), operator)


class TestPlainBucket(StoreContract):
    @pytest.fixture
    def store(self, plain: S3Place, part_of: Part) -> AdminStore:
        return part_of(plain)


class TestLockableBucket(StoreContract):
    @pytest.fixture
    def store(self, lockable: S3Place, part_of: Part) -> AdminStore:
        return part_of(lockable)

    def test_of_many_writers_at_once_exactly_one_wins(self, store: AdminStore) -> None:
        """This server does not honour the condition on versioned buckets: a race may leave several versions."""

        def write(number: int) -> bool:
            try:
                store.put_new("contested", b"%d" % number)
            except Exists:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = [number for number, stored in enumerate(pool.map(write, range(8))) if stored]
        bodies = [store.get("contested", version=found.version) for found in store.versions("contested")]
        assert sorted(bodies) == [b"%d" % number for number in won]

    def test_versions_come_newest_first_and_over_many_pages(self, store: S3Store) -> None:
        for number in range(12):
            store.overwrite("laid-over", b"%d" % number)
        store.overwrite("laid-over-longer", b"x")
        found = list(store.versions("laid-over"))
        assert [store.get("laid-over", version=one.version) for one in found] == [b"%d" % n for n in range(11, -1, -1)]
        store.delete("laid-over")
        assert list(store.versions("laid-over")) == []

    def test_a_hidden_object_is_missing_but_its_versions_are_there(self, store: S3Store) -> None:
        store.put_new("hidden", b"still here")
        store.ask("delete_object", "hidden")
        with pytest.raises(Missing, match="hidden"):
            store.get("hidden")
        assert [store.get("hidden", version=found.version) for found in store.versions("hidden")] == [b"still here"]

    def test_a_locked_object_cannot_be_deleted_by_anybody(self, store: S3Store) -> None:
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        store.put_new("locked", b"x", retain_until=until)
        assert store.head("locked").retain_until == until
        with pytest.raises(Denied, match="locked"):
            store.delete("locked")
        assert store.get("locked") == b"x"

    def test_a_lock_can_be_extended_but_not_shortened(self, store: S3Store) -> None:
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        store.put_new("locked", b"x", retain_until=until)
        store.extend_lock("locked", until + timedelta(days=1))
        assert store.head("locked").retain_until == until + timedelta(days=1)
        store.extend_lock("locked", until)
        assert store.head("locked").retain_until == until + timedelta(days=1)
        with pytest.raises(Denied):
            store.set_lock("locked", until)


class TestAccess:
    def test_a_lock_on_a_bucket_that_has_none_is_refused(self, plain: S3Place, part_of: Part) -> None:
        with pytest.raises(StoreError, match="refuses locked: InvalidRequest") as caught:
            part_of(plain).put_new("locked", b"x", retain_until=datetime.now(UTC) + timedelta(days=1))
        assert "object lock" in caught.value.hint

    def test_a_wrong_secret_is_refused(self, plain: S3Place, operator: Credentials) -> None:
        with pytest.raises(Denied, match=f"{plain.bucket} refuses these credentials") as caught:
            list(S3Store(plain, replace(operator, secret_key=Secret.of("guessed"))).list())
        assert "secret key" in caught.value.hint

    def test_an_unknown_user_is_refused(self, plain: S3Place) -> None:
        with pytest.raises(Denied, match=f"{plain.bucket} does not know these credentials"):
            list(S3Store(plain, Credentials("NOBODY", Secret.of("guessed"))).list())

    def test_a_bucket_that_is_not_there_is_named(self, plain: S3Place, operator: Credentials) -> None:
        with pytest.raises(StoreError, match="there is no bucket nowhere-at-all"):
            S3Store(replace(plain, bucket="nowhere-at-all"), operator).put_new("key", b"x")

    def test_the_url_form_reaches_the_same_objects(self, plain: S3Place, operator: Credentials) -> None:
        open_store(f"s3://{plain.bucket}/by/url?endpoint={plain.endpoint}", operator).put_new("object", b"x")
        assert S3Store(plain, operator).get("by/url/object") == b"x"

    @pytest.mark.parametrize("address", ["endpoint", "tls"])
    def test_a_body_that_is_not_what_its_digest_says_is_refused_by_the_server(
        self, plain: S3Place, s3: S3, operator: Credentials, tmp_path: Path, address: str
    ) -> None:
        (tmp_path / "ca.pem").write_bytes(s3.ca)
        store = S3Store(replace(plain, endpoint=getattr(s3, address), ca=str(tmp_path / "ca.pem")), operator)
        with pytest.raises(StoreError, match="was damaged on the way"):
            store.put_new(f"wrong/{address}", b"what came", content_sha256=hashlib.sha256(b"what was sent").digest())
        assert list(store.versions(f"wrong/{address}")) == []

    def test_over_tls_the_server_is_believed_by_the_ca_that_was_named(
        self, plain: S3Place, s3: S3, operator: Credentials, tmp_path: Path
    ) -> None:
        (tmp_path / "ca.pem").write_bytes(s3.ca)
        url = f"s3://{plain.bucket}/tls?endpoint={s3.tls}"
        store = open_store(f"{url}&ca={tmp_path}/ca.pem", operator)
        store.put_new("object", b"x" * 100_000, content_sha256=hashlib.sha256(b"x" * 100_000).digest())
        assert store.get("object") == b"x" * 100_000
        with pytest.raises(StoreError, match=f"the certificate of {s3.tls} is not trusted") as caught:
            open_store(url, operator).get("object")
        assert "?ca=" in caught.value.hint
