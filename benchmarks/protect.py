"""What a whole backup of a running stack costs, beside `pg_dump | zstd -3 | age` piped to the same S3.

`python -m benchmarks.protect` prints the table of benchmarks/README.md about backups on a host, measured here and now:
PostgreSQL with a gigabyte of rows in a container, and the lab's S3. The agent does everything that it does at
night: it discovers, holds the barrier, dumps, counts, stores, and writes down how it went. Both take turns. Needs root,
zstd, age, and 5 GiB of disk; everything it makes is removed at the end.
"""

import argparse
import json
import secrets
import shutil
import sys
from pathlib import Path

from benchmarks import measure
from benchmarks.backup_ours import draw_keys
from benchmarks.measure import Sample
from benchmarks.sources import server
from toolkit.agent.backup import access, record
from toolkit.agent.paths import Paths
from toolkit.crypto import age
from toolkit.lab import Lab
from toolkit.lab.services import S3
from toolkit.stack.duty import Duty
from toolkit.store import Credentials
from toolkit.store.s3 import S3Place, S3Store
from toolkit.vault.access import pack
from toolkit.words.values import Secret, Size

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "bench"
LABELS = ("--label", f"com.docker.compose.project={PROJECT}", "--label", "com.docker.compose.service=db")
OURS, PEER = "toolkit, first backup", "`pg_dump \\| zstd -3 \\| age` to S3"
AGAIN = "toolkit, no change"
_PEER = """
set -o pipefail
docker exec "$1" pg_dump -U bench bench | zstd -3 -q | age -r "$2" -r "$3" | "$4" -m benchmarks.protect_peer "$5"
"""


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--mib", type=int, default=1024)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    work = ROOT / ".lab" / "benchmarks" / "protect"
    shutil.rmtree(work, ignore_errors=True)
    draw_keys(work)
    lab = Lab.of(ROOT)
    lab.up(hosts=0, services=("s3",))
    try:
        with server(given.mib, LABELS) as container:
            print(f"{measure.machine()}", flush=True)
            print(_Bench(work, lab.s3(), container).rounds(given.rounds))
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Bench:
    """Both contenders, on one database and one store. Each first backup has a bucket of its own."""

    def __init__(self, work: Path, s3: S3, container: str) -> None:
        self.work, self.s3, self.container = work, s3, container
        self.recipients = [age.recipient_of(Secret((work / name).read_bytes())) for name in ("operator", "escrow")]
        self.stored: dict[str, int] = {}

    def rounds(self, rounds: int) -> str:
        samples: dict[str, list[Sample]] = {}
        for number in range(rounds):
            steps = [(OURS, self.first), (PEER, self.peer), (AGAIN, self.again)]
            for name, step in steps if number % 2 == 0 else (steps[1], steps[0], steps[2]):
                samples.setdefault(name, []).append(step())
                print(f"{name}: {samples[name][-1].wall:.1f} s", file=sys.stderr, flush=True)
        return self._table({name: measure.median(found) for name, found in samples.items()})

    def first(self) -> Sample:
        shutil.rmtree(self.work / "host", ignore_errors=True)
        paths, bucket = Paths(self.work / "host"), self._bucket()
        who, key = self.s3.operator
        access.put(paths, pack({"access_key": Secret.of(who), "secret_key": key}))
        url = f"s3://{bucket}?endpoint={self.s3.inside}"
        duty = Duty(host="bench", url=url, recipients=tuple(self.recipients), stack=PROJECT)
        # A stack that was deployed: without a release, only what it runs is looked at.
        paths.duty.parent.mkdir(parents=True, exist_ok=True)
        paths.duty.write_text(duty.dumps())
        return self._run(OURS)

    def again(self) -> Sample:
        return self._run(AGAIN)

    def _run(self, name: str) -> Sample:
        root = self.work / "host"
        sample = measure.run((sys.executable, "-m", "toolkit.agent", "--root", str(root), "backup", "run"), cwd=ROOT)
        done = record.read(Paths(root))[-1]
        if not done.good or "postgres/db" not in done.sources:
            raise SystemExit(f"no backup of the database: {done}")
        self.stored[name] = done.stored
        return sample

    def peer(self) -> Sample:
        who, key = self.s3.operator
        bucket, place = self._bucket(), self.work / "place.json"
        place.write_text(
            json.dumps({"endpoint": self.s3.inside, "key": who, "secret": key.reveal().decode(), "bucket": bucket})
        )
        words = ("bash", "-c", _PEER, "bash", self.container, *self.recipients, sys.executable, str(place))
        sample = measure.run(words, cwd=ROOT)
        self.stored[PEER] = sum(info.size for info in self._store(bucket).list())
        return sample

    def _bucket(self) -> str:
        name = f"bench-{secrets.token_hex(6)}"
        self._store(name).bucket.create()
        return name

    def _store(self, bucket: str) -> S3Store:
        return S3Store(S3Place(bucket=bucket, endpoint=self.s3.inside), Credentials(*self.s3.operator))

    def _table(self, medians: dict[str, Sample]) -> str:
        peer, rows = medians[PEER], []
        for name in (PEER, OURS, AGAIN):
            sample = medians[name]
            ratios = ("", "") if name == PEER else (f"{sample.wall / peer.wall:.2f}", f"{sample.cpu / peer.cpu:.2f}")
            resident = "" if name == PEER else str(Size(sample.resident))
            figures = (f"{sample.wall:.1f} s", ratios[0], f"{sample.cpu:.1f} s", ratios[1], resident)
            rows.append((name, *figures, str(Size(self.stored[name]))))
        state = sum(path.stat().st_size for path in (self.work / "host").rglob("*") if path.is_file())
        columns = ("", "wall", "ratio", "CPU", "ratio", "resident", "stored")
        return measure.table(columns, rows) + f"\n\nLeft on the host's disk: {Size(state)}."


if __name__ == "__main__":
    main()
