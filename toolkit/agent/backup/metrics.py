"""Metrics of backups: a text file for whoever scrapes the host.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/, text, version 0.0.4.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from toolkit.agent.backup.record import CUT_OFF, FAILED, STOPPED, Run
from toolkit.agent.paths import Paths
from toolkit.repository.manifest import COMPLETE, INCOMPLETE
from toolkit.stack.duty import Duty
from toolkit.words import atomic

FILE, WAL_FILE = "backup.prom", "backup_wal.prom"
RESULTS = (COMPLETE, INCOMPLETE, FAILED, STOPPED, CUT_OFF)

_Metric = tuple[str, str, str, Sequence[tuple[str, float]]]


def write(paths: Paths, duty: Duty, runs: Sequence[Run], working_since: float = 0.0) -> None:
    """Write what the runs tell, oldest first; `working_since` is when the run at work began. A full disk costs it."""
    with suppress(OSError):
        paths.metrics.mkdir(mode=0o755, parents=True, exist_ok=True)
        atomic.replace(paths.metrics / FILE, text(duty, runs, working_since).encode(), mode=0o644)


def write_wal(paths: Paths, lines: Mapping[str, Mapping[str, Any]]) -> None:
    """Write how far the logs of databases were shipped."""
    found: list[_Metric] = [
        ("wal_shipped_timestamp_seconds", "gauge", "Up to when the log is stored.", _by_source(lines, "shipped")),
        ("wal_base_timestamp_seconds", "gauge", "When the newest base was taken.", _by_source(lines, "base")),
        ("wal_failures", "gauge", "Tries that failed since the last shipping.", _by_source(lines, "failures")),
    ]
    paths.metrics.mkdir(mode=0o755, parents=True, exist_ok=True)
    atomic.replace(paths.metrics / WAL_FILE, _lines(found).encode(), mode=0o644)


def _by_source(lines: Mapping[str, Mapping[str, Any]], key: str) -> list[tuple[str, float]]:
    return [(f'{{source="{_escaped(name)}"}}', float(line[key])) for name, line in sorted(lines.items())]


def text(duty: Duty, runs: Sequence[Run], working_since: float) -> str:
    return _lines(_metrics(duty, runs, working_since))


def _lines(found: Iterable[_Metric]) -> str:
    lines = []
    for name, kind, help_, samples in found:
        lines += [f"# HELP toolkit_backup_{name} {help_}", f"# TYPE toolkit_backup_{name} {kind}"]
        lines += [f"toolkit_backup_{name}{labels} {value:.15g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _metrics(duty: Duty, runs: Sequence[Run], working_since: float) -> Iterator[_Metric]:
    yield "lock_since_timestamp_seconds", "gauge", "When the run at work began; 0 while none is.", [("", working_since)]
    yield "period_seconds", "gauge", "Longest time between two runs as scheduled; 0: by hand.", [("", duty.every)]
    yield "stale_after_seconds", "gauge", "How old the newest complete one may be; 0: nobody says.", [("", duty.stale)]
    good = next((run for run in reversed(runs) if run.good), None)
    yield (
        "last_success_timestamp_seconds",
        "gauge",
        "When the newest complete backup ended; 0: never.",
        [("", good.ended if good else 0)],
    )
    if not runs:
        return
    last = runs[-1]
    results = [(f'{{result="{name}"}}', float(last.result == name)) for name in RESULTS]
    yield "last_result", "gauge", "How the last run ended: 1 for what it was.", results
    yield "last_run_timestamp_seconds", "gauge", "When the last run ended.", [("", last.ended)]
    yield "last_exit_code", "gauge", "Exit code of the last run.", [("", last.code)]
    yield "duration_seconds", "gauge", "How long the last run took.", [("", last.ended - last.at)]
    kept = next((run for run in reversed(runs) if run.kept), None)
    if kept is None:
        return
    yield "incomplete", "gauge", "Whether the newest snapshot lacks something.", [("", float(not kept.good))]
    yield "read_bytes", "gauge", "Bytes read for the newest snapshot.", [("", kept.bytes)]
    yield "stored_bytes", "gauge", "Bytes it added to the store.", [("", kept.stored)]
    yield "files", "gauge", "Files and dumps in it.", [("", kept.entries)]
    yield "unread", "gauge", "What of it could not be read.", [("", len(kept.unread))]
    yield "skew_seconds", "gauge", "Time between the first source held still and the last.", [("", kept.skew)]
    yield "sources", "gauge", "Sources in it.", [("", len(kept.sources))]
    sizes = [(f'{{source="{_escaped(name)}"}}', float(one.get("bytes", 0))) for name, one in kept.sources.items()]
    yield "source_bytes", "gauge", "Bytes of each source.", sizes


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
