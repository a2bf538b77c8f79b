"""clickhouse-client inside the container: statements on standard input, rows as JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from toolkit.sources.docker import Docker, Inside
from toolkit.sources.login import Login
from toolkit.sources.process import PATIENCE
from toolkit.sources.streams import feed
from toolkit.words.command import command

Row = dict[str, Any]


@dataclass(frozen=True)
class Client:
    """One server, on its local port. Without a login, as the user `default` without a password."""

    docker: Docker
    container: str
    login: Login | None = None
    patience: float = PATIENCE

    def start(self, *words: str) -> Inside:
        wanted = command("clickhouse-client", *words)
        return self.docker.start(
            self.container, wanted, login=self.login, patience=self.patience, what="clickhouse-client"
        )

    def rows(self, sql: str, **settings: str) -> list[Row]:
        """Return the rows of one query. Raises HostError."""
        words = [f"--{name}={value}" for name, value in settings.items()]
        output = feed(self.start(*words), f"{sql} FORMAT JSONEachRow".encode())
        return [json.loads(line) for line in output.splitlines() if line]

    def run(self, statements: Iterable[str]) -> None:
        """Run statements one after the other. Raises HostError at the first that fails."""
        if text := ";\n".join(statements):
            feed(self.start("--multiquery"), f"{text};\n".encode())

    def columns(self, table: str) -> set[str]:
        """The columns of a system table; empty where this version has no such table."""
        found = self.rows(f"SELECT name FROM system.columns WHERE database = 'system' AND table = {literal(table)}")  # noqa: S608
        return {row["name"] for row in found}


def name(text: str) -> str:
    """A text as an SQL name."""
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
