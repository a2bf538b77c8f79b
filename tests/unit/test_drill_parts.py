"""Parts of a drill: what its listener takes for an attempt, how answers are judged, what facts are believed, wishes."""

import ipaddress
import json
import socket
import sqlite3
import struct
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolkit.config.drills import Drill, Question
from toolkit.config.drills import check as findings
from toolkit.drill import ask, box, fence, listen, wish
from toolkit.drill.captured import Captured, seconds
from toolkit.drill.report import Check, Targets
from toolkit.drill.serving import _probed
from toolkit.drill.wish import Query, Wish
from toolkit.sources.docker import Docker
from toolkit.sources.protocol import Place
from toolkit.sources.sqlite import Sqlite
from toolkit.stack.manifest import Probe
from toolkit.words.command import Result, command
from toolkit.words.errors import ConfigError, HostError, RepositoryError

INSIDE = ipaddress.ip_network("172.20.0.0/16")


def packet(to: str, *, protocol: int = 6, port: int = 443, payload: bytes = b"") -> bytes:
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, protocol, 0, b"\xac\x14\0\2", socket.inet_aton(to))
    return head + struct.pack("!HHHH", 40000, port, 8, 0) + payload


def query(name: str, *, answer: bool = False) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 7, 0x8180 if answer else 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (packet("93.184.216.34"), "93.184.216.34:443/tcp"),
        (packet("10.0.0.1", protocol=17, port=53), "10.0.0.1:53/udp"),
        (packet("10.0.0.1", protocol=1), "10.0.0.1 (protocol 1)"),
        (packet("172.20.0.9"), ""),
        (packet("224.0.0.251", protocol=17), ""),
        (packet("255.255.255.255", protocol=17), ""),
        (packet("127.0.0.11", protocol=17, payload=query("mail.example.com")), "mail.example.com"),
        (packet("127.0.0.11", protocol=17, payload=query("db")), ""),
        (packet("127.0.0.11", protocol=17, payload=query("db.internal.example")), ""),
        (packet("127.0.0.11", protocol=17, payload=query("7.2.0.192.in-addr.arpa")), ""),
        (packet("127.0.0.11", protocol=17, payload=query("mail.example.com", answer=True)), ""),
        (packet("127.0.0.11", protocol=17, payload=b"\xff" * 40), ""),
        (packet("127.0.0.1", protocol=6), ""),
        (b"", ""),
        (b"\x60" + bytes(60), ""),
    ],
)
def test_an_attempt_is_what_leaves_the_sandbox_and_nothing_else(seen: bytes, told: str) -> None:
    assert listen.outside(seen, INSIDE, ["db", "api"]) == told


@pytest.mark.parametrize("cut", range(40))
def test_a_cut_packet_is_no_attempt_and_no_crash(cut: int) -> None:
    listen.outside(packet("127.0.0.11", protocol=17, payload=query("mail.example.com"))[:cut], INSIDE, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T02:00:00Z", 1772330400.0),
        ("2026-03-01 02:00:00+00", 1772330400.0),
        ("2026-03-01 03:00:00.5+01", 1772330400.5),
        ("2026-03-01 02:00:00.1234567", 1772330400.123456),
        ("1772330400", 1772330400.0),
        ("1772330400.25", 1772330400.25),
        ("7", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_read_as_engines_write_them(text: object, expected: float | None) -> None:
    assert seconds(text) == expected


NOON = 1772366400.0


@pytest.mark.parametrize(
    ("expectation", "answer", "state"),
    [
        ({"equals": "3"}, "3", "good"),
        ({"equals": "3"}, "3.0", "bad"),
        ({"at_least": 10.0}, "10", "good"),
        ({"at_least": 10.0}, "9.99", "bad"),
        ({"at_least": 10.0}, "many", "bad"),
        ({"at_least": 10.0}, "nan", "bad"),
        ({"within": 3600.0}, "2026-03-01 11:30:00+00", "good"),
        ({"within": 3600.0}, "2026-03-01 10:30:00+00", "bad"),
        ({"within": 3600.0}, "never", "bad"),
    ],
)
def test_answers_are_judged(
    monkeypatch: pytest.MonkeyPatch, expectation: dict[str, Any], answer: str, state: str
) -> None:
    monkeypatch.setattr(ask, "ask", lambda *_: answer)
    found = ask.check(Docker(), {}, Query("postgres/db", "SELECT 1", **expectation), NOON)
    assert found.state == state
    assert ("found" in found.evidence) == (state == "bad")


def test_a_query_to_a_source_that_is_not_there_is_bad() -> None:
    found = ask.check(Docker(), {}, Query("postgres/db", "SELECT 1", equals="1"), NOON)
    assert found == Check("postgres/db", "SELECT 1", "bad", "the snapshot has no source postgres/db")


def test_an_answer_is_shown_no_further_than_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "ask", lambda *_: "x" * 10_000)
    assert len(ask.check(Docker(), {}, Query("s/x", "q", equals="1"), NOON).evidence) < 200


class Opened:
    """As much of an opened snapshot as facts need."""

    name = "snapshot"

    def __init__(self, **facts: Any) -> None:
        self.manifest = self
        self.facts, self.sources, self.started = facts, (), "2026-03-01T02:00:00Z"


@pytest.mark.parametrize("hostile", ["../../etc", "shop/..", "Shop", "-x", "a b", "x" * 100, "shop\n"])
def test_names_from_a_snapshot_are_checked_before_paths_are_made_of_them(hostile: str) -> None:
    with pytest.raises(RepositoryError, match="a name that none can have"):
        Captured.of(Opened(stack=hostile))  # type: ignore[arg-type]
    if hostile != "Shop":
        with pytest.raises(RepositoryError, match="a name that none can have"):
            Captured.of(Opened(stack="shop", release=f"../{hostile}"))  # type: ignore[arg-type]


def test_the_moment_is_the_barriers() -> None:
    found = Captured.of(Opened(stack="shop", release="1", barrier={"began": "2026-03-01T01:59:58Z"}))  # type: ignore[arg-type]
    assert found.moment == 1772330398.0
    assert Captured.of(Opened(stack="shop")).moment == 1772330400.0  # type: ignore[arg-type]
    with pytest.raises(RepositoryError, match="no release of a stack"):
        found.need_stack()


WISH = Wish(
    host="prod",
    level=4,
    queries=(Query("postgres/db", "SELECT 1", equals="1"),),
    canary=Query("postgres/db", "SELECT now()"),
    probes=(Probe("http://api:3000/health"),),
    workers=("notifier",),
    targets=Targets(60.0, None),
)


def test_a_wish_travels_whole() -> None:
    assert wish.parse(json.loads(json.dumps(WISH.dumps()))) == WISH
    assert wish.parse(json.loads(json.dumps(replace(WISH, canary=None).dumps()))).canary is None


@pytest.mark.parametrize("change", [{"surprise": 1}, {"queries": [{"x": 1}]}, {"targets": None}, {"probes": 3}])
def test_a_wish_of_another_version_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="another version"):
        wish.parse({**WISH.dumps(), **change})


def test_questions_say_one_thing_that_is_expected() -> None:
    asked = [
        Question.model_validate({"source": "postgres/db", "query": "SELECT 1", **expected})
        for expected in ({}, {"equals": "1"}, {"equals": "1", "at_least": 1.0})
    ]
    found = list(findings(Drill(queries=tuple(asked), run=("mailer",), workers=("mailer",))))
    assert [(trail, message) for trail, message, _ in found] == [
        (("drill", "queries", 0), "what must its answer be?"),
        (("drill", "queries", 2), "more than one expectation"),
        (("drill", "run", 0), "mailer is to stay off as well"),
    ]


def test_a_probe_goes_to_the_container_behind_the_published_port(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Probe] = []
    monkeypatch.setattr("toolkit.stack.probes.ask", lambda probe: asked.append(probe) or "")
    addresses, ports = {"api": "172.20.0.4"}, {8080: ("api", 3000), 25: ("mail", 25)}
    for url, there in (
        ("http://127.0.0.1:8080/health?x=1", "http://172.20.0.4:3000/health?x=1"),
        ("http://api:3000/health", "http://172.20.0.4:3000/health"),
        ("https://api/", "https://172.20.0.4:443/"),
    ):
        assert _probed(Probe(url), addresses, ports).state == "good"
        assert asked.pop() == Probe(there, insecure=True)
    # What answers there is off, or is not the stack's: nothing outside is ever asked.
    for url in ("http://127.0.0.1:25/", "http://example.com/", "http://127.0.0.1:9/"):
        assert "not asked" in _probed(Probe(url), addresses, ports).evidence
    assert asked == []


class Engine(Docker):
    """An Engine that has some names already."""

    def __init__(self, **names: str) -> None:
        self.names = names

    def ask(self, *words: Any, **_: Any) -> Result:
        return Result(command("docker", *words), 0, self.names.get(str(words[0]), "").encode())


@pytest.mark.parametrize("kind", ["volume", "network", "ps"])
def test_names_that_the_engine_has_are_not_taken_over(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "drill-0123456789ab"
    engine = Engine(**{kind: f"{name}_data\n"})
    monkeypatch.setattr(engine, "inspect", lambda _, *names: [{"Id": name} for name in names])
    model = {"volumes": {"data": {"name": f"{name}_data"}}, "networks": {"inside": {"name": f"{name}_data"}}}
    with pytest.raises(HostError, match="^containers" if kind == "ps" else f"^the {kind} .* is there already"):
        box.refuse_taken(engine, model, name)
    box.refuse_taken(Engine(), model, name)


def test_the_fence_stands_before_the_network_and_lets_nothing_through(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(fence, "_nft", lambda rules: given.append(rules) or True)
    monkeypatch.setattr(fence.Fence, "refused", lambda _: 7)
    with fence.Fence(Engine(), "drill-0123456789ab") as found:
        found.tried["api"] = {"192.0.2.7:443/tcp", "mail.example.com"}
        told = found.checks()
    assert [check.what for check in told] == ["api tried to reach out", "way out"]
    assert told[0].evidence == "refused: 192.0.2.7:443/tcp, mail.example.com"
    assert told[1].evidence == "none; 7 packets were refused"
    rules, gone = given
    assert 'iifname "dr0123456789ab" counter name refused drop' in rules
    assert rules.index('iifname "dr0123456789ab" oifname "dr0123456789ab" accept') < rules.index("refused drop")
    assert gone == "delete table inet toolkit_drill_0123456789ab\n"


def test_without_nft_the_report_says_that_nothing_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "_nft", lambda _: False)
    with fence.Fence(Engine(), "drill-0123456789ab") as found:
        assert [check.state for check in found.checks()] == ["unknown"]


def test_sqlite_is_asked_through_its_file_and_no_link(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with closing(sqlite3.connect(tmp_path / "data/what?.db")) as made:
        made.execute("CREATE TABLE event (id INTEGER)")
        made.executemany("INSERT INTO event VALUES (?)", ((number,) for number in range(7)))
        made.commit()
    source = Sqlite(name="sqlite/app", file="data/what?.db")
    places: ask.Places = {source.name: (source, Place(path=str(tmp_path)))}
    assert ask.ask(Docker(), places, Query(source.name, "SELECT count(*) FROM event")) == "7"
    for query in ("DELETE FROM event", "SELECT nonsense", "SELECT id FROM event WHERE id > 99"):
        assert ask.check(Docker(), places, Query(source.name, query, equals="1"), None).state == "bad"
    assert ask.ask(Docker(), places, Query(source.name, "SELECT count(*) FROM event")) == "7"
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    (tmp_path / "data").symlink_to(tmp_path / "elsewhere")
    assert "Not a directory" in ask.check(Docker(), places, Query(source.name, "SELECT 1", equals="1"), None).evidence
