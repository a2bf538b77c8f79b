"""ClickHouse proven: every table checked against its checksums, and counted."""

from collections.abc import Iterator, Mapping

from toolkit.sources.clickhouse_client import Client
from toolkit.sources.clickhouse_schema import Table, found_rows, read
from toolkit.sources.protocol import Facts, Probe, Verdict, compare, uncounted
from toolkit.sources.streams import feed
from toolkit.words.errors import HostError

SCHEMA = "schema.json"
# Versions before 19 know CHECK TABLE for the small engines only; what is not known is code 48 everywhere.
_UNKNOWN = ("Code: 48", "NOT_IMPLEMENTED", "is not supported")


def probe(to: Client, source: str, facts: Mapping[str, Facts]) -> Probe:
    """Check and count every table that keeps rows; `facts` are the manifest's by input."""
    told = facts.get(SCHEMA, {})
    tables = tuple(table for table in read(to).tables if table.how != "schema")
    verdicts = [verdict for table in tables for verdict in _check(to, table)]
    try:
        counts = dict(found_rows(to, tables))
    except HostError as error:
        return Probe(source, (*verdicts, Verdict("counts", "bad", error.message)))
    verdicts += compare(told["counts"], counts) if "counts" in told else uncounted(told)
    return Probe(source, tuple(verdicts), counts)


def _check(to: Client, table: Table) -> Iterator[Verdict]:
    what = f"CHECK TABLE {table.full}"
    try:
        rows = to.rows(f"CHECK TABLE {table.sql}")
    except HostError as error:
        if not any(word in error.message for word in _UNKNOWN):
            yield Verdict(what, "bad", error.message)
            return
        yield _read_whole(to, table)
        return
    # One row for a table, or one for each part; the first column that is a number says whether it is sound.
    failed = [row for row in rows if not int(row.get("result", row.get("is_passed")) or 0)]
    yield Verdict(what, "bad", str(failed[:3])) if failed else Verdict(what, "good", "every part is sound")


def _read_whole(to: Client, table: Table) -> Verdict:
    """Read every column of every row: each block is checked against its checksum as it is read."""
    what = f"read {table.full}"
    try:
        feed(to.start(), f"SELECT * FROM {table.sql} FORMAT Null".encode())  # noqa: S608
    except HostError as error:
        return Verdict(what, "bad", error.message)
    return Verdict(what, "good", "every block is as its checksum says; this version has no CHECK TABLE for it")
