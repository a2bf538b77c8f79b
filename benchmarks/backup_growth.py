"""How backups grow: with files, with bytes, and a repository with months.

`python -m benchmarks.backup_growth` prints three tables. Each point is a fresh tree and a fresh repository in a
directory; the exponents are of a power law fitted to all points, so 1 means in proportion. The months are simulated by
the code behind `backup.plan`.
"""

import argparse
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import backup_tree, measure
from benchmarks.backup_ours import HOST, draw_keys
from benchmarks.measure import Sample
from toolkit.repository.expire import survey
from toolkit.repository.plan import Schedule, Workload, plan
from toolkit.store import open_store
from toolkit.words.values import Size

ROOT = Path(__file__).resolve().parent.parent
_MIB = 1 << 20


@dataclass(frozen=True)
class Point:
    """One tree: how much it is, what the first backup and one without changes cost, and the newest manifest's size."""

    amount: float
    first: Sample
    again: Sample
    manifest: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", type=int, nargs="*", default=[1_000, 10_000, 100_000], help="files of 1 KiB")
    parser.add_argument("--sizes", type=int, nargs="*", default=[256, 1024, 4096], help="MiB in files of 16 MiB")
    given = parser.parse_args()
    work = ROOT / ".lab" / "benchmarks" / "growth"
    try:
        print(f"{measure.machine()}\n")
        print(show("files of 1 KiB", [measured(work, files=count) for count in given.files]), flush=True)
        print(show("MiB", [measured(work, size=size) for size in given.sizes]), flush=True)
        print(months())
    finally:
        shutil.rmtree(work, ignore_errors=True)


def measured(work: Path, *, files: int = 0, size: int = 0) -> Point:
    shutil.rmtree(work, ignore_errors=True)
    draw_keys(work / "home")
    if files:
        backup_tree.plant(work / "tree", small=files, large=0, size=files * 1024)
    else:
        backup_tree.plant(work / "tree", small=0, large=size // 16, size=2 * size * _MIB)
    url = f"file://{work}/store"
    argv = [sys.executable, "-m", "benchmarks.backup_ours", "backup", "--store", url, "--work", str(work / "home")]
    first, again = (measure.run([*argv, "--tree", str(work / "tree")], cwd=ROOT) for _ in range(2))
    snapshots = survey(open_store(url), HOST)[0].snapshots
    return Point(files or size, first, again, snapshots[max(snapshots)].size)


def show(what: str, points: Sequence[Point]) -> str:
    rows: list[tuple[str, ...]] = [
        (
            f"{point.amount:,}",
            f"{point.first.wall:.1f} s",
            f"{point.first.cpu:.1f} s",
            f"{point.first.resident / _MIB:.0f} MiB",
            f"{point.again.wall:.1f} s",
            f"{point.again.resident / _MIB:.0f} MiB",
            f"{point.manifest / 1024:.0f} KiB",
        )
        for point in points
    ]
    rows.append(("exponent", *(f"{each:.2f}" for each in _exponents(points))))
    columns = (what, "first backup", "CPU", "resident", "no change", "resident", "manifest")
    return measure.table(columns, rows) + "\n"


def _exponents(points: Sequence[Point]) -> Iterator[float]:
    curves = (
        [point.first.wall for point in points],
        [point.first.cpu for point in points],
        [float(point.first.resident) for point in points],
        [point.again.wall for point in points],
        [float(point.again.resident) for point in points],
        [float(point.manifest) for point in points],
    )
    for curve in curves:
        yield exponent([point.amount for point in points], curve)


def exponent(amounts: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of a straight line through the logarithms, by least squares."""
    x, y = [math.log(each) for each in amounts], [math.log(each) for each in values]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((each - middle_x) ** 2 for each in x)
    return sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True)) / spread if spread else 0.0


def months() -> str:
    """Return stored bytes over 24 months for a host of 10 GB that adds 100 MB a day, backed up nightly."""
    work = Workload(first=Size(10 * 10**9), daily=Size(10**8))
    rows = [
        (
            str(month.number),
            str(month.epochs),
            str(month.stored),
            str(month.collected),
            f"{month.stored / month.collected:.2f}",
        )
        for month in plan(work, Schedule(), price=0)
        if month.number in (1, 2, 3, 4, 6, 9, 12, 18, 24)
    ]
    return measure.table(("month", "epochs", "stored", "with garbage collection", "ratio"), rows)


if __name__ == "__main__":
    main()
