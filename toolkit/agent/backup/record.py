"""The record of runs: how each backup of this host went, as JSON lines, the newest last.

    /var/lib/toolkit/backup/runs.jsonl

The control side, metrics and alarms go by it. It holds names, numbers and complaints, never content.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from toolkit.agent.paths import Paths
from toolkit.repository.manifest import COMPLETE, INCOMPLETE
from toolkit.words import atomic

FAILED, STOPPED, CUT_OFF = "failed", "stopped", "cut off"
KEEP = 1000
# Of what could not be read; the snapshot itself lists more.
MOST_UNREAD = 20


@dataclass(frozen=True, kw_only=True)
class Run:
    """One backup. `at` and `ended` are seconds since 1970; `code` is the exit code."""

    at: float
    ended: float
    who: str
    result: str
    code: int
    said: str = ""
    hint: str = ""
    snapshot: str = ""
    sequence: int = 0
    epoch: str = ""
    fresh: tuple[str, ...] = ()
    """Why a new epoch began; empty where none did."""

    bytes: int = 0
    stored: int = 0
    entries: int = 0
    changed: int = 0
    unread: tuple[tuple[str, str], ...] = ()
    sources: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """For each source its bytes, entries and rows."""

    skew: float = 0.0
    odd: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return self.result == COMPLETE

    @property
    def kept(self) -> bool:
        """Whether it left a snapshot."""
        return self.result in (COMPLETE, INCOMPLETE)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Raises TypeError or KeyError for what is no run."""
        unread = tuple((str(path), str(why)) for path, why in data["unread"])
        lists = {key: tuple(data[key]) for key in ("fresh", "odd")}
        return cls(**{**data, **lists, "unread": unread})


def add(paths: Paths, run: Run) -> None:
    """Append a run. A full disk costs the line, not the backup."""
    lines = [*_lines(paths)][-KEEP + 1 :]
    line = json.dumps(asdict(run), ensure_ascii=False)
    with suppress(OSError):
        atomic.replace(paths.backup / "runs.jsonl", "".join(f"{one}\n" for one in [*lines, line]).encode(), mode=0o600)


def read(paths: Paths, count: int = KEEP) -> list[Run]:
    """Return the last runs, oldest first. What is damaged is passed over."""
    found = []
    for line in _lines(paths)[-count:]:
        with suppress(ValueError, TypeError, KeyError):
            found.append(Run.parse(json.loads(line)))
    return found


def _lines(paths: Paths) -> Sequence[str]:
    try:
        return (paths.backup / "runs.jsonl").read_text(errors="replace").splitlines()
    except OSError:
        return ()
