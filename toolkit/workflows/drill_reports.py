"""What becomes of a drill's report: signed, kept as files and as evidence in the bucket, told as metrics, drawn again.

Reports count only under a key of `backups/drill.keys`, wherever they come from: whoever can put into the bucket, as the
host itself can, could have put one there.
"""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from toolkit.config import backup_files
from toolkit.crypto.signing import SigningKey
from toolkit.drill import markdown, page, signed
from toolkit.drill.report import LARGEST, Report
from toolkit.drill.signed import Signed
from toolkit.host import File, Host
from toolkit.repository.layout import SnapshotName
from toolkit.store.protocol import BucketStore
from toolkit.words import atomic
from toolkit.words.command import script
from toolkit.words.errors import ConfigError, RepositoryError, SecretError, StoreError
from toolkit.words.report import Listener
from toolkit.workflows.backups import Backups

VARIABLE = "TOOLKIT_DRILL_KEY"
REPORTS = "reports"
METRICS = "/var/lib/toolkit/metrics"
PROVES = 2
"""From this level on, a passed drill has shown that a snapshot comes back."""

_RECENT = 200


@dataclass(frozen=True)
class Kept:
    """Where a report is now. `introduced` says that its key is new in `backups/drill.keys`."""

    files: tuple[Path, ...]
    evidence: tuple[str, ...]
    key: str
    introduced: bool


def key_path(environ: Mapping[str, str]) -> Path:
    """Return the file of the key that signs reports: $TOOLKIT_DRILL_KEY, or one in the folder of configuration."""
    if named := environ.get(VARIABLE):
        return Path(named).expanduser()
    folder = environ.get("XDG_CONFIG_HOME", "")
    base = Path(folder) if folder.startswith("/") else Path(environ.get("HOME", "~")).expanduser() / ".config"
    return base / "toolkit" / "drill.key"


def signing_key(environ: Mapping[str, str]) -> SigningKey:
    """Return this machine's key for reports, drawn when first needed. Raises SecretError."""
    path = key_path(environ)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = SigningKey.keep(path)
        if path.stat().st_mode & 0o077:
            raise SecretError(f"others may read the key {path}", hint=f"chmod 600 {path}")
    except OSError as error:
        raise SecretError(
            f"the key {path} cannot be used: {error.strerror}", hint=f"name another in ${VARIABLE}"
        ) from error
    return key


def keep(backups: Backups, report: Report, listener: Listener) -> Kept:
    """Sign a report, and write it beside the backup files and into the bucket. Raises SecretError, ConfigError.

    A bucket that takes no evidence is a warning: the report is in this repository all the same.
    """
    key = signing_key(os.environ)
    folder = backups.file.root / backup_files.FOLDER
    introduced = signed.introduce(folder / signed.KEYS, key.verify_key, report.who)
    before = [one.report for one in last(backups, page.LAST - 1)]
    bodies = _bodies(report, before, key)
    name = f"{backups.host}-{_stamp(report)}"
    files = _written(folder / REPORTS, name, bodies)
    return Kept(files, tuple(_stored(backups, report, bodies, listener)), str(key.verify_key), introduced)


def _bodies(report: Report, before: Sequence[Report], key: SigningKey) -> dict[str, bytes]:
    return {
        "json": signed.sign(report, key),
        "md": markdown.text(report).encode(errors="replace"),
        "html": page.html(report, before, str(key.verify_key)).encode(errors="replace"),
    }


def _written(folder: Path, name: str, bodies: Mapping[str, bytes]) -> tuple[Path, ...]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = tuple(folder / f"{name}.{kind}" for kind in bodies)
        for path, body in zip(paths, bodies.values(), strict=True):
            atomic.replace(path, body, mode=0o644)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}", hint="make room, or check its owner"
        ) from error
    return paths


def _stored(backups: Backups, report: Report, bodies: Mapping[str, bytes], listener: Listener) -> Iterator[str]:
    base = f"{backups.host}/evidence/drill-{_stamp(report)}-{secrets.token_hex(4)}"
    try:
        for kind, body in bodies.items():
            backups.owner.put_new(f"{base}.{kind}", body, retain_until=_locked_until(backups, report))
            yield f"{base}.{kind}"
    except StoreError as error:
        listener.warn(f"no evidence in the bucket: {error.message}")


def _locked_until(backups: Backups, report: Report) -> datetime | None:
    owner = backups.owner
    if backups.file.lock is None or not isinstance(owner, BucketStore) or not owner.bucket.facts().lockable:
        return None
    return datetime.fromisoformat(report.ended) + timedelta(seconds=float(backups.file.lock))


def last(backups: Backups, count: int = _RECENT) -> list[Signed]:
    """Return the newest reports of a host in this repository that can be believed, oldest first. Raises ConfigError."""
    folder = backups.file.root / backup_files.FOLDER
    known = signed.believed(folder / signed.KEYS)
    found = []
    for path in sorted((folder / REPORTS).glob(f"{backups.host}-*.json"))[-_RECENT:]:
        with suppress(RepositoryError, OSError):
            one = signed.open_signed(path.read_bytes())
            if one.report.host == backups.host and str(one.key) in known:
                found.append(one)
    return sorted(found, key=lambda one: one.report.started)[-count:] if count else []


def render_again(backups: Backups) -> list[Path]:
    """Write the Markdown and the page of every report anew, from the signed ones. Raises ConfigError."""
    found, written = last(backups), list[Path]()
    for place, one in enumerate(found):
        before = [each.report for each in found[:place]]
        bodies = {
            "md": markdown.text(one.report).encode(errors="replace"),
            "html": page.html(one.report, before, str(one.key)).encode(errors="replace"),
        }
        folder = backups.file.root / backup_files.FOLDER / REPORTS
        written += _written(folder, f"{backups.host}-{_stamp(one.report)}", bodies)
    return written


def proven(backups: Backups, listener: Listener) -> set[SnapshotName]:
    """The snapshots that came through a drill, by reports of this repository and of the bucket."""
    texts = {one.report.snapshot for one in (*last(backups), *_evidence(backups, listener)) if _proves(one.report)}
    found = set()
    for name in backups.repository(listener.warn).listed.snapshots:
        if str(name) in texts:
            found.add(name)
    return found


def _proves(report: Report) -> bool:
    return report.level >= PROVES and report.verdict != "failed"


def _evidence(backups: Backups, listener: Listener) -> Iterator[Signed]:
    known = signed.believed(backups.file.root / backup_files.FOLDER / signed.KEYS)
    prefix = f"{backups.host}/evidence/drill-"
    keys = sorted(info.key for info in backups.owner.list(prefix) if info.key.endswith(".json"))
    for key in keys[-_RECENT:] if known else ():
        try:
            one = signed.open_signed(backups.owner.get(key, limit=LARGEST))
        except (RepositoryError, StoreError) as error:
            listener.warn(f"{key}: {error.message}")
            continue
        if one.report.host == backups.host and str(one.key) in known:
            yield one


def tell(host: Host, report: Report) -> bool:
    """Write a drill's metrics onto the host that was drilled, where the toolkit lives there. Raises HostError."""
    if not host.run(script('[ -d "${1%/*}" ]', METRICS), check=False).ok:
        return False
    host.send([File(f"{METRICS}/drill.prom", metrics(report).encode(), 0o644)])
    return True


def metrics(report: Report) -> str:
    """Return Prometheus' text format: https://prometheus.io/docs/instrumenting/exposition_formats/."""
    values: dict[str, tuple[str, float | None]] = {
        "last_timestamp_seconds": ("When the last drill began.", datetime.fromisoformat(report.started).timestamp()),
        "last_passed": (
            "1 where it passed, 0.5 where it passed incomplete, 0 where it failed.",
            _PASSED[report.verdict],
        ),
        "level": ("How deep it went, 0 to 4.", float(report.level)),
        "rto_seconds": ("What bringing the data back took.", report.rto),
        "rpo_seconds": ("What would have been lost.", report.loss.seconds if report.loss else None),
    }
    lines = []
    for name, (help_text, value) in values.items():
        if value is not None:
            full = f"toolkit_drill_{name}"
            lines += [
                f"# HELP {full} {help_text}",
                f"# TYPE {full} gauge",
                f"{full} {value:g}" if value < 1e6 else f"{full} {value:.0f}",
            ]
    return "\n".join(lines) + "\n"


_PASSED = {"passed": 1.0, "incomplete": 0.5, "failed": 0.0}


def due(backups: Backups, now: float) -> str:
    """Say when the next drill is due by the backup file, or that it is."""
    every = timedelta(seconds=float(backups.file.drill.every))
    newest = max((one.report.started for one in last(backups)), default="")
    if not newest:
        return "no drill yet: one is due"
    then = datetime.fromisoformat(newest) + every
    state = "was due" if then < datetime.fromtimestamp(now, UTC) else "is due"
    return f"the next drill {state} {then:%Y-%m-%d}"


def _stamp(report: Report) -> str:
    return datetime.fromisoformat(report.started).strftime("%Y%m%dT%H%M%SZ")
