"""Text for people: progress while work goes on, tables and diffs when it is done.

Progress goes to standard error and results to standard output, so a pipe gets results alone. On a terminal the step
under way is one living line; elsewhere every step is a plain line, fit for a log.
"""

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from toolkit.words.errors import Error
from toolkit.words.report import Listener, Silent, Table, printable
from toolkit.words.values import Duration, Size

if TYPE_CHECKING:
    from rich.status import Status


def listener(*, quiet: bool = False, stream: TextIO | None = None) -> Listener:
    """Return the listener that fits the stream (standard error): living lines, plain lines, or silence."""
    target = stream or sys.stderr
    if quiet:
        return Silent()
    return LiveLines(target) if target.isatty() else PlainLines(target)


class PlainLines:
    """One line per step and per line of output, with the seconds since the start."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._start = time.monotonic()
        self._told = 0.0
        self._pace = Pace()

    def _say(self, mark: str, text: str) -> None:
        print(f"[{time.monotonic() - self._start:6.1f} s] {mark} {text}", file=self._stream, flush=True)

    def step(self, title: str) -> None:
        self._pace = Pace()
        self._say("→", title)

    def line(self, text: str) -> None:
        self._say(" ", text)

    def progress(self, done: float, total: float, note: str = "") -> None:
        pace = self._pace.told(done, total, note)
        # A log wants to know that work goes on, not every percent of it.
        if time.monotonic() - self._told >= 10:
            self._told = time.monotonic()
            self._say(" ", pace)

    def done(self, note: str = "") -> None:
        self._say("✓", note or "done")

    def warn(self, text: str) -> None:
        self._say("!", printable(text))


class LiveLines:
    """One living line for the step under way; it stays, with its seconds, when the step is done."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console: Console = Console(file=stream, highlight=False)
        self._status: Status | None = None
        self._title = ""
        self._since = time.monotonic()
        self._pace = Pace()

    def step(self, title: str) -> None:
        self._stop()
        self._pace = Pace()
        self._title, self._since = title, time.monotonic()
        self._status = self._console.status(_escape(title))
        self._status.start()

    def line(self, text: str) -> None:
        if self._status is not None and text.strip():
            self._status.update(f"{_escape(self._title)} [dim]{_escape(text.strip()[:100])}[/dim]")

    def progress(self, done: float, total: float, note: str = "") -> None:
        self.line(self._pace.told(done, total, note))

    def done(self, note: str = "") -> None:
        self._stop()
        took = Duration(time.monotonic() - self._since)
        after = f" [dim]{_escape(note)}[/dim]" if note else ""
        self._console.print(f"[green]✓[/green] {_escape(self._title)}{after} [dim]{took}[/dim]")

    def warn(self, text: str) -> None:
        self._console.print(f"[yellow]![/yellow] {_escape(printable(text))}")

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def __del__(self) -> None:
        self._stop()


class Pace:
    """How fast a step goes: its rate where bytes are counted, and the time left where the whole is known."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def told(self, done: float, total: float, note: str = "") -> str:
        """Return one line about how far a step is."""
        now = time.monotonic()
        self._first = self._first or (now, done)
        since, before = self._first
        rate = (done - before) / (now - since) if now > since else 0.0
        told = [share(done, total)]
        if isinstance(done, Size) and rate:
            told.append(f"{Size(rate)}/s")
        if total and rate:
            told.append(f"{Duration(round((total - done) / rate))} left")
        return ", ".join(told) + (f" {printable(note)}" if note else "")


def share(done: float, total: float) -> str:
    """Return how far work is, as a percentage where the whole is known."""
    if total:
        return f"{100 * done / total:.0f} %"
    return str(done) if isinstance(done, Size) else f"{done:.0f}"


def say(text: str) -> None:
    """Print a result."""
    print(text)


def pieces(parts: Iterable[str]) -> None:
    """Print a result that comes piece by piece."""
    for part in parts:
        print(part, end="")
    print()


def table(content: Table) -> None:
    """Print a table: with lines and colours on a terminal, aligned columns elsewhere."""
    if sys.stdout.isatty():
        _rich_table(content)
        return
    widths = [max(len(cell) for cell in column) for column in zip(content.columns, *content.rows, strict=True)]
    for row in (content.columns, *content.rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _rich_table(content: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(title=content.title or None, box=box.SIMPLE_HEAD, title_justify="left")
    for name in content.columns:
        drawn.add_column(name)
    for row in content.rows:
        drawn.add_row(*(_escape(cell) for cell in row))
    Console(highlight=False).print(drawn)


def diff(text: str, indent: str = "    ") -> None:
    """Print a unified diff, coloured on a terminal."""
    colours = {"+": "32", "-": "31", "@": "36"} if sys.stdout.isatty() else {}
    for line in text.splitlines():
        colour = colours.get(line[:1])
        print(f"{indent}\x1b[{colour}m{line}\x1b[0m" if colour else indent + line)


def level(word: str) -> str:
    """Return how bad something is, coloured on a terminal."""
    colours = {"error": "31", "warning": "33", "info": "2"} if sys.stdout.isatty() else {}
    return f"\x1b[{colours[word]}m{word}\x1b[0m" if word in colours else word


def error(failure: Error, stream: TextIO | None = None) -> None:
    """Print what went wrong and where on one line, and what to do on the next."""
    target = stream or sys.stderr
    red, plain = ("\x1b[31m", "\x1b[0m") if target.isatty() else ("", "")
    message = "\n".join(printable(line) for line in failure.message.split("\n"))
    print(f"{red}error:{plain} {message}", file=target)
    if failure.hint:
        print(f"  hint: {printable(failure.hint)}", file=target)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
