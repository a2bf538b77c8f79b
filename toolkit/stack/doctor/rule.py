"""A rule of the doctor: what people notice, what is behind it, and a pure function that finds it in the evidence."""

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from toolkit.stack.doctor.evidence import Evidence

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Found:
    """One cause that was found: what it is, what was seen of it, and what mends it: a command, or a sentence.

    `severity` is set where one place is less bad, or worse, than its rule.
    """

    cause: str
    seen: tuple[str, ...]
    fix: str
    service: str = ""
    severity: Severity | None = None


@dataclass(frozen=True)
class Rule:
    """One rule as a value; `docs/doctor.md` has a row for each.

    `weight` says how likely it is behind all the rest, from 0 to 100: a full disk explains a database that is down,
    and that explains an API that answers 503.
    """

    id: str
    severity: Severity
    weight: int
    symptoms: tuple[str, ...]
    """What people say when they see it, in their own words."""

    cause: str
    """One sentence for the page."""

    fix: str
    """One sentence for the page."""

    find: Callable[[Evidence], Iterator[Found]]


def last(lines: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """Return the last lines that say something."""
    return tuple([line.strip()[:300] for line in lines if line.strip()][-count:])


def lately(evidence: Evidence) -> Severity:
    """Return how bad it is that something was written lately: where all is well again, it only might come back."""
    return "warning" if evidence.calm else "error"


def verb(evidence: Evidence, words: str, *more: str) -> str:
    """Return a command of the control side: `verb(evidence, "deploy")` is `invoke deploy --host prod`."""
    name, *rest = words.split(" ", 1)
    return " ".join([f"invoke {name} --host {evidence.host}", *rest, *more])


def deploy(evidence: Evidence) -> str:
    return verb(evidence, "deploy")


def logs(evidence: Evidence, service: str) -> str:
    return verb(evidence, "logs", f"--service {service}")


def there(evidence: Evidence, command: str) -> str:
    """Return a command that runs on the host as root; one word behind `--` is a line of shell there."""
    line = f"sudo {command}"
    return f"invoke ssh --host {evidence.host} -- {shlex.quote(line) if set(line) & set('|&<>$') else line}"
