"""Whole backups over a network and a server that fail: nothing earlier is harmed, and the next run ends the work."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests import store_proxy as faults
from tests.repository_setup import Host, look, noise
from toolkit.lab.services import S3
from toolkit.repository import restore
from toolkit.repository.verify import verify
from toolkit.store import Credentials
from toolkit.store.s3 import S3Place, S3Store
from toolkit.words.errors import Denied, StoreError

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def bucket(s3: S3) -> S3Place:
    place = S3Place(bucket=f"test-{secrets.token_hex(6)}", endpoint=s3.endpoint)
    S3Store(place, Credentials(*s3.operator)).ask_bucket("create_bucket", ObjectLockEnabledForBucket=True)
    return place


@dataclass
class Scene:
    """A host with one backup behind it and a changed tree before it; `far` is its store through the proxy."""

    host: Host
    tree: Path
    first: dict[bytes, Any]
    direct: S3Store
    far: S3Store
    proxy: faults.FaultyProxy

    def attempt(self, **options: Any) -> Any:
        self.host.store = self.far
        try:
            return self.host.backup(self.tree, **options)
        finally:
            self.host.store = self.direct

    def everything_restores(self, out: Path, *, snapshots: int) -> None:
        repository = self.host.repository(self.direct)
        names = repository.snapshots()
        assert len(names) == snapshots
        for name in names:
            restore(repository.open(name), out / str(name))
        assert look(out / str(names[0]) / "data") == self.first
        assert look(out / str(names[-1]) / "data") == look(self.tree)
        assert verify(repository).sound


@pytest.fixture
def scene(s3: S3, bucket: S3Place, tmp_path: Path) -> Iterator[Scene]:
    direct = S3Store(replace(bucket, prefix=secrets.token_hex(6)), Credentials(*s3.operator))
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "old").write_bytes(noise(700_000, 1))
    host = Host(tmp_path / "state", direct)
    host.backup(tree)
    first = look(tree)
    # More than two packs' worth, so that the work is well under way when something happens.
    (tree / "new").write_bytes(noise(60_000_000, 2))
    with faults.faulty_proxy(s3.endpoint) as proxy:
        place = replace(direct.place, endpoint=proxy.endpoint, read_timeout=3, connect_timeout=3, attempts=3)
        yield Scene(host, tree, first, direct, S3Store(place, Credentials(*s3.operator)), proxy)


def after(puts: int, fault: faults.Fault) -> faults.Fault:
    """Let some puts through, and then never again."""
    seen = [0]

    def count(exchange: faults.Exchange) -> None:
        seen[0] += 1
        (faults.pass_through if seen[0] <= puts else fault)(exchange)

    return count


@pytest.mark.parametrize(
    "fault",
    [faults.refuse(503, "SlowDown"), faults.refuse(500, "InternalError"), faults.reset, faults.lose_answer],
    ids=["slow down", "500", "reset", "answer lost"],
)
def test_what_passes_is_survived_without_a_word(scene: Scene, fault: faults.Fault, tmp_path: Path) -> None:
    scene.proxy.once("PUT", fault, times=2)
    assert scene.attempt().outcome == "complete"
    scene.everything_restores(tmp_path / "out", snapshots=2)


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (faults.refuse(400, "ExpiredToken"), Denied, "have expired"),
        (faults.refuse(403, "QuotaExceeded"), StoreError, "is full"),
        (faults.damage_request, StoreError, "was damaged on the way"),
    ],
    ids=["credentials expire", "bucket full", "damaged on the way"],
)
def test_what_stays_ends_the_run_and_the_next_one_goes_on_with_what_is_stored(
    scene: Scene, fault: faults.Fault, kind: type[StoreError], told: str, tmp_path: Path
) -> None:
    scene.proxy.always("PUT", after(2, fault))
    with pytest.raises(kind, match=told):
        scene.attempt()
    stored = sum(info.size for info in scene.direct.list("prod/epochs/"))
    report = scene.host.backup(scene.tree)
    assert (report.sequence, report.fresh_epoch) == (2, False)
    # Some packs were there already, and nothing in them was stored twice.
    assert stored > 10_000_000
    assert stored + report.stored < 62_000_000
    scene.everything_restores(tmp_path / "out", snapshots=2)


def test_a_stale_listing_costs_an_epoch_and_no_data(scene: Scene, tmp_path: Path) -> None:
    (scene.tree / "new").write_bytes(noise(500_000, 2))
    answers: list[Any] = []
    scene.proxy.once("GET", faults.record(answers))
    scene.attempt()
    scene.proxy.once("GET", faults.replay(answers[0]))
    report = scene.attempt()
    assert (report.sequence, report.fresh_epoch) == (3, True)
    assert "is not in the store as it was written" in report.reasons[0]
    scene.everything_restores(tmp_path / "out", snapshots=3)


@pytest.mark.parametrize("shift", [600, -600])
def test_a_clock_ten_minutes_off_writes_nothing(scene: Scene, shift: float) -> None:
    before = {info.key for info in scene.direct.list()}
    scene.proxy.always("", faults.shift_clock(shift))
    with pytest.raises(StoreError, match="this machine's clock is 10 m"):
        scene.attempt()
    assert {info.key for info in scene.direct.list()} == before


def test_a_restore_survives_what_passes_and_ends_with_what_stays(scene: Scene, tmp_path: Path) -> None:
    scene.host.backup(scene.tree)
    objects = f"GET /{scene.far.place.bucket}/"
    scene.proxy.once(objects, faults.break_off, times=2)
    restore(scene.host.repository(scene.far).newest(), tmp_path / "out")
    assert look(tmp_path / "out" / "data") == look(scene.tree)
    scene.proxy.always(objects, faults.truncate)
    with pytest.raises(StoreError, match="broke off"):
        restore(scene.host.repository(scene.far).newest(), tmp_path / "cut")
