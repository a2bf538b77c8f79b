"""What every source can do: capture what a stack keeps, load it elsewhere, and prove what was loaded.

A source is settings and nothing else. Where it works, a container or a volume, is always given: the same source
captures from production, restores aside and is drilled in a sandbox.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from toolkit.repository.inputs import Input
from toolkit.sources.docker import Docker
from toolkit.words.errors import ConfigError

Facts = Mapping[str, Any]
State = Literal["good", "bad", "unknown"]
Write = Callable[[bytes], object]
Withheld = Sequence[tuple[str, str]]
"""Paths with what was left out of them: setuid bits, devices, attributes."""

Into = Literal["container", "volume"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a source works. Names and ids are the Engine's; nothing is derived from a stack's name.

    `container` is a running container; `volume` a volume, or `path` a directory, that is empty when it is loaded;
    `image` runs helpers beside a volume, best pinned to its digest. `replace` allows a load to drop what is there.
    """

    container: str = ""
    volume: str = ""
    path: str = ""
    image: str = ""
    replace: bool = False

    def need(self, *names: str) -> None:
        """Raises ConfigError where something is not given."""
        if missing := [name for name in names if not getattr(self, name)]:
            raise ConfigError(f"this source works on a {' and '.join(missing)}", hint="name it explicitly")


@dataclass(frozen=True)
class Capture:
    """A source held still. `moment` is the time, seconds since 1970, as of which its data is; None while it is live.

    With `skipped`, there is nothing worth keeping, for the reason it gives.
    """

    inputs: Sequence[Input]
    moment: float | None
    skipped: str = ""


@dataclass(frozen=True)
class Verdict:
    """One thing that was looked at: `unknown` where it could not be, which is never taken for good."""

    what: str
    state: State
    evidence: str


@dataclass(frozen=True)
class Probe:
    """What a probe found."""

    source: str
    verdicts: tuple[Verdict, ...] = ()
    counts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether everything was looked at and found good."""
        return bool(self.verdicts) and all(verdict.state == "good" for verdict in self.verdicts)


class Stored(Protocol):
    """What a snapshot holds of one source. Names are relative to the source, with `/` between components."""

    @property
    def names(self) -> Sequence[str]:
        """Every file."""

    def size(self, name: str) -> int:
        """A file's length in bytes; 0 where there is none."""

    def facts(self, name: str = "") -> Facts:
        """The manifest's facts for one input; an empty name is the source itself."""

    def pour(self, name: str, write: Write) -> int:
        """Write one file's bytes in order and return how many. Raises RepositoryError for damage."""

    def lay(self, name: str, target: Path) -> Withheld:
        """Restore the tree below a name into an empty directory; return what was left out on purpose.

        Raises RepositoryError for damage.
        """


class Source(Protocol):
    """One kind of data. Everything raises HostError where a program fails, ConfigError where a place is unfit."""

    @property
    def name(self) -> str:
        """The kind, a slash and a label: `postgres/db`. Its inputs are this name or lie below it."""

    @property
    def kind(self) -> str: ...

    @property
    def loads_into(self) -> Into:
        """What `load` wants: a running container, or an empty volume that no container uses yet."""

    def capture(self, docker: Docker, place: Place) -> AbstractContextManager[Capture]:
        """Hold the data still and say how to read it; entering is quick, reading is done inside the context."""

    def load(self, docker: Docker, stored: Stored, place: Place) -> None:
        """Bring back what was captured."""

    def probe(self, docker: Docker, place: Place, facts: Mapping[str, Facts]) -> Probe:
        """Run the engine's own check and compare counts with the facts of each input, keyed by its name."""


def iso(moment: float) -> str:
    """Seconds since 1970 as facts carry them: UTC, to the millisecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def compare(expected: Mapping[str, Any], found: Mapping[str, int]) -> Iterator[Verdict]:
    """Yield a verdict for each count that differs, or one for all of them.

    An expected count is a number, or `[least, most]` where the capture could not know it exactly.
    """
    differing = 0
    for name in sorted(expected.keys() | found.keys()):
        wanted, have = expected.get(name), found.get(name)
        if wanted is None or have is None or not _within(have, wanted):
            differing += 1
            yield Verdict(f"count of {name}", "bad", f"expected {_said(wanted)}, found {_said(have)}")
    if not differing and expected:
        yield Verdict("counts", "good", f"{len(expected)} counts, {sum(found.values())} in total, as in the manifest")
    if not expected and not found:
        yield Verdict("counts", "good", "nothing to count, as in the manifest")


def uncounted(facts: Facts) -> Iterator[Verdict]:
    """Yield the verdict for facts without counts."""
    if "counts" not in facts:
        yield Verdict("counts", "unknown", "the capture did not count")


def _within(have: int, wanted: Any) -> bool:
    least, most = wanted if isinstance(wanted, list | tuple) else (wanted, wanted)
    return bool(least <= have <= most)


def _said(count: Any) -> str:
    if isinstance(count, list | tuple):
        return f"{count[0]} to {count[1]}"
    return "nothing" if count is None else str(count)
