"""A bucket as a whole: what its server promises, and the few settings that the control side makes."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from toolkit.store.protocol import BucketFacts
from toolkit.store.s3_errors import NotOffered
from toolkit.words.errors import Exists, Missing

_UPLOADS = "toolkit-abort-unfinished-uploads"
Rule = Mapping[str, Any]


class Asking(Protocol):
    """The part of an S3 store that this file needs."""

    def ask(self, action: str, key: str, **arguments: object) -> dict[str, Any]: ...

    def ask_bucket(self, action: str, **arguments: object) -> dict[str, Any]: ...

    def delete(self, key: str, *, version: str | None = None) -> None: ...


class S3Bucket:
    """The settings of one bucket, seen and changed with the store's credentials."""

    def __init__(self, store: Asking, name: str, prefix: str, *, region: str | None = None) -> None:
        self._store = store
        self.name, self.prefix, self.region = name, prefix, region

    def create(self) -> bool:
        try:
            self._store.ask_bucket("head_bucket")
        except Missing:
            where = {"CreateBucketConfiguration": {"LocationConstraint": self.region}} if self.region else {}
            # Most servers can set the lock only now, and versions come with it.
            self._store.ask_bucket("create_bucket", ObjectLockEnabledForBucket=True, **where)
            return True
        return False

    def facts(self) -> BucketFacts:
        rules = self.lifecycle()
        return BucketFacts(
            versioned=self.versioning() == "Enabled",
            lockable=self._setting("get_object_lock_configuration", "ObjectLockConfiguration") is not None,
            conditional=self._honours_condition(),
            aborts_uploads=any(_enabled(rule) and "AbortIncompleteMultipartUpload" in rule for rule in rules),
            deleting=[str(rule.get("ID", "unnamed")) for rule in rules if _enabled(rule) and _deletes(rule)],
            policy=self.policy(),
        )

    def versioning(self) -> str | None:
        status: str | None = self._setting("get_bucket_versioning", "Status")
        return status

    def policy(self) -> str | None:
        policy: str | None = self._setting("get_bucket_policy", "Policy")
        return policy

    def lifecycle(self) -> Sequence[Rule]:
        return self._setting("get_bucket_lifecycle_configuration", "Rules") or ()

    def enable_versioning(self) -> None:
        self._store.ask_bucket("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})

    def set_policy(self, policy: str | None) -> None:
        if policy is None:
            self._store.ask_bucket("delete_bucket_policy")
        else:
            self._store.ask_bucket("put_bucket_policy", Policy=policy)

    def set_lifecycle(self, rules: Sequence[Rule]) -> None:
        if rules:
            self._store.ask_bucket("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": rules})
        else:
            self._store.ask_bucket("delete_bucket_lifecycle")

    def abort_unfinished_uploads(self) -> None:
        """Add a rule that clears away multipart uploads which somebody began and nobody ended; other rules stay."""
        others = [rule for rule in self.lifecycle() if rule.get("ID") != _UPLOADS]
        self.set_lifecycle([*others, ABORT_UPLOADS])

    def _honours_condition(self) -> bool:
        """Try it: a promise in a manual is not worth an overwritten backup."""
        key = f"probe-{secrets.token_hex(8)}"
        try:
            self._store.ask("put_object", key, Body=b"", IfNoneMatch="*")
            self._store.ask("put_object", key, Body=b"", IfNoneMatch="*")
        except Exists:
            return True
        except NotOffered:
            return False
        finally:
            self._store.delete(key)
        return False

    def _setting(self, action: str, name: str) -> Any:
        try:
            return self._store.ask_bucket(action).get(name)
        except (Missing, NotOffered):
            return None


ABORT_UPLOADS: Rule = {
    "ID": _UPLOADS,
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
}


def _enabled(rule: Rule) -> bool:
    return rule.get("Status") == "Enabled"


def _deletes(rule: Rule) -> bool:
    return bool({"Expiration", "NoncurrentVersionExpiration"} & set(rule))
