"""A report as Markdown: for tickets and for reading in git."""

from collections.abc import Iterable, Iterator

from toolkit.drill.report import STATES, Report
from toolkit.words.report import printable
from toolkit.words.values import Duration, Size

SAID = {"passed": "PASSED", "failed": "FAILED", "incomplete": "PASSED, INCOMPLETE"}
_MARKED = str.maketrans({letter: f"\\{letter}" for letter in "\\`*_{}[]<>#|!&~"})


def text(report: Report) -> str:
    """Return the page."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# Restore drill of {_safe(report.host)}: {SAID[report.verdict]}\n"
    yield from _table(("", ""), facts(report))
    yield "\n## Measured\n"
    yield from _table(("", "measured", "promised"), measured(report))
    yield "\n## Phases\n"
    rows = ((phase.name, spelled(phase.seconds), "yes" if phase.recovers else "no") for phase in report.phases)
    yield from _table(("phase", "took", "part of a recovery"), rows)
    counts = ", ".join(f"{report.counted(state)} {state}" for state in STATES)
    yield f"\n## Checks: {counts}\n"
    found = sorted(report.checks, key=lambda check: ("bad", "unknown", "good").index(check.state))
    rows_of = (
        (check.state.upper() if check.state != "good" else "good", check.subject, check.what, check.evidence)
        for check in found
    )
    yield from _table(("", "of", "check", "evidence"), rows_of)
    if report.sizes or report.versions:
        yield "\n## Sizes and versions\n"
        yield from _table(
            ("", ""), [*((name, sized(name, size)) for name, size in report.sizes.items()), *report.versions.items()]
        )


def facts(report: Report) -> list[tuple[str, str]]:
    """Return what was drilled, by whom and where, as rows."""
    return [
        ("host", report.host),
        ("level", f"{report.level} ({report.level_name})"),
        ("snapshot", report.snapshot or "all of them"),
        ("taken", report.taken or "-"),
        ("the backup itself", report.outcome or "-"),
        ("SHA-256 of its manifest", report.digest or "-"),
        ("opened with", ", ".join(report.opened_with) or "no key"),
        ("drilled", f"{report.started} to {report.ended}"),
        ("on", report.where),
        ("by", report.who),
        ("toolkit", report.toolkit),
    ]


def measured(report: Report) -> list[tuple[str, str, str]]:
    """Return RTO and RPO with what was promised, as rows."""
    loss, targets = report.loss, report.targets
    behind = f"{spelled(loss.seconds)} since {loss.moment} ({loss.told_by})" if loss else "not measured"
    return [
        (
            "RTO: time to bring it back",
            "not measured" if report.rto is None else spelled(report.rto),
            _promise(targets.rto),
        ),
        ("RPO: what would have been lost", behind, _promise(targets.rpo)),
    ]


def spelled(seconds: float) -> str:
    return str(Duration(seconds))


def rounded(seconds: float) -> str:
    """Spell seconds in one unit, for an axis."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def sized(name: str, amount: int) -> str:
    """Spell an amount: bytes, or a number of things where its name says so."""
    return f"{amount:,}" if name.endswith(("files", "objects", "rows", "packets", "snapshots")) else str(Size(amount))


def _promise(target: float | None) -> str:
    return "-" if target is None else spelled(target)


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    head = [_safe(name) for name in columns]
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_safe(cell) for cell in row)} |"


def _safe(text: str) -> str:
    """Return text that makes neither markup nor a link nor a new row: it may come from a host or a bucket."""
    one_line = " ".join(text.splitlines())
    return printable(one_line).translate(_MARKED).replace("://", ":\u200b//")
