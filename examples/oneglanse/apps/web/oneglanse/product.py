"""The product: events are counted, and a run asks the agent to look at a site. Pure; stores are behind protocols."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

KEPT = 5
"""Seconds a count may be old: the cache spares ClickHouse, and is asked first."""

Run = dict[str, object]


class Runs(Protocol):
    """Sites and runs, in PostgreSQL."""

    def ping(self) -> None: ...

    def add(self, site: str) -> Run: ...

    def find(self, number: int) -> Run | None: ...

    def finish(self, number: int, file: str, size: int) -> bool: ...


class Events(Protocol):
    """What happened, in ClickHouse."""

    def ping(self) -> None: ...

    def add(self, site: str, kind: str, path: str) -> None: ...

    def counts(self, site: str) -> Mapping[str, int]: ...


class Jobs(Protocol):
    def ping(self) -> None: ...

    def put(self, job: str) -> None: ...

    def take(self) -> str | None: ...

    def finish(self, job: str) -> None: ...

    def recover(self, older_than: float) -> list[str]: ...


class Cache(Protocol):
    def get(self, name: str) -> Mapping[str, int] | None: ...

    def keep(self, name: str, counts: Mapping[str, int], seconds: int) -> None: ...


@dataclass(frozen=True)
class Product:
    runs: Runs
    events: Events
    jobs: Jobs
    cache: Cache

    def ask_for_run(self, site: str) -> Run:
        run = self.runs.add(site)
        self.jobs.put(str(run["id"]))
        return run

    def happened(self, site: str, kind: str, path: str) -> None:
        self.events.add(site, kind, path)

    def counts(self, site: str) -> Mapping[str, int]:
        """Return how often each kind of event happened on a site, a few seconds old at most."""
        known = self.cache.get(f"counts:{site}")
        if known is None:
            known = self.events.counts(site)
            self.cache.keep(f"counts:{site}", known, KEPT)
        return known


def names(rows: Sequence[Mapping[str, object]]) -> Mapping[str, int]:
    """Return rows of kind and count as a mapping; ClickHouse writes large numbers as text."""
    return {str(row["kind"]): int(str(row["count"])) for row in rows}


def literal(text: str) -> str:
    """Return a text as ClickHouse's SQL writes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
