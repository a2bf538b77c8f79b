"""Who hears a run: its journal, for whoever follows it, and plain lines for the log of the unit that runs it."""

import time
from contextlib import suppress
from typing import TextIO

from toolkit.stack.journal import Journal, Scribe
from toolkit.words.report import printable

# A log wants to know that work goes on, a follower how fast.
_EVERY = 0.2


class Both(Scribe):
    """A scribe that says the steps aloud too. Progress goes into the journal only, a few times a second."""

    def __init__(self, journal: Journal, stream: TextIO) -> None:
        super().__init__(journal)
        self._stream = stream
        self._book = journal
        self._told_at = 0.0

    def step(self, title: str) -> None:
        super().step(title)
        self._say(f"→ {title}")

    def progress(self, done: float, total: float, note: str = "") -> None:
        if time.monotonic() - self._told_at >= _EVERY:
            self._told_at = time.monotonic()
            self._book.write("progress", done=done, total=total, note=printable(note)[:200])

    def done(self, note: str = "") -> None:
        super().done(note)
        self._say(f"✓ {note or 'done'}")

    def warn(self, text: str) -> None:
        super().warn(text)
        self._say(f"! {text}")

    def _say(self, text: str) -> None:
        # Whoever read it may have gone.
        with suppress(OSError, ValueError):
            print(printable(text), file=self._stream, flush=True)
