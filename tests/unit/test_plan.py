from datetime import UTC, datetime, timedelta

import pytest

from toolkit.repository.expire import Epoch, decide
from toolkit.repository.layout import SnapshotName, stamp
from toolkit.repository.plan import Schedule, Workload, chart, observed, plan, table, warnings
from toolkit.repository.retention import Retention
from toolkit.store import ObjectInfo
from toolkit.words.errors import ConfigError
from toolkit.words.values import Duration, Size

GB = 10**9
WORK = Workload(first=Size(10 * GB), daily=Size(GB))


def days(count: float) -> Duration:
    return Duration(count * 86400)


def test_the_first_month_is_one_full_backup_and_its_changes() -> None:
    first = plan(WORK, Schedule(), price=0.02, months=1)[0]
    assert (first.epochs, first.snapshots) == (1, 30)
    assert first.stored == first.uploaded == (10 + 29) * GB


def test_cost_is_for_what_lay_there_day_by_day() -> None:
    still = Workload(first=Size(100 * GB), daily=Size(0))
    assert plan(still, Schedule(), price=0.02, months=1)[0].cost == pytest.approx(2.0)


def test_more_backups_a_day_do_not_multiply_a_days_changes() -> None:
    hourly, daily = (plan(WORK, Schedule(every=Duration(seconds)), price=1, months=1)[0] for seconds in (3600, 86400))
    assert hourly.snapshots == 720
    assert hourly.stored == pytest.approx(daily.stored, rel=0.05)


def test_what_is_stored_settles_once_the_policy_is_full() -> None:
    months = plan(WORK, Schedule(retention=Retention(daily=7, weekly=4, monthly=3)), price=0.02)
    assert len({month.epochs for month in months[6:]}) <= 2
    assert months[-1].stored < 5 * 40 * GB


def test_a_growing_host_stores_larger_first_backups() -> None:
    growing = Workload(first=Size(10 * GB), daily=Size(0), growth=Size(GB))
    months = plan(growing, Schedule(), price=0, months=2)
    assert [month.uploaded for month in months] == [10 * GB, 40 * GB]


def test_a_lock_keeps_epochs_that_the_policy_would_let_go() -> None:
    short = Retention(daily=1, weekly=0, monthly=0)
    free = plan(WORK, Schedule(retention=short), price=0, months=6)[-1]
    locked = plan(WORK, Schedule(retention=short, lock=days(90)), price=0, months=6)[-1]
    assert (free.epochs, locked.epochs) == (1, 3)


def test_a_collecting_repository_never_holds_more() -> None:
    assert all(month.collected <= month.stored for month in plan(WORK, Schedule(), price=0))


def test_the_plan_keeps_the_epochs_that_expiry_would_keep() -> None:
    schedule = Schedule(epoch=days(10), retention=Retention(daily=5, weekly=2, monthly=2))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    epochs: list[Epoch] = []
    for day in range(150):
        now = start + timedelta(days=day)
        if day % 10 == 0:
            epochs.append(Epoch(f"{now:%Y%m%d}-{day:08x}", [ObjectInfo("epoch", 0, now)], {}))
        name = SnapshotName(day, epochs[-1].name, stamp(now))
        epochs[-1] = Epoch(name.epoch, epochs[-1].objects, {**epochs[-1].snapshots, name: ObjectInfo("k", 1, now)})
        decision = decide(epochs, schedule.retention, now=now + timedelta(days=1))
        epochs = [epoch for epoch in epochs if epoch.name in decision.kept]
    assert plan(WORK, schedule, price=0, months=5)[-1].epochs == len(epochs)


def test_an_epoch_shorter_than_the_schedule_is_refused() -> None:
    with pytest.raises(ConfigError, match="an epoch is shorter than the time between backups"):
        Schedule(every=days(7), epoch=days(1))


def test_odd_policies_are_pointed_out() -> None:
    busy, quiet = Workload(first=Size(GB), daily=Size(GB)), Workload(first=Size(1000 * GB), daily=Size(GB))
    assert list(warnings(Schedule(), WORK)) == []
    assert list(warnings(Schedule(), busy)) == [
        "an epoch gathers more than three full copies of changes: a shorter epoch stores less"
    ]
    assert list(warnings(Schedule(lock=Duration(3600)), quiet)) == [
        "little changes within an epoch: a longer epoch stores less",
        "objects are locked for less than the time between two backups",
    ]


def test_the_table_ends_with_the_sum_of_costs() -> None:
    months = plan(WORK, Schedule(), price=0.02, months=3)
    shown = table(months, "EUR")
    assert shown.columns[-1] == "cost EUR"
    assert [row[0] for row in shown.rows] == ["1", "2", "3", "sum"]
    assert float(shown.rows[-1][-1]) == pytest.approx(sum(month.cost for month in months), abs=0.01)


def test_the_chart_has_a_bar_for_each_month() -> None:
    lines = chart(plan(WORK, Schedule(), price=0, months=4), width=10)
    assert len(lines) == 4
    assert max(line.count("█") for line in lines) == 10


def seen(day: int, first: int, later: list[tuple[int, int]]) -> Epoch:
    """An epoch whose first backup of some bytes came on a day, and later ones with their additions."""
    name, start = f"2026010{day % 10}-0000000{day % 10}", datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
    objects, snapshots = [ObjectInfo("pack0", first, start)], {}
    for number, (after, size) in enumerate([(0, 0), *later]):
        when = start + timedelta(days=after)
        info = ObjectInfo(f"snapshot{number}", 0, when)
        objects += [info, ObjectInfo(f"pack{number + 1}", size, when - timedelta(seconds=1))] if size else [info]
        snapshots[SnapshotName(day * 100 + number, name, stamp(when))] = info
    return Epoch(name, objects, snapshots)


def test_the_workload_is_what_the_epochs_show() -> None:
    epochs = [seen(0, 1000, [(1, 50), (2, 70)]), seen(10, 1200, [(2, 40)])]
    work = observed(epochs)
    assert work == Workload(first=Size(1200), daily=Size(40), growth=Size(20))


def test_a_single_backup_tells_the_first_size_and_no_more() -> None:
    assert observed([seen(0, 1000, [])]) == Workload(first=Size(1000), daily=Size(0))


def test_a_host_that_shrank_does_not_grow_backwards() -> None:
    work = observed([seen(0, 1000, []), seen(10, 600, [])])
    assert work == Workload(first=Size(600), daily=Size(0))


def test_without_a_snapshot_nothing_is_known() -> None:
    abandoned = Epoch("20260101-00000000", [ObjectInfo("pack", 10, datetime(2026, 1, 1, tzinfo=UTC))], {})
    assert observed([]) is None
    assert observed([abandoned]) is None
