"""Where a change comes from: who, when, and which commit of the repository."""

import getpass
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from toolkit.words.clock import Clock


def who() -> str:
    """Return `user@machine` of the control side."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def now(clock: Clock) -> datetime:
    """Return the time in UTC."""
    return datetime.fromtimestamp(clock.wall(), tz=UTC)


def commit(root: Path) -> str:
    """Return the repository's commit, with `+` when the working tree differs; empty outside of git."""
    try:
        said = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip()
