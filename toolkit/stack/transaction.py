"""The mark of a deploy under way, on disk before the first container is touched and gone when the last one is proven.

Whoever finds it with nobody at work, after a crash, a kill or a reboot, knows what to do: finish what had passed its
gate, go back to the release before otherwise.
"""

import json
from dataclasses import asdict, dataclass, replace

from toolkit.stack.place import Place
from toolkit.words import atomic
from toolkit.words.errors import HostError

MARK = "transaction.json"
FORMAT = "toolkit transaction 1"


@dataclass(frozen=True)
class Transaction:
    """From which release to which; `previous` is empty for a first deploy."""

    target: str
    previous: str
    began: str
    passed: bool = False
    """The target is healthy; what is left is to call it current."""

    format: str = FORMAT


def read(place: Place) -> Transaction | None:
    """Return the mark; None where no deploy is under way. Raises HostError for one that cannot be read."""
    path = place.state / MARK
    try:
        body = json.loads(path.read_bytes())
        if body["format"] != FORMAT:
            raise HostError(
                f"{path} has the format {body['format']!r}", hint="provision with the toolkit that wrote it"
            )
        return Transaction(**body)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise HostError(
            f"{path} is damaged", hint="compare `docker ps` with the current release, then remove it"
        ) from error


def begin(place: Place, transaction: Transaction) -> None:
    """Write the mark. Raises OSError, with nothing touched yet, where there is no room for it."""
    atomic.replace(place.state / MARK, json.dumps(asdict(transaction)).encode(), mode=0o600)


def passed(place: Place, transaction: Transaction) -> Transaction:
    """Note that there is no way back any more, only forward."""
    made = replace(transaction, passed=True)
    begin(place, made)
    return made


def end(place: Place) -> None:
    (place.state / MARK).unlink(missing_ok=True)
    atomic.sync(place.state)
