import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests import store_proxy as faults
from toolkit.lab.services import S3
from toolkit.store import Credentials
from toolkit.store.s3 import S3Place, S3Store
from toolkit.words.errors import Denied, Exists, StoreError

pytestmark = pytest.mark.lab


BODY = secrets.token_bytes(300_000)
# How long the client under test waits. A busy machine answers in less; a stall lasts longer than that.
PATIENCE = 2
STALL = 2 * PATIENCE


@pytest.fixture(scope="module")
def operator(s3: S3) -> Credentials:
    return Credentials(*s3.operator)


@pytest.fixture(scope="module")
def bucket(s3: S3, operator: Credentials) -> S3Place:
    place = S3Place(bucket=f"test-{secrets.token_hex(6)}", endpoint=s3.endpoint)
    S3Store(place, operator).ask_bucket("create_bucket")
    return place


@pytest.fixture
def proxy(s3: S3) -> Iterator[object]:
    with faults.faulty_proxy(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
def direct(bucket: S3Place, operator: Credentials) -> S3Store:
    """The bucket without the proxy in between."""
    return S3Store(replace(bucket, prefix=secrets.token_hex(6)), operator)


@pytest.fixture
def store(direct: S3Store, operator: Credentials, proxy) -> S3Store:
    place = replace(direct.place, endpoint=proxy.endpoint, read_timeout=PATIENCE, connect_timeout=PATIENCE, attempts=3)
    return S3Store(place, operator)


class TestWhatPassesIsRetried:
    @pytest.mark.parametrize(
        "fault",
        [
            faults.refuse(500, "InternalError"),
            faults.refuse(503, "SlowDown"),
            faults.reset,
            faults.stall(STALL),
        ],
        ids=["500", "slow down", "reset", "timeout"],
    )
    @pytest.mark.parametrize("method", ["PUT", "GET"])
    def test_two_faults_in_a_row_are_survived(self, store: S3Store, direct: S3Store, proxy, method, fault) -> None:
        proxy.once(method, fault, times=2)
        store.put_new("object", BODY, content_sha256=hashlib.sha256(BODY).digest())
        assert store.get("object") == BODY == direct.get("object")

    def test_a_put_whose_answer_was_lost_is_recognised_as_our_own(self, store, direct, proxy) -> None:
        proxy.once("PUT", faults.lose_answer)
        store.put_new("object", BODY)
        assert proxy.count("PUT") == 2
        assert direct.get("object") == BODY

    @pytest.mark.parametrize("fault", [faults.break_off, faults.truncate], ids=["reset", "end"])
    def test_a_body_that_breaks_off_is_read_again(self, store, direct, proxy, fault) -> None:
        direct.put_new("object", BODY)
        proxy.once("GET", fault, times=2)
        assert store.get("object") == BODY

    def test_a_body_damaged_on_the_way_in_is_refused_and_sent_again(self, store, direct, proxy) -> None:
        proxy.once("PUT", faults.damage_request)
        store.put_new("object", BODY)
        assert direct.get("object") == BODY


class TestWhatStaysIsExplained:
    @pytest.mark.parametrize(
        ("fault", "kind", "message", "hint"),
        [
            (
                faults.stall(STALL),
                StoreError,
                "no answer from {endpoint} about object",
                "check the network, then run again",
            ),
            (
                faults.reset,
                StoreError,
                "the connection to {endpoint} failed at object",
                "check the endpoint, the network",
            ),
            (faults.refuse(500, "InternalError"), StoreError, "the server of {bucket} failed inside", "wait a while"),
            (faults.refuse(503, "SlowDown"), StoreError, "{bucket} asks to slow down", "wait a while and run again"),
            (faults.refuse(503, "ServiceUnavailable"), StoreError, "{bucket} is not available", "wait a while"),
            (faults.refuse(400, "ExpiredToken"), Denied, "the credentials for {bucket} have expired", "renew the"),
            (
                faults.refuse(403, "RequestTimeTooSkewed"),
                StoreError,
                "this machine's clock differs too much",
                "set this",
            ),
            (faults.refuse(403, "QuotaExceeded"), StoreError, "{bucket} is full", "raise its quota or expire"),
            (faults.damage_request, StoreError, "object was damaged on the way to {bucket}", "check the network path"),
            (faults.refuse(409, "Whatever", "odd"), StoreError, "{bucket} refuses object: Whatever odd", ""),
        ],
        ids=["timeout", "reset", "500", "slow down", "503", "expired", "skewed", "full", "damaged", "unforeseen"],
    )
    def test_a_put_that_cannot_succeed(self, store, direct, proxy, fault, kind, message, hint) -> None:
        proxy.always("PUT", fault)
        with pytest.raises(StoreError) as caught:
            store.put_new("object", BODY)
        assert isinstance(caught.value, kind)
        assert caught.value.message.startswith(message.format(endpoint=proxy.endpoint, bucket=store.place.bucket))
        assert caught.value.hint.startswith(hint)
        assert list(direct.versions("object")) == []

    @pytest.mark.parametrize("fault", [faults.break_off, faults.truncate], ids=["reset", "end"])
    def test_a_body_that_always_breaks_off(self, store, direct, proxy, fault) -> None:
        direct.put_new("object", BODY)
        proxy.always("GET", fault)
        with pytest.raises(StoreError, match=f"object broke off on the way from {store.place.bucket}") as caught:
            store.get("object")
        assert caught.value.hint == "check the network, then run again"
        assert proxy.count("GET") == 3

    def test_credentials_that_expire_in_the_middle_leave_what_was_stored(self, store, direct, proxy) -> None:
        store.put_new("first", BODY)
        proxy.always("", faults.refuse(400, "ExpiredToken"))
        with pytest.raises(Denied, match="have expired") as caught:
            store.put_new("second", BODY)
        assert "what is stored already will be used" in caught.value.hint
        assert [found.key for found in direct.list()] == ["first"]

    def test_a_server_that_is_not_there(self, store: S3Store, operator: Credentials) -> None:
        nobody = S3Store(replace(store.place, endpoint="http://127.0.0.1:1", attempts=1), operator)
        with pytest.raises(StoreError, match=r"the connection to http://127\.0\.0\.1:1 failed at object"):
            nobody.put_new("object", BODY)


class TestListingsAndClocks:
    def test_a_stale_listing_does_not_let_a_second_put_through(self, store, direct, proxy) -> None:
        answers: list[object] = []
        proxy.once("GET", faults.record(answers))
        store.put_new("object", b"first")
        proxy.once("GET", faults.replay(answers[0]))
        with pytest.raises(Exists, match="object exists already"):
            store.put_new("object", b"second")
        assert direct.get("object") == b"first"

    @pytest.mark.parametrize(("shift", "side"), [(600, "behind"), (-600, "ahead of")])
    def test_a_clock_ten_minutes_off_may_read_but_not_write(self, store, direct, proxy, shift, side) -> None:
        direct.put_new("old", BODY)
        proxy.always("", faults.shift_clock(shift))
        assert store.get("old") == BODY
        with pytest.raises(
            StoreError, match=f"this machine's clock is 10 m {side} that of {store.place.bucket}"
        ) as caught:
            store.put_new("new", BODY)
        assert "timedatectl" in caught.value.hint
        assert list(direct.list("new")) == []

    def test_a_clock_four_minutes_off_may_write(self, store, proxy) -> None:
        proxy.always("", faults.shift_clock(240))
        store.put_new("new", BODY)
        assert store.get("new") == BODY

    def test_a_server_that_does_not_know_versions_has_one_of_each(self, store, proxy) -> None:
        proxy.always(f"GET /{store.place.bucket}?versions", faults.refuse(501, "NotImplemented"))
        store.put_new("object", BODY)
        assert [(found.key, found.size) for found in store.versions("object")] == [("object", len(BODY))]
        assert list(store.versions("nowhere")) == []
        store.delete("object")
        assert list(store.list()) == []

    def test_damage_on_the_way_back_is_left_to_whoever_knows_the_hash(self, store, direct, proxy) -> None:
        direct.put_new("object", BODY)
        proxy.once("GET", faults.damage_answer)
        damaged = store.get("object")
        assert damaged != BODY
        assert len(damaged) == len(BODY)
        assert store.get("object") == BODY
