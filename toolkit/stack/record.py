"""What a deploy found in the end: how each container was, and which one-shots had done their work.

Later this tells what somebody changed by hand from what the release says.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from toolkit.stack.containers import Container
from toolkit.stack.place import Place
from toolkit.words import atomic

FILE = "record.json"


@dataclass(frozen=True)
class Record:
    """Fingerprints of containers by their id, and one-shots of the release that are done for good."""

    release: str = ""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    finished: tuple[str, ...] = ()

    def dumps(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    def edited(self, container: Container) -> bool:
        """Whether somebody changed this container since, as `docker update` does. One that is not known is not."""
        return self.fingerprints.get(container.id, container.fingerprint) != container.fingerprint


def parse(text: str | bytes) -> Record:
    """Read a record. One that is missing or damaged is an empty one: it only ever adds reasons."""
    with suppress(ValueError, KeyError, TypeError):
        body = json.loads(text)
        return Record(body["release"], dict(body["fingerprints"]), tuple(body["finished"]))
    return Record()


def read(place: Place) -> Record:
    try:
        return parse((place.state / FILE).read_bytes())
    except OSError:
        return Record()


def write(place: Place, release: str, containers: Iterable[Container], finished: Iterable[str]) -> None:
    made = Record(release, {one.id: one.fingerprint for one in containers}, tuple(sorted(finished)))
    atomic.replace(place.state / FILE, made.dumps(), mode=0o600)
