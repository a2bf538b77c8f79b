"""What a deploy keeps on the host: requests, the mark, journals, records, holds and the audit log."""

import json
import os
import threading
from pathlib import Path

import pytest

from toolkit.agent import audit, inbox, steer
from toolkit.agent.paths import Paths
from toolkit.stack import hold, journal, record, transaction
from toolkit.stack.containers import Container
from toolkit.stack.journal import Journal, Scribe
from toolkit.stack.place import Place
from toolkit.stack.request import Account, Request
from toolkit.stack.transaction import Transaction
from toolkit.words.errors import HostError, Locked, SecretError


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place("shop", tmp_path)
    made.prepare()
    return made


REQUEST = Request(
    "deploy", "shop", "20260101T000000Z-abc", "ann@laptop", {"b": 2, "a": 3}, (Account("ghcr.io", "ann", 4),)
)


def test_a_request_reads_back_and_is_cut_as_it_was_laid() -> None:
    read = Request.parse(json.loads(json.dumps(REQUEST.header())))
    assert read == REQUEST
    values, tokens = read.cut(b"BBAAATOKN")
    assert values == {"b": b"BB", "a": b"AAA"}
    assert [token.reveal() for token in tokens] == [b"TOKN"]


@pytest.mark.parametrize("body", [b"", b"BBAAATOK", b"BBAAATOKN+"])
def test_bytes_that_do_not_add_up_are_refused(body: bytes) -> None:
    with pytest.raises(SecretError, match="bytes for secrets"):
        REQUEST.cut(body)


@pytest.mark.parametrize(
    "change",
    [
        {"stack": "../etc"},
        {"stack": ""},
        {"release": "../x"},
        {"release": ".draft-1"},
        {"release": "a/b"},
        {"action": "rm"},
        {"secrets": {"a": "x"}},
        {"accounts": [{"odd": 1}]},
        {"surprise": 1},
    ],
)
def test_a_request_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(HostError):
        Request.parse(REQUEST.header() | change)


def test_requests_are_wiped_when_they_were_taken(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    inbox.put(paths, "one", REQUEST, b"BBAAATOKN")
    assert {path.stat().st_mode & 0o777 for path in paths.requests.iterdir()} == {0o600}
    with inbox.taken(paths, "one", Request.parse) as (request, body):
        assert (request, body) == (REQUEST, b"BBAAATOKN")
    assert list(paths.requests.iterdir()) == []
    with pytest.raises(HostError, match="no request one any more"), inbox.taken(paths, "one", Request.parse):
        pass


def test_requests_are_wiped_also_when_the_work_fails(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    inbox.put(paths, "one", REQUEST, b"BBAAATOKN")
    with pytest.raises(ZeroDivisionError), inbox.taken(paths, "one", Request.parse):
        raise ZeroDivisionError
    assert list(paths.requests.iterdir()) == []


def test_the_mark_is_there_until_it_is_ended(place: Place) -> None:
    assert transaction.read(place) is None
    made = Transaction("new", "old", "now")
    transaction.begin(place, made)
    assert transaction.read(place) == made
    passed = transaction.passed(place, made)
    assert passed.passed
    assert transaction.read(place) == passed
    transaction.end(place)
    assert transaction.read(place) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "toolkit transaction 9"}', '{"format": 1, "x": 2}'])
def test_a_mark_that_cannot_be_read_is_not_guessed_at(place: Place, text: str) -> None:
    (place.state / transaction.MARK).write_text(text)
    with pytest.raises(HostError):
        transaction.read(place)


def test_who_asks_for_a_lock_leaves_none(place: Place) -> None:
    place.prepare()
    assert (place.busy(), place.is_restoring()) == (False, False)
    assert list(place.run.iterdir()) == []
    with place.restoring():
        assert place.is_restoring()


def test_only_one_holds_the_lock_and_it_ends_with_its_holder(place: Place) -> None:
    with place.locked():
        assert place.busy()
        with pytest.raises(Locked), place.locked():
            pass
    assert not place.busy()


def test_whoever_is_at_work_is_named_with_phase_and_since_when(place: Place) -> None:
    steer.refuse_busy(place)
    told = {"who": "ann@laptop", "action": "deploy", "release": "r1", "phase": "pull", "since": 0, "pid": 1}
    (place.run / "driver.json").write_text(json.dumps(told))
    with place.locked(), pytest.raises(Locked, match=r"ann@laptop is at work on shop: deploy of r1, in pull since \d"):
        steer.refuse_busy(place)
    (place.run / "driver.json").write_text("half a li")
    with place.locked(), pytest.raises(Locked, match="somebody is"):
        steer.refuse_busy(place)


def test_a_hold_refuses_until_its_time_is_over(place: Place) -> None:
    hold.write(place, hold.Hold("ann", "the books", until=1000))
    with pytest.raises(Locked, match=r"on hold for another 1 m 40 s: the books \(ann\)"):
        hold.refuse(place, now=900)
    hold.refuse(place, now=1001)
    hold.write(place, hold.Hold("ann", "the books", until=1000))
    hold.release(place)
    hold.refuse(place, now=900)
    hold.release(place)
    (place.state / hold.FILE).write_text("{}")
    hold.refuse(place, now=900)


def test_a_journal_is_followed_to_its_end_while_it_is_written(place: Place) -> None:
    path = journal.path_of(place, "one")
    book = Journal(path)
    scribe = Scribe(book)

    def work() -> None:
        scribe.step("pull")
        scribe.progress(1, 2, "half")
        scribe.progress(1, 2, "half")
        scribe.line("a line")
        scribe.warn("careful")
        scribe.done("2 images")
        book.write("end", outcome={})

    writer = threading.Thread(target=work)
    writer.start()
    events = [json.loads(line) for line in journal.follow(path, alive=lambda: True)]
    writer.join()
    assert [event["kind"] for event in events] == ["step", "progress", "line", "warn", "done", "end"]
    assert list(journal.read(path)) == events


def test_following_ends_where_nobody_is_alive_to_write_on(place: Place) -> None:
    path = journal.path_of(place, "one")
    Journal(path).write("step", text="pull")
    lines = list(journal.follow(path, alive=lambda: False))
    assert len(lines) == 1


def test_a_line_that_was_cut_off_is_passed_over(place: Place) -> None:
    path = journal.path_of(place, "one")
    Journal(path).write("step", text="pull")
    with path.open("ab") as stream:
        stream.write(b'{"kind": "li')
    assert [event["kind"] for event in journal.read(path)] == ["step"]
    assert list(journal.read(journal.path_of(place, "never"))) == []


def test_a_service_that_talks_without_end_fills_no_disk(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST", 2000)
    book = Journal(journal.path_of(place, "one"))
    scribe = Scribe(book)
    for _ in range(100):
        scribe.line("x" * 100_000)
    scribe.step("gate")
    book.write("end")
    kinds = [event["kind"] for event in journal.read(book.path)]
    assert kinds[-2:] == ["step", "end"]
    assert book.path.stat().st_size < 2000 + journal.LONGEST + 500


def test_old_journals_go(place: Place) -> None:
    for number in range(journal.KEEP + 5):
        journal.path_of(place, f"2026{number:04}").touch()
    journal.prune(place)
    assert len(journal.names(place)) == journal.KEEP
    assert journal.names(place)[-1] == f"2026{journal.KEEP + 4:04}"


BOX = Container("id", "n", "web", "i", "running", "", 0, False, 0, 1.0, fingerprint="x")


def test_a_record_knows_what_was_edited(place: Place) -> None:
    assert record.read(place) == record.Record()
    record.write(place, "r1", [BOX], ["job"])
    known = record.read(place)
    assert (known.release, known.finished) == ("r1", ("job",))
    assert not known.edited(BOX)
    assert record.parse(json.dumps({"release": "r", "fingerprints": {"id": "y"}, "finished": []})).edited(BOX)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"release": 1, "fingerprints": 2, "finished": 3}'])
def test_a_record_that_cannot_be_read_suspects_nobody(text: str) -> None:
    assert not record.parse(text).edited(BOX)


def test_the_audit_log_grows_at_its_end_and_is_for_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(tmp_path)
    for number in range(3):
        audit.record(paths, "deploy", number=number)
    with paths.audit.open("ab") as log:
        log.write(b"half a li\n[]\n")
    assert [one["number"] for one in audit.read(paths, 2)] == [1, 2]
    assert paths.audit.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(audit, "MOST", 10)
    audit.record(paths, "deploy", number=3)
    assert [one["number"] for one in audit.read(paths, 9)] == [0, 1, 2, 3]
    assert paths.audit.with_suffix(".1").exists()


def test_a_full_disk_costs_the_audit_line_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    audit.record(Paths(tmp_path), "deploy")
