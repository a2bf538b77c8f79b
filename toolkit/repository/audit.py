"""Audit: try, with a host's own credentials, everything a thief of them would try. Every attempt must fail.

The audit first proves that the credentials work at all, so that a wrong password does not look like a safe bucket. It
works on a bait of its own, never on a backup; what it leaves behind is a small object under the host's `evidence/`.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from toolkit.repository.layout import check_host, stamp
from toolkit.store import AdminStore
from toolkit.store.protocol import Attempt, BucketStore
from toolkit.store.s3_errors import NotOffered
from toolkit.words.clock import Clock
from toolkit.words.errors import Denied, RepositoryError, StoreError
from toolkit.words.report import Listener, Table

BAIT = b"This object is a bait of backup.audit. It holds nothing.\n"
_LOCK = timedelta(hours=1)


@dataclass(frozen=True)
class Finding:
    """One attempt. `held` is true where the store did not let it happen."""

    attempt: str
    held: bool
    note: str


@dataclass(frozen=True)
class Audit:
    """What came of all attempts."""

    findings: Sequence[Finding]

    @property
    def holes(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.held]

    def table(self) -> Table:
        rows = [(finding.attempt, "held" if finding.held else "HOLE", finding.note) for finding in self.findings]
        return Table(("attempt", "", "what the store said"), rows)


def audit(thief: AdminStore, owner: AdminStore, host: str, *, clock: Clock, listener: Listener) -> Audit:
    """Try everything as `thief`, who has the host's credentials; `owner` looks after the bait and undoes what worked.

    Raises RepositoryError where the credentials cannot even do what a host must, or where the owner cannot read it.
    """
    bait = _lay_bait(thief, check_host(host), clock, locked=_lockable(owner))
    _check_owner(owner, bait)
    findings = []
    for attempt in _attempts(thief, owner, host, bait):
        findings.append(_tried(attempt))
        listener.line(f"{attempt.name}: {'held' if findings[-1].held else 'HOLE'}")
    _clear(owner, bait)
    return Audit(findings)


def _lay_bait(thief: AdminStore, host: str, clock: Clock, *, locked: bool) -> str:
    now = datetime.fromtimestamp(clock.wall(), UTC)
    bait = f"{host}/evidence/audit-{stamp(now)}-{secrets.token_hex(4)}"
    try:
        thief.put_new(bait, BAIT, retain_until=now + _LOCK if locked else None)
        found = [info.key for info in thief.list(f"{host}/evidence/")]
    except StoreError as error:
        message = f"these credentials cannot back up {host}: {error.message}"
        raise RepositoryError(message, hint=error.hint or "give the host the policy of `backup.init`") from error
    if bait not in found:
        raise RepositoryError(f"the store does not list what {host} has just put", hint="try again in a minute")
    return bait


def _check_owner(owner: AdminStore, bait: str) -> None:
    # Backups that only their writer may read are lost with the host.
    try:
        owner.get(bait, limit=len(BAIT))
    except Denied as error:
        hint = "give the control side's user all rights in the bucket's policy; `backup.init` prints it"
        raise RepositoryError("the control side cannot read what this host stores", hint=hint) from error


def _lockable(owner: AdminStore) -> bool:
    return isinstance(owner, BucketStore) and owner.bucket.facts().lockable


def _attempts(thief: AdminStore, owner: AdminStore, host: str, bait: str) -> Iterator[Attempt]:
    elsewhere = f"{host}-audit/{secrets.token_hex(4)}"
    yield Attempt("read an object", lambda: thief.get(bait))
    yield Attempt("list another host's objects", lambda: list(thief.list(f"{host}-audit/")))
    yield Attempt("add to another host's objects", lambda: _add_and_remove(thief, owner, elsewhere))
    yield Attempt("put over an object", lambda: _put_over(thief, owner, bait))
    if isinstance(thief, BucketStore) and isinstance(owner, BucketStore):
        yield from thief.attempts(owner, bait)
    else:
        yield Attempt("delete an object", lambda: thief.delete(bait))


def _tried(attempt: Attempt) -> Finding:
    try:
        attempt.run()
    except (Denied, NotOffered) as error:
        return Finding(attempt.name, held=True, note=error.message)
    except StoreError as error:
        return Finding(attempt.name, held=False, note=f"not clear: {error.message}")
    return Finding(attempt.name, held=False, note="allowed")


def _add_and_remove(thief: AdminStore, owner: AdminStore, key: str) -> None:
    thief.put_new(key, BAIT)
    owner.delete(key)


def _put_over(thief: AdminStore, owner: AdminStore, bait: str) -> None:
    thief.overwrite(bait, b"laid over\n")
    if any(owner.get(bait, version=found.version) == BAIT for found in owner.versions(bait)):
        raise Denied("a newer version came to lie on top, and the older one is whole")


def _clear(owner: AdminStore, bait: str) -> None:
    for info in list(owner.list(bait)):
        # The lock of the bait ends by itself; its object is a few bytes.
        with suppress(Denied):
            owner.delete(info.key)
