"""ClickHouse: frozen parts, definitions and accounts.

FREEZE makes hard links to every active part of a table, which never change; what is consistent is one table at one
moment. Their own record of rows is the count that a restore must reach; parts of tables in the old syntax,
`MergeTree(day, …)`, have none, and the server is asked for theirs by name.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from toolkit.repository.inputs import Input, Readable, Stream, Tree
from toolkit.sources import clickhouse_load, clickhouse_probe
from toolkit.sources.clickhouse_client import Client
from toolkit.sources.clickhouse_schema import Schema, Table, found_rows, part_rows, read
from toolkit.sources.docker import Docker
from toolkit.sources.files import OpenFile
from toolkit.sources.login import Login
from toolkit.sources.paths import beneath, directory
from toolkit.sources.process import PATIENCE, SLOW
from toolkit.sources.protocol import Capture, Facts, Into, Place, Probe, Stored, iso
from toolkit.sources.streams import streamed, text
from toolkit.sources.volume import clear
from toolkit.words.errors import HostError

_FROZEN = "toolkit"


@dataclass(frozen=True, kw_only=True)
class ClickHouse:
    """One server whose data lies on its own disk."""

    name: str
    login: Login | None = None
    patience: float = PATIENCE
    kind: ClassVar[str] = "clickhouse"
    loads_into: ClassVar[Into] = "container"

    @contextmanager
    def capture(self, docker: Docker, place: Place) -> Iterator[Capture]:
        """Freeze every table. Needs a container; what was frozen is released when the context ends."""
        place.need("container")
        inspected = docker.inspect("container", place.container)[0]
        to = Client(docker, place.container, self.login, self.patience)
        version = to.rows("SELECT version() AS version")[0]["version"]
        schema = read(to)
        head = {"engine": "ClickHouse", "version": version, "image": docker.digest(inspected)}
        head["reference"] = inspected["Config"]["Image"]
        with ExitStack() as stack:
            root = stack.enter_context(directory(inspected, schema.root))
            _release(root)
            stack.callback(_release, root)
            moment = time.time()
            to.run(
                f"ALTER TABLE {each.sql} FREEZE WITH NAME '{_FROZEN}'" for each in schema.tables if each.how == "parts"
            )
            head |= {"moment": iso(moment), "frozen": iso(time.time())}
            inputs = [*self._rows(to, schema, head)]
            with suppress(HostError):
                frozen = stack.enter_context(beneath(root, f"shadow/{_FROZEN}"))
                inputs.append(Tree(f"{self.name}/parts", frozen, (), self.kind, lambda: head))
            inputs.append(self._definitions(to, schema, root, head))
            yield Capture(inputs, moment)

    def load(self, docker: Docker, stored: Stored, place: Place) -> None:
        """Define everything, attach the parts, insert the rows. Tables in the way are dropped if `replace` says so."""
        place.need("container")
        to = Client(docker, place.container, self.login, self.patience * SLOW)
        clickhouse_load.load(to, docker.inspect("container", place.container)[0], stored, replace=place.replace)

    def probe(self, docker: Docker, place: Place, facts: Mapping[str, Facts]) -> Probe:
        """Run CHECK TABLE over every table, read whole those that it does not know, and count."""
        place.need("container")
        to = Client(docker, place.container, self.login, self.patience * SLOW)
        return clickhouse_probe.probe(to, self.name, facts)

    def _definitions(self, to: Client, schema: Schema, root: Path, head: Facts) -> Input:
        before = dict(found_rows(to, tuple(table for table in schema.tables if table.how == "rows")))
        counts = {table.full: _counted(to, root, table) for table in schema.tables if table.how == "parts"}
        tables = [vars(table) for table in schema.tables]
        content = {"databases": schema.databases, "tables": tables, "access": _access(root)}
        definitions = json.dumps({"format": clickhouse_load.FORMAT, **content}, indent=1)

        def facts() -> Facts:
            after = dict(found_rows(to, tuple(table for table in schema.tables if table.how == "rows")))
            ranges = {name: sorted((before[name], after.get(name, 0))) for name in before}
            only = [table.full for table in schema.tables if table.how == "schema"]
            # A number that is not known must not become one that a drill compares with.
            known = {} if None in counts.values() else {"counts": {**counts, **ranges}}
            return {**head, **known, "schema_only": only}

        return Stream(f"{self.name}/{clickhouse_load.SCHEMA}", partial(text, definitions), self.kind, facts)

    def _rows(self, to: Client, schema: Schema, head: Facts) -> Iterator[Input]:
        for table in schema.tables:
            if table.how == "rows":
                yield Stream(
                    f"{self.name}/{clickhouse_load.rows_name(table)}",
                    partial(_read_rows, to, table),
                    self.kind,
                    lambda: head,
                )


@contextmanager
def _read_rows(to: Client, table: Table) -> Iterator[Readable]:
    with streamed(to.start(f"--query=SELECT * FROM {table.sql} FORMAT Native")) as rows:  # noqa: S608
        yield rows


def _release(root: Path) -> None:
    """Remove what was frozen, by this run or by one that was cut off."""
    with suppress(HostError), beneath(root, f"shadow/{_FROZEN}") as frozen:
        clear(frozen)


def _counted(to: Client, root: Path, table: Table) -> int | list[int] | None:
    """Add up the rows of the frozen parts, as they or the server say; None where neither does."""
    with ExitStack() as stack:
        try:
            frozen = stack.enter_context(beneath(root, f"shadow/{_FROZEN}/{table.parts}"))
        except HostError as error:
            # A table without parts leaves no folder; whatever else is in the way is not known to be empty.
            return 0 if isinstance(error.__cause__, FileNotFoundError) else None
        said = {part.name: _says(frozen, part.name) for part in frozen.iterdir()}
    if None in said.values():
        # Right behind the freeze it still knows those that were merged away meanwhile.
        server = dict(part_rows(to, table))
        said = {name: server.get(name) if rows is None else rows for name, rows in said.items()}
    if None in said.values():
        return None
    total = sum(rows for rows in said.values() if rows is not None)
    return [min(total, 1), total] if table.shrinks else total


def _says(frozen: Path, part: str) -> int | None:
    """Return the rows of a part by its own record; None where it has none, or nonsense."""
    try:
        with beneath(frozen, part) as folder, OpenFile.of(folder, "count.txt") as file:
            return int(file.content())
    except (HostError, ValueError):
        return None


def _access(root: Path) -> list[str]:
    """The definitions of accounts, roles, quotas and policies, where this version keeps any (from 20.4 on)."""
    found = []
    with suppress(HostError), beneath(root, "access") as folder:
        for path in sorted(folder.glob("*.sql")):
            with OpenFile.of(folder, path.name) as file:
                found.append(file.content().decode())
    return found
