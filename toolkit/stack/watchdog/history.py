"""The history: every incident of a stack as a JSON line, and what the watchdog sees now as one JSON file."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from toolkit.stack.place import Place

# One older file is kept beside the current one.
MOST = 4 << 20


@dataclass(frozen=True)
class Incident:
    """One thing that happened to one service. `did` is what was done; `result` how that ended.

    The result is `healed`, `failed`, `given up` or `recovered`. Where `service` is empty it is about Docker, or about
    an address that no service answers for: `silent` or `back`.
    """

    at: str
    service: str
    kind: str
    reason: str
    result: str
    did: tuple[str, ...] = ()
    said: str = ""
    took: float = 0.0
    """Seconds from when it was noticed."""

    release: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


def folder(place: Place) -> Path:
    """Where a watchdog keeps what outlives it."""
    return place.root / "var/lib/toolkit/watchdog" / place.stack


def add(place: Place, incident: Incident) -> None:
    """Append one. A full disk costs the line, not the watch."""
    path = folder(place) / "history.jsonl"
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if path.stat().st_size > MOST:
                path.replace(path.with_suffix(".1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as lines:
            lines.write(json.dumps(asdict(incident), ensure_ascii=False).encode() + b"\n")


def read(place: Place, count: int) -> list[dict[str, Any]]:
    """Return the last incidents, oldest first. What is damaged is passed over."""
    return list(_lines(folder(place)))[-count:] if count > 0 else []


def _lines(where: Path) -> Iterator[dict[str, Any]]:
    for name in ("history.1", "history.jsonl"):
        with suppress(FileNotFoundError):
            for line in (where / name).read_bytes().split(b"\n"):
                with suppress(ValueError):
                    found = json.loads(line)
                    if isinstance(found, dict):
                        yield found


def show(place: Place, now: Mapping[str, Any]) -> None:
    """Write down what is seen now, in memory, for whoever asks."""
    _replace(place.run / "watchdog.json", json.dumps(now).encode(), 0o600)


def shown(place: Place) -> dict[str, Any]:
    """Return what was seen last; empty where nobody watches."""
    with suppress(OSError, ValueError):
        found = json.loads((place.run / "watchdog.json").read_bytes())
        if isinstance(found, dict):
            return found
    return {}


def measure(place: Place, rows: Mapping[str, Mapping[str, float]], overall: Mapping[str, float]) -> None:
    """Write metrics as a text file in Prometheus' format, complete or not at all.

    The format: https://prometheus.io/docs/instrumenting/exposition_formats/.
    """
    lines = []
    for metric, (kind, about) in METRICS.items():
        name = f"toolkit_watchdog_{metric}"
        lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
        if metric in overall:
            lines.append(f'{name}{{stack="{place.stack}"}} {int(overall[metric])}')
        for service, values in rows.items():
            if metric in values:
                lines.append(f'{name}{{stack="{place.stack}",service="{service}"}} {int(values[metric])}')
    path = place.root / "var/lib/toolkit/metrics" / f"watchdog-{place.stack}.prom"
    _replace(path, ("\n".join(lines) + "\n").encode(), 0o644)


METRICS = {
    "service_up": ("gauge", "Whether a service is well, as the watchdog sees it."),
    "heals_total": ("counter", "Heals of a service since the watchdog was started."),
    "gave_up": ("gauge", "Whether a service was given up."),
    "standing_aside": ("gauge", "Whether nothing is healed now, because somebody is at work."),
    "docker_up": ("gauge", "Whether Docker answers."),
    "last_check_timestamp_seconds": ("gauge", "When the watchdog looked last."),
}


def _replace(path: Path, content: bytes, mode: int) -> None:
    # Not flushed to the disk: it is written anew with the next look, and a disk need not wake up for it.
    draft = path.with_name(f".{path.name}.draft")
    with suppress(OSError):
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft.write_bytes(content)
        draft.chmod(mode)
        draft.replace(path)
