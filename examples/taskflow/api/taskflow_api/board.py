"""The board: what a task is, and what it takes to keep and to announce one.

The table is the truth and the queue only a hint: a worker finds a task whose announcement was lost by looking at the
table, so a crash between the two costs a minute and never a task.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

TITLE_LIMIT = 200

log = logging.getLogger("taskflow_api")

Task = dict[str, object]


class Unfit(Exception):
    """What was sent is not a task; the message says why."""


class Table(Protocol):
    """Where tasks are kept."""

    def ping(self) -> None:
        """Read the table of tasks; raise anything where that fails."""

    def add(self, title: str) -> Task: ...

    def find(self, number: int) -> Task | None: ...

    def latest(self, count: int) -> Sequence[Task]: ...

    def counts(self) -> Mapping[str, int]:
        """Return how many tasks each status has."""


class Queue(Protocol):
    """Where tasks are announced."""

    def ping(self) -> None: ...

    def announce(self, number: object) -> None: ...


@dataclass(frozen=True)
class Board:
    table: Table
    queue: Queue

    def accept(self, sent: object) -> Task:
        """Keep the task that was sent and announce it. Raises Unfit."""
        task = self.table.add(title_of(sent))
        try:
            self.queue.announce(task["id"])
        except Exception as error:  # kept is accepted: a refusal now would make the client send it twice
            log.warning("task %s is not announced: %s", task["id"], type(error).__name__)
        return task


def title_of(sent: object) -> str:
    """Return the title of a task as a client sends it: `{"title": "…"}`. Raises Unfit."""
    title = sent.get("title") if isinstance(sent, dict) else None
    if not isinstance(title, str) or not title.strip():
        raise Unfit('send an object with a "title" that is not empty')
    # PostgreSQL text holds every character but this one.
    if len(title.strip()) > TITLE_LIMIT or "\0" in title:
        raise Unfit(f"a title has at most {TITLE_LIMIT} characters and no zero byte")
    return title.strip()


def readiness(board: Board) -> tuple[bool, dict[str, str]]:
    """Ask both stores a real question; return whether both answered, and what each said."""
    answers = {"database": _ask(board.table), "cache": _ask(board.queue)}
    return all(answer == "ok" for answer in answers.values()), answers


def _ask(store: Table | Queue) -> str:
    try:
        store.ping()
    except Exception as error:  # whatever went wrong, the answer is "not ready"
        # The kind alone: a client's message may quote an address, and this answer is public.
        return type(error).__name__
    return "ok"
