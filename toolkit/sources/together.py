"""Together: several loads at once that one listener follows, and that end when one of them has failed."""

import threading
from dataclasses import dataclass, field

from toolkit.words.errors import Stopped
from toolkit.words.report import Listener


@dataclass
class Together:
    """What loads side by side have in common."""

    listener: Listener
    _over: threading.Event = field(default_factory=threading.Event)
    _telling: threading.Lock = field(default_factory=threading.Lock)

    def part(self, name: str) -> "Part":
        """The listener of one of them."""
        return Part(self, name)

    def end(self) -> None:
        """Let all of them end at their next word: what they do is not wanted any more."""
        self._over.set()

    def say(self, done: float, total: float, note: str) -> None:
        if self._over.is_set():
            raise Stopped("another source could not be brought back")
        with self._telling:
            self.listener.progress(done, total, note)

    def line(self, text: str) -> None:
        with self._telling:
            self.listener.line(text)

    def warn(self, text: str) -> None:
        with self._telling:
            self.listener.warn(text)


@dataclass(frozen=True)
class Part:
    """One of several: whatever it says has its name in front. Steps are those of all."""

    whole: Together
    name: str

    def step(self, title: str) -> None: ...

    def line(self, text: str) -> None:
        self.whole.line(f"{self.name}: {text}")

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Say how far it is. Raises Stopped once all are to end."""
        self.whole.say(done, total, f"{self.name}: {note}" if note else self.name)

    def done(self, note: str = "") -> None: ...

    def warn(self, text: str) -> None:
        self.whole.warn(f"{self.name}: {text}")
