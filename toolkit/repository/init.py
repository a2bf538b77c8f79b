"""Init: make a store ready for backups, and say how ready it is.

It looks at a bucket by trying, writes the three documents that a stranger needs to restore without this toolkit, and
changes settings only where it was told to. Run again, it writes only what is missing or outdated.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from toolkit.repository.policy import Policy, as_json, bucket_policy, host_policy, is_ours
from toolkit.store import AdminStore
from toolkit.store.protocol import Bucket, BucketFacts, BucketStore
from toolkit.words.errors import Missing
from toolkit.words.report import Table

README = """\
# Backups

This place holds encrypted backups of servers, one folder per host. Nothing in it can be read without a secret key
(an age identity, a line that begins with `AGE-SECRET-KEY-`), which is deliberately not here.

To restore on any machine, without the program that made them:

1. Install `age`, `zstd` and `python3` (on Debian or Ubuntu: `apt install age zstd python3`).
2. Copy this place, or the host's folder of it, to a directory, with the tool of your storage provider.
3. Put the secret key into a file that only you can read, and run

       python3 recover.py --help

   with the `recover.py` beside this file. It lists snapshots and restores them.

`FORMAT.md` describes every byte, for the day when even `recover.py` does not help.
Do not delete single files here: backups share them. Remove whole folders under `epochs/`, never parts of one.
"""


@dataclass(frozen=True)
class Check:
    """One property of the store: is it as it should be, and what that means."""

    name: str
    good: bool
    note: str


@dataclass(frozen=True)
class Readiness:
    """What init found, wrote and set.

    `policy` is what the server should have, None where a store has no policies; it is `placed` where the bucket has it.
    """

    checks: Sequence[Check]
    written: Sequence[str]
    policy: Policy | None
    changed: Sequence[str] = ()
    placed: bool = False

    @property
    def good(self) -> bool:
        return all(check.good for check in self.checks)

    def table(self) -> Table:
        rows = [(check.name, "yes" if check.good else "no", check.note) for check in self.checks]
        return Table(("check", "good", "note"), rows)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a bucket should be: for which users, for how long its objects are locked, and what init may change.

    `hosts` maps each host to its user on the server (`arn:…`); a single one with None has a user to whom the policy
    itself is given, as some servers want it. `owner` is the control side's user. With `create`, a bucket that is not
    there is made. With `fix`, versioning is switched on, a lifecycle rule for unfinished uploads is added, and the
    policy is set, unless somebody else wrote one.
    """

    hosts: Mapping[str, str | None]
    also: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Further names that a host writes under, such as that of its shipped log."""

    owner: str | None = None
    lock_days: int | None = None
    create: bool = False
    fix: bool = False

    @property
    def for_bucket(self) -> bool:
        """Whether the policy belongs to the bucket rather than to a user."""
        return None not in self.hosts.values()


def init(store: AdminStore, wishes: Wishes) -> Readiness:
    """Prepare a store. Raises StoreError."""
    changed = ["made the bucket"] if wishes.create and isinstance(store, BucketStore) and store.bucket.create() else []
    written = [name for name, content in documents().items() if _write(store, name, content)]
    if not isinstance(store, BucketStore):
        note = "whoever can write here can delete here: keep it on a machine that the hosts cannot log in to"
        return Readiness([Check("rights of its own", good=False, note=note)], written, None)
    policy = _policy(store.bucket, wishes)
    if wishes.fix:
        changed += _fix(store.bucket, policy if wishes.for_bucket else None)
    facts = store.bucket.facts()
    placed = wishes.for_bucket and _same(facts.policy, policy)
    return Readiness(_checks(facts, wishes, policy), written, policy, changed, placed)


def _policy(bucket: Bucket, wishes: Wishes) -> Policy:
    policies = [
        host_policy(
            bucket.name,
            bucket.prefix,
            host,
            principal=principal,
            lock_days=wishes.lock_days,
            also=wishes.also.get(host, ()),
        )
        for host, principal in wishes.hosts.items()
    ]
    return bucket_policy(bucket.name, policies, owner=wishes.owner) if wishes.for_bucket else policies[0]


def documents() -> dict[str, bytes]:
    """Return what lies at the top of every repository, by name."""
    here = files("toolkit.repository")
    kept = {name: here.joinpath(name).read_bytes() for name in ("FORMAT.md", "recover.py")}
    return {"README.md": README.encode(), **kept}


def _write(store: AdminStore, name: str, content: bytes) -> bool:
    try:
        if store.get(name, limit=1 << 20) == content:
            return False
    except Missing:
        store.put_new(name, content)
    else:
        store.overwrite(name, content)
    return True


def _fix(bucket: Bucket, policy: Policy | None) -> Iterator[str]:
    """Set what is missing; yield what was done."""
    facts = bucket.facts()
    if not facts.versioned:
        bucket.enable_versioning()
        yield "switched versioning on"
    if not facts.aborts_uploads:
        bucket.abort_unfinished_uploads()
        yield "added a lifecycle rule that clears unfinished uploads"
    if policy and not _same(facts.policy, policy) and (facts.policy is None or is_ours(facts.policy)):
        bucket.set_policy(as_json(policy))
        yield "gave the bucket its policy"


def _same(found: str | None, policy: Policy) -> bool:
    try:
        return found is not None and _unwrapped(json.loads(found)) == _unwrapped(policy)
    except ValueError:
        return False


def _unwrapped(value: object) -> object:
    """Some servers give a list of one back as the one."""
    if isinstance(value, Mapping):
        return {key: _unwrapped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return _unwrapped(value[0]) if len(value) == 1 else [_unwrapped(inner) for inner in value]
    return value


def _checks(facts: BucketFacts, wishes: Wishes, policy: Policy) -> list[Check]:
    locks = _UNLOCKABLE if wishes.lock_days and not facts.lockable else _LOCKABLE[facts.lockable]
    return [
        # Versions make up for it: what was laid over is still there, and readers look for it.
        Check("refuses a second put", facts.conditional or facts.versioned, _CONDITIONAL[facts.conditional]),
        Check("keeps versions", facts.versioned, _VERSIONED[facts.versioned]),
        Check("has object lock", facts.lockable, locks),
        Check("clears unfinished uploads", facts.aborts_uploads, _UPLOADS[facts.aborts_uploads]),
        Check("no rule deletes by age", not facts.deleting, _deleting(facts.deleting)),
        _rights(facts.policy, wishes, policy),
    ]


def _rights(found: str | None, wishes: Wishes, policy: Policy) -> Check:
    name, then = "has a policy", "then run `backup.audit`"
    if not wishes.for_bucket:
        return Check(name, good=True, note=f"give the one below to the host's own user, {then}")
    if found is None:
        return Check(name, good=False, note=f"give the server the policy below, {then}")
    same = "prove it with `backup.audit`"
    other = f"not the one below: give the server that one, or add to it, {then}"
    return Check(name, good=True, note=same if _same(found, policy) else other)


def _deleting(rules: Sequence[str]) -> str:
    if not rules:
        return "only `backup.expire` deletes"
    return f"{', '.join(rules)}: may take packs that snapshots still need; remove it and use `backup.expire`"


_CONDITIONAL = {
    True: "the server honours If-None-Match",
    False: "the server ignores If-None-Match here: only versions keep what a second put lays over",
}
_VERSIONED = {True: "an older version survives a put over it", False: "a put over an object destroys it: switch it on"}
_LOCKABLE = {
    True: "not even the owner can delete before the date",
    False: "stolen admin credentials could delete everything; most servers can set this only when a bucket is made",
}
_UPLOADS = {True: "", False: "parts of interrupted uploads would stay and cost"}
_UNLOCKABLE = (
    "the backup file asks for a lock, and every put would be refused: make another bucket, or say `lock: false`"
)
