"""What lies in the store: objects against their names, and with a key, signatures, the chain and a share of chunks."""

from collections.abc import Iterator, Sequence

from toolkit.crypto import age
from toolkit.drill.report import Check
from toolkit.repository.layout import SnapshotName
from toolkit.repository.read import Repository
from toolkit.repository.verify import KEYED_DAYS, Findings, Share, verify, verify_hashes
from toolkit.words.clock import Clock
from toolkit.words.errors import Error, RepositoryError
from toolkit.words.report import Listener
from toolkit.words.values import Secret, Size

_NAMED = 20


def audited(repository: Repository, listener: Listener) -> tuple[Findings, list[Check]]:
    """Compare every object with its name, which takes no key. Raises StoreError."""
    found = verify_hashes(repository.store, repository.host, pin=repository.pin, listener=listener)
    told = f"{found.snapshots} snapshots, {found.packs} packs, {Size(found.bytes)}: each is what its name says"
    return found, list(_checks(found, "every object", told))


def sampled(repository: Repository, clock: Clock, listener: Listener) -> tuple[Findings, list[Check]]:
    """Open every snapshot, follow the chain, see that every pack is there, and open today's share of them."""
    found = verify(repository, share=Share.today(KEYED_DAYS, clock.wall()), listener=listener)
    told = f"{found.snapshots} snapshots opened, signed by the pinned key and in one chain; all packs are there"
    share = f"{found.packs} of them opened today ({Size(found.bytes)})"
    return found, list(_checks(found, "signatures, chain, packs", f"{told}, {share}"))


def _checks(found: Findings, what: str, told: str) -> Iterator[Check]:
    faults = [f"{key}: {text}" for key, text in found.damaged.items()] + list(found.gaps)
    for one in found.touched:
        files = f" ({', '.join(one.files[:5])})" if one.files else ""
        faults.append(f"snapshot {one.snapshot}: {one.complaint}{files}")
    if not found.snapshots:
        faults.append("there is no snapshot")
    yield Check("store", what, "bad" if faults else "good", "\n".join(faults[:_NAMED]) or told)
    if found.strange:
        yield Check(
            "store",
            "strangers",
            "bad",
            "\n".join(f"{key} has no place in a repository" for key in found.strange[:_NAMED]),
        )
    if found.healed:
        # Nothing is lost, and somebody laid objects over ours: that is not what it should be.
        yield Check("store", "older versions", "bad", "\n".join(found.healed[:_NAMED]))


def opened(repository: Repository, name: SnapshotName, others: Sequence[Secret]) -> tuple[list[str], list[Check]]:
    """Open one snapshot with each identity by itself; return who could, and a check for each that must.

    Of the repository's own identities one must, of the `others` each. Raises RepositoryError where none can.
    """
    able, checks = [], []
    for identity in (*repository.identities, *others):
        label = _label(identity)
        try:
            Repository(repository.store, repository.host, (identity,), repository.pin).open(name)
        except RepositoryError as error:
            if identity in others:
                checks.append(Check("keys", f"opens with {label}", "bad", error.message))
        else:
            able.append(label)
            checks.append(Check("keys", f"opens with {label}", "good", "the snapshot is sealed for it, and signed"))
    if not able:
        repository.open(name)
    return able, checks


def _label(identity: Secret) -> str:
    try:
        return age.recipient_of(identity)
    except Error:
        return "a key that is not one of age's own"
