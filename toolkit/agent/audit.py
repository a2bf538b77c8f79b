"""The audit log: who did what to this host and how it ended, as JSON lines that only ever grow at their end."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from toolkit.agent.paths import Paths

# One older file is kept beside the current one.
MOST = 8 << 20


def record(paths: Paths, verb: str, **fields: Any) -> None:
    """Append one line. A full disk costs the line, not the work."""
    line = json.dumps({"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "verb": verb, **fields}, ensure_ascii=False)
    with suppress(OSError):
        paths.audit.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if paths.audit.stat().st_size > MOST:
                paths.audit.replace(paths.audit.with_suffix(".1"))
        descriptor = os.open(paths.audit, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as log:
            log.write(line.encode() + b"\n")
            log.flush()
            os.fsync(log.fileno())


def read(paths: Paths, count: int) -> list[dict[str, Any]]:
    """Return the last lines, oldest first. What is damaged is passed over."""
    return list(_lines(paths))[-count:]


def _lines(paths: Paths) -> Iterator[dict[str, Any]]:
    for path in (paths.audit.with_suffix(".1"), paths.audit):
        with suppress(FileNotFoundError):
            for line in path.read_bytes().splitlines():
                with suppress(ValueError):
                    found = json.loads(line)
                    if isinstance(found, dict):
                        yield found
