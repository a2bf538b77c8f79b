"""What it costs to capture a PostgreSQL database, beside `pg_dump | zstd -3 | age` into a file.

`python -m benchmarks.sources` prints the table of benchmarks/README.md that is about sources, measured here and now: a
server in a container of the lab with a gigabyte of rows. Both read it through `docker exec`, take turns, and write to
the same disk. Needs root, zstd, age, and 5 GiB of disk; everything it makes is removed at the end.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import measure
from benchmarks.backup_ours import draw_keys
from benchmarks.measure import Sample
from toolkit.crypto import age
from toolkit.lab import Lab
from toolkit.words.values import Secret, Size

ROOT = Path(__file__).resolve().parent.parent
_NAMES = ("first capture", "no change", "one row in 1,000 changed")
# Half of a row is words that repeat, half is random: it compresses to a little more than half.
_FILL = """
CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz, kind text, body text);
INSERT INTO events SELECT i, now() - i * interval '1 s', (ARRAY['view', 'click', 'order', 'refund'])[1 + i % 4],
  encode(sha512(i::text::bytea), 'base64') || ' the customer looked at item ' || i % 1000
  || ' and went on to the next page'
  FROM generate_series(1, {rows}) i;
"""
_BYTES_IN_A_ROW = 210
_CHANGE = "UPDATE events SET body = body || '!' WHERE id % 100 = 0 AND id > (SELECT max(id) * 0.9 FROM events);"
_PEER = 'set -o pipefail; docker exec "$1" pg_dump -U bench bench | zstd -3 -q | age -r "$2" -r "$3" > "$4"'


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--mib", type=int, default=1024)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    work = ROOT / ".lab" / "benchmarks" / "sources"
    shutil.rmtree(work, ignore_errors=True)
    draw_keys(work)
    try:
        with server(given.mib) as container:
            print(f"{measure.machine()}", flush=True)
            print(_rounds(container, work, given.rounds))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _rounds(container: str, work: Path, rounds: int) -> str:
    recipients = [age.recipient_of(Secret((work / name).read_bytes())) for name in ("operator", "escrow")]
    file, samples = work / "peer.age", dict[str, list[Sample]]()

    def ours(name: str, *, fresh: bool) -> None:
        if fresh:
            shutil.rmtree(work / "state", ignore_errors=True)
            shutil.rmtree(work / "store", ignore_errors=True)
        words = (sys.executable, "-m", "benchmarks.sources_ours", container, str(work))
        samples.setdefault(name, []).append(measure.run(words, cwd=ROOT))
        print(f"{name}: {samples[name][-1].wall:.1f} s", file=sys.stderr, flush=True)

    def peer() -> None:
        words = ("bash", "-c", _PEER, "bash", container, *recipients, str(file))
        samples.setdefault("peer", []).append(measure.run(words, cwd=ROOT))
        print(f"peer: {samples['peer'][-1].wall:.1f} s", file=sys.stderr, flush=True)

    for number in range(rounds):
        steps = [lambda: ours(_NAMES[0], fresh=True), peer]
        for step in steps if number % 2 == 0 else reversed(steps):
            step()
    stored = {"peer": file.stat().st_size, _NAMES[0]: _size(work / "store")}
    ours(_NAMES[1], fresh=False)
    Lab.of(ROOT).engine.run("exec", container, "psql", "-qU", "bench", "-c", _CHANGE)
    before = _size(work / "store")
    ours(_NAMES[2], fresh=False)
    stored[_NAMES[2]] = _size(work / "store") - before
    return _table({name: measure.median(found) for name, found in samples.items()}, stored)


def _table(medians: dict[str, Sample], stored: dict[str, int]) -> str:
    peer, rows = medians["peer"], []
    for name in ("peer", *_NAMES):
        sample, size = medians[name], stored.get(name)
        wall, cpu = sample.wall / peer.wall, sample.cpu / peer.cpu
        ratios = ("", "") if name == "peer" else (f"{wall:.2f}", f"{cpu:.2f}")
        shown = "`pg_dump \\| zstd -3 \\| age` to a file" if name == "peer" else f"toolkit, {name}"
        resident = "" if name == "peer" else str(Size(sample.resident))
        figures = (f"{sample.wall:.1f} s", ratios[0], f"{sample.cpu:.1f} s", ratios[1], resident)
        rows.append((shown, *figures, str(Size(size)) if size is not None else ""))
    return measure.table(("", "wall", "ratio", "CPU", "ratio", "resident", "stored"), rows)


@contextmanager
def server(mib: int, options: Sequence[str] = ()) -> Iterator[str]:
    """Give a PostgreSQL server with so many MiB of rows in a container of the lab."""
    lab = Lab.of(ROOT)
    name = lab.home.name("bench-sources")
    lab.up(hosts=0, services=())
    engine, folder = lab.engine, ROOT / "examples/images/postgres"
    image = lab.pictures.context(folder, "trixie", "toolkit-source-postgres")
    engine.ask("rm", "--force", "--volumes", name)
    env = ("--env", "POSTGRES_USER=bench", "--env", "POSTGRES_HOST_AUTH_METHOD=trust")
    engine.run("run", "--detach", "--name", name, "--label", lab.home.label, "--network", "none", *env, *options, image)
    try:
        engine.run("exec", name, "sh", "-c", "until pg_isready -qh 127.0.0.1; do sleep 0.2; done", timeout=120)
        rows = (mib << 20) // _BYTES_IN_A_ROW
        engine.run("exec", name, "psql", "-qU", "bench", "-c", _FILL.format(rows=rows), timeout=1800)
        engine.run(
            "exec", name, "psql", "-qU", "bench", "-c", "VACUUM ANALYZE events", "-c", "CHECKPOINT", timeout=1800
        )
        yield name
    finally:
        engine.ask("rm", "--force", "--volumes", name)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
