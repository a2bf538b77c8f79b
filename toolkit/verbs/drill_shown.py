"""How drills look: verdicts as a table for people, JSON for programs. No text of a host's can steer a terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.words.errors import ConfigError
from toolkit.words.report import Table, printable

if TYPE_CHECKING:
    from toolkit.drill.report import Report
    from toolkit.drill.signed import Signed
    from toolkit.workflows.drill_reports import Kept

_WIDTH = 90


def level_of(text: str) -> int | None:
    """Read a level as it was written. Raises ConfigError."""
    if not text:
        return None
    if text not in ("0", "1", "2", "3", "4"):
        raise ConfigError(f"there is no drill of level {text!r}", hint="choose 0 (objects) to 4 (the whole stack)")
    return int(text)


def report(done: "Report", kept: "Kept", *, json: bool) -> None:
    from toolkit.drill.markdown import SAID, measured
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps({**shape(done), "files": kept.files, "evidence": kept.evidence, "key": kept.key}))
        return
    render.table(Table(("", "of", "check", "evidence"), [_row(*cells) for cells in _checks(done)]))
    render.say("")
    render.table(Table(("phase", "took"), [(one.name, f"{one.seconds:.1f} s") for one in done.phases]))
    render.say("")
    for name, found, promise in measured(done):
        render.say(f"{name}: {found}" + ("" if promise == "-" else f" (promised {promise})"))
    render.say(
        f"{done.host}, snapshot {done.snapshot or '-'}, level {done.level} ({done.level_name}): {SAID[done.verdict]}"
    )
    if kept.introduced:
        render.say("this machine's key is new in backups/drill.keys: commit it")
    render.say(f"the report: {_from_here(kept.files[-1])}")


def _from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def shape(done: "Report") -> dict[str, object]:
    """Return a report as JSON shows it: as it is signed, with what follows from it."""
    from dataclasses import asdict

    return {**asdict(done), "verdict": done.verdict, "rto": done.rto}


def _checks(done: "Report") -> list[tuple[str, str, str, str]]:
    order = ("bad", "unknown", "good")
    found = sorted(done.checks, key=lambda check: order.index(check.state))
    return [
        (one.state.upper() if one.state == "bad" else one.state, one.subject, one.what, one.evidence) for one in found
    ]


def _row(*cells: str) -> tuple[str, ...]:
    # The report has all of it; a terminal gets the first line.
    lines = [printable(cell.partition("\n")[0]) for cell in cells]
    return tuple(line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…" for line in lines)


def reports(host: str, found: "Sequence[Signed]", written: Sequence[Path], due: str, *, json: bool) -> None:
    from toolkit.drill.markdown import SAID, measured
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps({"host": host, "reports": [shape(one.report) for one in found], "due": due}))
        return
    rows = [
        (
            one.report.started,
            SAID[one.report.verdict],
            str(one.report.level),
            *(printable(cells[1]) for cells in measured(one.report)),
            one.report.snapshot or "-",
        )
        for one in found
    ]
    render.table(Table(("drill", "verdict", "level", "RTO", "RPO", "snapshot"), rows))
    render.say(f"{host}: {len(found)} reports that can be believed; {due}")
    if written:
        render.say(f"{len(written)} files written anew, the newest {written[-1]}")


def checked(found: "Signed", known: Mapping[str, str], *, json: bool) -> None:
    from toolkit.faces import data, render

    key, done = str(found.key), found.report
    if json:
        about = {"signed_by": key, "believed": key in known, "name": known.get(key, ""), "verdict": done.verdict}
        render.say(data.dumps({**about, "host": done.host, "snapshot": done.snapshot, "started": done.started}))
        return
    render.say(f"the signature holds: {printable(done.host)}, drilled {done.started}, {done.verdict}")
    told = f"{known[key] or 'no name'}, in backups/drill.keys" if key in known else "NOT IN backups/drill.keys"
    render.say(f"signed by {key}: {told}")


def cleaned(names: Sequence[str], *, json: bool) -> None:
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps({"removed": list(names)}))
        return
    for name in names:
        render.say(f"removed {printable(name)}")
    render.say(f"{len(names)} drills had left something" if names else "nothing was left")
