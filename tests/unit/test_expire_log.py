"""Expiry of shipped logs: what goes is of no use, what stays is whole from its first base to now."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.repository_setup import Host
from tests.unit.test_moment import Shop, at
from toolkit.crypto.signing import VerifyKey
from toolkit.repository import Pin, Terms
from toolkit.repository.expire import Decision, Epoch, carry_out, survey
from toolkit.repository.expire_log import decide_log
from toolkit.repository.layout import SnapshotName, stamp
from toolkit.sources.wal_bases import bases_in
from toolkit.sources.wal_choose import choose
from toolkit.store import MemoryStore, ObjectInfo
from toolkit.words.errors import RepositoryError
from toolkit.words.report import Silent
from toolkit.words.values import Duration

DAY = 86400
START = datetime(2026, 1, 1, 3, tzinfo=UTC)


def epochs(count: int, *, each: int = 3, late: timedelta = timedelta()) -> list[Epoch]:
    """An epoch a day, each with so many snapshots, the first of which is a base."""
    return [epoch(day, range(day * each, (day + 1) * each), late) for day in range(count)]


def epoch(day: int, sequences: range, late: timedelta = timedelta()) -> Epoch:
    began = START + timedelta(days=day)
    label = f"{began:%Y%m%d}-{sequences.start:08x}"
    names = [SnapshotName(number, label, stamp(began + timedelta(minutes=number))) for number in sequences]
    snapshots = {name: ObjectInfo(name.key("web-wal"), 10, name.when + late) for name in names}
    return Epoch(label, tuple(snapshots.values()), snapshots)


def decided(found: list[Epoch], days: int, **more: object) -> Decision:
    firsts = {one.name: min(one.snapshots) for one in found}
    given = {"bases": firsts, "believed": set(firsts), "now": START + timedelta(days=len(found)), **more}
    return decide_log(found, days=days, **given)  # type: ignore[arg-type]


def test_the_newest_days_stay_from_their_first_base_on_and_each_fate_has_its_reason() -> None:
    found = epochs(5)
    decision = decided(found, 2)
    assert decision.kept == {
        found[3].name: ["20260104T030900Z-00000009: the base that the last 2 days begin with"],
        found[4].name: ["log after a base that is kept", "the newest epoch"],
    }
    assert list(decision.expired) == [one.name for one in found[:3]]
    assert decision.expired[found[0].name] == "older than the oldest base that is kept, 20260104T030900Z-00000009"
    assert decision.warnings == []


def test_log_after_a_kept_base_stays_also_where_an_epoch_has_no_base_of_its_own() -> None:
    found = epochs(4)
    bases = {one.name: min(one.snapshots) for one in (found[0], found[1], found[3])}
    decision = decided(found, 2, bases=bases)
    assert list(decision.kept) == [one.name for one in found[1:]]
    # One that is older goes with the base that it belonged to.
    bases = {one.name: min(one.snapshots) for one in (found[0], found[2], found[3])}
    assert list(decided(found, 2, bases=bases).expired) == [found[0].name, found[1].name]


def test_two_epochs_of_one_day_are_one_day() -> None:
    first, second, third = epoch(0, range(3)), epoch(1, range(3, 6)), epoch(1, range(6, 9))
    assert list(decided([first, second, third], 1, now=START + timedelta(days=2)).kept) == [second.name, third.name]


def test_a_host_that_stopped_loses_nothing_to_the_passing_of_time() -> None:
    found = epochs(3)
    assert list(decided(found, 3, now=START + timedelta(days=900)).expired) == []


def test_a_lock_of_the_store_holds_an_epoch_back() -> None:
    found = epochs(4)
    found[0] = Epoch(found[0].name, found[0].objects, found[0].snapshots, START + timedelta(days=40))
    decision = decided(found, 1)
    assert decision.kept[found[0].name] == ["locked by the store until 2026-02-10 03:00 UTC"]
    assert list(decision.expired) == [one.name for one in found[1:3]]


def test_without_a_base_that_counts_everything_stays_until_it_is_named() -> None:
    found = epochs(3)
    decision = decided(found, 1, bases={})
    assert decision.expired == {}
    assert decision.kept[found[0].name] == ["no base counts: nothing says what is of use"]
    dropped = decided(found, 1, bases={}, drop=[found[0].name])
    assert dropped.expired == {found[0].name: "dropped by name: no base counts"}


def test_what_nobody_can_believe_stays_until_a_person_has_looked() -> None:
    found = epochs(4)
    doubted = set(found[0].snapshots)
    bases = {one.name: min(one.snapshots) for one in found[1:]}
    more = {"bases": bases, "believed": set(bases), "doubted": doubted}
    decision = decided(found, 1, **more)
    assert "look at them, then drop it by name" in decision.kept[found[0].name][0]
    assert len(decision.warnings) == 3
    assert found[0].name in decided(found, 1, **more, drop=[found[0].name]).expired


def test_invented_bases_of_other_times_push_nothing_out() -> None:
    good = epochs(2)
    invented = [epoch(day, range(day * 3, day * 3 + 3), -timedelta(days=day)) for day in range(100, 103)]
    decision = decided([*good, *invented], 2, now=START + timedelta(days=2))
    assert decision.expired == {}
    assert len(decision.warnings) == 3


class TestWithRealLogs:
    @pytest.fixture
    def shop(self, tmp_path: Path) -> Shop:
        """Four days in epochs of a day, with a base in each and a shipping every six hours."""
        shop = Shop(tmp_path)
        shop.host = Host(tmp_path, MemoryStore(clock=shop.clock), "prod-wal", Terms(Duration(DAY)))
        for number in range(4 * 4):
            shop.at(number * DAY / 4)
            if number % 4 == 0:
                shop.base()
            shop.ship()
        return shop

    def expire(self, shop: Shop, days: int, pin: Pin | None = None) -> Decision:
        found = survey(shop.host.store, "prod-wal")
        looked = bases_in(shop.host.repository(pin=pin), found)
        told = {"believed": looked.believed, "doubted": looked.doubted}
        decision = decide_log(found, looked.first, days, now=datetime.fromtimestamp(shop.clock.wall(), UTC), **told)
        carry_out(shop.host.store, found, decision, Silent())
        return decision

    def test_any_moment_of_the_days_that_are_kept_can_be_reached_and_none_before(self, shop: Shop) -> None:
        decision = self.expire(shop, 2)
        assert (len(decision.kept), len(decision.expired)) == (2, 2)
        for seconds in (2 * DAY + 1, 2.4 * DAY, 3 * DAY, 3.7 * DAY):
            assert choose(shop.host.repository(), "postgres/db", at(seconds))
        with pytest.raises(RepositoryError, match="the first base of postgres/db is of"):
            choose(shop.host.repository(), "postgres/db", at(1.9 * DAY))
        # The host goes on where it was, and the next run has nothing to do.
        shop.at(3.8 * DAY).ship()
        assert self.expire(shop, 2).expired == {}

    def test_few_snapshots_are_opened_to_find_the_bases(self, shop: Shop) -> None:
        opened = []
        repository = shop.host.repository()
        real = type(repository).open

        class Counting(type(repository)):  # type: ignore[misc]
            def open(self, name: SnapshotName):  # type: ignore[no-untyped-def]
                opened.append(name)
                return real(self, name)

        counting = Counting(repository.store, repository.host, repository.identities, repository.pin)
        looked = bases_in(counting, survey(shop.host.store, "prod-wal"))
        assert len(looked.first) == 4
        assert all(min(one.snapshots) == looked.first[one.name] for one in survey(shop.host.store, "prod-wal"))
        assert len(opened) <= 4 * 16

    def test_logs_of_a_host_that_is_not_believed_stay(self, shop: Shop) -> None:
        stranger = Pin(VerifyKey(bytes(range(32))))
        assert self.expire(shop, 1, stranger).expired == {}
