"""A bucket is made with object lock, where its server wants it, and never twice."""

from typing import Any

import pytest

from toolkit.store import Credentials
from toolkit.store.s3 import S3Place, S3Store
from toolkit.store.s3_bucket import S3Bucket
from toolkit.words.errors import Denied, Missing
from toolkit.words.values import Secret

WHO = Credentials("key", Secret(b"secret"))


class Server:
    """Answers what a bucket's server would, and remembers what it was asked."""

    def __init__(self, absent: type[Exception] | None) -> None:
        self.absent = absent
        self.asked: list[tuple[str, dict[str, object]]] = []

    def ask_bucket(self, action: str, **arguments: object) -> dict[str, Any]:
        self.asked.append((action, arguments))
        if action == "head_bucket" and self.absent:
            raise self.absent("no")
        return {}

    def ask(self, action: str, key: str, **arguments: object) -> dict[str, Any]:
        raise AssertionError("no object is touched")

    def delete(self, key: str, *, version: str | None = None) -> None:
        raise AssertionError("nothing is deleted")


def test_a_missing_bucket_is_made_with_object_lock() -> None:
    server = Server(Missing)
    assert S3Bucket(server, "acme", "").create()
    assert server.asked[1:] == [("create_bucket", {"ObjectLockEnabledForBucket": True})]


def test_a_region_is_named_where_there_is_more_than_one() -> None:
    server = Server(Missing)
    S3Bucket(server, "acme", "", region="eu-central-1").create()
    assert server.asked[1][1]["CreateBucketConfiguration"] == {"LocationConstraint": "eu-central-1"}


def test_a_bucket_that_is_there_is_left_alone() -> None:
    server = Server(None)
    assert not S3Bucket(server, "acme", "").create()
    assert [action for action, _ in server.asked] == ["head_bucket"]


def test_a_bucket_that_is_somebody_elses_is_no_missing_one() -> None:
    server = Server(Denied)
    with pytest.raises(Denied):
        S3Bucket(server, "acme", "").create()
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("place", "region"),
    [
        (S3Place(bucket="acme"), None),
        (S3Place(bucket="acme", region="eu-central-1"), "eu-central-1"),
        (S3Place(bucket="acme", region="eu-central-1", endpoint="https://s3.example.com"), None),
    ],
)
def test_only_amazon_is_told_its_region(place: S3Place, region: str | None) -> None:
    assert S3Store(place, WHO).bucket.region == region
