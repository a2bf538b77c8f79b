"""When each sealed secret was last changed, and by whom: from git, or from the file where git does not know yet."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from toolkit.vault.files import FOLDER

_MARK = "\x1e"


@dataclass(frozen=True)
class Edit:
    """The last change of a file: seconds since 1970, and who made it as git has it."""

    time: float
    who: str


def read(root: Path) -> Mapping[str, Edit]:
    """Return the last committed change of each file under `secrets/`, by its path from the root; empty without git."""
    log = _git(root, "log", f"--format={_MARK}%ct%x09%an", "--name-only", "--relative", "--no-renames", "--", FOLDER)
    # A file that differs from its commit was changed since, and git cannot say when.
    changed = set(_git(root, "diff", "--name-only", "--relative", "HEAD", "--", FOLDER).splitlines())
    return {path: edit for path, edit in parse(log).items() if path not in changed}


def parse(log: str) -> dict[str, Edit]:
    """Return the newest change of each path in git's log."""
    found: dict[str, Edit] = {}
    for entry in log.split(_MARK)[1:]:
        head, *paths = entry.splitlines()
        time, _, who = head.partition("\t")
        for path in filter(None, paths):
            found.setdefault(path, Edit(float(time), who))
    return found


def _git(root: Path, *words: str) -> str:
    try:
        said = subprocess.run(
            ["git", "-c", "core.quotePath=false", "-C", str(root), *words],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout if said.returncode == 0 else ""


def day(time: float) -> str:
    """Return a time as a day in UTC, 2026-01-31."""
    return datetime.fromtimestamp(time, tz=UTC).strftime("%Y-%m-%d")
