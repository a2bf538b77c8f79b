"""Findings as they are told: with their place in the files, in the order a person wants to read them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.config import load, suppressions
from toolkit.config.compose import Marked
from toolkit.config.models import HostFile
from toolkit.stack.lint.rule import SEVERITIES, Found, Severity
from toolkit.stack.lint.suppress import Finding

Place = tuple[str, int]
"""A file as it is shown, and a line in it; 0 where only the file is known."""


@dataclass(frozen=True)
class Told:
    """One finding, complete. `reason` is why it is accepted, empty where it is not."""

    rule: str
    severity: Severity
    service: str
    message: str
    fix: str
    file: str
    line: int
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """What lint found in one stack."""

    subject: str
    findings: tuple[Told, ...]
    accepted: tuple[Told, ...]

    def count(self, severity: Severity) -> int:
        return sum(one.severity == severity for one in self.findings)


@dataclass(frozen=True)
class Files:
    """The files that findings are placed in: Compose files as shown, later ones on top, and the host file."""

    compose: Mapping[str, Marked]
    host: HostFile | None = None

    def place(self, found: Found) -> Place:
        """Return where something is written: the topmost file that says it, or the nearest thing around it."""
        if found.service:
            return self._in_compose(("services", found.service, *found.keys)) or ("", 0)
        if found.keys == ("lint",):
            return self._suppressions()
        if found.keys[:1] == ("stack",) and self.host:
            return f"hosts/{self.host.name}.yml", load.line_of(self.host, *found.keys)
        # What concerns the stack as a whole stands where the stack begins.
        return (found.keys[0], 0) if found.keys else self._in_compose(("services",)) or ("", 0)

    def _in_compose(self, keys: tuple[str, ...]) -> Place | None:
        for depth in range(len(keys), 0, -1):
            for shown, marked in reversed(list(self.compose.items())):
                if line := marked.lines.get(keys[:depth]):
                    return shown, line
        return None

    def _suppressions(self) -> Place:
        if self.host and self.host.stack and self.host.stack.lint:
            return f"hosts/{self.host.name}.yml", load.line_of(self.host, "stack", "lint")
        return self._in_compose((suppressions.KEY,)) or ("", 0)


def make(subject: str, findings: Iterable[Finding], files: Files) -> Report:
    """Return the report: service by service, those about the whole stack first, the worst of each first."""
    told = sorted((_told(finding, files) for finding in findings), key=_order)
    return Report(
        subject,
        tuple(one for one in told if not one.reason),
        tuple(one for one in told if one.reason),
    )


def _told(finding: Finding, files: Files) -> Told:
    file, line = files.place(finding.found)
    rule, found = finding.rule, finding.found
    # Keys and names of a stranger's file may try to steer the terminal.
    message = "".join(letter if letter.isprintable() else "�" for letter in found.message)
    return Told(rule.id, rule.severity, found.service, message, rule.fix, file, line, finding.reason)


def _order(told: Told) -> tuple[str, int, str, str]:
    return told.service, SEVERITIES.index(told.severity), told.rule, told.message


def shown(paths: Sequence[Path]) -> dict[Path, str]:
    """Return how each path is shown: from where the person is, if it is below."""
    here = Path.cwd()
    return {path: str(path.relative_to(here) if path.is_relative_to(here) else path) for path in paths}
