"""The engine: plan, apply, prove.

It runs the operations, collects every fact they miss, reads those in one round trip and runs the operations again
until nothing is unknown. Having applied an operation it asks again: what still wants something is an error.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from toolkit.converge.changes import Change, Check, Fed, Operation
from toolkit.converge.facts import Fact, Facts, Unknown, Unreadable
from toolkit.host import File, Host
from toolkit.words.command import Command
from toolkit.words.errors import NotConverged
from toolkit.words.report import Listener


@dataclass(frozen=True)
class Step:
    """One operation and the changes it still wants; `note` where it can only tell once others are applied."""

    name: str
    changes: tuple[Change, ...] = ()
    note: str = ""

    @property
    def wants(self) -> bool:
        return bool(self.changes or self.note)


@dataclass(frozen=True)
class Outcome:
    """What a run of converge did: the steps that wanted something, and what it cost."""

    steps: tuple[Step, ...]
    operations: int
    round_trips: int = field(compare=False, default=0)

    @property
    def changes(self) -> int:
        return sum(len(step.changes) or bool(step.note) for step in self.steps)


def plan(facts: Facts, operations: Sequence[Operation]) -> Outcome:
    """Return what applying would do now. Nothing on the host changes."""
    _learn(facts, operations)
    steps = [_planned(facts, operation) for operation in operations]
    return Outcome(tuple(step for step in steps if step.wants), len(operations), facts.round_trips)


def _planned(facts: Facts, operation: Operation) -> Step:
    try:
        return Step(operation.name, tuple(operation(facts)))
    except Unreadable as error:
        # What an operation asks about may not exist before an earlier one has run.
        return Step(operation.name, note=f"known after apply: {error.message}")


def apply(facts: Facts, operations: Sequence[Operation], listener: Listener) -> Outcome:
    """Bring the host to where no operation wants anything.

    Raises NotConverged when an operation still wants something after its own changes, HostError when a change fails.
    """
    done: list[Step] = []
    _learn(facts, operations)
    eager = [_planned(facts, operation).wants for operation in operations]
    known = len(operations)
    for index, operation in enumerate(operations):
        if index >= known:
            known = _horizon(eager, index)
            _learn(facts, operations[index:known])
        changes = tuple(operation(facts))
        if changes:
            listener.step(operation.name)
            _run_all(facts, changes, listener)
            # What comes next is read together with the proof: that is one round trip less for each change.
            known = _horizon(eager, index + 1)
            _learn(facts, operations[index:known])
            _prove(facts, operation)
            listener.done(_count(len(changes), "change"))
            done.append(Step(operation.name, changes))
    return Outcome(tuple(done), len(operations), facts.round_trips)


def _horizon(eager: Sequence[bool], index: int) -> int:
    """Return up to where facts are worth reading now: whoever changes something makes all that was read forgotten."""
    return next((later + 1 for later in range(index, len(eager)) if eager[later]), len(eager))


def _run_all(facts: Facts, changes: Iterable[Change], listener: Listener) -> None:
    try:
        for are_files, group in groupby(changes, lambda change: isinstance(change.action, File)):
            if are_files:
                _write(facts.host, tuple(group), listener)
            else:
                for change in group:
                    listener.line(change.summary)
                    perform(facts.host, change, listener)
    finally:
        facts.forget()


def _write(host: Host, changes: Sequence[Change], listener: Listener) -> None:
    """Send files that stand next to each other together: that is one round trip, however many they are."""
    for change in changes:
        listener.line(change.summary)
    host.send([change.action for change in changes if isinstance(change.action, File)])


def perform(host: Host, change: Change, listener: Listener) -> None:
    """Carry out one change."""
    match change.action:
        case Command() as command:
            host.run(command, follow=listener.line)
        case Fed(command, make):
            host.run(replace(command, stdin=make()), follow=listener.line)
        case File() as file:
            host.send([file])
        case Check(prove):
            prove(host)


def _prove(facts: Facts, operation: Operation) -> None:
    if left := tuple(operation(facts)):
        wanted = "; ".join(change.summary for change in left)
        raise NotConverged(
            f"{facts.host.name}: {operation.name} still wants, after applying: {wanted}",
            hint="something on the host undoes this change, or hides it: look there before running it again",
        )


def _learn(facts: Facts, operations: Iterable[Operation]) -> None:
    """Read what the operations miss, all of it at once, until none of them misses anything."""
    waiting = list(operations)
    while True:
        missing: dict[Fact[Any], None] = {}
        waiting = [operation for operation in waiting if _misses(facts, operation, missing)]
        if not missing:
            return
        facts.ask(missing)


def _misses(facts: Facts, operation: Operation, missing: dict[Fact[Any], None]) -> bool:
    try:
        for _ in operation(facts):
            pass
    except Unknown as unknown:
        missing.update(dict.fromkeys(unknown.facts))
        return True
    except Unreadable:
        return False
    return False


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
