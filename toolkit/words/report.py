"""What a workflow has to tell: values that a face renders as progress, a table or JSON.

Workflows know a `Listener` and return plain data; only `toolkit.faces` knows about terminals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Listener(Protocol):
    """Follows long work as it happens. `step` names what begins; `line` is output of the step under way."""

    def step(self, title: str) -> None: ...

    def line(self, text: str) -> None: ...

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Say how far the step is, in items or as a `Size`; `total` 0 means not known yet."""

    def done(self, note: str = "") -> None:
        """Close the step under way."""

    def warn(self, text: str) -> None: ...


class Silent:
    """A listener that hears nothing, for tests and for callers with no terminal."""

    def step(self, title: str) -> None: ...

    def line(self, text: str) -> None: ...

    def progress(self, done: float, total: float, note: str = "") -> None: ...

    def done(self, note: str = "") -> None: ...

    def warn(self, text: str) -> None: ...


@dataclass(frozen=True)
class Table:
    """Rows for a person. A face aligns them; JSON output never goes through here."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: names from a host or a bucket may try. The rest is escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
