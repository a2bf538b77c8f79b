"""Marks of restores, on disk before anything is touched: what is under way, and what was kept of those before.

Whoever finds a restore under way with nobody at work puts the old data back, unless the new one had passed its gate.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from toolkit.agent.restoring.swap import Swap
from toolkit.stack.restoring import MARK, Desk
from toolkit.words import atomic
from toolkit.words.errors import HostError

FORMAT = "toolkit restore 1"
KEPT = "kept.json"
LOADING, SWAPPING, PASSED = "loading", "swapping", "passed"


@dataclass(frozen=True)
class Mark:
    """One restore. `services` are those that are stopped around the swap; `phase` says what a crash has left.

    In `loading` nothing in use was touched; in `swapping` some directories may have changed places; `passed` is over.
    """

    id: str
    snapshot: str
    taken: str
    release: str
    who: str
    began: str
    swaps: tuple[Swap, ...]
    services: tuple[str, ...]
    sources: tuple[str, ...] = ()
    phase: str = LOADING
    undoes: str = ""
    """The restore that this one takes back; its directories are exchanged once more, and none is made."""

    format: str = FORMAT


def read(desk: Desk) -> Mark | None:
    """Return the restore under way. Raises HostError for a mark that cannot be read."""
    path = desk.state / MARK
    try:
        return _parse(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        hint = "compare the volumes in it with `docker volume ls`, then remove it"
        raise HostError(f"{path} is damaged", hint=hint) from error


def write(desk: Desk, mark: Mark) -> Mark:
    """Put a mark on the disk and return it. Raises OSError where there is no room."""
    atomic.replace(desk.state / MARK, json.dumps(asdict(mark)).encode(), mode=0o600)
    return mark


def entered(desk: Desk, mark: Mark, phase: str) -> Mark:
    """Note that the next phase begins."""
    return write(desk, replace(mark, phase=phase))


def end(desk: Desk) -> None:
    (desk.state / MARK).unlink(missing_ok=True)
    atomic.sync(desk.state)


def kept(desk: Desk) -> list[Mark]:
    """Return the restores whose old data is still there, oldest first."""
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        return [_parse(one) for one in json.loads((desk.state / KEPT).read_bytes())]
    return []


def keep(desk: Desk, marks: Sequence[Mark]) -> None:
    """Write down which restores' old data is there."""
    desk.prepare()
    atomic.replace(desk.state / KEPT, json.dumps([asdict(one) for one in marks]).encode(), mode=0o600)


def find(desk: Desk, named: str) -> Mark:
    """Return the kept data of one restore, the newest where none is named. Raises HostError."""
    marks = kept(desk)
    for mark in reversed(marks):
        if named in ("", mark.id):
            return mark
    known = ", ".join(mark.id for mark in marks) or "none"
    problem = f"nothing is kept of a restore {named}" if named else f"nothing is kept of a restore of {desk.stack}"
    raise HostError(problem, hint=f"`invoke restore.kept` lists what is; there are: {known}")


def _parse(body: dict[str, Any]) -> Mark:
    if body["format"] != FORMAT:
        raise HostError(f"a restore with the format {body['format']!r}", hint="provision with the toolkit that made it")
    swaps = tuple(Swap(**one) for one in body["swaps"])
    return Mark(**{**body, "swaps": swaps, "services": tuple(body["services"]), "sources": tuple(body["sources"])})
