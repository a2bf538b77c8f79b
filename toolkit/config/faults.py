"""Faults: what is wrong in a file and where. A file's faults are told together, as one ConfigError."""

from collections.abc import Iterable
from dataclasses import dataclass

from toolkit.words.errors import ConfigError

Trail = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """One thing to correct: the line, the keys that lead to it, what is wrong, and what to do about it."""

    line: int
    path: Trail
    message: str
    hint: str = ""

    def told(self, file: str) -> str:
        text = f"{dotted(self.path)}: {self.message}" if self.path else self.message
        # Keys and values of a stranger's file may try to steer the terminal.
        return f"{file}:{self.line}: " + "".join(letter if letter.isprintable() else "�" for letter in text)


class Faulty(Exception):
    """The text cannot be read any further; `load` turns it into a ConfigError that names the file."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def dotted(path: Trail) -> str:
    """Return the path as a person writes it: `machine.users[1].name`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def as_error(file: str, faults: Iterable[Fault], page: str) -> ConfigError:
    """Return one error for all faults, in the order of their lines; `page` lists every key of such a file."""
    ordered = sorted(set(faults), key=lambda fault: (fault.line, dotted(fault.path), fault.message))
    general = f"{page} lists every key"
    hint = ordered[0].hint or general if len(ordered) == 1 else f"correct these {len(ordered)} places; {general}"
    return ConfigError("\n".join(fault.told(file) for fault in ordered), hint=hint)
