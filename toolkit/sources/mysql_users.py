"""MariaDB's and MySQL's accounts as statements that can be run on a server that has some of them already.

Passwords are in them as the hashes that the server keeps.
"""

from collections.abc import Iterator

from toolkit.sources.mysql_client import Client, Row, Session, literal, name

_ACCOUNTS = """
SELECT user, host FROM mysql.user
WHERE user NOT IN ('', 'mysql.sys', 'mysql.session', 'mysql.infoschema', 'mariadb.sys') {where} ORDER BY user, host
"""
# MySQL's roles are accounts like others; MariaDB's have no host.
_ROLE_COLUMN = """
SELECT count(*) FROM information_schema.columns
WHERE table_schema = 'mysql' AND table_name = 'user' AND column_name = 'is_role'
"""


def statements(to: Client) -> tuple[str, list[str]]:
    """Return the statements for all accounts and their rights, and the accounts that the server could not show.

    A server that resolves no names, as in the official images, cannot show accounts of hosts that it would have to.
    """
    # One that cannot be shown must not end the session.
    with to.session("--force") as session:
        roles = session.ask(_ROLE_COLUMN)[0][0] != "0"
        accounts = session.ask(_ACCOUNTS.format(where="AND is_role = 'N'" if roles else ""))
        named = session.ask(_ACCOUNTS.format(where="AND is_role = 'Y'")) if roles else []
        lines = [f"CREATE ROLE IF NOT EXISTS {name(user)}" for user, *_ in named]
        unshown: list[str] = []
        for account in accounts:
            lines += _account(session, account, unshown)
        for granted in [*(name(user) for user, *_ in named), *map(_written, accounts)]:
            if granted not in unshown:
                lines += [row[0] for row in session.ask(f"SHOW GRANTS FOR {granted}")]
    return "".join(f"{line};\n" for line in lines), unshown


def _account(session: Session, account: Row, unshown: list[str]) -> Iterator[str]:
    shown = session.ask(f"SHOW CREATE USER {_written(account)}")
    prefix = "CREATE USER "
    if not shown or not shown[0][0].startswith(prefix):
        unshown.append(_written(account))
        return
    rest = shown[0][0].removeprefix(prefix)
    yield f"CREATE USER IF NOT EXISTS {rest}"
    # One that is there keeps its rights and takes the password and limits of the backup.
    yield f"ALTER USER {rest}"


def _written(account: Row) -> str:
    return f"{literal(account[0])}@{literal(account[1])}"
