"""Changes and operations: what is missing, as values.

An operation is a generator over facts that yields the changes still missing; silence means converged. Planning is
running the generator without running what it yields, so nothing below this package knows what a dry run is.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Concatenate, ParamSpec

from toolkit.converge.facts import Facts
from toolkit.host import File, Host
from toolkit.words.command import Command

P = ParamSpec("P")


@dataclass(frozen=True)
class Check:
    """A change that changes nothing: proof, taken from the control side, that it is safe to go on."""

    prove: Callable[[Host], None]


@dataclass(frozen=True)
class Fed:
    """A command whose standard input is made only when it runs: too large, or too slow to come by, for a plan."""

    command: Command
    make: Callable[[], bytes]


@dataclass(frozen=True)
class Change:
    """One thing to do: a sentence for the person, the action, and the difference it makes as a unified diff."""

    summary: str
    action: Command | File | Fed | Check
    diff: str = ""


Generator = Callable[[Facts], Iterator[Change]]


@dataclass(frozen=True)
class Operation:
    """A wanted state with its arguments bound. Calling it yields what is missing."""

    name: str
    generate: Generator = field(repr=False)

    def __call__(self, facts: Facts) -> Iterator[Change]:
        return self.generate(facts)


Operations = Iterable[Operation]


def operation(function: Callable[Concatenate[Facts, P], Iterator[Change]]) -> Callable[P, Operation]:
    """Turn a generator over facts into a maker of operations: `files.file("/etc/motd", b"…")`."""
    module = function.__module__.rpartition(".")[2]

    @wraps(function)
    def bind(*args: P.args, **kwargs: P.kwargs) -> Operation:
        subject = next((f" {value}" for value in args if isinstance(value, str)), "")
        name = f"{module}.{function.__name__}{subject}"
        return Operation(name, lambda facts: function(facts, *args, **kwargs))

    return bind


def difference(before: str | None, after: str | None, name: str) -> str:
    """Return a unified diff of two texts; None stands for a file that is not there."""
    old, new = (text.splitlines(keepends=True) if text else [] for text in (before, after))
    labels = ("/dev/null" if before is None else name, "/dev/null" if after is None else name)
    lines = list(difflib.unified_diff(old, new, *labels, n=2))
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)
