"""ClickHouse: what there is, and how each kind of table is kept.

Tables of the MergeTree family are parts on a disk; some small engines are read as rows; of the rest (views, queues,
tables of other servers, memory) only the definition is kept, and that is said.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, cast

from toolkit.sources.clickhouse_client import Client, literal, name
from toolkit.words.errors import HostError

How = Literal["parts", "rows", "schema"]

_OWN = "('system', 'information_schema', 'INFORMATION_SCHEMA', '_temporary_and_external_tables')"
# Databases of these engines are on this server; the tables of others are somebody else's.
_LOCAL = frozenset({"Ordinary", "Atomic", "Lazy", "Replicated"})
_ROWS = frozenset({"Log", "TinyLog", "StripeLog", "File", "Join", "EmbeddedRocksDB"})
_LATE = frozenset({"View", "MaterializedView", "LiveView", "WindowView", "Dictionary"})
# Their background merges make one row of several.
_SHRINKING = ("Replacing", "Collapsing", "Summing", "Aggregating", "Graphite", "Coalescing")


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table. `parts` is its directory below the disk's root, empty where it has no parts."""

    database: str
    name: str
    engine: str
    create: str
    parts: str = ""

    @property
    def how(self) -> How:
        return "parts" if self.engine.endswith("MergeTree") else "rows" if self.engine in _ROWS else "schema"

    @property
    def late(self) -> bool:
        """Whether it is made from other tables, so after them."""
        return self.engine in _LATE

    @property
    def inner(self) -> bool:
        """Whether a materialized view makes it by itself."""
        return self.name.startswith((".inner.", ".inner_id."))

    @property
    def shrinks(self) -> bool:
        """Whether merging may leave fewer rows than were loaded."""
        return self.engine.replace("Replicated", "").startswith(_SHRINKING)

    @property
    def full(self) -> str:
        return f"{self.database}.{self.name}"

    @property
    def sql(self) -> str:
        return f"{name(self.database)}.{name(self.name)}"


@dataclass(frozen=True)
class Schema:
    """Everything that is defined on a server, and the root of its disk inside the container."""

    root: str
    databases: dict[str, str]
    """Names with the statement that makes each."""

    tables: tuple[Table, ...]


def read(to: Client) -> Schema:
    """Ask a server for its definitions. Raises HostError for data that lies on no local disk."""
    known = to.columns("tables")
    path = "data_paths" if "data_paths" in known else "data_path"
    temporary = "AND NOT is_temporary" if "is_temporary" in known else ""
    # Identities are kept, so that a materialized view finds its inner table again.
    identities = {"show_table_uuid_in_table_create_query_if_not_nil": "1"} if "uuid" in known else {}
    databases = {
        row["name"]: row["engine"]
        for row in to.rows(f"SELECT name, engine FROM system.databases WHERE name NOT IN {_OWN} ORDER BY name")  # noqa: S608
    }
    rows = to.rows(
        f"SELECT database, name, engine, create_table_query, {path} AS path FROM system.tables "  # noqa: S608
        f"WHERE database NOT IN {_OWN} {temporary} ORDER BY database, name",
        **identities,
    )
    root = _root(to, rows)
    local = [row for row in rows if databases.get(row["database"]) in _LOCAL]
    return Schema(root, _statements(to, databases), tuple(_table(row, root) for row in local))


def _statements(to: Client, databases: dict[str, str]) -> dict[str, str]:
    found = {}
    for database, engine in databases.items():
        shown = to.rows(f"SHOW CREATE DATABASE {name(database)}") if engine not in ("Ordinary", "Atomic") else []
        found[database] = (
            next(iter(shown[0].values())) if shown else f"CREATE DATABASE {name(database)} ENGINE = {engine}"
        )
    return found


def _root(to: Client, rows: list[dict[str, Any]]) -> str:
    """The root of the default disk, as the container sees it."""
    if to.columns("disks"):
        return str(to.rows("SELECT path FROM system.disks WHERE name = 'default'")[0]["path"])
    # Older versions know one disk; its tables lie under data/.
    for row in rows:
        if "/data/" in (path := str(row["path"])):
            return path[: path.rindex("/data/") + 1]
    return "/var/lib/clickhouse/"


def _table(row: dict[str, Any], root: str) -> Table:
    table = Table(database=row["database"], name=row["name"], engine=row["engine"], create=row["create_table_query"])
    if table.how != "parts":
        return table
    paths = cast("list[str]", row["path"] if isinstance(row["path"], list) else [row["path"]])
    outside = [path for path in paths if not PurePosixPath(path).is_relative_to(root)]
    if outside or len(paths) != 1:
        hint = "leave this source out, and back such data up where it lies"
        raise HostError(f"{table.full} keeps parts outside of {root}: {', '.join(outside or paths)}", hint=hint)
    return Table(**{**vars(table), "parts": str(PurePosixPath(paths[0]).relative_to(root))})


def found_rows(to: Client, tables: tuple[Table, ...]) -> Iterator[tuple[str, int]]:
    """Yield how many rows each table has: of all its parts, or as it is read."""
    active = to.rows(
        "SELECT database, table, sum(rows) AS rows FROM system.parts WHERE active GROUP BY database, table"
    )
    of_parts = {(row["database"], row["table"]): int(row["rows"]) for row in active}
    for table in tables:
        if table.how == "parts":
            yield table.full, of_parts.get((table.database, table.name), 0)
        elif table.how == "rows":
            yield table.full, int(to.rows(f"SELECT count() AS rows FROM {table.sql}")[0]["rows"])  # noqa: S608


def part_rows(to: Client, table: Table) -> Iterator[tuple[str, int]]:
    """Yield each part of a table that the server knows, merged away or not, and how many rows it has."""
    where = f"database = {literal(table.database)} AND table = {literal(table.name)}"
    for row in to.rows(f"SELECT name, rows FROM system.parts WHERE {where}"):  # noqa: S608
        yield str(row["name"]), int(row["rows"])


def exists(to: Client, table: Table) -> bool:
    """Whether a server has a table of this name."""
    where = f"database = {literal(table.database)} AND name = {literal(table.name)}"
    return bool(to.rows(f"SELECT name FROM system.tables WHERE {where}"))  # noqa: S608
