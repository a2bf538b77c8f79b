"""Where things lie in a repository, what they are called, and how large they may be. `docs/format.md` in code."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from toolkit.words.errors import ConfigError

MIB = 1 << 20
PACK_LIMIT = 32 * MIB
CHUNK_LIMIT = 4 * MIB
LINE_LIMIT = 1 * MIB
MANIFEST_LIMIT = 64 * MIB
REFERENCES_IN_LINE = 1000
PATH_LIMIT = 4096
DEPTH_LIMIT = 256
PROBLEM_LIMIT = 1000

# An age file is longer than its plaintext: a header per recipient, and 16 bytes for each 64 KiB.
SEALED_LIMIT = PACK_LIMIT + PACK_LIMIT // 4096 + 64 * 1024

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EPOCH = re.compile(r"\d{8}-[0-9a-f]{8}")
_PACK = re.compile(r"packs/([0-9a-f]{64})\.age")
_SNAPSHOT = re.compile(r"snapshots/(\d{8}T\d{6}Z)-(\d{8})\.age")
_TIME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, order=True)
class SnapshotName:
    """What a snapshot's object name tells. Sorted by sequence, because clocks may be wrong."""

    sequence: int
    epoch: str
    time: str

    @property
    def when(self) -> datetime:
        return datetime.strptime(self.time, _TIME).replace(tzinfo=UTC)

    def key(self, host: str) -> str:
        return f"{epoch_prefix(host, self.epoch)}snapshots/{self.time}-{self.sequence:08}.age"

    def __str__(self) -> str:
        return f"{self.time}-{self.sequence:08}"


def check_host(host: str) -> str:
    """Return the name unchanged. Raises ConfigError for one that cannot be part of a key."""
    if not _HOST.fullmatch(host):
        raise ConfigError(f"{host!r} cannot name a host in a repository", hint="use letters, digits, dot, dash")
    return host


def stamp(moment: datetime) -> str:
    """The time as it stands in a snapshot's name."""
    return moment.astimezone(UTC).strftime(_TIME)


def iso(moment: datetime) -> str:
    """The time as it stands in documents."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def host_key(host: str) -> str:
    return f"{host}/host.json"


def epochs_prefix(host: str) -> str:
    return f"{host}/epochs/"


def epoch_prefix(host: str, epoch: str) -> str:
    return f"{host}/epochs/{epoch}/"


def epoch_key(host: str, epoch: str) -> str:
    return f"{epoch_prefix(host, epoch)}epoch.json"


def pack_key(host: str, epoch: str, digest: str) -> str:
    return f"{epoch_prefix(host, epoch)}packs/{digest}.age"


def document(fields: Mapping[str, Any]) -> bytes:
    """Return a public document as it is stored: JSON in its one spelling."""
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def is_epoch(name: str) -> bool:
    return _EPOCH.fullmatch(name) is not None


@dataclass(frozen=True)
class Place:
    """What one key under a host's epochs is: a pack, a snapshot, an epoch's document, or strange."""

    epoch: str
    pack: str = ""
    snapshot: SnapshotName | None = None
    document: bool = False

    @property
    def strange(self) -> bool:
        return not (self.pack or self.snapshot or self.document)


def place(host: str, key: str) -> Place:
    """Say what a key is by its name alone."""
    epoch, _, rest = key.removeprefix(epochs_prefix(host)).partition("/")
    if not is_epoch(epoch):
        return Place("")
    if found := _PACK.fullmatch(rest):
        return Place(epoch, pack=found[1])
    if (found := _SNAPSHOT.fullmatch(rest)) and _is_time(found[1]):
        return Place(epoch, snapshot=SnapshotName(int(found[2]), epoch, found[1]))
    return Place(epoch, document=rest == "epoch.json")


def _is_time(text: str) -> bool:
    try:
        datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        return False
    return True
