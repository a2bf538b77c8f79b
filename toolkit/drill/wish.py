"""What a drill is asked to do, as a value that travels: level, snapshot, and what the backup file says of drills."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from toolkit.drill.report import LEVELS, Targets
from toolkit.stack.manifest import Probe
from toolkit.words.errors import ConfigError


@dataclass(frozen=True)
class Query:
    """A question to a source that came back, and the answer it must have: exactly, at least, or not older than.

    The answer is the first field of the first row. `within` are seconds between that time and the capture.
    """

    source: str
    ask: str
    database: str = ""
    equals: str | None = None
    at_least: float | None = None
    within: float | None = None

    @property
    def title(self) -> str:
        return self.ask if len(self.ask) <= 100 else f"{self.ask[:99]}…"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One drill. `host` is whose snapshot; `beside` says that production runs on the same machine."""

    host: str
    level: int
    snapshot: str = "latest"
    who: str = ""
    where: str = ""
    queries: tuple[Query, ...] = ()
    canary: Query | None = None
    """Its answer is the time of the newest row."""

    probes: tuple[Probe, ...] = ()
    workers: tuple[str, ...] = ()
    """Services to leave off, beside those whose names say what they are."""

    run: tuple[str, ...] = ()
    """Services to run although their names say that they are workers."""

    watch: float = 5.0
    """Seconds that the whole stack is watched for attempts to reach out, once it is up."""

    within: float = 600.0
    beside: bool = False
    targets: Targets = field(default_factory=Targets)

    def at(self, level: int) -> "Wish":
        if not 0 <= level < len(LEVELS):
            raise ConfigError(f"there is no drill of level {level}", hint="choose 0 (objects) to 4 (the whole stack)")
        return replace(self, level=level)

    def dumps(self) -> dict[str, Any]:
        return asdict(self)


def parse(data: Mapping[str, Any]) -> Wish:
    """Read a wish that has travelled. Raises ConfigError for one of another version."""
    try:
        canary = data["canary"]
        parts = {
            "queries": tuple(Query(**one) for one in data["queries"]),
            "canary": Query(**canary) if canary else None,
            "probes": tuple(Probe(**one) for one in data["probes"]),
            "targets": Targets(**data["targets"]),
            **{key: tuple(data[key]) for key in ("workers", "run")},
        }
        return Wish(**{**data, **parts})
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"a wish of another version: {json.dumps(str(error))}", hint="run the same toolkit there"
        ) from error
