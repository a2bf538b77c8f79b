"""A rule: what it is called, how bad it is, why it is there, how to mend it, and a pure function that finds it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from toolkit.stack.lint.model import Model, Service

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The worst first."""


@dataclass(frozen=True)
class Found:
    """One place where a rule is broken. `keys` lead to it inside of the service, or of the file where there is none.

    The message never repeats a value that may be a secret.
    """

    message: str
    service: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """One rule as a value; `docs/lint.md` has a section for each, named by its id."""

    id: str
    severity: Severity
    reason: str
    """One sentence: what happens to whoever leaves it so."""

    fix: str
    """One sentence: what to write instead."""

    find: Callable[[Model], Iterator[Found]]
    whole: bool = False
    """It is about the stack as a whole, and names no service."""


def each(check: Callable[[Model, Service], Iterator[Found]]) -> Callable[[Model], Iterator[Found]]:
    """Make a rule's function of one that looks at a single service."""

    def find(model: Model) -> Iterator[Found]:
        for service in model.services.values():
            yield from check(model, service)

    return find
