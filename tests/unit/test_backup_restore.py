"""A backup and its restore, as a user sees them: what went in comes out."""

import os
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import ESCROW, OPERATOR, RECIPIENTS, Host, look, noise, plain_tree, rich_tree
from toolkit.repository import How, Options, Origin, Pin, Stream, Tree, backup, restore
from toolkit.repository.backup import PUBLIC_KEY
from toolkit.repository.browse import diff, dump, entries, find
from toolkit.repository.verify import verify
from toolkit.words.clock import FakeClock
from toolkit.words.errors import ConfigError, HostError, Locked, RepositoryError


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "state")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    return root


def test_a_rich_tree_comes_back_exactly(host: Host, tree: Path, tmp_path: Path) -> None:
    rich_tree(tree)
    report = host.backup(tree)
    assert (report.outcome, report.unread, report.changed) == ("complete", (), ())
    restored = restore(host.repository().newest(), tmp_path / "out", How(privileged=os.geteuid() == 0))
    assert restored.lost == restored.withheld == ()
    assert look(tmp_path / "out" / "data") == look(tree)


def test_a_sparse_file_stays_sparse(host: Host, tree: Path, tmp_path: Path) -> None:
    rich_tree(tree)
    report = host.backup(tree)
    assert report.stored < 20_000_000
    restore(host.repository().newest(), tmp_path / "out")
    assert (tmp_path / "out/data/sparse").stat().st_blocks * 512 < 2_000_000


def test_an_unchanged_tree_costs_exactly_one_object(host: Host, tree: Path) -> None:
    rich_tree(tree)
    host.backup(tree)
    before = {info.key for info in host.store.list()}
    report = host.backup(tree)
    added = {info.key for info in host.store.list()} - before
    assert [key.split("/")[3] for key in added] == ["snapshots"]
    assert report.stored == 0


def test_a_second_snapshot_leaves_the_first_as_it_was(host: Host, tree: Path, tmp_path: Path) -> None:
    plain_tree(tree)
    host.backup(tree)
    first = look(tree)
    (tree / "a.txt").write_text("changed")
    (tree / "sub" / "noise").unlink()
    (tree / "new").write_bytes(noise(2_000_000, 7))
    host.backup(tree)
    repository = host.repository()
    one, two = repository.snapshots()
    restore(repository.open(one), tmp_path / "one")
    restore(repository.open(two), tmp_path / "two")
    assert look(tmp_path / "one" / "data") == first
    assert look(tmp_path / "two" / "data") == look(tree)


def test_either_recipient_opens_it(host: Host, tree: Path) -> None:
    plain_tree(tree)
    host.backup(tree)
    for identity in (OPERATOR, ESCROW):
        repository = host.repository()
        assert type(repository)(repository.store, "prod", (identity,), repository.pin).newest().manifest.entries


def test_what_is_below_a_path_becomes_the_target(host: Host, tree: Path, tmp_path: Path) -> None:
    rich_tree(tree)
    host.backup(tree)
    restore(host.repository().newest(), tmp_path / "out", How(below="data/sub"))
    assert look(tmp_path / "out").keys() == look(tree / "sub").keys()
    assert (tmp_path / "out/deeper/large").read_bytes() == (tree / "sub/deeper/large").read_bytes()
    assert (tmp_path / "out").stat().st_mtime_ns == -1_000_000_001


def test_a_link_to_a_file_outside_the_selection_brings_the_content(host: Host, tree: Path, tmp_path: Path) -> None:
    (tree / "a").mkdir()
    (tree / "b").mkdir()
    (tree / "a/one").write_bytes(noise(3_000_000, 4))
    os.link(tree / "a/one", tree / "b/two")
    os.link(tree / "a/one", tree / "b/three")
    host.backup(tree)
    restore(host.repository().newest(), tmp_path / "out", How(below="data/b"))
    assert (tmp_path / "out/two").read_bytes() == noise(3_000_000, 4)
    assert (tmp_path / "out/two").stat().st_ino == (tmp_path / "out/three").stat().st_ino


def test_one_file_can_be_restored_alone(host: Host, tree: Path, tmp_path: Path) -> None:
    plain_tree(tree)
    host.backup(tree)
    restore(host.repository().newest(), tmp_path / "out", How(below="data/sub/noise"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["noise"]


def test_a_stream_is_stored_and_dumped(host: Host) -> None:
    content = noise(5_000_000, 5)

    @contextmanager
    def produce():
        yield BytesIO(content)

    host.backup(Stream("postgres/app.sql", produce, kind="postgres", facts=lambda: {"rows": {"jobs": 12}}))
    snapshot = host.repository().newest()
    written = BytesIO()
    assert dump(snapshot, "postgres/app.sql", written.write) == len(content)
    assert written.getvalue() == content
    assert snapshot.manifest.sources[0].facts == {"rows": {"jobs": 12}}


def test_a_failed_stream_makes_the_backup_incomplete_and_is_left_out(host: Host, tree: Path) -> None:
    plain_tree(tree)

    @contextmanager
    def fail_at_the_end():
        yield BytesIO(noise(3_000_000, 6))
        raise HostError("pg_dump exited with 1")

    report = host.backup(Stream("dump", fail_at_the_end), Tree("tree", tree))
    assert report.outcome == "incomplete"
    assert report.unread == (("dump", "pg_dump exited with 1"),)
    snapshot = host.repository().newest()
    paths = [entry.path for entry in entries(snapshot)]
    assert "dump" not in paths
    assert "tree/a.txt" in paths
    assert snapshot.manifest.problems == (("dump", "pg_dump exited with 1"),)


def test_a_missing_tree_makes_the_backup_incomplete(host: Host, tmp_path: Path) -> None:
    report = host.backup(Tree("gone", tmp_path / "nowhere"))
    assert (report.outcome, report.unread) == ("incomplete", (("gone", "No such file or directory"),))


def test_excluded_paths_are_left_out(host: Host, tree: Path) -> None:
    plain_tree(tree)
    host.backup(Tree("data", tree, exclude=("sub/deeper", "*.txt")))
    paths = {entry.path for entry in entries(host.repository().newest())}
    assert paths == {"data", "data/empty", "data/sub", "data/sub/noise", "data/sub/noise.again"}


def test_sources_must_not_share_a_name(host: Host, tree: Path) -> None:
    with pytest.raises(ConfigError, match="names more than one source"):
        host.backup(Tree("data", tree), Tree("data/inner", tree))


def test_one_recipient_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two recipients"):
        Origin(host="prod", store=Host(tmp_path).store, state=tmp_path, recipients=RECIPIENTS[:1])


def test_two_backups_at_once_are_refused(host: Host, tree: Path) -> None:
    plain_tree(tree)

    @contextmanager
    def backup_meanwhile():
        with pytest.raises(Locked):
            host.backup(tree)
        yield BytesIO(b"done")

    assert host.backup(Stream("outer", backup_meanwhile)).outcome == "complete"


def test_clones_that_back_up_at_once_both_restore(tree: Path, tmp_path: Path) -> None:
    """The lock is on one machine; two machines with one name must do no harm to each other's data."""
    plain_tree(tree)
    host = Host(tmp_path / "state")
    host.backup(tree)
    clone = Host(tmp_path / "clone", host.store)
    subprocess.run(["cp", "-a", str(host.directory), str(clone.directory)], check=True)
    (tree / "one").write_text("by the first")
    first = host.backup(tree)
    # The clone notices that the store has a snapshot that it did not write.
    second = clone.backup(tree)
    assert second.fresh_epoch
    assert "does not remember" in second.reasons[0]
    repository = host.repository()
    for number, name in enumerate(repository.snapshots()):
        restore(repository.open(name), tmp_path / f"out{number}")
    assert {first.sequence, second.sequence} == {2, 3}


def test_clones_that_see_nothing_of_each_other_number_packs_alike_and_both_restore(tree: Path, tmp_path: Path) -> None:
    plain_tree(tree)
    host = Host(tmp_path / "state")
    host.backup(tree)
    clone = Host(tmp_path / "clone", host.store)
    subprocess.run(["cp", "-a", str(host.directory), str(clone.directory)], check=True)
    before = list(host.store.list())
    for number in range(10):
        (tree / f"one{number}").write_bytes(noise(100_000, 100 + number))
    host.backup(tree)
    seen = look(tree)
    for number in range(10):
        (tree / f"one{number}").write_bytes(noise(100_000, 200 + number))

    class Blind:
        """The store as it was before the other one wrote."""

        def list(self, prefix: str = "") -> Any:
            return iter([info for info in before if info.key.startswith(prefix)])

        put_new = staticmethod(host.store.put_new)

    backup(
        replace(clone.origin, store=Blind()),
        [Tree("data", tree)],
        clock=FakeClock(epoch=time.time() + 5),
        options=Options(settle_within=0.0),
    )
    repository = host.repository()
    _, first, second = repository.snapshots()
    assert (first.sequence, first.epoch) == (second.sequence, second.epoch)
    findings = verify(repository)
    assert (findings.damaged, findings.touched) == ({}, [])
    assert findings.gaps == ["between snapshots 2 and 2 something is missing, or added"]
    for name, expected in ((first, seen), (second, look(tree))):
        restore(repository.open(name), tmp_path / str(name))
        assert look(tmp_path / str(name) / "data") == expected


def test_diff_and_find_tell_what_changed(host: Host, tree: Path) -> None:
    plain_tree(tree)
    host.backup(tree)
    (tree / "a.txt").write_bytes(b"HELLO\n")
    (tree / "empty").unlink()
    (tree / "sub.txt").chmod(0o600)
    (tree / "sub" / "new").write_text("x")
    host.backup(tree)
    repository = host.repository()
    one, two = (repository.open(name) for name in repository.snapshots())
    told = {difference.path: difference.how for difference in diff(one, two)}
    assert told == {
        "data": "touched",
        "data/a.txt": "changed",
        "data/empty": "removed",
        "data/sub": "touched",
        "data/sub.txt": "touched",
        "data/sub/new": "added",
    }
    found = [(str(name), entry.path) for name, entry in find(repository, "new", repository.snapshots())]
    assert found == [(str(two.name), "data/sub/new")]


def test_a_restore_refuses_a_target_with_something_in_it(host: Host, tree: Path) -> None:
    plain_tree(tree)
    host.backup(tree)
    with pytest.raises(RepositoryError, match="is not empty"):
        restore(host.repository().newest(), tree)


def test_the_snapshot_that_was_pinned_must_be_there(host: Host, tree: Path) -> None:
    plain_tree(tree)
    host.backup(tree)
    report = host.backup(tree)
    pin = host.pin().moved(report.sequence, report.digest)
    assert host.repository(pin=pin).newest().digest == report.digest
    newest = host.repository().snapshots()[-1]
    host.store.delete(newest.key("prod"))
    with pytest.raises(RepositoryError, match="lacks snapshot 2"):
        host.repository(pin=pin).newest()


def test_a_snapshot_that_another_key_signed_is_refused(host: Host, tree: Path, tmp_path: Path) -> None:
    plain_tree(tree)
    host.backup(tree)
    stranger = Pin(Host(tmp_path / "other").origin.signing_key().verify_key)
    with pytest.raises(RepositoryError, match="did not sign"):
        host.repository(pin=stranger).newest()


def test_a_host_that_was_set_up_anew_goes_on_and_its_old_snapshots_stay_readable(
    host: Host, tree: Path, tmp_path: Path
) -> None:
    host.backup(tree)
    anew = Host(tmp_path / "anew", host.store)
    report = anew.backup(tree)
    assert (report.sequence, report.fresh_epoch) == (2, True)
    pin = host.pin().renewed(anew.pin().signing_key, 1)
    repository = host.repository(pin=pin)
    assert [repository.open(name).manifest.sequence for name in repository.snapshots()] == [1, 2]
    # The old machine, wherever it is now, can add nothing that is believed.
    forged = host.backup(tree)
    assert forged.sequence == 3
    with pytest.raises(RepositoryError, match="did not sign"):
        host.repository(pin=pin).newest()


def test_the_public_half_of_the_signing_key_lies_ready_to_be_pinned(host: Host) -> None:
    key = host.origin.signing_key().verify_key
    assert (host.directory / PUBLIC_KEY).read_text() == f"{key}\n"
    (host.directory / PUBLIC_KEY).write_text("something else")
    host.origin.signing_key()
    assert (host.directory / PUBLIC_KEY).read_text() == f"{key}\n"


def test_the_host_can_open_nothing_with_what_it_holds(host: Host, tree: Path) -> None:
    """Everything in the state directory is tried as an identity, and none of it is one."""
    plain_tree(tree)
    host.backup(tree)
    for path in host.directory.iterdir():
        assert b"AGE-SECRET-KEY-1" not in path.read_bytes().upper()
