"""PostgreSQL proven: what is found, what cannot be looked at, and nothing that is left behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from toolkit.sources import postgres_probe
from toolkit.words.command import Command
from toolkit.words.errors import HostError


class Session:
    def __init__(self, server: "Server") -> None:
        self.server = server

    def ask(self, sql: str) -> list[list[str]]:
        self.server.asked.append(sql)
        return [["1" if self.server.had else "0"]]

    def send(self, sql: str) -> None:
        assert sql == postgres_probe.COUNTS
        # An index alone would count rows that cannot be read.
        assert "SET enable_indexonlyscan = off" in self.server.asked

    def answer(self) -> list[list[str]]:
        if self.server.unreadable:
            raise HostError("invalid page in block 0")
        return [["public.tasks", "3"]]


class Server:
    """A server with one table of three rows."""

    user = "app"

    def __init__(self, *, tool: bool = True, sound: bool = True, had: bool = False, unreadable: bool = False) -> None:
        self.tool, self.sound, self.had, self.unreadable = tool, sound, had, unreadable
        self.asked: list[str] = []

    def rows(self, _sql: str) -> list[list[str]]:
        return [["app"]]

    @contextmanager
    def session(self, _database: str) -> Iterator[Session]:
        yield Session(self)

    def run(self, wanted: Command, **_: object) -> bytes:
        if wanted.argv[0] == "sh":
            return b"/usr/bin/pg_amcheck\n" if self.tool else b""
        if not self.tool or not self.sound:
            raise HostError("pg_amcheck failed")
        return b""


FACTS = {"app": {"name": "app", "counts": {"public.tasks": 3}}}
DROP = "DROP EXTENSION IF EXISTS amcheck"


def states(server: Server) -> dict[str, str]:
    to: Any = server
    return {one.what: one.state for one in postgres_probe.probe(to, "postgres/db", FACTS).verdicts}


def test_a_sound_database_is_counted_and_left_as_it_was() -> None:
    server = Server()
    assert states(server) == {"app: pg_amcheck": "good", "app: counts": "good"}
    assert DROP in server.asked
    own = Server(had=True)
    states(own)
    assert DROP not in own.asked


def test_a_database_of_a_moment_is_read_through_and_left_as_it_was() -> None:
    server = Server()
    to: Any = server
    found = postgres_probe.read_through(to, "postgres/db")
    assert [(one.what, one.state) for one in found.verdicts] == [("app: pg_amcheck", "good"), ("app: rows", "good")]
    assert found.counts == {"app: public.tasks": 3}
    assert DROP in server.asked
    own: Any = Server(had=True)
    postgres_probe.read_through(own, "postgres/db")
    assert DROP not in own.asked
    damaged: Any = Server(sound=False, unreadable=True)
    assert {one.state for one in postgres_probe.read_through(damaged, "postgres/db").verdicts} == {"bad"}


@pytest.mark.parametrize(("tool", "state"), [(True, "bad"), (False, "unknown")])
def test_a_check_that_fails_is_bad_and_one_that_is_not_there_is_unknown(tool: bool, state: str) -> None:
    found = states(Server(tool=tool, sound=False))
    assert found == {"app: pg_amcheck": state, "app: counts": "good"}


def test_both_say_what_they_found_where_a_page_cannot_be_read() -> None:
    assert states(Server(sound=False, unreadable=True)) == {"app: pg_amcheck": "bad", "app: counts": "bad"}
