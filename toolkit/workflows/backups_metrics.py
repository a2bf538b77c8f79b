"""Metrics of a verification: a text file for whoever scrapes the machine that verified.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/, text, version 0.0.4.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.repository.expire import Epoch, survey
from toolkit.words import atomic
from toolkit.words.errors import ConfigError
from toolkit.workflows.backups import Backups
from toolkit.workflows.backups_verify import Verification

_Gauge = tuple[str, str, Sequence[tuple[str, float]]]


def write(path: Path, backups: Backups, done: Verification, wall: float) -> None:
    """Write what a verification found at `wall`, seconds since 1970, and until when the store locks each epoch.

    Raises ConfigError for a path that cannot be written, StoreError where the store does not tell.
    """
    content = text(done, survey(backups.owner, backups.host), wall).encode()
    try:
        atomic.replace(path, content, mode=0o644)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}", hint="name a file in a folder that is there"
        ) from error


def text(done: Verification, epochs: Sequence[Epoch], wall: float) -> str:
    lines = []
    for name, help_, samples in _gauges(done, epochs, wall):
        full = f"toolkit_verify_{name}"
        lines += [f"# HELP {full} {help_}", f"# TYPE {full} gauge"]
        lines += [f"{full}{{{labels}}} {value:.15g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _gauges(done: Verification, epochs: Sequence[Epoch], wall: float) -> Iterator[_Gauge]:
    found = done.findings
    # Both kinds are run by turns, and must not stand for each other.
    labels = f'host="{done.host}",keyed="{str(done.keyed).lower()}"'
    yield "last_timestamp_seconds", "When it was verified last.", [(labels, wall)]
    yield "sound", "1 where everything looked at was as it was written.", [(labels, float(found.sound))]
    yield "round_days", "In how many days everything is looked at; 1: everything was.", [(labels, done.days)]
    yield "snapshots", "Snapshots that are there.", [(labels, found.snapshots)]
    yield "packs", "Packs that were looked at.", [(labels, found.packs)]
    yield "bytes", "Bytes that were looked at.", [(labels, found.bytes)]
    yield "damaged", "Packs that are damaged or missing.", [(labels, len(found.damaged))]
    yield "touched_snapshots", "Snapshots that cannot be restored as they were.", [(labels, len(found.touched))]
    locks = [
        (f'host="{done.host}",epoch="{epoch.name}"', epoch.locked_until.timestamp())
        for epoch in epochs
        if epoch.locked_until
    ]
    yield "locked_until_timestamp_seconds", "Until when the store lets nobody delete an epoch.", locks
