"""Pins: what the control side remembers of a host, so that neither the bucket nor the host can rewrite the past.

One small JSON file per host, `backups/<host>.head`, kept in the team's repository: the host's signing key, its
recipients, the newest snapshot seen, and which snapshots were expired. Whoever changes it shows up in a diff. The key
is trusted once, over a connection that is trusted already, and never taken from the bucket.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from toolkit.crypto.signing import VerifyKey
from toolkit.words import atomic
from toolkit.words.errors import Error, RepositoryError

Span = tuple[int, int]
"""A run of sequences, by its first and its last."""


@dataclass(frozen=True)
class Pin:
    """What is believed of a host. A sequence of 0 means that no snapshot was seen yet.

    `former` keys were the host's own before it was set up anew; each is believed up to one sequence. `former_log` is
    the same for the repository of its shipped logs, which counts sequences of its own.
    """

    signing_key: VerifyKey
    recipients: tuple[str, ...] = ()
    sequence: int = 0
    digest: str = ""
    expired: tuple[Span, ...] = ()
    former: tuple[tuple[VerifyKey, int], ...] = ()
    former_log: tuple[tuple[VerifyKey, int], ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a pin. Raises RepositoryError for a file that is missing or makes no sense."""
        try:
            return cls.parse(path.read_text())
        except FileNotFoundError as error:
            hint = f"trust the host's signing key once: invoke backup.trust --host {path.stem}"
            raise RepositoryError(f"nothing is pinned of {path.stem} yet", hint=hint) from error
        except (OSError, ValueError, KeyError, TypeError, Error) as error:
            hint = "restore it from version control"
            raise RepositoryError(f"{path.parent.name}/{path.name} is not a pin: {error}", hint=hint) from error

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `dumps` gave. Raises ValueError, KeyError, TypeError or Error for anything else."""
        fields: dict[str, Any] = json.loads(text)
        key = VerifyKey.parse(fields["signing_key"])
        expired = tuple((int(first), int(last)) for first, last in fields.get("expired", ()))
        former, former_log = (
            tuple((VerifyKey.parse(text), int(last)) for text, last in fields.get(name, ()))
            for name in ("former", "former_log")
        )
        recipients, sequence, digest = tuple(fields["recipients"]), int(fields["sequence"]), str(fields["digest"])
        return cls(key, recipients, sequence, digest, expired, former, former_log)

    def dumps(self) -> str:
        """The pin as it is kept, and as it travels to a host that reads its own backups."""
        fields = {
            "signing_key": str(self.signing_key),
            "recipients": self.recipients,
            "sequence": self.sequence,
            "digest": self.digest,
            "expired": self.expired,
            "former": [(str(key), last) for key, last in self.former],
            "former_log": [(str(key), last) for key, last in self.former_log],
        }
        return json.dumps(fields, indent=2) + "\n"

    def save(self, path: Path) -> None:
        """Write the pin whole. Raises RepositoryError where that fails."""
        try:
            atomic.replace(path, self.dumps().encode(), mode=0o644)
        except OSError as error:
            raise RepositoryError(f"{path} cannot be written: {error.strerror}", hint="check the folder") from error

    def keys(self, sequence: int) -> tuple[VerifyKey, ...]:
        """The keys that may have signed the snapshot with this sequence."""
        return (self.signing_key, *(key for key, last in self.former if sequence <= last))

    def renewed(self, key: VerifyKey, last: int, last_shipped: int = 0) -> Self:
        """Believe another key from now on, and the one before it for snapshots up to `last`, logs to `last_shipped`."""
        former_log = (*self.former_log, (self.signing_key, last_shipped))
        return replace(self, signing_key=key, former=(*self.former, (self.signing_key, last)), former_log=former_log)

    def of_log(self) -> Self:
        """What is believed of the same host's shipped logs: its keys. Nobody remembers a head of theirs."""
        return replace(self, sequence=0, digest="", expired=(), former=self.former_log)

    def moved(self, sequence: int, digest: str) -> Self:
        """Follow the host to a newer head. Raises RepositoryError for one that leads back."""
        if sequence < self.sequence or (sequence == self.sequence and digest != self.digest):
            raise RepositoryError(f"snapshot {sequence} is older than the pinned {self.sequence}")
        return replace(self, sequence=sequence, digest=digest)

    def without(self, sequences: Iterable[int]) -> Self:
        """Remember that these snapshots are expired on purpose: from now on nobody misses them."""
        return replace(self, expired=_joined([*self.expired, *((number, number) for number in sequences)]))

    def misses(self, before: int, after: int) -> bool:
        """Say whether a snapshot between these two sequences should be there."""
        return before + 1 < after and not any(first <= before + 1 and after - 1 <= last for first, last in self.expired)


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    joined: list[Span] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)
