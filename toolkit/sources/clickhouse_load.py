"""ClickHouse's way back: definitions first, then parts attached and rows inserted, then what is made from them."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from toolkit.sources.clickhouse_client import Client, literal
from toolkit.sources.clickhouse_schema import Schema, Table, exists, read
from toolkit.sources.docker import Inspected
from toolkit.sources.paths import beneath, directory
from toolkit.sources.protocol import Stored
from toolkit.sources.volume import clear
from toolkit.words.errors import HostError, RepositoryError

SCHEMA = "schema.json"
FORMAT = "toolkit/clickhouse 1"
_STAGE = "toolkit-load"
_CREATE = re.compile(r"CREATE (TABLE|VIEW|MATERIALIZED VIEW|LIVE VIEW|WINDOW VIEW|DICTIONARY) ")
_ENTITIES = ("SETTINGS PROFILE", "ROLE", "USER", "QUOTA", "ROW POLICY")


def load(to: Client, inspected: Inspected, stored: Stored, *, replace: bool) -> None:
    """Bring everything back. Raises HostError at the first thing that fails, and for tables that are in the way."""
    databases, tables, access = _definitions(stored)
    _make_room(to, tables, replace=replace)
    plain_tables = [table for table in tables if not table.late and not table.inner]
    to.run(
        statement.replace("CREATE DATABASE ", "CREATE DATABASE IF NOT EXISTS ", 1) for statement in databases.values()
    )
    _create(to, plain_tables)
    there = read(to)
    with directory(inspected, there.root) as root, _staged(root, stored) as stage:
        _attach(to, root, stage, there, plain_tables)
        for table in plain_tables:
            if table.how == "rows":
                _insert(to, stored, table)
        _create(to, [table for table in tables if table.late])
        _attach(to, root, stage, read(to), [table for table in tables if table.inner])
    to.run(_accounts(access))


def rows_name(table: Table) -> str:
    """The input, below the source, that has a table's rows."""
    return f"rows/{_safe(table.database)}/{_safe(table.name)}.native"


def _safe(text: str) -> str:
    return quote(text, safe="").replace(".", "%2E")


def _definitions(stored: Stored) -> tuple[dict[str, str], list[Table], list[str]]:
    text = bytearray()
    stored.pour(SCHEMA, text.extend)
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise HostError(f"{SCHEMA} is of another format: {content['format']}", hint="use a newer toolkit")
        return dict(content["databases"]), [Table(**fields) for fields in content["tables"]], list(content["access"])
    except (ValueError, TypeError, KeyError) as error:
        raise RepositoryError(f"{SCHEMA} makes no sense: {error}", hint="try an older snapshot") from error


def _make_room(to: Client, tables: list[Table], *, replace: bool) -> None:
    in_the_way = [table for table in tables if exists(to, table)]
    if in_the_way and not replace:
        hint = "load into a fresh server, or say that what is there may be replaced"
        raise HostError(f"{to.container[:12]} has {in_the_way[0].full} already", hint=hint)
    # Dropping a view takes its inner table along, and newer versions drop only after a while unless they are told.
    at_once = " SYNC" if "uuid" in to.columns("tables") else ""
    for table in sorted(in_the_way, key=lambda table: not table.late):
        kind = "DICTIONARY" if table.engine == "Dictionary" else "TABLE"
        to.run([f"DROP {kind} IF EXISTS {table.sql}{at_once}"])


def _create(to: Client, tables: list[Table]) -> None:
    """Make tables in whatever order they depend on each other."""
    pending = [_CREATE.sub(r"CREATE \1 IF NOT EXISTS ", table.create, count=1) for table in tables]
    while pending:
        try:
            to.run(pending)
            return
        except HostError:
            failed, last = [], None
            for statement in pending:
                try:
                    to.run([statement])
                except HostError as error:
                    failed.append(statement)
                    last = error
            if last and len(failed) == len(pending):
                raise last from None
            pending = failed


@contextmanager
def _staged(root: Path, stored: Stored) -> Iterator[Path]:
    """Restore all parts beside the tables, on their disk, from where they are only renamed into place."""
    path = root / _STAGE
    if path.is_dir():
        # Left by a load that was cut off.
        _remove(root)
    if not any(each.startswith("parts/") for each in stored.names):
        yield root
        return
    try:
        stored.lay("parts", path)
        with beneath(root, _STAGE) as stage:
            yield stage
    finally:
        _remove(root)


def _remove(root: Path) -> None:
    with suppress(HostError), beneath(root, _STAGE) as stage:
        clear(stage)
    with suppress(OSError):
        (root / _STAGE).rmdir()


def _attach(to: Client, root: Path, stage: Path, there: Schema, tables: list[Table]) -> None:
    """Put the parts of each table where it looks for detached ones, and attach them."""
    places = {table.full: table.parts for table in there.tables}
    for table in tables:
        # A table without a row had nothing to freeze.
        if table.how == "parts" and (stage / table.parts).is_dir():
            with beneath(stage, table.parts) as source, beneath(root, f"{places[table.full]}/detached") as detached:
                parts = sorted(path.name for path in source.iterdir())
                _move(source, detached, parts)
            to.run(f"ALTER TABLE {table.sql} ATTACH PART {literal(part)}" for part in parts)


def _move(source: Path, detached: Path, parts: list[str]) -> None:
    owner = detached.stat()
    for part in parts:
        _own(source / part, owner.st_uid, owner.st_gid)
        (source / part).rename(detached / part)


def _own(folder: Path, user: int, group: int) -> None:
    for _, _, files, here in os.fwalk(folder, follow_symlinks=False):
        os.fchown(here, user, group)
        for each in files:
            os.chown(each, user, group, dir_fd=here, follow_symlinks=False)


def _insert(to: Client, stored: Stored, table: Table) -> None:
    process = to.start(f"--query=INSERT INTO {table.sql} FORMAT Native")
    try:
        stored.pour(rows_name(table), process.write)
        process.check()
    finally:
        process.close()


def _accounts(access: Iterable[str]) -> Iterator[str]:
    """What the server keeps as ATTACH, as statements that make it: accounts and roles first, then their rights."""
    statements = [each.strip() for text in access for each in text.split(";\n") if each.strip()]
    for entity in _ENTITIES:
        for statement in statements:
            if statement.startswith(f"ATTACH {entity} "):
                yield statement.replace(f"ATTACH {entity}", f"CREATE {entity} IF NOT EXISTS", 1)
    for statement in statements:
        if statement.startswith("ATTACH GRANT "):
            yield statement.removeprefix("ATTACH ")
