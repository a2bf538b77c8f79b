"""Verifying backups: is all of it still there as it was written? A sound head becomes the pinned one."""

from dataclasses import dataclass, replace

from toolkit.repository.read import Repository
from toolkit.repository.verify import KEYED_DAYS, KEYLESS_DAYS, Findings, Share, verify, verify_hashes
from toolkit.words.clock import Clock
from toolkit.words.errors import RepositoryError
from toolkit.words.report import Listener
from toolkit.workflows.backups import Backups


@dataclass(frozen=True)
class Verification:
    """What a verification looked at and found: the packs due on `day` of a round of `days`; one day is everything.

    `pinned` is the sequence to which the pin has moved, None where it stayed.
    """

    host: str
    keyed: bool
    days: int
    day: int
    findings: Findings
    pinned: int | None = None


def check(backups: Backups, *, keyed: bool, everything: bool, listener: Listener, clock: Clock) -> Verification:
    """Verify today's share of the packs, or all of them; with keys, follow the host to its newest snapshot.

    Raises StoreError, and RepositoryError for a store that was set back or has nothing of this host.
    """
    days = KEYED_DAYS if keyed else KEYLESS_DAYS
    share = Share() if everything else Share.today(days, clock.wall())
    if not keyed:
        findings = verify_hashes(backups.owner, backups.host, share=share, pin=backups.pinned(), listener=listener)
        return _verification(backups, share, keyed, findings)
    repository = backups.repository(listener.warn)
    findings = verify(repository, share=share, recipients=backups.recipients, listener=listener)
    moved = _follow(backups, repository) if findings.sound and findings.snapshots else None
    return _verification(backups, share, keyed, findings, moved)


def _verification(
    backups: Backups, share: Share, keyed: bool, findings: Findings, moved: int | None = None
) -> Verification:
    if findings.sound and not findings.snapshots:
        # Nothing found is not everything sound: the address may be wrong.
        hint = "run a backup, or check the url in the backup file"
        raise RepositoryError(f"{backups.host} has no snapshot in {backups.file.repository.url}", hint=hint)
    return Verification(backups.host, keyed, share.days, share.day, findings, moved)


def _follow(backups: Backups, repository: Repository) -> int | None:
    """Pin the newest snapshot; every one before it was opened and believed."""
    newest = repository.newest()
    pin = repository.pin.moved(newest.name.sequence, newest.digest)
    # Whoever was added or removed counts from the first snapshot that is sealed for as many.
    if newest.sealed_for == len(backups.recipients):
        pin = replace(pin, recipients=backups.recipients)
    if pin == repository.pin:
        return None
    pin.save(backups.pin_path)
    return pin.sequence
