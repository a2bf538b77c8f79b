"""PostgreSQL at a moment: the databases of one server, filled from a base and the log after it and not from dumps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from toolkit.sources import postgres_probe
from toolkit.sources.docker import Docker
from toolkit.sources.postgres import Postgres
from toolkit.sources.postgres_client import client
from toolkit.sources.process import SLOW
from toolkit.sources.protocol import Facts, Into, Place, Probe, Stored
from toolkit.sources.wal_recover import Reached, recover


@dataclass(frozen=True, kw_only=True)
class PostgresAt(Postgres):
    """The databases of one server as they were at `to`. `reached` hears how far the log was played."""

    base: Stored
    log: Sequence[Stored]
    to: datetime
    beyond: int
    reached: Callable[[Reached], None]
    loads_into: ClassVar[Into] = "volume"

    def load(self, docker: Docker, stored: Stored, place: Place) -> None:  # noqa: ARG002 - every source's signature
        """Fill an empty volume. The base and the log are this source's own; `stored` is not read."""
        found = recover(
            docker,
            self.base,
            self.log,
            place,
            to=self.to,
            user=self.user,
            beyond=self.beyond,
            patience=self.patience,
        )
        self.reached(found)

    def probe(self, docker: Docker, place: Place, facts: Mapping[str, Facts]) -> Probe:  # noqa: ARG002 - as above
        """Run pg_amcheck over every database there is, and read every row. No manifest counted at that moment."""
        place.need("container")
        to = client(docker, place.container, user=self.user, login=self.login, patience=self.patience * SLOW)
        return postgres_probe.read_through(to, self.name)
