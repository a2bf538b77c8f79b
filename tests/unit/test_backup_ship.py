"""Shipping a log: bases once a day, nothing told to the server before it is stored, gaps told at once."""

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import OPERATOR, RECIPIENTS
from toolkit.agent.backup import ship
from toolkit.agent.backup.ship import Shipper
from toolkit.agent.notify import outbox, targets
from toolkit.agent.paths import Paths
from toolkit.crypto.signing import SigningKey
from toolkit.repository import Pin, Repository, Stream
from toolkit.sources.protocol import Capture, Place
from toolkit.stack.duty import Duty
from toolkit.store import open_store
from toolkit.words.clock import FakeClock
from toolkit.words.errors import HostError


@dataclass
class FakeWal:
    """A server's log. `error` is what asking for segments raises; `quiet` says that nothing was written."""

    error: str = ""
    quiet: bool = False
    broken: bool = False
    calls: list[str] = field(default_factory=list)

    @contextmanager
    def base(self, *_: Any) -> Iterator[Capture]:
        self.calls.append("base")
        self.error = ""
        yield Capture([Stream("wal/db/base.tar", self._opened, "wal", dict)], 1.0)

    @contextmanager
    def segments(self, *_: Any) -> Iterator[Capture]:
        if self.error:
            raise HostError(self.error)
        self.calls.append("segments")
        if self.quiet:
            yield Capture((), None, "nothing was written since")
        else:
            yield Capture([Stream("wal/db/segments/01", self._opened, "wal", lambda: {"end": 7})], 1.0)

    @contextmanager
    def _opened(self) -> Iterator[io.BytesIO]:
        if self.broken:
            raise HostError("the container is gone")
        yield io.BytesIO(b"log")

    def shipped(self, _docker: Any, _place: Any, facts: Any) -> None:
        self.calls.append(f"shipped {facts['end']}")


@pytest.fixture
def wal() -> FakeWal:
    return FakeWal()


@pytest.fixture
def shipper(tmp_path: Path, wal: FakeWal, monkeypatch: pytest.MonkeyPatch) -> Shipper:
    told = {"host": "prod", "targets": [{"name": "ops", "kind": "webhook", "on": [], "url": "x"}]}
    targets.put(Paths(tmp_path), json.dumps(told).encode())
    (tmp_path / "store").mkdir()
    url = f"file://{tmp_path}/store"
    duty = Duty(host="prod", url=url, recipients=RECIPIENTS, stack="shop", wal=("postgres/db",))
    monkeypatch.setattr(Shipper, "_wal", lambda *_: (wal, Place(container="c")))
    return Shipper(Paths(tmp_path), duty, FakeClock())


def kinds(shipper: Shipper) -> list[str]:
    return [str((one.message() or {})["kind"]) for one in outbox.waiting(shipper.paths)]


def test_a_base_comes_once_a_day_and_shippings_follow_it(shipper: Shipper, wal: FakeWal) -> None:
    for _ in range(3):
        shipper.round()
        shipper.clock.sleep(30)
    assert wal.calls == ["base", *["segments", "shipped 7"] * 3]
    shipper.clock.sleep(86400)
    shipper.round()
    assert wal.calls[-3:] == ["base", "segments", "shipped 7"]
    # A process that begins anew goes on where the one before was.
    Shipper(shipper.paths, shipper.duty, shipper.clock).round()
    assert wal.calls.count("base") == 2


def test_what_is_shipped_is_signed_with_the_hosts_own_key_under_a_name_beside_it(shipper: Shipper) -> None:
    shipper.round()
    key = SigningKey.keep(shipper.paths.backup / "signing.key").verify_key
    reader = Repository(open_store(shipper.duty.url), "prod-wal", (OPERATOR,), Pin(key, RECIPIENTS))
    snapshots = [reader.open(name).manifest for name in reader.snapshots()]
    assert [info.name for one in snapshots for info in one.sources] == ["wal/db/base.tar", "wal/db/segments/01"]
    assert snapshots[0].facts["source"] == "postgres/db"


def test_a_store_that_has_no_base_gets_one_at_once(shipper: Shipper, wal: FakeWal, tmp_path: Path) -> None:
    shipper.round()
    shutil.rmtree(tmp_path / "store/prod-wal")
    wal.calls = []
    shipper.round()
    assert wal.calls == ["segments", "shipped 7", "base"]


def test_a_server_at_rest_ships_nothing_and_is_well(shipper: Shipper, wal: FakeWal) -> None:
    wal.quiet = True
    shipper.round()
    shipper.round()
    assert wal.calls == ["base", "segments", "segments"]
    assert shipper.lines["postgres/db"].failures == 0


def test_what_is_not_stored_is_not_told_to_the_server(shipper: Shipper, wal: FakeWal) -> None:
    shipper.round()
    wal.broken, wal.calls = True, []
    shipper.round()
    assert wal.calls == ["segments"]
    assert shipper.lines["postgres/db"].said == "wal/db/segments/01: the container is gone"


def test_a_gap_is_told_at_once_and_closed_by_a_base(shipper: Shipper, wal: FakeWal) -> None:
    shipper.round()
    wal.error = "gap: the server dropped log that was not shipped"
    shipper.round()
    assert kinds(shipper) == ["backup.gap"]
    shipper.round()
    assert kinds(shipper) == ["backup.gap", "backup.recovered"]
    assert wal.calls.count("base") == 2


def test_other_trouble_is_told_when_it_stays_and_once(shipper: Shipper, wal: FakeWal) -> None:
    shipper.round()
    wal.error = "the server does not answer"
    for _ in range(ship.PATIENCE - 1):
        shipper.round()
    assert kinds(shipper) == []
    for _ in range(5):
        shipper.round()
    assert kinds(shipper) == ["backup.failed"]
    wal.error = ""
    shipper.round()
    assert kinds(shipper) == ["backup.failed", "backup.recovered"]


def test_how_it_goes_is_measured_and_remembered(shipper: Shipper) -> None:
    shipper.round()
    text = (shipper.paths.metrics / "backup_wal.prom").read_text()
    assert f'toolkit_backup_wal_shipped_timestamp_seconds{{source="postgres/db"}} {shipper.clock.wall():.15g}\n' in text
    assert ship.read(shipper.paths)["postgres/db"]["failures"] == 0


def test_without_anything_to_ship_it_says_so(shipper: Shipper) -> None:
    shipper.paths.duty.parent.mkdir(parents=True, exist_ok=True)
    shipper.paths.duty.write_text(replace(shipper.duty, wal=()).dumps())
    with pytest.raises(HostError, match="ships its log"):
        ship.run(shipper.paths)
