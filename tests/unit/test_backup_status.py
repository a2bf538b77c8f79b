"""How backups stand, judged from the store, from what a host says, and from what neither says."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import RECIPIENTS, Host
from toolkit.config import load
from toolkit.store import ObjectInfo
from toolkit.store.directory import DirectoryStore
from toolkit.words.errors import Unreachable
from toolkit.workflows import backup_status as workflow
from toolkit.workflows.backup_status import Status

RECORD = {"result": "complete", "said": "", "ended": 1000.0, "snapshot": "s-1"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("hosts", "backups", "store", "tree"):
        (tmp_path / folder).mkdir()
    for name in ("prod", "web"):
        (tmp_path / f"hosts/{name}.yml").write_text("connection: local\n")
    (tmp_path / "tree/file").write_text("x")
    return tmp_path


def describe(root: Path, name: str = "prod", more: str = "") -> None:
    names = ", ".join(RECIPIENTS)
    text = f"repository: {{url: 'file://{root}/store'}}\nrecipients: [{names}]\n{more}"
    (root / f"backups/{name}.yml").write_text(text)


def back_up(root: Path, name: str = "prod") -> None:
    Host(root / f"state-{name}", DirectoryStore(root / "store"), name).backup(root / "tree")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What each host says of itself; one that is not there does not answer."""
    said: dict[str, Any] = {}

    class Machine:
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None: ...

    def asked(host: Machine, *_: str) -> Any:
        if host.name not in said:
            raise Unreachable(f"{host.name} does not answer")
        return said[host.name]

    monkeypatch.setattr(workflow, "connect", lambda described: Machine(described.name))
    monkeypatch.setattr(workflow.agent, "asked", asked)
    return said


def status(root: Path, after: float = 0.0) -> list[Status]:
    now = datetime.now(UTC).timestamp() + after
    return workflow.status(workflow.hosts(root), lambda: now)


def test_a_fresh_backup_of_a_host_that_answers_is_well(root: Path, answers: dict[str, Any]) -> None:
    describe(root)
    back_up(root)
    answers["prod"] = {"runs": [RECORD], "working": None, "next": 5.0}
    [found] = status(root)
    assert found.good
    assert (found.snapshots, found.next, found.stale_after) == (1, 5.0, 2 * 86400)
    assert found.newest.endswith("-00000001")
    assert found.age is not None and found.age < 60


def test_one_that_is_too_old_is_stale_whatever_the_host_says(root: Path, answers: dict[str, Any]) -> None:
    describe(root)
    back_up(root)
    answers["prod"] = {"runs": [RECORD | {"ended": 10**12}]}
    assert status(root, 2 * 86400 - 60)[0].good
    [found] = status(root, 2 * 86400 + 60)
    assert (
        found.complaints == ("stale: the newest backup is 2 d 1 m old, more than 2 d",)
        or "stale" in found.complaints[0]
    )
    describe(root, more="schedule: every 6h\ntargets: {rpo: 7h}\n")
    assert status(root, 7 * 3600 - 60)[0].good
    assert "more than 7 h" in status(root, 7 * 3600 + 60)[0].complaints[0]


def test_a_dead_host_is_told_and_its_backups_are_judged_all_the_same(root: Path, answers: dict[str, Any]) -> None:
    describe(root)
    describe(root, "web")
    back_up(root)
    answers["web"] = {"runs": []}
    dead, new = status(root)
    assert dead.complaints == ("the host: prod does not answer",)
    assert dead.age is not None
    assert new.complaints == ("there is no backup yet",)


@pytest.mark.parametrize("result", ["failed", "incomplete", "cut off"])
def test_a_last_run_that_went_wrong_is_told(root: Path, answers: dict[str, Any], result: str) -> None:
    describe(root)
    back_up(root)
    answers["prod"] = {"runs": [RECORD | {"result": result, "said": "because"}]}
    assert status(root)[0].complaints == (f"the last run: {result}, because",)


def test_one_that_a_person_stopped_is_no_failure(root: Path, answers: dict[str, Any]) -> None:
    describe(root)
    back_up(root)
    answers["prod"] = {"runs": [RECORD | {"result": "stopped"}]}
    assert status(root)[0].good


def test_a_directory_on_the_host_leaves_only_its_word(root: Path, answers: dict[str, Any]) -> None:
    describe(root)
    (root / "store").rmdir()
    now = datetime.now(UTC).timestamp()
    answers["prod"] = {"runs": [RECORD | {"ended": now - 60}]}
    [found] = status(root)
    assert found.good
    assert found.age is not None and 50 < found.age < 120
    assert "the host's own record is all there is" in found.notes[0]


def test_a_snapshot_from_the_future_is_told(root: Path, answers: dict[str, Any]) -> None:
    describe(root)
    back_up(root)
    answers["prod"] = {"runs": [RECORD]}
    [snapshot] = (root / "store/prod/epochs").glob("*/snapshots/*")
    snapshot.rename(snapshot.with_name("20991231T000000Z-00000001.age"))
    assert "younger" in status(root)[0].complaints[0]


def test_a_faulty_backup_file_spoils_nobody_elses_line(root: Path, answers: dict[str, Any]) -> None:
    describe(root)
    back_up(root)
    answers["prod"] = {"runs": [RECORD]}
    (root / "backups/web.yml").write_text("repository: {}\n")
    good, bad = status(root)
    assert good.good
    assert "repository.url" in bad.complaints[0]


def test_every_host_with_a_backup_file_is_looked_at(root: Path) -> None:
    describe(root, "web")
    describe(root, "prod")
    (root / "backups/example.yml").write_text("")
    assert [one.name for one in workflow.hosts(root)] == ["prod", "web"]
    assert load.names(root) == ["prod", "web"]


def test_the_newest_is_the_one_that_arrived_last_whatever_they_claim() -> None:
    seen = workflow._Seen()
    epoch = "prod/epochs/20260101-00000000/snapshots"
    arrived = (("20991231T000000Z-00000001", 1000.0), ("20260102T000000Z-00000002", 2000.0))
    found = [ObjectInfo(f"{epoch}/{name}.age", 1, datetime.fromtimestamp(at, UTC)) for name, at in arrived]
    workflow._newest("prod", found, seen)
    assert (seen.newest, seen.stored, seen.snapshots) == ("20260102T000000Z-00000002", 2000.0, 2)
