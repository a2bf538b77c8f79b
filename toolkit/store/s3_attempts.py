"""What somebody might try against a bucket with credentials stolen from a host.

Each attempt is harmless where it succeeds: it works on a bait, writes back the settings that are there already, or is
undone by the bucket's owner at once. An attempt that returns has succeeded; a bucket that is in order raises `Denied`.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from toolkit.store.protocol import AdminStore, Attempt
from toolkit.store.s3_bucket import ABORT_UPLOADS, Asking, S3Bucket


class Party(AdminStore, Asking, Protocol):
    """An S3 store, in the hands of the thief or of the owner."""

    @property
    def bucket(self) -> S3Bucket: ...

    def set_lock(self, key: str, until: datetime, *, version: str | None = None) -> None: ...

    def path(self, key: str) -> str: ...


def on_object(thief: Party, owner: Party, bait: str) -> Iterator[Attempt]:
    """Yield attempts to read, expose, weaken or destroy one object; those that may destroy it come last."""
    version = list(owner.versions(bait))[-1].version
    exact = {"VersionId": version} if version else {}
    soon = datetime.now(UTC) + timedelta(minutes=1)

    def ask(action: str, key: str = bait, **arguments: object) -> Callable[[], object]:
        return lambda: thief.ask(action, key, **arguments)

    yield Attempt("read a version by its number", lambda: thief.get(bait, version=version))
    yield Attempt("see an object's details", lambda: thief.head(bait))
    yield Attempt("copy an object to another name", ask("copy_object", f"{bait}-copy", CopySource=_source(thief, bait)))
    yield Attempt("make an object public", ask("put_object_acl", ACL="public-read"))
    yield Attempt("add a public object", ask("put_object", f"{bait}-public", Body=b"", ACL="public-read"))
    yield Attempt("tag an object for a lifecycle rule", ask("put_object_tagging", Tagging={"TagSet": []}))
    if owner.bucket.facts().lockable:
        yield Attempt("shorten a lock", lambda: thief.set_lock(bait, soon, version=version))
        yield Attempt("lift a legal hold", ask("put_object_legal_hold", LegalHold={"Status": "OFF"}, **exact))
    yield Attempt("hide an object behind a delete marker", ask("delete_object"))
    yield Attempt("delete past a lock", ask("delete_object", BypassGovernanceRetention=True, **exact))
    yield Attempt("delete an object for good", ask("delete_object", **exact))


def on_settings(thief: Party, owner: Party) -> Iterator[Attempt]:
    """Yield attempts to change the bucket itself."""
    ours, theirs = owner.bucket, thief.bucket
    policy, rules, versioning = ours.policy(), ours.lifecycle(), ours.versioning()

    def policies(new: str | None) -> Callable[[], object]:
        return _undone(lambda: theirs.set_policy(new), lambda: ours.set_policy(policy))

    yield Attempt("replace the bucket's policy", policies(policy or _HARMLESS % ours.name))
    yield Attempt("remove the bucket's policy", policies(None))
    new, old = (rules or [ABORT_UPLOADS]), rules
    replace = _undone(lambda: theirs.set_lifecycle(new), lambda: ours.set_lifecycle(old))
    yield Attempt("replace the lifecycle rules", replace)
    public = _undone(lambda: _set_acl(thief, "public-read"), lambda: _set_acl(owner, "private"))
    yield Attempt("open the bucket to the public", public)
    status = {"Status": versioning or "Suspended"}
    yield Attempt(
        "change versioning", lambda: thief.ask_bucket("put_bucket_versioning", VersioningConfiguration=status)
    )


# A statement about nobody: it changes nothing, but only who may set policies can set it.
_HARMLESS = (
    '{"Version":"2012-10-17","Statement":[{"Sid":"Probe","Effect":"Deny","Principal":{"AWS":["arn:aws:iam:::user/nobody"]},'
    '"Action":["s3:DeleteBucket"],"Resource":["arn:aws:s3:::%s"]}]}'
)


def _source(thief: Party, bait: str) -> Mapping[str, Any]:
    return {"Bucket": thief.bucket.name, "Key": thief.path(bait)}


def _set_acl(who: Party, name: str) -> None:
    who.ask_bucket("put_bucket_acl", ACL=name)


def _undone(attempt: Callable[[], object], undo: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        attempt()
        undo()

    return run
