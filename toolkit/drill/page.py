"""A report as one page for whoever asks whether the backups work: nothing in it is fetched from anywhere.

Everything that a host or a bucket had a hand in is escaped, and a policy in the page forbids it to load or run
anything, should something slip through.
"""

from collections.abc import Iterable, Sequence
from html import escape

from toolkit.drill import charts
from toolkit.drill.charts import Bar
from toolkit.drill.markdown import SAID, facts, measured, rounded, sized, spelled
from toolkit.drill.report import Report
from toolkit.words.report import printable

LAST = 12
"""So many drills are shown beside the newest."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --soft: #57606a; --line: #d5dbe1; --paper: #fff; --panel: #f5f7f9;
  --main: #2f6fde; --side: #9aa7b4; --good: #1a7f37; --bad: #c1272d; --unknown: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ee; --soft: #9aa5b1; --line: #38424d; --paper: #12161b;
  --panel: #1b2128; --main: #6ea0ff; --side: #6c7a88; --good: #56c271; --bad: #ff7b72; --unknown: #e0b345; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .6rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); }
.verdict { display: inline-block; margin: .8rem 0; padding: .35rem .9rem; border-radius: .4rem; font-weight: 700;
  border: 2px solid currentColor; }
.passed, .good { color: var(--good); } .failed, .bad { color: var(--bad); }
.incomplete, .unknown { color: var(--unknown); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.3; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(21rem, 1fr)); gap: 1.2rem; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; white-space: pre-line; } th { color: var(--soft); font-weight: 600; }
thead th, tbody th { white-space: nowrap; } td.state { font-weight: 700; white-space: nowrap; }
td.state + td { min-width: 8rem; }
svg { width: 100%; height: auto; display: block; font: 13px system-ui, sans-serif; }
svg text { fill: var(--ink); } .grid { stroke: var(--line); }
.target { stroke: var(--bad); stroke-width: 2; stroke-dasharray: 6 4; }
rect.main { fill: var(--main); } rect.side { fill: var(--side); }
rect.passed { fill: var(--good); } rect.failed { fill: var(--bad); } rect.incomplete { fill: var(--unknown); }
@media print { :root { --ink: #000; --soft: #333; --line: #999; --paper: #fff; --panel: #fff; --main: #2f6fde;
  --side: #9aa7b4; --good: #1a7f37; --bad: #c1272d; --unknown: #9a6700; }
  body { max-width: none; padding: 0; font-size: 11pt; } figure, tr, .tile { break-inside: avoid; }
  h2 { break-after: avoid; } rect { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def html(report: Report, before: Sequence[Report] = (), key: str = "") -> str:
    """Return the page. `before` are earlier drills of the same host, oldest first; `key` is who signed."""
    history = [*before, report][-LAST:]
    title = f"Restore drill of {report.host}, {report.started[:16].replace('T', ' ')} UTC"
    parts = [
        _summary(report, title),
        _phases(report),
        _history(history),
        _checks(report),
        _amounts(report),
        _facts(report, key),
    ]
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{_safe(title)}</title><style>{_STYLE}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>{"".join(parts)}</main></body></html>\n'


def _summary(report: Report, title: str) -> str:
    level = f"Level {report.level} of 4: {_LEVEL[report.level]}"
    counts = f"{report.counted('good')} good, {report.counted('bad')} bad, {report.counted('unknown')} unknown"
    said = f'<p class="verdict {report.verdict}" id="verdict">{SAID[report.verdict]}</p>'
    tiles = "".join(_tile(*row) for row in measured(report)) + _tile("Checks", counts, "-")
    return f'<header><h1>{_safe(title)}</h1>{said}<p class="soft">{level}</p></header><div class="tiles">{tiles}</div>'


_LEVEL = (
    "every stored object is what its name says; no key was used",
    "opened with a key, signatures and the chain of snapshots checked",
    "every file was restored and compared with the snapshot's list",
    "every database was loaded into a server of its own, checked and counted",
    "the whole stack was brought up from the backup, cut off from every network, and asked",
)


def _tile(name: str, value: str, promise: str) -> str:
    amount, _, since = value.partition(" since ")
    notes = [f"since {since}"] * bool(since) + [f"promised: {promise}"] * (promise != "-")
    below = "".join(f'<span class="soft">{_safe(note)}</span><br>' for note in notes)
    return f'<div class="tile"><span class="soft">{_safe(name)}</span><b>{_safe(amount)}</b>{below}</div>'


def _phases(report: Report) -> str:
    bars = [Bar(phase.name, phase.seconds, "main" if phase.recovers else "side") for phase in report.phases]
    chart = charts.rows("phases", "Seconds by phase", bars, spelled)
    rows = [
        (phase.name, spelled(phase.seconds), "yes" if phase.recovers else "no, only a drill does it")
        for phase in report.phases
    ]
    caption = "Blue phases are part of a recovery and add up to the RTO; grey ones only a drill has."
    return f"<h2>Where the time went</h2>{_figure(chart, caption)}{_table('phase|took|part of a recovery', rows)}"


def _history(history: Sequence[Report]) -> str:
    newest = history[-1]
    targets = newest.targets
    rto = [Bar(_day(one), one.rto, one.verdict) for one in history if one.rto is not None]
    rpo = [Bar(_day(one), one.loss.seconds, one.verdict) for one in history if one.loss]
    drawn = ""
    if rto:
        drawn += _figure(
            charts.columns("rto", "RTO of the last drills", rto, rounded, targets.rto), "Time to bring it back (RTO)"
        )
    if rpo:
        drawn += _figure(
            charts.columns("rpo", "RPO of the last drills", rpo, rounded, targets.rpo),
            "What would have been lost (RPO)",
        )
    rows = [
        (
            one.started[:16].replace("T", " "),
            SAID[one.verdict],
            str(one.level),
            *(row[1] for row in measured(one)),
            one.snapshot,
        )
        for one in reversed(history)
    ]
    table = _table("drill (UTC)|verdict|level|RTO|RPO|snapshot", rows)
    title = f"The last {len(history)} drills" if len(history) > 1 else "The first drill"
    return f'<h2>{title}</h2><div class="pair">{drawn}</div>{table}'


def _checks(report: Report) -> str:
    order = ("bad", "unknown", "good")
    found = sorted(report.checks, key=lambda check: order.index(check.state))
    body = "".join(
        f'<tr><td class="state {check.state}">{check.state}</td><td>{_safe(check.subject)}</td>'
        f"<td>{_safe(check.what)}</td><td>{_lines(check.evidence)}</td></tr>"
        for check in found
    )
    head = _head("verdict|of|check|evidence")
    return f'<h2>What was checked</h2><div class="scroll"><table id="checks">{head}<tbody>{body}</tbody></table></div>'


def _amounts(report: Report) -> str:
    bytes_of = [Bar(name, float(size)) for name, size in report.sizes.items() if sized(name, size).endswith("B")]
    chart = charts.rows("sizes", "Sizes", bytes_of, lambda amount: sized("", int(amount))) if bytes_of else ""
    rows = [(name, sized(name, size)) for name, size in report.sizes.items()]
    return f"<h2>Sizes</h2>{_figure(chart, 'What was looked at and brought back.')}{_table('|amount', rows)}"


def _facts(report: Report, key: str) -> str:
    rows = [*facts(report), *((f"version: {name}", text) for name, text in report.versions.items())]
    rows += [("signed with", key)] if key else []
    note = (
        "The JSON file beside this page is what was signed; <code>invoke drill.check FILE</code> checks it, "
        "and docs/drill.md says how to do so with openssl alone."
    )
    return f'<h2>What was drilled</h2>{_table("|", rows)}<p class="soft">{note}</p>'


def _figure(chart: str, caption: str) -> str:
    return f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(columns: str, rows: Iterable[Sequence[str]]) -> str:
    body = "".join(
        f'<tr><th scope="row">{_safe(first)}</th>{"".join(f"<td>{_safe(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return f'<div class="scroll"><table>{_head(columns)}<tbody>{body}</tbody></table></div>'


def _head(columns: str) -> str:
    names = columns.split("|")
    if not any(names[1:]):
        return ""
    return (
        f"<thead><tr>{''.join(f'<th scope={chr(34)}col{chr(34)}>{escape(name)}</th>' for name in names)}</tr></thead>"
    )


def _day(report: Report) -> str:
    return report.started[5:10]


def _lines(text: str) -> str:
    return "<br>".join(_safe(line) for line in text.splitlines())


def _safe(text: str) -> str:
    return escape(printable(text))
