"""What the toolkit itself keeps on the host: releases, deploys, the watchdog, messages, metrics; files, as they are."""

import json
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toolkit.stack import hold, journal, transaction
from toolkit.stack.doctor.gather.programs import said
from toolkit.stack.place import Place
from toolkit.stack.watchdog import history
from toolkit.words.errors import HostError


def deploys(place: Place) -> dict[str, Any]:
    """Return the current release, who is at work or on hold, what was left half-way, and how deploys ended."""
    held = hold.read(place, time.time())
    found: dict[str, Any] = {"current": place.current_name(), "hold": asdict(held) if held else None}
    found |= {
        "busy": place.busy(),
        "restoring": place.is_restoring(),
        "driver": _json(place.driver),
    }
    try:
        mark = transaction.read(place)
        found["transaction"] = asdict(mark) if mark else None
    except HostError as error:
        found["damaged"] = error.message
    found["ends"] = [end for name in journal.names(place)[-3:] if (end := _end(place, name))]
    return found


def _end(place: Place, name: str) -> dict[str, Any] | None:
    events = list(journal.read(journal.path_of(place, name)))
    begin = next((one for one in events if one["kind"] == "begin"), {})
    end = next((one for one in reversed(events) if one["kind"] == "end"), None)
    if end is None:
        return None
    phases = [one["name"] for one in events if one["kind"] == "phase"]
    kept = {key: end["outcome"].get(key) for key in ("result", "release", "fault", "code")}
    before = [phase for phase in phases if phase != "rollback"]
    return kept | {"at": end["at"], "target": begin.get("release", ""), "phase": before[-1] if before else ""}


def manifest(place: Place) -> str:
    """Return the current release's manifest as it is written; empty where there is none."""
    with suppress(OSError):
        return (place.current / "release.json").read_text()
    return ""


def record(place: Place) -> str:
    """Return what the last deploy found, as it is written."""
    with suppress(OSError):
        return (place.state / "record.json").read_text()
    return ""


def watchdog(place: Place) -> dict[str, Any]:
    """Return what the watchdog sees, whether anybody wants one, and the last incidents without their evidence."""
    past = [{key: value for key, value in one.items() if key != "evidence"} for one in history.read(place, 10)]
    return {
        "wanted": (place.root / "etc/toolkit/watchdog.json").exists(),
        "seen": history.shown(place),
        "now": time.time(),
        "incidents": past,
    }


def told(root: Path) -> dict[str, Any]:
    """Return who is told what happens, as far as it is no secret, and how that goes."""
    folder = root / "var/lib/toolkit/notify"
    index, status = _json(folder / "targets.json"), _json(folder / "status.json")
    waiting = [path.name.partition(".")[2].removesuffix(".json") for path in (folder / "queue").glob("[0-9]*.json")]
    return {
        one["name"]: {"waiting": waiting.count(one["name"]), **status.get(one["name"], {})}
        for one in index.get("targets", ())
    }


_UNSHIPPED = "toolkit_backup_wal_failures{"


def backups(root: Path) -> dict[str, Any]:
    """Return whether backups are scheduled and how often, when the last good one ended, and how the last drill went.

    What is scheduled comes from systemd, or from a file of cron; the rest from text files of metrics. Times are seconds
    since 1970, and None where there never was such a thing.
    """
    folder = root / "var/lib/toolkit/metrics"
    told = {name: value for path in sorted(folder.glob("*.prom")) for name, value in _metrics(path).items()}
    timer = said("systemctl", "show", "--property=ActiveState", "--value", "toolkit-backup.timer").strip()
    return {
        "scheduled": timer == "active" or (root / "etc/cron.d/toolkit-backup").exists(),
        "every": told.get("toolkit_backup_period_seconds") or None,
        "backup": told.get("toolkit_backup_last_success_timestamp_seconds") or None,
        "code": told.get("toolkit_backup_last_exit_code"),
        "working": bool(told.get("toolkit_backup_lock_since_timestamp_seconds")),
        "unshipped": {name: value for name, value in told.items() if name.startswith(_UNSHIPPED) and value},
        "drill": told.get("toolkit_drill_last_timestamp_seconds") or None,
        "passed": told.get("toolkit_drill_last_passed"),
    }


def _metrics(path: Path) -> dict[str, float]:
    """Return the value of each metric, by its name with its labels."""
    found: dict[str, float] = {}
    with suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, value = line.rpartition(" ")
            with suppress(ValueError):
                if not line.startswith("#"):
                    found[name] = float(value)
    return found


def _json(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        if isinstance(found, dict):
            return found
    return {}
