"""How fast backups are, beside restic and Borg, into a directory and into a real S3.

`python -m benchmarks.backup` prints the tables of benchmarks/README.md that are about backups, measured here and now.
The contenders take turns on the same files, each as a process of its own; the median of the rounds counts. It needs
root, about 15 GiB of disk, and for S3 the lab. Everything it makes is removed at the end.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import backup_tree, measure
from benchmarks.backup_ours import draw_keys
from benchmarks.backup_peers import Peers
from benchmarks.measure import Sample
from toolkit.lab import Lab
from toolkit.lab.services import S3
from toolkit.store import AdminStore, Credentials
from toolkit.store.s3 import S3Place, S3Store

ROOT = Path(__file__).resolve().parent.parent
STEPS = ("first backup", "no change", "2 % changed", "full restore", "verify all bytes")
_MIB = 1 << 20
_SAMPLES = dict[tuple[str, str], list[Sample]]


@dataclass(frozen=True)
class Contender:
    """One program with one kind of store: how to begin anew, its steps, and how to leave nothing behind."""

    name: str
    reset: Callable[[], object]
    steps: Mapping[str, Callable[[], Sample]]
    stored: Callable[[], int]
    restored: str = "back/bench/tree"
    remove: Callable[[], object] = lambda: None


def main() -> None:
    options = _options()
    work = ROOT / ".lab" / "benchmarks" / "backup"
    shutil.rmtree(work, ignore_errors=True)
    (work / "home").mkdir(parents=True)
    try:
        peers = Peers(work.parent / "peers", work)
        peers.ensure()
        print(f"{measure.machine()}; {peers.version('restic')}, {peers.version('borg')}", flush=True)
        _on_tree("plant", work, options.size * _MIB)
        for title, contenders in _fields(work, peers, options.s3):
            try:
                samples, stored = compete(contenders, work, options.rounds)
            finally:
                for contender in contenders:
                    contender.remove()
            print(f"\n{title}\n\n{table(contenders, samples, stored)}", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender; the median counts")
    parser.add_argument("--size", type=int, default=2048, help="MiB of files")
    parser.add_argument("--no-s3", dest="s3", action="store_false", help="the directory only")
    return parser.parse_args()


def _fields(work: Path, peers: Peers, with_s3: bool) -> list[tuple[str, list[Contender]]]:
    directory = [_ours(work, f"file://{work}/ours"), _restic(work, peers, "/bench/restic"), _borg(work, peers)]
    if not with_s3:
        return [("Into a directory", directory)]
    lab = Lab.of(ROOT)
    lab.up(hosts=0, services=("s3",))
    s3 = lab.s3()
    return [("Into a directory", directory), ("Into S3 (Ceph)", [_ours_s3(work, s3), _restic_s3(work, peers, s3)])]


def compete(contenders: Sequence[Contender], work: Path, rounds: int) -> tuple[_SAMPLES, dict[str, list[int]]]:
    """Play all rounds: every contender does a step before anybody does the next."""
    samples: _SAMPLES = {}
    stored: dict[str, list[int]] = {one.name: [] for one in contenders}
    for number in range(rounds):
        for contender in contenders:
            contender.reset()
        for step in STEPS:
            if step == "2 % changed":
                _on_tree("change", work, number + 100)
            # The order turns with the rounds, so that nobody always meets the warmer cache.
            for contender in contenders[:: 1 if number % 2 else -1]:
                samples.setdefault((contender.name, step), []).append(contender.steps[step]())
                if step == "full restore":
                    _check_restored(work, contender)
                if step in ("first backup", "2 % changed"):
                    stored[contender.name].append(contender.stored())
                print(".", end="", file=sys.stderr, flush=True)
    return samples, stored


def _on_tree(task: str, work: Path, number: int) -> None:
    measure.run((sys.executable, "-m", "benchmarks.backup_tree", task, str(work / "tree"), str(number)), cwd=ROOT)


def _check_restored(work: Path, contender: Contender) -> None:
    if backup_tree.look(work / contender.restored) != backup_tree.look(work / "tree"):
        raise SystemExit(f"{contender.name} did not bring back every file")
    shutil.rmtree(work / "back")


def table(contenders: Sequence[Contender], samples: _SAMPLES, stored: Mapping[str, Sequence[int]]) -> str:
    """Return one row per step and contender; ratios are ours to the peer's."""
    rows = []
    for step in STEPS:
        medians = {one.name: measure.median(samples[one.name, step]) for one in contenders}
        ours = medians[contenders[0].name]
        for name, found in medians.items():
            cost = (f"{found.wall:.2f} s", f"{found.cpu:.2f} s", f"{found.resident / _MIB:.0f} MiB")
            ratios = (f"{ours.wall / found.wall:.2f}", f"{ours.cpu / found.cpu:.2f}") if found is not ours else ("", "")
            rows.append((step, name, *cost, *ratios))
    for place, what in ((0, "stored by the first backup"), (1, "stored after 2 % changed")):
        sizes = {name: sorted(found[place::2])[len(found) // 4] for name, found in stored.items()}
        mine = sizes[contenders[0].name]
        for name, size in sizes.items():
            rows.append(
                (what, name, f"{size / _MIB:.0f} MiB", "", "", f"{mine / size:.2f}" if size != mine else "", "")
            )
    return measure.table(("step", "", "wall", "CPU", "resident", "wall, ours to theirs", "CPU"), rows)


def _ours(work: Path, url: str, name: str = "toolkit", clear: Callable[[], object] | None = None) -> Contender:
    mine, store = work / f"{name}-home", work / "ours"

    def reset() -> None:
        shutil.rmtree(mine, ignore_errors=True)
        shutil.rmtree(store, ignore_errors=True)
        draw_keys(mine)
        if clear:
            clear()

    def step(verb: str, tree: Path | None = None) -> Callable[[], Sample]:
        argv = (sys.executable, "-m", "benchmarks.backup_ours", verb, "--store", url, "--work", str(mine))
        return lambda: measure.run((*argv, "--tree", str(tree)), cwd=ROOT)

    save = step("backup", work / "tree")
    steps = dict.fromkeys(STEPS[:3], save) | {STEPS[3]: step("restore", work / "back"), STEPS[4]: step("verify")}
    return Contender("toolkit", reset, steps, lambda: _size_of(store), "back/data")


def _ours_s3(work: Path, s3: S3) -> Contender:
    store, url = _bucket(s3, "bench-toolkit")

    def clear() -> None:
        _empty(store)
        saved = work / "toolkit-s3-home" / "credentials.json"
        saved.write_text(json.dumps([s3.operator[0], s3.operator[1].reveal().decode()]))
        saved.chmod(0o600)

    ours = _ours(work, url, "toolkit-s3", clear)
    return replace(ours, stored=lambda: _bytes_in(store), remove=lambda: _remove(store))


def _restic(work: Path, peers: Peers, repository: str, env: Mapping[str, str] | None = None) -> Contender:
    # restic and Borg take passwords from the environment; these repositories live as long as the benchmark.
    settings = {"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": "/bench/restic-cache", **(env or {})}

    def step(*argv: str) -> Callable[[], Sample]:
        return lambda: peers.run("restic", "--quiet", "--repo", repository, *argv, env=settings)

    def reset() -> None:
        for name in ("restic", "restic-cache"):
            shutil.rmtree(work / name, ignore_errors=True)
        step("init")()

    save = step("backup", "/bench/tree")
    steps = dict.fromkeys(STEPS[:3], save)
    steps |= {STEPS[3]: step("restore", "latest", "--target", "/bench/back"), STEPS[4]: step("check", "--read-data")}
    return Contender("restic", reset, steps, lambda: _size_of(work / "restic"))


def _restic_s3(work: Path, peers: Peers, s3: S3) -> Contender:
    store, _ = _bucket(s3, "bench-restic")
    secret = s3.operator[1].reveal().decode()
    env = {"AWS_ACCESS_KEY_ID": s3.operator[0], "AWS_SECRET_ACCESS_KEY": secret}
    restic = _restic(work, peers, f"s3:{s3.endpoint}/bench-restic", env)

    def reset() -> None:
        _empty(store)
        restic.reset()

    return replace(restic, reset=reset, stored=lambda: _bytes_in(store), remove=lambda: _remove(store))


def _borg(work: Path, peers: Peers) -> Contender:
    settings = {"BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": "/bench/borg-home"}
    count = iter(range(1_000_000))

    def step(*argv: str) -> Callable[[], Sample]:
        return lambda: peers.run("borg", *argv, env=settings)

    def reset() -> None:
        for name in ("borg", "borg-home"):
            shutil.rmtree(work / name, ignore_errors=True)
        step("init", "--encryption", "repokey-blake2", "/bench/borg")()

    def save() -> Sample:
        return step("create", "--compression", "zstd,3", f"/bench/borg::{next(count):06}", "/bench/tree")()

    def bring_back() -> Sample:
        (work / "back").mkdir()
        newest = step("list", "--last", "1", "--format", "{archive}", "/bench/borg")().output.strip()
        script = 'cd /bench/back && exec borg extract "/bench/borg::$1"'
        return peers.run("sh", "-c", script, "sh", newest, env=settings)

    steps = dict.fromkeys(STEPS[:3], save)
    steps |= {STEPS[3]: bring_back, STEPS[4]: step("check", "--repository-only", "/bench/borg")}
    return Contender("borg", reset, steps, lambda: _size_of(work / "borg"))


def _bucket(s3: S3, name: str) -> tuple[S3Store, str]:
    store = S3Store(S3Place(bucket=name, endpoint=s3.endpoint), Credentials(*s3.operator))
    store.ask_bucket("create_bucket")
    return store, f"s3://{name}?endpoint={s3.endpoint}"


def _empty(store: AdminStore) -> None:
    for found in list(store.list()):
        store.delete(found.key)


def _remove(store: S3Store) -> None:
    _empty(store)
    store.ask_bucket("delete_bucket")


def _bytes_in(store: AdminStore) -> int:
    return sum(found.size for found in store.list())


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
