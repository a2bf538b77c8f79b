"""`invoke backup.…`: backups from the control side. Hosts make them; here they are looked at, proven and brought back.

Exit code 3 says that the result is not all of it, or that damage was worked around; 23 that backups are damaged.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from toolkit.verbs import backup_shown as shown
from toolkit.verbs.face import connected, host_file, listener, verb
from toolkit.words.errors import ConfigError, RepositoryError

if TYPE_CHECKING:
    from toolkit.config.backups import Price
    from toolkit.workflows.backups import Backups, Heard

NOT_GOOD, PENDING, INCOMPLETE = 1, 2, 3
DAMAGED = RepositoryError.exit_code
_SNAPSHOT = {"snapshot": "which one: latest, its name, or its number"}


def _backups(host: str) -> "Backups":
    from toolkit.vault.identity import Keyring
    from toolkit.workflows.backups import Backups

    return Backups.of(host_file(host), Keyring(os.environ))


def _heard() -> "Heard":
    from toolkit.workflows.backups import Heard

    return Heard(listener().warn)


def _code(heard: "Heard") -> int:
    return INCOMPLETE if heard.texts else 0


@verb(
    help={
        "create": "make the bucket, with object lock, where it is not there",
        "fix": "switch versioning on, clear unfinished uploads, and give the bucket its policy",
    }
)
def init(_: Context, host: str = "", create: bool = False, fix: bool = False, json: bool = False) -> int:
    """Make a store ready, and print the least policy for its hosts if it lacks that. Exit code 1: not sound yet."""
    from toolkit.workflows import backups_bucket as workflow

    ready = workflow.prepare(_backups(host), create=create, fix=fix)
    shown.readiness(ready, json=json)
    # A directory has nothing that could be put right.
    return 0 if ready.good or ready.policy is None else NOT_GOOD


@verb()
def audit(_: Context, host: str = "", json: bool = False) -> int:
    """Try, with the host's own credentials, to read and destroy backups. Exit code 1 when anything works."""
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import backups_bucket as workflow

    backups = _backups(host)
    found = workflow.attack(backups, listener(json), SystemClock())
    shown.audit(backups.host, found, json=json)
    return NOT_GOOD if found.holes else 0


@verb(
    help={
        "key": "the key, 64 hexadecimal digits; without it, the host is asked over its own connection",
        "replace": "believe this key in place of the one that is pinned: the host was set up anew",
    }
)
def trust(_: Context, host: str = "", key: str = "", replace: bool = False, json: bool = False) -> None:
    """Pin a host's signing key in backups/<host>.head: from then on only what it signed is believed."""
    from toolkit.crypto.signing import VerifyKey
    from toolkit.workflows import backups as workflow

    backups = _backups(host)
    if key:
        found = VerifyKey.parse(key)
    else:
        with connected(host) as (_described, machine):
            found = workflow.ask_for_key(machine)
    shown.trust(workflow.trust(backups, found, replace=replace), json=json)


@verb()
def snapshots(_: Context, host: str = "", json: bool = False) -> int:
    """List the snapshots of a host. Exit code 3 when one of them cannot be opened."""
    from toolkit.workflows import backups_read as workflow

    heard = _heard()
    rows = workflow.snapshots(_backups(host), heard)
    shown.snapshots(rows, json=json)
    return INCOMPLETE if heard.texts or any(row.complaint for row in rows) else 0


@verb(help=_SNAPSHOT | {"path": "only what is at and below this path"})
def ls(_: Context, host: str = "", snapshot: str = "latest", path: str = "", json: bool = False) -> int:
    """List the files of a snapshot."""
    from toolkit.workflows import backups_read as workflow

    heard = _heard()
    shown.entries(workflow.entries(_backups(host), snapshot, path, heard), json=json)
    return _code(heard)


@verb(help={"pattern": "a shell pattern for a path or a last name: '*.sql'", "snapshot": "only in this one"})
def find(_: Context, pattern: str, host: str = "", snapshot: str = "", json: bool = False) -> int:
    """Find files in all snapshots, the newest first."""
    from toolkit.workflows import backups_read as workflow

    heard = _heard()
    shown.found(workflow.find(_backups(host), pattern, snapshot, heard), json=json)
    return _code(heard)


@verb(
    help={"before": "the older one; by default the one before the newer", "after": "the newer one; latest by default"}
)
def diff(_: Context, host: str = "", before: str = "", after: str = "latest", json: bool = False) -> int:
    """Show what was added, removed, changed (content) or touched (owner, mode, times) between two snapshots."""
    from toolkit.workflows import backups_read as workflow

    heard = _heard()
    shown.differences(workflow.diff(_backups(host), before, after, heard), json=json)
    return _code(heard)


@verb(help=_SNAPSHOT | {"path": "the file, as backup.ls shows it"})
def dump(_: Context, path: str, host: str = "", snapshot: str = "latest") -> int:
    """Write one file of a snapshot to standard output, byte for byte."""
    from toolkit.workflows import backups_read as workflow

    heard = _heard()
    workflow.dump(_backups(host), snapshot, path, sys.stdout.buffer.write, heard)
    sys.stdout.flush()
    return _code(heard)


@verb(
    help={
        "keyed": "open everything with your identity too, and follow the host to its newest snapshot",
        "all": "look at every pack, not only at today's share of them",
        "metrics": "a file to write the result to, for Prometheus' text file collector",
    }
)
def verify(
    _: Context,
    host: str = "",
    keyed: bool = False,
    all: bool = False,  # noqa: A002 - the option's name
    metrics: str = "",
    json: bool = False,
) -> int:
    """Check that backups are whole. Exit code 23 when they are damaged, 3 when older versions make up for it."""
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import backups_metrics
    from toolkit.workflows import backups_verify as workflow

    backups, clock = _backups(host), SystemClock()
    done = workflow.check(backups, keyed=keyed, everything=all, listener=listener(json), clock=clock)
    shown.verification(done, json=json)
    if metrics:
        backups_metrics.write(Path(metrics), backups, done, clock.wall())
    return DAMAGED if not done.findings.sound else INCOMPLETE if done.findings.healed else 0


@verb(
    help=_SNAPSHOT
    | {
        "to": "a directory of this machine, new or empty",
        "path": "only what is at and below this path",
        "best_effort": "go on past damage, and say what is lost",
        "privileged": "bring back devices, setuid bits and capabilities too",
    }
)
def restore(
    _: Context,
    host: str = "",
    to: str = "",
    path: str = "",
    snapshot: str = "latest",
    best_effort: bool = False,
    privileged: bool = False,
    json: bool = False,
) -> int:
    """Bring a snapshot back into a directory of this machine. Exit code 3 when that is not all there was."""
    from toolkit.repository import How
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import backups_read as workflow

    if not to:
        raise ConfigError("no directory named", hint="add --to DIRECTORY; it is made where it is not there")
    how = How(below=path, best_effort=best_effort, privileged=privileged)
    done = workflow.restore(_backups(host), snapshot, Path(to), how, listener(json), SystemClock())
    shown.restoration(done, json=json)
    return 0 if done.whole else INCOMPLETE


@verb(
    help={
        "first": "how much a first backup stores, such as 20GB; by default as seen in the store",
        "daily": "how much a day's changes add, such as 200MB; by default as seen",
        "growth": "by how much a first backup grows in a day; by default as seen",
        "price": "for a gigabyte and a month; by default the backup file's",
        "currency": "of the price",
        "every": "time between backups",
        "months": "how far to look ahead",
        "chart": "also draw it into this file, as SVG",
    }
)
def plan(
    _: Context,
    host: str = "",
    first: str = "",
    daily: str = "",
    growth: str = "",
    price: str = "",
    currency: str = "",
    every: str = "1d",
    months: int = 24,
    chart: str = "",
    json: bool = False,
) -> None:
    """Show what the backup file will store and cost, month by month."""
    from toolkit.words.values import Duration, Size
    from toolkit.workflows import backups_plan as workflow

    backups = _backups(host)
    sizes = {"first": first, "daily": daily, "growth": growth}
    guess = workflow.Guess(**{name: Size.parse(text) for name, text in sizes.items() if text})
    cost = _price(backups, price, currency)
    found = workflow.plan(backups, guess, cost, every=Duration.parse(every), months=_months(months))
    shown.plan(found, json=json)
    if chart:
        shown.chart(found, chart)


def _price(backups: "Backups", price: str, currency: str) -> "Price":
    from toolkit.workflows import backups_plan as workflow

    try:
        return workflow.priced(backups.file, float(price) if price else None, currency)
    except ValueError as error:
        raise ConfigError(f"{price!r} is not a price", hint="write a number, such as 0.02") from error


def _months(months: int) -> int:
    if not 1 <= months <= 240:
        raise ConfigError(f"{months} months cannot be planned", hint="choose 1 to 240")
    return months


@verb(
    help={
        "plan": "show what would go and why, and delete nothing; exit code 2 when something would",
        "drop": "an epoch with no snapshot that counts, which you have looked at; may be given again",
        "allow_empty": "go on even where no snapshot would be left",
    },
    iterable=["drop"],
)
def expire(
    _: Context,
    host: str = "",
    plan: bool = False,
    drop: Iterable[str] | None = None,
    allow_empty: bool = False,
    json: bool = False,
) -> int:
    """Delete epochs, of shipped logs too, that are no longer kept. Exit code 3 when the store did not let one go."""
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import backups_expire as workflow

    told = listener(json)
    decided = workflow.plan(_backups(host), told, SystemClock(), drop=tuple(drop or ()))
    if plan:
        shown.expiry(decided, (), json=json)
        return PENDING if decided.anything else 0
    done = workflow.apply(decided, told, allow_empty=allow_empty)
    shown.expiry(decided, done, json=json)
    return INCOMPLETE if any(one.held for one in done) else 0
