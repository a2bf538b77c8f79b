"""What a backup file says of restore drills: how deep they go, what is asked of what came back, what stays off."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from toolkit.config import values as v
from toolkit.config.checks import Finding
from toolkit.config.models import Part, Probe
from toolkit.words.values import Duration


class Question(Part):
    """A query to a database that came back, and what its first field must be: `equals`, `at_least` or `within`."""

    source: v.TreeName = Field(description="which source is asked, as `backup.sources` names it: `postgres/db`")
    query: v.Filled = Field(description="SQL, or a command of Redis; the first field of the first row is the answer")
    database: v.Word | None = Field(default=None, description="which database of the server; `postgres` by default")
    equals: v.TextLine | None = Field(default=None, description="the answer, exactly")
    at_least: float | None = Field(default=None, description="or the least number that it may be")
    within: v.Span | None = Field(
        default=None, description="or, where the answer is a time, how old it may be at the time of the backup"
    )

    @property
    def expectations(self) -> int:
        return sum(value is not None for value in (self.equals, self.at_least, self.within))


class Canary(Part):
    """A query that yields the time of the newest row: what came back up to then is what a loss would leave."""

    source: v.TreeName = Field(description="which source is asked")
    query: v.Filled = Field(description="its answer is a time, in UTC where it names no zone")
    database: v.Word | None = Field(default=None, description="which database of the server")


class Drill(Part):
    """Restore drills: a snapshot brought back in a sandbox, proven, measured and thrown away."""

    level: Annotated[int, Field(ge=0, le=4)] = Field(
        default=4, description="how deep: 0 objects, 1 keys, 2 files, 3 databases, 4 the whole stack"
    )
    on: v.Word | None = Field(
        default=None, description="where: a host of this repository, `local` or `lab`; by default `local`"
    )
    queries: tuple[Question, ...] = Field(default=(), description="what is asked of the databases that came back")
    canary: Canary | None = Field(default=None, description="a query that tells how much would have been lost")
    probes: tuple[Probe, ...] = Field(
        default=(), description="HTTP requests beside the stack's own; the host in the address is a service's name"
    )
    workers: tuple[v.Word, ...] = Field(
        default=(), description="services that stay off, beside one-shots and those whose names say what they are"
    )
    run: tuple[v.Word, ...] = Field(
        default=(), description="services that run although their names say that they are workers"
    )
    watch: v.Seconds = Field(
        default=Duration(5), description="how long the stack is watched for attempts to reach out, once it is up"
    )
    within: v.Seconds = Field(default=Duration(600), description="how long the stack has to become healthy")
    every: v.Span = Field(
        default=Duration(30 * 86400), description="how often somebody means to drill; reports say when one is due"
    )


def check(drill: Drill) -> Iterator[Finding]:
    """Yield what contradicts itself."""
    for place, query in enumerate(drill.queries):
        if query.expectations != 1:
            told = "what must its answer be?" if not query.expectations else "more than one expectation"
            yield ("drill", "queries", place), told, "say one of equals, at_least and within"
    for place, name in enumerate(drill.run):
        if name in drill.workers:
            yield ("drill", "run", place), f"{name} is to stay off as well", "keep it in one of workers and run"
