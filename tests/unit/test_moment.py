"""Moments: which base and which shippings lead to one, and what is said of one that cannot be had."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import RECIPIENTS, Host
from tests.unit.test_verbs import call
from toolkit.agent.restoring import moment
from toolkit.config.load import load
from toolkit.crypto.signing import VerifyKey
from toolkit.repository import Pin, Stream, backup
from toolkit.repository.inputs import Input
from toolkit.sources.discover import Found
from toolkit.sources.postgres import Postgres
from toolkit.sources.postgres_moment import PostgresAt
from toolkit.sources.protocol import Place, iso
from toolkit.sources.streams import text
from toolkit.sources.wal import utc
from toolkit.sources.wal_choose import Chosen, choose
from toolkit.stack.restoring import RESTORE, Wish
from toolkit.vault.identity import Keyring
from toolkit.verbs import restore_shown
from toolkit.words.clock import FakeClock
from toolkit.words.errors import ConfigError, Error, HostError, RepositoryError
from toolkit.words.report import Silent
from toolkit.workflows import restoring_moment
from toolkit.workflows.backups import Backups

SEGMENT = 1 << 24
START = 1_800_000_000


def at(seconds: float) -> datetime:
    """A moment of these tests, so many seconds after their beginning."""
    return datetime.fromtimestamp(START + seconds, UTC)


@dataclass
class Shop:
    """A host that ships logs: each call writes one snapshot, with what the agent would have said of it."""

    folder: Path
    clock: FakeClock = field(default_factory=lambda: FakeClock(epoch=START))

    def __post_init__(self) -> None:
        self.host = Host(self.folder, name="prod-wal")
        self.end = 100

    def at(self, seconds: float) -> "Shop":
        assert self.clock.time <= seconds
        self.clock.sleep(seconds - self.clock.time)
        return self

    def base(self, label: str = "db", **other: Any) -> None:
        self._write(f"wal/{label}/base.tar", self.end, self.end, other | {"folder": ".", "image": "x"})

    def ship(self, to: int = 0, *, start: int = 0, label: str = "db", **other: Any) -> None:
        begun, self.end = start or self.end, to or self.end + 100
        self._write(f"wal/{label}/segments/000000010000000000000001", begun, self.end, other)

    def _write(self, name: str, start: int, end: int, other: dict[str, Any]) -> None:
        facts = {
            "start": start,
            "end": end,
            "timeline": 1,
            "segment": SEGMENT,
            "system": "one",
            "moment": iso(self.clock.wall()),
            **other,
        }
        made: list[Input] = [Stream(name, lambda: text("content"), "wal", lambda: facts)]
        assert backup(self.host.origin, made, clock=self.clock).outcome == "complete"

    def choose(self, seconds: float, source: str = "postgres/db") -> Chosen:
        return choose(self.host.repository(), source, at(seconds))

    def refused(self, seconds: float, source: str = "postgres/db") -> Error:
        with pytest.raises(RepositoryError) as caught:
            self.choose(seconds, source)
        return caught.value


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def days(shop: Shop) -> Shop:
    """Bases at 0 and 1000, and shippings at 100, 200, … 1900."""
    for seconds in range(0, 2000, 100):
        shop.at(seconds)
        if seconds in (0, 1000):
            shop.base()
        else:
            shop.ship()
    return shop


def sequences(chosen: Chosen) -> list[int]:
    return [link.name.sequence for link in (chosen.base, *chosen.log)]


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        (1, [1, 2]),
        (150, [1, 2, 3]),
        (200, [1, 2, 3]),
        (200.001, [1, 2, 3, 4]),
        # A base serves from the second after its end on; until then, the one before it does.
        (1000.5, [1, *range(2, 11), 12]),
        (1001, [11, 12]),
        (1900, [11, *range(12, 21)]),
    ],
)
def test_the_newest_base_before_a_moment_and_the_log_to_the_first_shipping_behind_it(
    days: Shop, seconds: float, wanted: list[int]
) -> None:
    assert sequences(days.choose(seconds)) == wanted


def test_a_moment_before_the_first_base_names_the_earliest(days: Shop) -> None:
    for seconds in (-3600, 0.5):
        said = days.refused(seconds)
        assert f"the first base of postgres/db is of {utc(at(1))}" in said.message
        assert f"--at {utc(at(1))}" in said.hint
        assert sequences(days.choose(1)) == [1, 2]


def test_a_moment_behind_the_end_names_the_latest(days: Shop) -> None:
    said = days.refused(1900.5)
    assert f"the log of postgres/db reaches to {iso(START + 1900)[:-5]}Z" in said.message
    assert f"--at {utc(at(1900))}" in said.hint
    days.choose(1900)


def test_a_host_that_never_shipped_says_how_to(shop: Shop) -> None:
    said = shop.refused(10)
    assert said.message == "prod-wal has no log of postgres/db"
    assert "`wal: true`" in said.hint
    shop.base(label="other")
    assert shop.refused(10).message == "prod-wal has no log of postgres/db"


def test_log_without_a_base_is_of_no_use(shop: Shop) -> None:
    shop.ship()
    shop.at(60).ship()
    assert "no base to play it on" in shop.refused(30).message


def test_a_gap_is_named_with_the_latest_moment_before_it(shop: Shop) -> None:
    shop.base()
    shop.at(30).ship()
    shop.at(60).ship(900, start=700)
    shop.at(90).ship()
    for seconds in (45, 75):
        said = shop.refused(seconds)
        assert said.message == (
            f"gap in the log of postgres/db between {utc(at(30))} and {utc(at(60))}: "
            "the log from 0/C8 to 0/2BC was never shipped"
        )
        assert f"--at {utc(at(30))}" in said.hint
    assert sequences(shop.choose(30)) == [1, 2]
    # A base behind the gap begins anew.
    shop.at(120).base()
    shop.at(150).ship()
    assert sequences(shop.choose(130)) == [5, 6]


def test_log_that_was_shipped_twice_is_no_gap(shop: Shop) -> None:
    shop.base()
    shop.at(30).ship(300)
    shop.at(60).ship(400, start=100)
    assert sequences(shop.choose(45)) == [1, 2, 3]


def test_logs_of_several_databases_are_kept_apart(shop: Shop) -> None:
    shop.base()
    shop.at(10).base(label="other", system="two")
    shop.at(30).ship(200, start=100)
    shop.at(40).ship(5000, start=100, label="other", system="two")
    shop.at(60).ship(300, start=200)
    assert sequences(shop.choose(50)) == [1, 3, 5]
    assert sequences(shop.choose(35, "postgres/other")) == [2, 4]


def test_a_day_of_shippings_is_held_without_their_manifests(days: Shop) -> None:
    # Each manifest names all packs of its epoch so far: thousands of them would not fit into a small host.
    chosen = days.choose(1900)
    for link in (chosen.base, *chosen.log):
        assert set(vars(link)) == {"name", "facts", "base", "finished", "files"}
    assert chosen.bytes == len("content") * 2
    heard: list[bytes] = []
    chosen.stored(chosen.log[0]).pour("segments/000000010000000000000001", heard.append)
    assert b"".join(heard) == b"content"


class TestLives:
    @pytest.fixture
    def lives(self, shop: Shop) -> Shop:
        """One life to 100, restored at 110 (a base at 120), taken back at 200, and again the first life."""
        shop.base()
        shop.at(100).ship(200)
        shop.at(120).base(timeline=2)
        shop.at(150).ship(300, start=200, timeline=2)
        shop.at(210).ship(400, start=200)
        shop.at(240).ship(500, start=400)
        return shop

    def test_each_moment_is_of_the_life_that_it_was_in(self, lives: Shop) -> None:
        assert sequences(lives.choose(50)) == [1, 2]
        assert sequences(lives.choose(140)) == [3, 4]
        assert sequences(lives.choose(230)) == [1, 2, 5, 6]

    def test_a_moment_between_two_lives_is_a_gap(self, lives: Shop) -> None:
        back = lives.refused(180)
        assert f"between {utc(at(150))} and {utc(at(210))}" in back.message
        assert "restored or made anew" in back.message
        there = lives.refused(115)
        assert f"between {utc(at(100))} and {utc(at(121))}" in there.message
        assert f"--at {utc(at(100))}" in there.hint
        assert f"--at {utc(at(121))}" in there.hint

    def test_the_timelines_of_other_lives_are_not_given_again(self, lives: Shop) -> None:
        # Only what has to be opened is looked at: a life that follows is known by the newest snapshot.
        lives.at(300).base(timeline=7)
        assert lives.choose(50).beyond == 7
        assert lives.choose(230).beyond == 7

    def test_more_lives_than_anybody_could_have_lived_are_refused(self, lives: Shop) -> None:
        lives.at(300).base(timeline=1001)
        assert lives.choose(50).beyond == 1001
        lives.at(310).base(timeline=(1 << 32) - 1)
        assert "claims 4294967294 other lives" in lives.refused(50).message


class TestClaims:
    """Whoever had the host could sign anything."""

    @pytest.mark.parametrize(
        "claim",
        [
            {"start": "1"},
            {"start": -1},
            {"end": True},
            {"segment": 5},
            {"timeline": 0},
            {"timeline": 1 << 40},
            {"system": 7},
            {"moment": "soon"},
            {"moment": "2026-01-01T00:00:00"},
            {"moment": None},
        ],
    )
    def test_a_link_that_makes_no_sense_is_passed_over_and_missed(self, shop: Shop, claim: dict[str, Any]) -> None:
        shop.base()
        shop.at(30).ship(200)
        shop.at(60).ship(300, **claim)
        shop.at(90).ship(400, start=300)
        heard: list[str] = []
        with pytest.raises(RepositoryError, match="gap in the log"):
            choose(shop.host.repository(told=heard.append), "postgres/db", at(80))
        assert any("facts about the log make no sense" in line for line in heard)
        assert sequences(shop.choose(20)) == [1, 2]

    def test_what_a_stranger_signed_is_never_played(self, shop: Shop) -> None:
        shop.base()
        shop.at(30).ship()
        stranger = Pin(VerifyKey(bytes(range(32))), RECIPIENTS)
        with pytest.raises(RepositoryError, match="has no log of postgres/db"):
            choose(shop.host.repository(pin=stranger), "postgres/db", at(10))

    def test_a_former_key_is_believed_for_the_log_that_was_there_when_it_ended(self, shop: Shop) -> None:
        shop.base()
        shop.at(30).ship()
        anew = Pin(VerifyKey(bytes(range(32))), RECIPIENTS)
        for last, wanted in ((2, [1, 2]), (1, None)):
            pin = Pin(shop.host.pin().signing_key, RECIPIENTS, 9, "ab" * 32).renewed(anew.signing_key, 9, last)
            log = shop.host.repository(pin=pin.of_log())
            if wanted:
                assert sequences(choose(log, "postgres/db", at(10))) == wanted
            else:
                with pytest.raises(RepositoryError, match="has no log"):
                    choose(log, "postgres/db", at(10))


class TestOnTheHost:
    def container(self, service: str, image: str = "postgres:17") -> dict[str, Any]:
        labels = {"com.docker.compose.service": service, "com.docker.compose.project": "shop"}
        mount = {"Type": "volume", "Name": "shop_data", "Destination": "/var/lib/postgresql/data", "Source": "/v"}
        return {
            "Id": f"id-{service}",
            "Image": "sha256:1",
            "Config": {"Image": image, "Labels": labels, "Env": ["POSTGRES_USER=app"]},
            "Mounts": [mount],
        }

    def test_the_database_is_filled_where_its_service_keeps_its_data(self, days: Shop) -> None:
        chosen = days.choose(150)
        placed = moment.placed(chosen, [self.container("db")], (), Silent(), lambda _: None)
        [part] = placed.parts
        assert isinstance(part.source, PostgresAt)
        assert (part.source.user, part.source.to, part.source.loads_into) == ("app", at(150), "volume")
        assert (part.place.volume, part.service, part.volumes) == ("shop_data", "db", ("shop_data",))
        assert list(part.source.base.names) == ["base.tar"]
        assert part.source.log[0].size("segments/000000010000000000000001") == len("content")

    def test_a_service_of_another_name_is_found_by_the_hosts_own_backup_file(self, days: Shop) -> None:
        corrected = Found(Postgres(name="postgres/db", user="owner"), Place(container="id-main"), "listed")
        containers = [self.container("other"), self.container("main")]
        [part] = moment.placed(days.choose(150), containers, (corrected,), Silent(), lambda _: None).parts
        assert (part.service, part.source.user) == ("main", "owner")  # type: ignore[attr-defined]

    def test_a_database_that_has_no_place_is_refused(self, days: Shop) -> None:
        with pytest.raises(HostError, match="the stack has no service db"):
            moment.placed(days.choose(150), [], (), Silent(), lambda _: None)

    @pytest.mark.parametrize(
        ("sources", "when"),
        [(("postgres/db",), "soon"), (("postgres/db",), "2026-01-01T00:00:00"), ((), utc(at(10)))],
    )
    def test_a_request_that_makes_no_sense_is_refused(self, days: Shop, sources: tuple[str, ...], when: str) -> None:
        wish = Wish(RESTORE, "shop", "me", "s", sources, at=when)
        with pytest.raises(HostError, match="makes no sense"):
            moment.chosen(days.host.repository(), wish)

    def test_the_host_chooses_what_the_control_side_did(self, days: Shop) -> None:
        wish = Wish(RESTORE, "shop", "me", "s", ("postgres/db",), at=utc(at(150)))
        assert sequences(moment.chosen(days.host.repository(), wish)) == sequences(days.choose(150))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine of whoever restores, which need not keep the host's time."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class TestAsked:
    """What a person writes."""

    CLOCK = FakeClock(epoch=datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp())

    @pytest.mark.parametrize(
        ("said", "meant"),
        [
            ("2026-11-28 03:00", "2026-11-28T03:00:00Z"),
            ("2026-11-28T03:00:00Z", "2026-11-28T03:00:00Z"),
            (" 2026-11-28 03:00:00+01:00 ", "2026-11-28T02:00:00Z"),
            ("2026-11-28T03:00:00.123456Z", "2026-11-28T03:00:00.123456Z"),
            ("2026-11-28", "2026-11-28T00:00:00Z"),
        ],
    )
    def test_a_moment_is_read_and_without_a_zone_it_is_utc(self, said: str, meant: str, elsewhere: None) -> None:
        assert utc(restoring_moment.parse(said, self.CLOCK)) == meant

    @pytest.mark.parametrize("said", ["", "yesterday", "03:00", "2026-13-01", "28.11.2026 03:00", "2026-11-28 25:00"])
    def test_what_is_no_moment_says_how_to_write_one(self, said: str) -> None:
        with pytest.raises(ConfigError, match="is no moment") as caught:
            restoring_moment.parse(said, self.CLOCK)
        assert "2026-11-28T03:00:00Z" in caught.value.hint
        assert "UTC" in caught.value.hint

    def test_the_future_cannot_be_restored(self) -> None:
        with pytest.raises(ConfigError, match="is in the future: a time without a zone is UTC") as caught:
            restoring_moment.parse("2026-11-29 12:30", self.CLOCK)
        assert caught.value.hint == "it is 2026-11-29T12:00:00Z now"
        with pytest.raises(ConfigError, match=r"is in the future$"):
            restoring_moment.parse("2026-11-29T12:30Z", self.CLOCK)
        restoring_moment.parse("2026-11-29T13:30+02:00", self.CLOCK)

    @pytest.mark.parametrize(
        ("ships", "named", "complaint"),
        [
            ((), (), "prod ships no log"),
            (("db", "log"), (), "prod ships several logs"),
            (("db",), ("volume/files",), "volume/files cannot be restored to a moment"),
            (("db",), ("postgres/db", "postgres/log"), "--at takes one source"),
        ],
    )
    def test_a_source_that_cannot_be_meant_is_refused(
        self, tmp_path: Path, ships: tuple[str, ...], named: tuple[str, ...], complaint: str
    ) -> None:
        with pytest.raises(ConfigError, match=complaint) as caught:
            restoring_moment.source_of(self.backups(tmp_path, *ships), named)
        assert caught.value.hint

    def test_the_only_database_that_ships_is_meant_by_itself(self, tmp_path: Path) -> None:
        assert restoring_moment.source_of(self.backups(tmp_path, "db"), ()) == "postgres/db"
        assert restoring_moment.source_of(self.backups(tmp_path, "db", "log"), ("postgres/log",)) == "postgres/log"

    def backups(self, folder: Path, *services: str) -> Backups:
        for name in ("hosts", "backups", "shop"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "shop/compose.yaml").write_text("services: {}\n")
        (folder / "hosts/prod.yml").write_text("connection: local\nstack: {name: shop, directory: shop}\n")
        sources = [{"kind": "postgres", "service": name, "wal": True} for name in services]
        said = {"repository": {"url": f"file://{folder}/store"}, "recipients": RECIPIENTS, "sources": sources}
        (folder / "backups/prod.yml").write_text(json.dumps(said))
        return Backups.of(load(folder / "hosts/prod.yml"), Keyring({}))


def test_the_moment_of_the_last_shipping_is_one_that_can_be_asked_for(days: Shop) -> None:
    latest = days.refused(5000).hint.rpartition("--at ")[2]
    assert days.choose((datetime.fromisoformat(latest) - at(0)) / timedelta(seconds=1)).to == at(1900)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--at", "yesterday"), "--at 'yesterday' is no moment"),
        (("--at", "2999-01-01"), "is in the future"),
        (("--at", "2026-01-01", "--to", "/srv/aside"), "--at goes with --source alone"),
        (("--at", "2026-01-01", "--path", "volume/files/a"), "--at goes with --source alone"),
        (("--at", "2026-01-01", "--snapshot", "3"), "--at goes with --source alone"),
        (("--path", "/"), "--path names a source and what is in it"),
        (("--path", "volume/files/a", "--source", "volume/files"), "--path names a source and what is in it"),
    ],
)
def test_what_does_not_go_together_ends_before_any_host_is_asked(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], complaint: str
) -> None:
    assert call("restore", "--host", "nobody", *words) == ConfigError.exit_code
    said = capsys.readouterr().err
    assert complaint in said
    assert "hint: " in said


def shown_outcome(capsys: pytest.CaptureFixture[str], **more: Any) -> str:
    found = {"result": "restored", "stack": "shop", "host": "prod", "took": 9, "taken": "2026-11-28T03:00:00Z", **more}
    restore_shown.outcome(found, json=False)
    return capsys.readouterr().out


def test_the_last_line_says_what_is_back_and_which_moment_was_reached(capsys: pytest.CaptureFixture[str]) -> None:
    one = {"source": "postgres/db", "verdicts": [], "load_seconds": 1, "probe_seconds": 1}
    said = shown_outcome(capsys, sources=[one], last_commit="2026-11-28T02:59:59.500Z")
    moment = "has the data of 2026-11-28T03:00:00Z (the last commit in it is of 2026-11-28T02:59:59.500Z)"
    assert f"postgres/db of shop on prod {moment}, proven and serving" in said
    both = shown_outcome(capsys, sources=[one, one])
    assert "\nshop on prod has the data of 2026-11-28T03:00:00Z, proven" in both
    assert "shop on prod has the data of" in shown_outcome(capsys)
