from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import repository_setup as setup
from toolkit.repository import Terms, restore
from toolkit.repository.expire import Decision, Epoch, carry_out, decide, doubts, survey, table
from toolkit.repository.layout import SnapshotName, epoch_key, pack_key, stamp
from toolkit.repository.retention import Retention
from toolkit.repository.verify import verify_hashes
from toolkit.store import MemoryStore, ObjectInfo
from toolkit.words.clock import FakeClock
from toolkit.words.errors import RepositoryError, StoreError
from toolkit.words.report import Silent
from toolkit.words.values import Duration

HOST = "web"
START = datetime(2026, 1, 1, 3, tzinfo=UTC)
TWO_DAYS = Retention(daily=2, weekly=0, monthly=0)


def epoch(number: int, days: range, *, stored_late: timedelta = timedelta()) -> Epoch:
    """An epoch with one snapshot on each day since START; sequences are the days."""
    label = f"{START + timedelta(days=days.start):%Y%m%d}-{number:08x}"
    names = [SnapshotName(day, label, stamp(START + timedelta(days=day))) for day in days]
    snapshots = {name: ObjectInfo(name.key(HOST), 10, name.when + stored_late) for name in names}
    return Epoch(label, tuple(snapshots.values()), snapshots)


def epochs(count: int, length: int = 10) -> list[Epoch]:
    return [epoch(number, range(number * length, (number + 1) * length)) for number in range(count)]


def day(number: int) -> datetime:
    return START + timedelta(days=number)


class TestDecide:
    def test_epochs_without_a_kept_snapshot_go_and_each_fate_has_its_reason(self) -> None:
        old, new = epochs(2)
        decision = decide([old, new], TWO_DAYS, now=day(20))
        assert decision.kept == {
            new.name: [
                "20260119T030000Z-00000018: daily 2026-01-19",
                "20260120T030000Z-00000019: daily 2026-01-20",
                "the newest epoch",
            ]
        }
        assert decision.expired == {
            old.name: "the policy keeps none of its 10 snapshots; the newest is 20260110T030000Z-00000009"
        }
        assert decision.warnings == []

    def test_the_newest_snapshot_that_a_drill_has_proven_stays(self) -> None:
        found = epochs(3)
        proven = [max(found[0].snapshots), min(found[0].snapshots)]
        decision = decide(found, TWO_DAYS, now=day(30), proven=proven)
        assert decision.kept[found[0].name] == ["20260110T030000Z-00000009: the newest that a drill has proven"]
        assert list(decision.expired) == [found[1].name]

    def test_invented_snapshots_of_the_future_push_nothing_out(self) -> None:
        good, invented = epoch(1, range(2)), epoch(2, range(100, 160))
        invented = Epoch(invented.name, invented.objects, {n: _at(i, day(2)) for n, i in invented.snapshots.items()})
        decision = decide([good, invented], TWO_DAYS, now=day(2))
        assert set(decision.kept) == {good.name, invented.name}
        assert decision.counted == list(good.snapshots)
        assert "its time is in the future" in decision.warnings[0]

    def test_invented_snapshots_of_the_past_push_nothing_out(self) -> None:
        good, invented = epoch(1, range(2)), epoch(2, range(2, 20), stored_late=timedelta(days=60))
        decision = decide([good, invented], TWO_DAYS, now=day(80))
        assert good.name in decision.kept
        assert "the store received it at 2026-03-04 03:00 UTC" in decision.warnings[0]

    def test_doubted_snapshots_push_nothing_out(self) -> None:
        good, forged = epochs(2)
        decision = decide([good, forged], TWO_DAYS, now=day(20), doubted=list(forged.snapshots))
        assert good.name in decision.kept
        assert decision.kept[forged.name] == ["none of its snapshots counts: look at them, then drop it by name"]
        dropped = decide([good, forged], TWO_DAYS, now=day(20), doubted=list(forged.snapshots), drop=[forged.name])
        assert list(dropped.expired) == [forged.name]

    def test_naming_an_epoch_does_not_drop_what_the_policy_keeps(self) -> None:
        found = epochs(2)
        assert found[1].name in decide(found, TWO_DAYS, now=day(20), drop=[found[1].name]).kept

    def test_what_the_store_has_locked_is_not_promised_to_go(self) -> None:
        old, new = epochs(2)
        locked = Epoch(old.name, old.objects, old.snapshots, locked_until=day(40))
        assert decide([locked, new], TWO_DAYS, now=day(20)).kept[old.name] == [
            "locked by the store until 2026-02-10 03:00 UTC"
        ]
        assert old.name in decide([locked, new], TWO_DAYS, now=day(41)).expired

    def test_a_first_backup_under_way_stays_and_an_abandoned_one_goes(self) -> None:
        (done,) = epochs(1)
        begun = Epoch("20260111-000000ff", (ObjectInfo("pack", 5, day(10)),), {})
        assert begun.name in decide([done, begun], TWO_DAYS, now=day(12)).kept
        gone = decide([done, begun], TWO_DAYS, now=day(20)).expired
        assert gone == {begun.name: "no snapshot, and nothing added since 2026-01-11"}

    def test_a_crowd_on_one_day_is_pointed_out(self) -> None:
        found = epoch(1, range(10))
        crowd = {SnapshotName(100 + n, found.name, stamp(day(9))): ObjectInfo("k", 1, day(9)) for n in range(20)}
        decision = decide([Epoch(found.name, found.objects, {**found.snapshots, **crowd})], TWO_DAYS, now=day(10))
        assert decision.warnings == [
            "21 snapshots on 2026-01-10, where 1 are usual: somebody may be crowding others out"
        ]

    def test_an_epoch_that_is_far_larger_than_usual_is_pointed_out(self) -> None:
        found = epochs(4)
        flood = (*found[3].objects, ObjectInfo("pack", 1000, day(39)))
        decision = decide([*found[:3], replace(found[3], objects=flood)], TWO_DAYS, now=day(40))
        told = f"1.1 KiB in {found[3].name}, where 100 B are usual"
        assert decision.warnings == [f"{told}: somebody may be filling the store, or much has changed"]

    def test_the_table_tells_the_fate_of_every_epoch(self) -> None:
        found = epochs(2)
        rows = table(found, decide(found, TWO_DAYS, now=day(20))).rows
        assert [row[:4] for row in rows] == [
            ("20260101-00000000", "10", "100 B", "expire"),
            ("20260111-00000001", "10", "100 B", "keep"),
        ]

    @settings(max_examples=200, deadline=None)
    @given(data=st.data())
    def test_whatever_the_store_shows_the_newest_counted_and_the_newest_proven_stay(self, data: st.DataObject) -> None:
        lengths = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=6))
        starts = [sum(lengths[:number]) for number in range(len(lengths))]
        found = [
            epoch(n, range(start, start + length))
            for n, (start, length) in enumerate(zip(starts, lengths, strict=True))
        ]
        names = [name for one in found for name in one.snapshots]
        proven = data.draw(st.lists(st.sampled_from(names)))
        doubted = data.draw(st.lists(st.sampled_from(names)))
        now = day(data.draw(st.integers(0, 400)))
        decision = decide(found, TWO_DAYS, now=now, proven=proven, doubted=doubted)
        assert set(decision.kept) | set(decision.expired) == {one.name for one in found}
        assert not set(decision.kept) & set(decision.expired)
        for wanted in (decision.counted, [name for name in proven if name in decision.counted]):
            assert not wanted or max(wanted).epoch in decision.kept
        assert not decision.leaves_nothing


def _at(info: ObjectInfo, when: datetime) -> ObjectInfo:
    return ObjectInfo(info.key, info.size, when)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(epoch=START.timestamp())


@pytest.fixture
def store(clock: FakeClock) -> Iterator[MemoryStore]:
    """Two epochs of three snapshots each; each snapshot has its packs, as written by a host."""
    store = MemoryStore(versioned=True, clock=clock)
    for number in range(2):
        label = f"2026010{1 + 3 * number}-0000000{number}"
        store.put_new(epoch_key(HOST, label), b"{}")
        for sequence in range(3 * number, 3 * number + 3):
            when = datetime.fromtimestamp(clock.wall(), UTC)
            for pack in range(2):
                store.put_new(pack_key(HOST, label, f"{sequence:032x}{pack:032x}"), b"x" * 100)
            store.put_new(SnapshotName(sequence, label, stamp(when)).key(HOST), b"manifest")
            clock.sleep(86400)
    yield store


def whole(store: MemoryStore) -> list[int]:
    """The sequences of snapshots that are there with both their packs."""
    found = survey(store, HOST)
    keys = {info.key for one in found for info in one.objects}
    present = [name for one in found for name in one.snapshots]
    for name in present:
        for pack in range(2):
            assert pack_key(HOST, name.epoch, f"{name.sequence:032x}{pack:032x}") in keys
    return [name.sequence for name in present]


class Failing:
    """A store whose deletes stop working after some."""

    def __init__(self, store: MemoryStore, left: int) -> None:
        self._store, self._left = store, left

    def delete(self, key: str, *, version: str | None = None) -> None:
        if not self._left:
            raise StoreError("the line is dead")
        self._left -= 1
        self._store.delete(key, version=version)


class TestCarryOut:
    def decided(self, store: MemoryStore, clock: FakeClock) -> tuple[list[Epoch], Decision]:
        found = survey(store, HOST)
        return found, decide(found, TWO_DAYS, now=datetime.fromtimestamp(clock.wall(), UTC))

    def test_an_expired_epoch_is_gone_with_all_versions_and_nothing_else_is(self, store, clock) -> None:
        store.put_new("web/host.json", b"{}")
        store.put_new("web-2/epochs/20260101-00000000/epoch.json", b"{}")
        store.overwrite(epoch_key(HOST, "20260101-00000000"), b"laid over")
        found, decision = self.decided(store, clock)
        done = carry_out(store, found, decision, Silent())
        assert (done.objects, done.held) == (10, {})
        left = [info.key for info in store.list()]
        assert not any("web/epochs/20260101" in key for key in left)
        assert {"web/host.json", "web-2/epochs/20260101-00000000/epoch.json"} <= set(left)
        assert whole(store) == [3, 4, 5]
        assert list(store.versions(epoch_key(HOST, "20260101-00000000"))) == []

    @pytest.mark.parametrize("after", range(10))
    def test_interrupted_anywhere_it_leaves_whole_snapshots_and_is_ended_by_the_next_run(
        self, store, clock, after: int
    ) -> None:
        found, decision = self.decided(store, clock)
        with pytest.raises(StoreError, match="the line is dead"):
            carry_out(Failing(store, after), found, decision, Silent())
        assert whole(store)[-3:] == [3, 4, 5]
        clock.sleep(8 * 86400)
        found, decision = self.decided(store, clock)
        carry_out(store, found, decision, Silent())
        assert [one.name for one in survey(store, HOST)] == ["20260104-00000001"]

    def test_the_last_snapshot_is_never_deleted_unless_that_is_meant(self, store, clock) -> None:
        found = survey(store, HOST)
        decision = Decision(expired={one.name: "by hand" for one in found}, counted=[*found[0].snapshots])
        with pytest.raises(RepositoryError, match="refusing to delete the last epoch"):
            carry_out(store, found, decision, Silent())
        assert whole(store) == list(range(6))
        carry_out(store, found, decision, Silent(), allow_empty=True)
        assert list(store.list()) == []

    def test_a_lock_that_nobody_foresaw_holds_one_epoch_and_not_the_others(self, store, clock) -> None:
        label = "20260101-00000000"
        found, decision = self.decided(store, clock)
        until = datetime.fromtimestamp(clock.wall(), UTC) + timedelta(days=9)
        for info in list(store.list(f"{HOST}/epochs/{label}/")):
            store.extend_lock(info.key, until)
        done = carry_out(store, found, decision, Silent())
        assert done.objects == 0
        assert "is locked until" in done.held[label]
        assert whole(store) == list(range(6))

    def test_a_survey_asks_the_store_for_the_lock(self, store, clock) -> None:
        until = datetime.fromtimestamp(clock.wall(), UTC) + timedelta(days=30)
        store.put_new(epoch_key(HOST, "20260107-000000aa"), b"{}", retain_until=until)
        assert [one.locked_until for one in survey(store, HOST)] == [None, None, until]

    def test_epochs_of_one_day_come_in_the_order_in_which_they_began(self) -> None:
        clock = FakeClock(epoch=START.timestamp())
        store = MemoryStore(clock=clock)
        for name in ("20260101-ffffffff", "20260101-00000000"):
            store.put_new(epoch_key(HOST, name), b"{}")
            clock.sleep(60)
        assert [one.name[-1] for one in survey(store, HOST)] == ["f", "0"]


class TestWithRealBackups:
    @pytest.fixture
    def host(self, tmp_path: Path):
        host = setup.Host(tmp_path / "state", terms=Terms(length=Duration(0)))
        for number in range(3):
            tree = setup.plain_tree(tmp_path / f"tree{number}")
            (tree / "number").write_text(str(number))
            host.backup(tree)
        return host

    def test_what_stays_restores_and_what_went_is_missed_by_nobody(self, host, tmp_path: Path) -> None:
        found = survey(host.store, host.name)
        decision = decide(
            found,
            Retention(last=1, daily=0, weekly=0, monthly=0),
            now=datetime.now(UTC),
            doubted=doubts(host.repository()),
        )
        assert (len(decision.kept), len(decision.expired), decision.warnings) == (1, 2, [])
        carry_out(host.store, found, decision, Silent())
        restore(host.repository().newest(), tmp_path / "back")
        assert (tmp_path / "back" / "data" / "number").read_text() == "2"
        assert verify_hashes(host.store, host.name).damaged == {}
        assert len(host.repository().snapshots()) == 1

    def test_a_snapshot_that_the_host_did_not_sign_is_doubted(self, host) -> None:
        genuine = host.repository().snapshots()
        forged = SnapshotName(99, genuine[-1].epoch, stamp(datetime.now(UTC)))
        host.store.put_new(forged.key(host.name), b"anybody can put bytes here")
        assert doubts(host.repository()) == {forged}
