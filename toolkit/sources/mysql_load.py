"""MariaDB's and MySQL's way back: the dump by the server's own client, then the accounts."""

from toolkit.sources.mysql_client import DATABASES, Client, name
from toolkit.sources.protocol import Stored
from toolkit.words.errors import HostError

DUMP, USERS = "databases.sql", "users.sql"


def load(to: Client, stored: Stored, *, replace: bool) -> None:
    """Bring everything back. Raises HostError at the first statement that fails, and for databases in the way."""
    names = list(stored.names)
    if DUMP in names:
        _clear(to, [str(each) for each in stored.facts(DUMP).get("databases", ())], replace=replace)
        _run(to, stored, DUMP)
    # The account that loads may get another password here, so this is last.
    if USERS in names:
        _run(to, stored, USERS)


def _clear(to: Client, databases: list[str], *, replace: bool) -> None:
    with to.session() as session:
        there = {row[0] for row in session.ask(DATABASES)}
        in_the_way = sorted(there & set(databases))
        if in_the_way and not replace:
            hint = "load into a fresh server, or say that what is there may be replaced"
            raise HostError(f"{to.container[:12]} has {', '.join(in_the_way)} already", hint=hint)
        for database in in_the_way:
            session.ask(f"DROP DATABASE {name(database)}")


def _run(to: Client, stored: Stored, file: str) -> None:
    process = to.start("client", "--binary-mode", "--default-character-set=utf8mb4")
    try:
        stored.pour(file, process.write)
        process.check()
    finally:
        process.close()
