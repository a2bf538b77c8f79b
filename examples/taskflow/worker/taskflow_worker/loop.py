"""The loop: one round takes at most one task and does it.

The queue is a hint and the table the truth. Doing a task twice changes nothing, because only a queued row becomes
done; so a task that was announced twice, or found overdue by two workers at once, is harmless.
"""

import logging
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger("taskflow_worker")

MOMENTS = 5
"""So long may a queue be empty before the table is looked at. The health check wants a heartbeat every 20 seconds."""


class Queue(Protocol):
    def take(self) -> int | None:
        """Wait a moment for an announced task."""


class Table(Protocol):
    def overdue(self) -> int | None:
        """Return a task that waits for longer than its announcement can have taken."""

    def title(self, number: int) -> str | None:
        """Return the title of a queued task; None where it is done or gone."""

    def finish(self, number: int, result: str) -> bool:
        """Mark a queued task done; return whether this call did it."""


def work(title: str) -> str:
    """Do the task. Real work would be here; this counts what it was given."""
    words = title.split()
    return f"{len(words)} word{'s' if len(words) != 1 else ''}, {len(title)} character{'s' if len(title) != 1 else ''}"


def round_of_work(queue: Queue, table: Table, stopped: Callable[[], bool] = lambda: False) -> int | None:
    """Take one task, announced or overdue, and do it; return its number where this round finished one."""
    number = _announced(queue, stopped)
    if number is None:
        number = table.overdue()
    if number is None or (title := table.title(number)) is None:
        return None
    return number if table.finish(number, work(title)) else None


def _announced(queue: Queue, stopped: Callable[[], bool]) -> int | None:
    for _ in range(MOMENTS):
        number = queue.take()
        if number is not None or stopped():
            return number
    return None


def run(
    queue: Queue, table: Table, *, stopped: Callable[[], bool], pause: Callable[[], object], beat: Callable[[], None]
) -> None:
    """Work until stopped. A store that fails costs a pause and no task: what was taken becomes overdue."""
    while not stopped():
        try:
            number = round_of_work(queue, table, stopped)
        except Exception as error:  # whatever the store's client raises, the next round starts afresh
            log.warning("a store does not answer: %s: %s", type(error).__name__, str(error).strip())
            pause()
            continue
        beat()
        if number is not None:
            log.info("task %d done", number)
