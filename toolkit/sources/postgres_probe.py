"""PostgreSQL proven: every page and index looked at by pg_amcheck, and every table counted."""

from collections.abc import Mapping

from toolkit.sources.postgres_client import JOBS, Client
from toolkit.sources.postgres_sql import COUNTS
from toolkit.sources.protocol import Facts, Probe, Verdict, compare, uncounted
from toolkit.words.command import command, script
from toolkit.words.errors import HostError

_CHECK = ("pg_amcheck", "--heapallindexed", "--no-strict-names", "--no-password", f"--jobs={JOBS}")
# Once autovacuum was there, a count would look at an index alone, and pass over rows that cannot be read.
_ROWS_THEMSELVES = "SET enable_indexonlyscan = off"
_WITH_CHECK = "SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'"
_OPEN = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1"


def probe(to: Client, source: str, dumps: Mapping[str, Facts]) -> Probe:
    """Check every database that was dumped; `dumps` has the manifest's facts by database."""
    verdicts: list[Verdict] = []
    counts: dict[str, int] = {}
    for database, facts in sorted(dumps.items()):
        try:
            found = _read(to, database, verdicts)
        except HostError as error:
            verdicts.append(Verdict(f"{database}: counts", "bad", error.message))
            continue
        counts |= {f"{database}: {name}": number for name, number in found.items()}
        compared = compare(facts["counts"], found) if "counts" in facts else uncounted(facts)
        verdicts += (Verdict(f"{database}: {each.what}", each.state, each.evidence) for each in compared)
    return Probe(source, tuple(verdicts), counts)


def read_through(to: Client, source: str) -> Probe:
    """Check every database and read every row, where nothing says what should be there."""
    verdicts: list[Verdict] = []
    counts: dict[str, int] = {}
    for (database,) in to.rows(_OPEN):
        try:
            found = _read(to, database, verdicts)
        except HostError as error:
            verdicts.append(Verdict(f"{database}: rows", "bad", error.message))
            continue
        counts |= {f"{database}: {name}": number for name, number in found.items()}
        read = f"{sum(found.values())} rows of {len(found)} tables were read"
        verdicts.append(Verdict(f"{database}: rows", "good", read))
    return Probe(source, tuple(verdicts), counts)


def _read(to: Client, database: str, verdicts: list[Verdict]) -> dict[str, int]:
    """Check a database, which adds a verdict, and return the rows of every table; nothing is left behind in it.

    Raises HostError where a row cannot be read.
    """
    with to.session(database) as session:
        had = session.ask(_WITH_CHECK)[0][0] != "0"
        session.ask(_ROWS_THEMSELVES)
        # The server counts rows while another of its processes looks at pages.
        session.send(COUNTS)
        verdicts.append(_check(to, database))
        found = {row[0]: int(row[1]) for row in session.answer()}
        if not had:
            session.ask("DROP EXTENSION IF EXISTS amcheck")
    return found


def _check(to: Client, database: str) -> Verdict:
    what = f"{database}: pg_amcheck"
    try:
        to.run(command(*_CHECK, f"--username={to.user}", "--install-missing", f"--database={database}"))
    except HostError as error:
        if _has_tool(to):
            return Verdict(what, "bad", error.message)
        return Verdict(what, "unknown", "this image has no pg_amcheck: it comes with PostgreSQL 14 and its contrib")
    return Verdict(what, "good", "every page and index is sound")


def _has_tool(to: Client) -> bool:
    return to.run(script("command -v pg_amcheck || true")).strip() != b""
