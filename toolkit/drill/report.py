"""The report of a drill: what was brought back, how long that took, and a verdict with evidence for each check.

Plain values with one spelling as JSON, so that a signature over it means something. Times are UTC in ISO 8601,
amounts are bytes and seconds. What it says of a snapshot came from a host, so whoever shows it escapes it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from toolkit.words.errors import RepositoryError

FORMAT = "toolkit drill 1"
LEVELS = ("objects", "keys", "files", "data", "stack")
"""What a drill of each level, 0 to 4, looks at last."""

State = Literal["good", "bad", "unknown"]
Verdict = Literal["passed", "failed", "incomplete"]
STATES: tuple[State, ...] = ("good", "bad", "unknown")
EXIT: Mapping[str, int] = {"passed": 0, "failed": 1, "incomplete": 3}
LARGEST = 16 << 20


@dataclass(frozen=True)
class Phase:
    """One part of a drill and how long it took. Those that `recovers` are what a recovery would do as well."""

    name: str
    seconds: float
    recovers: bool = True


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `unknown` is never taken for good."""

    subject: str
    what: str
    state: State
    evidence: str = ""


@dataclass(frozen=True)
class Targets:
    """What was promised, in seconds; None where nothing was."""

    rto: float | None = None
    rpo: float | None = None


@dataclass(frozen=True)
class Loss:
    """How much would have been lost (RPO): seconds from `moment` to the drill's begin.

    `told_by` is `barrier`, the moment of the capture, or `canary`, the newest row that came back.
    """

    seconds: float
    moment: str
    told_by: str = "barrier"


@dataclass(frozen=True, kw_only=True)
class Report:
    """One drill. `where` is the machine that it ran on, `opened_with` the recipients that opened the snapshot."""

    host: str
    level: int
    started: str
    ended: str
    where: str
    who: str
    toolkit: str
    snapshot: str = ""
    digest: str = ""
    """SHA-256 of the snapshot's sealed manifest."""

    taken: str = ""
    outcome: str = ""
    """What the backup said of itself: complete or incomplete."""

    opened_with: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()
    checks: tuple[Check, ...] = ()
    loss: Loss | None = None
    targets: Targets = Targets()
    sizes: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    format: str = FORMAT

    @property
    def rto(self) -> float | None:
        """Seconds that a recovery would take, as far as this level went; None where nothing was brought back."""
        found = [phase.seconds for phase in self.phases if phase.recovers]
        return round(sum(found), 3) if found and self.level >= 2 else None

    @property
    def verdict(self) -> Verdict:
        if not self.checks or any(check.state == "bad" for check in self.checks):
            return "failed"
        return "incomplete" if self._is_partial else "passed"

    @property
    def _is_partial(self) -> bool:
        return self.outcome == "incomplete" or any(check.state == "unknown" for check in self.checks)

    @property
    def level_name(self) -> str:
        return LEVELS[self.level]

    def counted(self, state: State) -> int:
        return sum(check.state == state for check in self.checks)


def promised(targets: Targets, rto: float | None, loss: Loss | None) -> list[Check]:
    """Compare what was measured with what was promised."""
    found = []
    for name, target, measured in (("RTO", targets.rto, rto), ("RPO", targets.rpo, loss.seconds if loss else None)):
        if target is not None and measured is not None:
            state: State = "good" if measured <= target else "bad"
            found.append(Check("targets", name, state, f"{measured:.1f} s, promised {target:.0f} s"))
    return found


def canonical(report: Report) -> bytes:
    """Return the report in its one spelling: JSON, keys sorted, no spaces, UTF-8."""
    return json.dumps(asdict(report), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        errors="backslashreplace"
    )


def parse(data: Any) -> Report:
    """Make a report of what JSON gave. Raises RepositoryError for anything that is none."""
    try:
        if data["format"] != FORMAT:
            raise RepositoryError(f"a report of the format {str(data['format'])[:40]!r}", hint="use a newer toolkit")
        report = Report(**_parts(data))
        _sane(report)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RepositoryError(f"a report that makes no sense: {error}") from error
    return report


def _parts(data: dict[str, Any]) -> dict[str, Any]:
    loss = data["loss"]
    return data | {
        "phases": tuple(
            Phase(str(one["name"]), _seconds(one["seconds"]), bool(one["recovers"])) for one in data["phases"]
        ),
        "checks": tuple(_check(one) for one in data["checks"]),
        "loss": loss and Loss(_seconds(loss["seconds"]), str(loss["moment"]), str(loss["told_by"])),
        "targets": Targets(*(None if (at := data["targets"][key]) is None else _seconds(at) for key in ("rto", "rpo"))),
        "opened_with": tuple(map(str, data["opened_with"])),
        "sizes": {str(key): int(size) for key, size in data["sizes"].items()},
        "versions": {str(key): str(text) for key, text in data["versions"].items()},
    }


def _check(data: dict[str, Any]) -> Check:
    if data["state"] not in STATES:
        raise ValueError("a state that is none")
    return Check(str(data["subject"]), str(data["what"]), data["state"], str(data["evidence"]))


def _seconds(value: Any) -> float:
    # A report comes from a file or a bucket: pages reckon with these.
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError("seconds that are none")
    return float(value)


def _sane(report: Report) -> None:
    texts = (report.host, report.where, report.who, report.toolkit, report.snapshot, report.digest, report.outcome)
    if type(report.level) is not int or not 0 <= report.level < len(LEVELS):
        raise ValueError("a level that is none")
    if not all(isinstance(text, str) for text in (*texts, report.taken)):
        raise ValueError("a text that is none")
    for moment in (report.started, report.ended):
        datetime.fromisoformat(moment)
