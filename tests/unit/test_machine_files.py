"""Files, folders and lines: from what stands there to what has to be done."""

import hashlib

import pytest

from toolkit.converge.changes import Change
from toolkit.converge.facts import Unknown
from toolkit.converge.fake import FakeFacts
from toolkit.host import File
from toolkit.machine import files
from toolkit.words.errors import HostError

HERE = "regular file|644|root|root\nname=old\n"


def wanted(operation, **entries: str) -> list[Change]:
    facts = FakeFacts()
    for look, output in entries.items():
        facts.tell({"text": files.text, "sealed": files.sealed}[look]("/etc/x"), output)
    return list(operation(facts))


def test_a_missing_file_is_written_with_all_of_it_in_the_diff() -> None:
    [change] = wanted(files.file("/etc/x", "a=1\n"), text="absent\n")
    assert change.action == File("/etc/x", b"a=1\n")
    assert "--- /dev/null" in change.diff
    assert "+a=1" in change.diff


def test_a_file_as_it_should_be_is_left_alone() -> None:
    assert wanted(files.file("/etc/x", "name=old\n"), text=HERE) == []


def test_a_file_with_other_content_shows_the_difference() -> None:
    [change] = wanted(files.file("/etc/x", "name=new\n"), text=HERE)
    assert "-name=old" in change.diff
    assert "+name=new" in change.diff


@pytest.mark.parametrize(
    "asked", [{"mode": 0o600}, {"owner": "www-data"}, {"group": "adm"}], ids=["mode", "owner", "group"]
)
def test_the_same_content_under_another_owner_or_mode_is_written_again(asked) -> None:
    entry = "regular file|644|root|root\n"
    facts = FakeFacts()
    facts.tell(files.text("/etc/x"), entry + "a\n")
    facts.tell(files.sealed("/etc/x"), entry + hashlib.sha256(b"a\n").hexdigest() + "  -\n")
    [change] = files.file("/etc/x", "a\n", **asked)(facts)
    assert change.action == File("/etc/x", b"a\n", **asked)


def test_an_owner_only_file_is_compared_by_its_hash_and_never_shown() -> None:
    entry = f"regular file|600|root|root\n{hashlib.sha256(b'hunter2').hexdigest()}  -\n"
    assert wanted(files.file("/etc/x", "hunter2", mode=0o600), sealed=entry) == []
    [change] = wanted(files.file("/etc/x", "hunter3", mode=0o600), sealed=entry)
    assert change.diff == ""
    assert "hunter" not in change.summary


def test_bytes_that_are_no_text_are_compared_by_their_hash() -> None:
    key = b"\x99\x01\xff\xfe"
    entry = f"regular file|644|root|root\n{hashlib.sha256(key).hexdigest()}  -\n"
    assert wanted(files.file("/etc/x", key), sealed=entry) == []


def test_a_link_in_a_files_place_is_replaced() -> None:
    [change] = wanted(files.file("/etc/x", "a\n"), text="symbolic link|777|root|root\n")
    assert isinstance(change.action, File)


def test_an_empty_file_is_a_file() -> None:
    assert wanted(files.file("/etc/x", ""), text="regular empty file|644|root|root\n") == []


@pytest.mark.parametrize(
    "operation", [files.file("/etc/x", "a"), files.absent("/etc/x"), files.line("/etc/x", "a")], ids=lambda o: o.name
)
def test_a_directory_in_a_files_place_is_refused(operation) -> None:
    with pytest.raises(HostError, match="/etc/x is a directory") as caught:
        wanted(operation, text="directory|755|root|root\n")
    assert caught.value.hint


def test_what_should_be_absent_is_removed_once() -> None:
    [change] = wanted(files.absent("/etc/x"), text=HERE)
    assert change.action.argv == ("rm", "--force", "--", "/etc/x")
    assert wanted(files.absent("/etc/x"), text="absent\n") == []


def test_a_directory_is_made_or_put_right_and_a_file_in_its_place_is_refused() -> None:
    [change] = wanted(files.directory("/etc/x", 0o700, "deploy", "deploy"), text="absent\n")
    assert "--mode=700" in change.action.argv
    assert wanted(files.directory("/etc/x", 0o700), text="directory|700|root|root\n") == []
    assert len(wanted(files.directory("/etc/x", 0o700), text="directory|755|root|root\n")) == 1
    with pytest.raises(HostError, match="where a directory belongs"):
        wanted(files.directory("/etc/x"), text=HERE)


@pytest.mark.parametrize(
    ("before", "match", "after"),
    [
        ("", None, "swap\n"),
        ("a\nb\n", None, "a\nb\nswap\n"),
        ("a", None, "a\nswap\n"),
        ("a\nswap\nb\n", None, "a\nswap\nb\n"),
        ("a\nswap 1G\nb\n", "^swap", "a\nswap\nb\n"),
        ("swap 1\nb\nswap 2\n", "^swap", "swap\nb\n"),
        ("swap\nswap\n", None, "swap\n"),
    ],
)
def test_a_line_stands_once_and_everything_else_stays(before: str, match: str | None, after: str) -> None:
    assert files.with_line(before, "swap", match) == after
    assert files.with_line(after, "swap", match) == after


def test_a_line_keeps_the_files_owner_and_mode() -> None:
    [change] = wanted(files.line("/etc/x", "a"), text="regular file|640|root|adm\nb\n")
    assert change.action == File("/etc/x", b"b\na\n", 0o640, "root", "adm")


def test_what_is_not_known_yet_is_asked_for() -> None:
    with pytest.raises(Unknown):
        list(files.file("/etc/x", "a")(FakeFacts()))
