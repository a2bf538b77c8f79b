"""Ctrl-C while something works on a host: once asks it to stop, twice lets go of it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from toolkit.words.errors import Detached, Error


@contextmanager
def interrupts(*, first: Callable[[], None], stop: Callable[[], object], second: Detached) -> Iterator[None]:
    """The first Ctrl-C within the context calls `first` and has the host asked to stop, the next raises `second`.

    `stop` runs in a thread of its own: whoever follows has to go on reading meanwhile. Outside of the main thread,
    where nobody is interrupted, nothing changes.
    """
    asked = threading.Event()

    def quietly() -> None:
        with suppress(Error):
            stop()

    def heard(_signal: int, _frame: object) -> None:
        if asked.is_set():
            raise second
        asked.set()
        first()
        threading.Thread(target=quietly, daemon=True).start()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
