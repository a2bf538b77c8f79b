from datetime import UTC, datetime, timedelta

import pytest

from toolkit.repository.layout import SnapshotName, stamp
from toolkit.repository.retention import Retention, keep
from toolkit.words.errors import ConfigError

START = datetime(2026, 1, 1, 3, tzinfo=UTC)


def nightly(days: int) -> list[SnapshotName]:
    return [SnapshotName(n, "20260101-00000000", stamp(START + timedelta(days=n))) for n in range(days)]


def test_the_newest_of_each_period_is_kept_with_its_reasons() -> None:
    kept = keep(nightly(90), Retention(daily=3, weekly=2, monthly=2))
    assert {f"{name.when:%m-%d}": why for name, why in kept.items()} == {
        "03-31": ["daily 2026-03-31", "weekly 2026-W14", "monthly 2026-03"],
        "03-30": ["daily 2026-03-30"],
        "03-29": ["daily 2026-03-29", "weekly 2026-W13"],
        "02-28": ["monthly 2026-02"],
    }


def test_several_a_day_count_as_one_day_and_the_last_of_them_is_kept() -> None:
    names = [SnapshotName(n, "20260101-00000000", stamp(START + timedelta(hours=6 * n))) for n in range(8)]
    kept = keep(names, Retention(daily=2, weekly=0, monthly=0))
    assert [name.sequence for name in kept] == [7, 3]


def test_days_without_snapshots_use_up_nothing() -> None:
    sparse = [name for name in nightly(300) if name.sequence % 40 == 0]
    kept = keep(sparse, Retention(daily=3, weekly=0, monthly=0))
    assert [name.sequence for name in kept] == [280, 240, 200]


def test_last_counts_snapshots_and_not_days() -> None:
    kept = keep(nightly(10), Retention(last=2, daily=1, weekly=0, monthly=0))
    assert {name.sequence: why for name, why in kept.items()} == {9: ["last", "daily 2026-01-10"], 8: ["last"]}


def test_in_one_period_sequence_decides_and_not_the_clock() -> None:
    early = SnapshotName(2, "20260101-00000000", stamp(START))
    late = SnapshotName(1, "20260101-00000000", stamp(START + timedelta(hours=5)))
    assert list(keep([late, early], Retention(daily=1, weekly=0, monthly=0))) == [early]


def test_nothing_in_nothing_out() -> None:
    assert keep([], Retention()) == {}


def test_a_policy_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="retention keeps nothing"):
        Retention(daily=0, weekly=0, monthly=0)


def test_a_negative_count_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"retention\.weekly is -1"):
        Retention(weekly=-1)
