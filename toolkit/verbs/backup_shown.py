"""How the results of `backup.…` look: tables and lines for people, JSON for programs. Names are from strangers."""

import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from toolkit.words.report import Table, printable
from toolkit.words.values import Duration, Size

if TYPE_CHECKING:
    from toolkit.repository.audit import Audit
    from toolkit.repository.browse import Difference
    from toolkit.repository.expire import Expired
    from toolkit.repository.init import Readiness
    from toolkit.repository.layout import SnapshotName
    from toolkit.repository.listing import Entry
    from toolkit.repository.verify import Findings
    from toolkit.workflows import backups_expire, backups_plan
    from toolkit.workflows.backups import Trust
    from toolkit.workflows.backups_read import Restoration, Row
    from toolkit.workflows.backups_verify import Verification

_KINDS = {
    "directory": stat.S_IFDIR,
    "file": stat.S_IFREG,
    "symlink": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
    "character": stat.S_IFCHR,
    "block": stat.S_IFBLK,
}
_NAMED = 20


def readiness(ready: "Readiness", *, json: bool) -> None:
    from toolkit.faces import data, render
    from toolkit.repository.policy import as_json

    if json:
        render.say(data.dumps({**vars(ready), "good": ready.good}))
        return
    render.table(ready.table())
    for text in (*ready.changed, *(f"wrote {name}" for name in ready.written)):
        render.say(f"- {text}")
    if ready.policy and not ready.placed:
        render.say(f"\nthe policy that the server should have:\n\n{as_json(ready.policy)}")


def audit(host: str, found: "Audit", *, json: bool) -> None:
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps({"host": host, "findings": found.findings, "holes": len(found.holes)}))
        return
    render.table(found.table())
    told = f"{len(found.holes)} HOLES" if found.holes else "everything held"
    render.say(f"{host}: {len(found.findings)} attempts, {told}")


def trust(made: "Trust", *, json: bool) -> None:
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps(made))
    else:
        render.say(f"{made.host} signs with {made.signing_key}")
        render.say(f"pinned in {made.pin}: commit it" if made.changed else f"pinned in {made.pin}, as before")


def snapshots(rows: "list[Row]", *, json: bool) -> None:
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps(rows))
        return
    cells = [
        (
            row.snapshot,
            row.complaint or (f"{row.outcome}, {row.problems} problems" if row.problems else row.outcome),
            f"{row.entries:,}" if not row.complaint else "-",
            str(Size(row.bytes)) if not row.complaint else "-",
            printable(", ".join(row.sources)) or "-",
            row.epoch,
        )
        for row in rows
    ]
    render.table(Table(("snapshot", "outcome", "files", "size", "sources", "epoch"), cells))


def entries(items: "Iterable[Entry]", *, json: bool) -> None:
    from toolkit.faces import data, render
    from toolkit.workflows.backups_read import shape

    if json:
        render.pieces(data.stream(shape(entry) for entry in items))
        return
    for entry in items:
        render.say(_line(entry))


def found(items: "Iterable[tuple[SnapshotName, Entry]]", *, json: bool) -> None:
    from toolkit.faces import data, render
    from toolkit.workflows.backups_read import shape

    if json:
        render.pieces(data.stream({"snapshot": str(name), **shape(entry)} for name, entry in items))
        return
    for name, entry in items:
        render.say(f"{name}  {_line(entry)}")


def _line(entry: "Entry") -> str:
    from toolkit.workflows.backups_read import shape

    if entry.kind == "link":
        return f"{'h':<10}  {'':>11}  {'':>10}  {'':>20}  {printable(entry.path)} = {printable(entry.target)}"
    mode = stat.filemode(_KINDS[entry.kind] | entry.mode)
    size = str(Size(entry.size)) if entry.kind == "file" else ""
    target = f" -> {printable(entry.target)}" if entry.target else ""
    when = shape(entry)["mtime"]
    return f"{mode}  {f'{entry.uid}:{entry.gid}':>11}  {size:>10}  {when:>20}  {printable(entry.path)}{target}"


def differences(items: "Iterable[Difference]", *, json: bool) -> None:
    from toolkit.faces import data, render

    if json:
        render.pieces(data.stream(items))
        return
    count: Counter[str] = Counter()
    for difference in items:
        count[difference.how] += 1
        render.say(f"{difference.how:<8}  {printable(difference.path)}")
    render.say(", ".join(f"{number} {how}" for how, number in sorted(count.items())) or "no difference")


def verification(done: "Verification", *, json: bool) -> None:
    from toolkit.faces import data, render

    found = done.findings
    if json:
        render.say(data.dumps({**vars(done), "sound": found.sound}))
        return
    _damage(found)
    share = "all" if done.days == 1 else f"day {done.day + 1} of {done.days}"
    what = "opened and compared" if done.keyed else "compared with their names"
    render.say(f"{done.host}: {found.snapshots} snapshots, {found.packs} packs ({Size(found.bytes)}, {share}) {what}")
    if done.pinned is not None:
        render.say(f"snapshot {done.pinned} is now pinned in backups/{done.host}.head: commit it")
    verdict = "sound" if found.sound else "DAMAGED: docs/backup.md says what to do"
    render.say(f"{done.host}: {verdict}" + (", by older versions of some objects" if found.healed else ""))


def _damage(found: "Findings") -> None:
    from toolkit.faces import render

    rows = [("pack", name, text) for name, text in found.damaged.items()]
    rows += [("gap", "", text) for text in found.gaps]
    rows += [("strange", printable(name), "has no place in a repository") for name in found.strange]
    rows += [("older version", "", text) for text in found.healed]
    rows += [("note", "", text) for text in found.notes]
    if rows:
        render.table(
            Table(("", "object", "what is wrong"), [(kind, name, printable(text)) for kind, name, text in rows])
        )
    for touched in found.touched:
        render.say(f"snapshot {touched.snapshot}: {printable(touched.complaint)}")
        _some([printable(path) for path in touched.files])


def _some(lines: list[str]) -> None:
    from toolkit.faces import render

    for line in lines[:_NAMED]:
        render.say(f"  {line}")
    if len(lines) > _NAMED:
        render.say(f"  … and {len(lines) - _NAMED} more: --json names all of them")


def restoration(done: "Restoration", *, json: bool) -> None:
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps({**vars(done), "whole": done.whole}))
        return
    for title, pairs in (
        ("lost to damage", list(done.lost.items())),
        ("left out on purpose; --privileged brings it back", list(done.withheld)),
        ("not as it should be in the snapshot itself", list(done.problems)),
    ):
        if pairs:
            render.say(f"{title}:")
            _some([f"{printable(path)}: {printable(text)}" for path, text in pairs])
    pace = f"{Duration(done.seconds)}, {Size(done.bytes / max(done.seconds, 0.001))}/s"
    render.say(f"{done.entries:,} files, {Size(done.bytes)}, are in {done.target} ({pace})")
    render.say(f"{done.host} as it was at {done.taken}, snapshot {done.snapshot}: {_verdict(done)}")


def _verdict(done: "Restoration") -> str:
    if done.lost:
        return f"INCOMPLETE, {len(done.lost)} files are lost"
    if done.healed:
        return "whole, by older versions of damaged objects"
    return "whole" if done.whole else "as INCOMPLETE as the backup was"


def plan(found: "backups_plan.Plan", *, json: bool) -> None:
    from toolkit.faces import data, render
    from toolkit.repository import plan as engine

    if json:
        render.say(data.dumps({**vars(found), "price": found.price.model_dump()}))
        return
    work = found.workload
    seen = "seen so far" if found.measured else "as told"
    render.say(f"{found.host}: {work.first} at first, {work.daily} a day, growing {work.growth} a day ({seen})\n")
    render.table(engine.table(found.months, currency=found.price.currency))
    render.say("\nstored at the end of each month")
    for line in engine.chart(found.months):
        render.say(line)
    for text in found.warnings:
        render.say(f"! {text}")


def chart(found: "backups_plan.Plan", file: str) -> None:
    from toolkit.faces import bars, render

    months = [(str(month.number), [float(month.stored), float(month.collected)]) for month in found.months]
    names = ("stored", "a repository that collects garbage would hold")
    bars.write(file, f"What {found.host} will store, by month", names, months, lambda amount: str(Size(amount)))
    render.say(f"drawn into {file}")


def expiry(decided: "backups_expire.Plan", done: "Sequence[Expired]", *, json: bool) -> None:
    """Print the fates of epochs, and what was done; `done` is empty for a plan."""
    from toolkit.faces import data, render

    pairs = list(zip_longest(decided.parts, done))
    if json:
        told = [
            {"host": part.host, "epochs": part.fates, "warnings": part.decision.warnings, "done": one}
            for part, one in pairs
        ]
        render.say(data.dumps({**told[0], "log": told[1] if decided.log else None}))
        return
    for part, one in pairs:
        if part is not decided.snapshots:
            render.say(f"\nshipped logs, {part.host}")
        _expiry(part, one)


def _expiry(part: "backups_expire.Part", done: "Expired | None") -> None:
    from toolkit.faces import render
    from toolkit.repository.expire import table

    render.table(table(part.epochs, part.decision))
    for text in part.decision.warnings:
        render.say(f"! {printable(text)}")
    if done is None:
        render.say(f"{len(part.decision.expired)} of {len(part.epochs)} epochs would go")
        return
    gone = len(part.decision.expired) - len(done.held)
    render.say(f"{gone} epochs are gone: {done.objects} objects, {Size(done.bytes)}")
    for epoch, text in done.held.items():
        render.say(f"! {epoch} stays: {printable(text)}")
