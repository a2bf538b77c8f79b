"""MariaDB and MySQL proven: every table checked by the server, and counted."""

from collections.abc import Iterator, Mapping

from toolkit.sources.mysql_client import SYSTEM, Client, Session, name
from toolkit.sources.protocol import Facts, Probe, Verdict, compare, uncounted
from toolkit.words.errors import HostError

DUMP = "databases.sql"
_TABLES = f"""
SELECT table_schema, table_name FROM information_schema.tables
WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND table_schema NOT IN {SYSTEM} ORDER BY 1, 2
"""  # noqa: S608


def count(session: Session) -> dict[str, int]:
    """Count the rows of every table, in whatever transaction the session is in. Raises HostError."""
    counts = {}
    for schema, table in session.ask(_TABLES):
        counts[f"{schema}.{table}"] = int(session.ask(f"SELECT count(*) FROM {name(schema)}.{name(table)}")[0][0])  # noqa: S608
    return counts


def probe(to: Client, source: str, facts: Mapping[str, Facts]) -> Probe:
    """Check and count; `facts` are the manifest's by input."""
    told = facts.get(DUMP, {})
    verdicts = [*_check(to)]
    try:
        with to.session() as session:
            counts = count(session)
    except HostError as error:
        return Probe(source, (*verdicts, Verdict("counts", "bad", error.message)))
    verdicts += compare(told["counts"], counts) if "counts" in told else uncounted(told)
    return Probe(source, tuple(verdicts), counts)


def _check(to: Client) -> Iterator[Verdict]:
    what = "CHECK TABLE"
    process = to.start("check", "--all-databases", "--check", "--silent")
    try:
        process.finish()
        said = b"".join(iter(process.some, b"")).decode(errors="replace").strip()
        process.check()
    except HostError as error:
        yield Verdict(what, "bad", error.message)
        return
    finally:
        process.close()
    # It succeeds with damaged tables too; what it says then names them.
    faults = [line for line in said.splitlines() if not line.lower().startswith("note")]
    if faults:
        yield Verdict(what, "bad", "\n".join(faults[:10]))
    else:
        yield Verdict(what, "good", "every table is sound")
