"""A worker's life: rounds of work until it is told to stop, a heartbeat after each, and things to do now and again."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HEARTBEAT = Path("/tmp/heartbeat")  # noqa: S108 - the container's own; its health check looks at it

log = logging.getLogger("standin")


@dataclass
class Repeated:
    """Something to do every so many seconds."""

    every: float
    do: Callable[[], object]
    due: float = 0.0


def work(
    round_of_work: Callable[[], object],
    repeated: Sequence[Repeated],
    *,
    stopped: Callable[[], bool],
    pause: Callable[[], object],
    beat: Callable[[], object],
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Work until stopped. What fails costs a pause and a missing heartbeat, and is tried again."""
    while not stopped():
        try:
            for one in repeated:
                if now() >= one.due:
                    one.do()
                    one.due = now() + one.every
            round_of_work()
        except Exception as error:  # whatever a store's client raises, the next round starts afresh
            log.warning("a round failed: %s: %s", type(error).__name__, str(error).strip())
            pause()
            continue
        beat()


def run(round_of_work: Callable[[], object], repeated: Sequence[Repeated] = ()) -> None:
    """Work in this process until SIGTERM or SIGINT, and finish the round under way."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("waiting for work")
    work(round_of_work, repeated, stopped=stop.is_set, pause=lambda: stop.wait(1), beat=HEARTBEAT.touch)
    log.info("stopped")
