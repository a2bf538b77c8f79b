"""What is out of the ordinary about a backup, beside the ones before it. Pure.

A database that was emptied by mistake is backed up without a complaint: its size and its counts are what tells.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from toolkit.agent.backup.record import Run
from toolkit.stack.duty import Odd
from toolkit.words.values import Size

PAST, ENOUGH = 7, 3
"""How many complete backups it is compared with, and how many there must be."""

# Below these, a change of many percent is an ordinary day's.
_FEW_BYTES, _FEW = 1 << 20, 20


def odd(run: Run, past: Sequence[Run], limits: Odd | None) -> tuple[str, ...]:
    """Return a sentence for everything that differs from the last complete backups by more than the limits."""
    known = [one for one in past if one.good][-PAST:]
    if limits is None or len(known) < ENOUGH:
        return ()
    return tuple(_found(run, known, limits))


def _found(run: Run, known: Sequence[Run], limits: Odd) -> Iterator[str]:
    if told := _differs(run.bytes, [one.bytes for one in known], limits.size, _FEW_BYTES):
        yield f"{Size(run.bytes)} were read, {told} than usual ({Size(median(one.bytes for one in known))})"
    if told := _differs(run.entries, [one.entries for one in known], limits.count, _FEW):
        yield f"{run.entries} files and dumps, {told} than usual ({median(one.entries for one in known):.0f})"
    for name in sorted(_always(known) | run.sources.keys()):
        before = [one.sources[name] for one in known if name in one.sources]
        yield from _source(name, run.sources.get(name), before, limits)


def _source(
    name: str, now: Mapping[str, int] | None, before: Sequence[Mapping[str, int]], limits: Odd
) -> Iterator[str]:
    if now is None:
        yield f"{name} is not there any more"
        return
    for what, limit, few in (("rows", limits.count, _FEW), ("bytes", limits.size, _FEW_BYTES)):
        if told := _differs(now.get(what, 0), [one.get(what, 0) for one in before], limit, few):
            usual = median(one.get(what, 0) for one in before)
            shown = (
                (str(Size(now[what])), str(Size(usual))) if what == "bytes" else (f"{now[what]} rows", f"{usual:.0f}")
            )
            yield f"{name}: {shown[0]}, {told} than usual ({shown[1]})"


def _always(known: Sequence[Run]) -> set[str]:
    return set.intersection(*(set(one.sources) for one in known))


def _differs(now: float, before: Sequence[float], percent: int, few: int) -> str:
    """Say by how much a number differs, if that is by more than so many percent and not a few."""
    if len(before) < ENOUGH:
        return ""
    usual = median(before)
    change = now - usual
    if abs(change) <= few or (usual and 100 * abs(change) / usual <= percent):
        return ""
    share = f"{100 * abs(change) / usual:.0f} %" if usual else "all"
    return f"{share} {'more' if change > 0 else 'less'}"
