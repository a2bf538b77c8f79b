"""A store in an S3 bucket, on any server: what boto3 knows stays in this file.

The client retries with jitter what may pass: lost connections, 500s, 503 slow-downs, bodies that break off. Nothing is
read from `~/.aws`: who we are and where is passed in. A machine whose clock is more than five minutes from the
server's may read but not write, because lock dates and epochs would be wrong.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import boto3
import botocore.session
from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NoConnection

from toolkit.store import s3_attempts
from toolkit.store.keys import checked, checked_prefix
from toolkit.store.pace import Pace, PacedBody
from toolkit.store.protocol import Attempt, Body, Credentials, ObjectInfo
from toolkit.store.s3_bucket import S3Bucket
from toolkit.store.s3_errors import Damaged, NotOffered, Unavailable, meaning
from toolkit.words.clock import Clock, SystemClock
from toolkit.words.errors import Exists, Missing, StoreError
from toolkit.words.values import Duration

CLOCK_TOLERANCE = 300.0
_TRIES = 3

Done = TypeVar("Done")
Answer = dict[str, Any]  # as boto3 gives it: its shape depends on the action


@dataclass(frozen=True, kw_only=True)
class S3Place:
    """A bucket, the part of it that is ours, its server, and how patient (seconds, tries) and greedy to be."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    ca: str | None = None
    connect_timeout: float = 10
    read_timeout: float = 60
    attempts: int = 5
    connections: int = 16
    page: int = 1000

    def path(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key


class S3Store:
    """An `AdminStore` in a bucket; what the credentials may not do raises `Denied`."""

    def __init__(
        self, place: S3Place, credentials: Credentials, *, clock: Clock | None = None, pace: Pace | None = None
    ) -> None:
        self.place = place
        self._pace = pace
        self._client = _connect(place, credentials)
        self._clock = clock or SystemClock()
        self._ahead = 0.0

    def put_new(
        self, key: str, body: Body, *, retain_until: datetime | None = None, content_sha256: bytes | None = None
    ) -> None:
        self._refuse_taken(key)
        self._refuse_wrong_clock()
        try:
            conditions = {"IfNoneMatch": "*", **_lock(retain_until), **_checksum(content_sha256)}
            sent = PacedBody(body, self._pace) if self._pace else body
            self._repeated(lambda: self.ask("put_object", key, Body=sent, **conditions))
        except Exists:
            # The name was free a moment ago: this is our own put if its answer was lost and the client repeated it.
            if self._etag(key) != hashlib.md5(body, usedforsecurity=False).hexdigest():
                raise

    def overwrite(self, key: str, body: bytes) -> None:
        self.ask("put_object", key, Body=body)

    def get(self, key: str, *, version: str | None = None, limit: int | None = None) -> bytes:
        return self._repeated(lambda: self._get(key, version, limit))

    def head(self, key: str) -> ObjectInfo:
        return self._head(key, None)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        checked_prefix(prefix)
        following: dict[str, str] = {}
        while True:
            page = self._call(
                "list_objects_v2", prefix, Prefix=self.place.path(prefix), MaxKeys=self.place.page, **following
            )
            yield from (self._info(found) for found in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            following = {"ContinuationToken": page["NextContinuationToken"]}

    def versions(self, key: str) -> Iterator[ObjectInfo]:
        try:
            yield from (self._info(found) for found in self._layers(key) if "ETag" in found)
        except NotOffered:
            with suppress(Missing):
                yield self.head(key)

    def delete(self, key: str, *, version: str | None = None) -> None:
        # Naming the version deletes for good; without a name a versioned bucket would only lay a marker on top.
        for layer in [version] if version else self._numbers(key):
            self.ask("delete_object", key, **_version(layer))

    def extend_lock(self, key: str, until: datetime) -> None:
        for found in self.versions(key):
            present = self._head(key, found.version).retain_until
            if present is None or present < until:
                self.set_lock(key, until, version=found.version)

    def set_lock(self, key: str, until: datetime, *, version: str | None = None) -> None:
        """Ask for a lock until then. A server in compliance mode refuses a date before the present one."""
        lock = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
        self.ask("put_object_retention", key, Retention=lock, **_version(version))

    @property
    def bucket(self) -> S3Bucket:
        """The bucket as a whole, for the control side."""
        # Amazon wants to be told where a bucket is to be, except for its oldest region; a server of one's own has one.
        elsewhere = self.place.endpoint is None and self.place.region != "us-east-1"
        return S3Bucket(self, self.place.bucket, self.place.prefix, region=self.place.region if elsewhere else None)

    def attempts(self, owner: "S3Store", bait: str) -> Iterator[Attempt]:
        yield from s3_attempts.on_settings(self, owner)
        yield from s3_attempts.on_object(self, owner, bait)

    def path(self, key: str) -> str:
        """Return where on the bucket a key lies."""
        return self.place.path(key)

    def ask(self, action: str, key: str, **arguments: object) -> Answer:
        """Call the server about one object, by the name boto3 has for the action."""
        return self._call(action, key, Key=self.place.path(checked(key)), **arguments)

    def ask_bucket(self, action: str, **arguments: object) -> Answer:
        """Call the server about the bucket as a whole."""
        return self._call(action, "its settings", **arguments)

    def _call(self, action: str, key: str, **arguments: object) -> Answer:
        with _translated(self.place, key):
            response: Answer = getattr(self._client, action)(Bucket=self.place.bucket, **arguments)
        date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
        if date:
            self._ahead = self._clock.wall() - parsedate_to_datetime(date).timestamp()
        return response

    def _repeated(self, action: Callable[[], Done]) -> Done:
        for _ in range(_TRIES - 1):
            with suppress(Damaged):
                return action()
            self._clock.sleep(0.5)
        return action()

    def _get(self, key: str, version: str | None, limit: int | None) -> bytes:
        response = self.ask("get_object", key, **_version(version))
        size = response["ContentLength"]
        if limit is not None and size > limit:
            response["Body"].close()
            raise StoreError(f"{key} has {size} bytes, more than the {limit} expected")
        try:
            body: bytes = response["Body"].read()
        except BotoCoreError as error:
            hint = "check the network, then run again"
            raise Damaged(f"{key} broke off on the way from {self.place.bucket}", hint=hint) from error
        return body

    def _head(self, key: str, version: str | None) -> ObjectInfo:
        found = self.ask("head_object", key, **_version(version))
        retained = found.get("ObjectLockRetainUntilDate")
        until = retained.astimezone(UTC) if retained else None
        return ObjectInfo(key, found["ContentLength"], found["LastModified"].astimezone(UTC), _number(found), until)

    def _refuse_taken(self, key: str) -> None:
        # Some servers ignore `If-None-Match`, some only on versioned buckets: then this listing is what refuses.
        if self._etag(key):
            raise Exists(f"{key} exists already in {self.place.bucket}")

    def _refuse_wrong_clock(self) -> None:
        if abs(self._ahead) > CLOCK_TOLERANCE:
            side = "ahead of" if self._ahead > 0 else "behind"
            difference = Duration(round(abs(self._ahead) / 60) * 60)
            message = f"this machine's clock is {difference} {side} that of {self.place.bucket}"
            raise StoreError(message, hint="set the clock, for example with `timedatectl set-ntp true`, and run again")

    def _etag(self, key: str) -> str | None:
        path = self.place.path(checked(key))
        page = self._call("list_objects_v2", key, Prefix=path, MaxKeys=1)
        return next((str(found["ETag"]).strip('"') for found in page.get("Contents", ()) if found["Key"] == path), None)

    def _numbers(self, key: str) -> Sequence[str | None]:
        try:
            return [found["VersionId"] for found in self._layers(key)]
        except NotOffered:
            return [None]

    def _layers(self, key: str) -> Iterator[Mapping[str, Any]]:
        """Yield the versions and the delete markers of exactly this key, newest first."""
        path = self.place.path(checked(key))
        following: dict[str, str] = {}
        while True:
            page = self._call("list_object_versions", key, Prefix=path, MaxKeys=self.place.page, **following)
            found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            yield from sorted((one for one in found if one["Key"] == path), key=_age, reverse=True)
            # Longer keys with the same beginning come after this one.
            if not page.get("IsTruncated") or page["NextKeyMarker"] != path:
                return
            following = {"KeyMarker": path, "VersionIdMarker": page["NextVersionIdMarker"]}

    def _info(self, found: Mapping[str, Any]) -> ObjectInfo:
        key = found["Key"].removeprefix(self.place.path(""))
        return ObjectInfo(key, found["Size"], found["LastModified"].astimezone(UTC), _number(found))


def _connect(place: S3Place, credentials: Credentials) -> object:
    nothing = {"profile": None, "config_file": "/dev/null", "credentials_file": "/dev/null"}
    core = botocore.session.Session(session_vars={name: (None, None, value, None) for name, value in nothing.items()})
    token = credentials.session_token
    return boto3.Session(botocore_session=core).client(
        "s3",
        endpoint_url=place.endpoint,
        region_name=place.region,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key.reveal().decode(),
        aws_session_token=token.reveal().decode() if token else None,
        verify=place.ca,
        config=_config(place),
    )


class _KnownDigest(S3SigV4Auth):  # type: ignore[misc]
    """Signs a body by the digest that the caller gave, instead of hashing it once more."""

    def payload(self, request: AWSRequest) -> str:
        known = request.headers.get("x-amz-checksum-sha256")
        return base64.b64decode(known).hex() if known else str(super().payload(request))


_SIGNATURE = "toolkit-s3v4-known-digest"
AUTH_TYPE_MAPS[_SIGNATURE] = _KnownDigest


def _config(place: S3Place) -> Config:
    return Config(
        signature_version=_SIGNATURE,
        connect_timeout=place.connect_timeout,
        read_timeout=place.read_timeout,
        max_pool_connections=place.connections,
        retries={"mode": "standard", "total_max_attempts": place.attempts},
        # Own servers rarely have a host name per bucket, and older ones do not know the checksums newer clients add.
        s3={"addressing_style": "path" if place.endpoint else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


@contextmanager
def _translated(place: S3Place, key: str) -> Iterator[None]:
    server = place.endpoint or f"S3 in {place.region}"
    try:
        yield
    except ClientError as error:
        fault = error.response.get("Error", {})
        words = str(fault.get("Message") or "")
        raise meaning(str(fault.get("Code", "")), bucket=place.bucket, key=key, words=words) from error
    except (ReadTimeoutError, ConnectTimeoutError) as error:
        raise Unavailable(f"no answer from {server} about {key}", hint="check the network, then run again") from error
    except SSLError as error:
        hint = "if the server has a certificate of its own, name its CA: ?ca=/path/to/ca.pem"
        raise StoreError(f"the certificate of {server} is not trusted", hint=hint) from error
    except BotoCoreError as error:
        hint = "check the endpoint, the network and the firewall, then run again"
        kind = Unavailable if isinstance(error, NoConnection | HTTPClientError) else StoreError
        raise kind(f"the connection to {server} failed at {key}: {error}", hint=hint) from error


def _lock(until: datetime | None) -> dict[str, object]:
    return {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until} if until else {}


def _checksum(digest: bytes | None) -> dict[str, str]:
    return {"ChecksumSHA256": base64.b64encode(digest).decode()} if digest else {}


def _version(version: str | None) -> dict[str, str]:
    return {"VersionId": version} if version else {}


def _number(found: Mapping[str, Any]) -> str | None:
    number = found.get("VersionId")
    return None if number in (None, "null") else str(number)


def _age(found: Mapping[str, Any]) -> tuple[datetime, bool]:
    return found["LastModified"], found["IsLatest"]
