"""`invoke drill`, `invoke drill.…`: restore drills, their reports, and what a killed one left.

Exit code 0 says passed, 1 failed, 3 passed as far as the backup, or the sandbox, let it.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from toolkit.verbs.face import host_file, listener, verb
from toolkit.words.errors import Error

if TYPE_CHECKING:
    from toolkit.drill.report import Report
    from toolkit.workflows.backups import Backups

FAILED = 1
_ON = "where: a host of this repository, local (this machine) or lab; by default as the backup file says, or local"


def _backups(host: str) -> "Backups":
    from toolkit.vault.identity import Keyring
    from toolkit.workflows.backups import Backups

    return Backups.of(host_file(host), Keyring(os.environ))


@verb(
    default=True,
    name="run",
    help={
        "snapshot": "which one: latest, its name, or its number",
        "on": _ON,
        "level": "how deep: 0 objects, 1 keys, 2 files, 3 databases, 4 the whole stack; by default the backup file's",
        "beside_production": "let it run on production itself, with small shares of everything",
        "identity": "a file with a further identity that must open it as well, such as the escrow's; may be repeated",
    },
    iterable=["identity"],
)
def run(
    _: Context,
    host: str = "",
    snapshot: str = "latest",
    on: str = "",
    level: str = "",
    beside_production: bool = False,
    identity: Iterable[str] | None = None,
    json: bool = False,
) -> int:
    """Bring a snapshot back in a sandbox, prove it, measure it, throw it away, and write a signed report."""
    from toolkit.drill.report import EXIT
    from toolkit.verbs import drill_shown as shown
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import drill_reports, drills

    backups, told = _backups(host), listener(json)
    others = tuple(one for name in identity or () for one in drills.identities_in(Path(name), told))
    asked = drills.Asked(snapshot=snapshot, on=on, level=shown.level_of(level), beside=beside_production, others=others)
    report = drills.drill(backups, asked, told, SystemClock())
    kept = drill_reports.keep(backups, report, told)
    _tell_host(backups, report)
    shown.report(report, kept, json=json)
    return EXIT[report.verdict]


def _tell_host(backups: "Backups", report: "Report") -> None:
    """Leave metrics on the host that was drilled. One that cannot be reached may be why somebody drills."""
    from toolkit.host.connect import connect
    from toolkit.workflows import drill_reports

    machine = connect(backups.described)
    try:
        with suppress(Error):
            drill_reports.tell(machine, report)
    finally:
        machine.close()


@verb(help={"render": "write the Markdown and the page of every report anew, from the signed files"})
def report(_: Context, host: str = "", render: bool = False, json: bool = False) -> int:
    """List the last drills of a host. Exit code 1 where the newest failed, or there is none."""
    from toolkit.verbs import drill_shown as shown
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import drill_reports

    backups = _backups(host)
    found = drill_reports.last(backups)
    written = drill_reports.render_again(backups) if render else []
    shown.reports(backups.host, found, written, drill_reports.due(backups, SystemClock().wall()), json=json)
    return FAILED if not found or found[-1].report.verdict == "failed" else 0


@verb(positional=["file"], help={"file": "the JSON file of a report"})
def check(_: Context, file: str, json: bool = False) -> int:
    """Check a report's signature, and whether its key is in backups/drill.keys. Exit code 1 where it is not."""
    from toolkit.config import backup_files, load
    from toolkit.drill import signed
    from toolkit.verbs import drill_shown as shown
    from toolkit.words.errors import ConfigError

    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", hint="name the JSON file of a report") from error
    found = signed.open_signed(content)
    known = signed.believed(load.find_root(Path.cwd()) / backup_files.FOLDER / signed.KEYS)
    shown.checked(found, known, json=json)
    return 0 if str(found.key) in known else FAILED


@verb(help={"on": _ON})
def clean(_: Context, host: str = "", on: str = "", json: bool = False) -> None:
    """Remove what drills left that were killed. A drill does so for the place that it runs in."""
    from toolkit.verbs import drill_shown as shown
    from toolkit.workflows import drills

    backups = _backups(host)
    shown.cleaned(drills.clean(backups, on or backups.file.drill.on or ""), json=json)
