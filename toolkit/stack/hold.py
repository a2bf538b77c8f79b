"""A hold: nobody deploys for a while, and whoever tries is told why."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass

from toolkit.stack.place import Place
from toolkit.words import atomic
from toolkit.words.errors import Locked
from toolkit.words.values import Duration

FILE = "hold.json"


@dataclass(frozen=True)
class Hold:
    """Who asked for it, why, and until when, in seconds since 1970."""

    who: str
    reason: str
    until: float


def write(place: Place, hold: Hold) -> None:
    place.prepare()
    atomic.replace(place.state / FILE, json.dumps(asdict(hold)).encode(), mode=0o600)


def read(place: Place, now: float) -> Hold | None:
    """Return the hold that is in force; None where there is none, or its time is over."""
    with suppress(OSError, ValueError, TypeError):
        found = Hold(**json.loads((place.state / FILE).read_bytes()))
        return found if found.until > now else None
    return None


def release(place: Place) -> None:
    (place.state / FILE).unlink(missing_ok=True)


def refuse(place: Place, now: float) -> None:
    """Raise Locked while a hold is in force."""
    if found := read(place, now):
        raise Locked(
            f"{place.stack} is on hold for another {Duration(found.until - now)}: {found.reason} ({found.who})",
            hint="wait, or `invoke release-hold` when the reason is gone",
        )
