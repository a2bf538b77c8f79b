"""Pins: what the control side remembers survives, leads only forwards, and says what to do when it is not there."""

from pathlib import Path

import pytest

from tests.repository_setup import RECIPIENTS
from toolkit.crypto.signing import VerifyKey
from toolkit.repository import Pin
from toolkit.words.errors import RepositoryError

OLD, NEW = VerifyKey(bytes(range(32))), VerifyKey(bytes(32))
PIN = Pin(OLD, RECIPIENTS, 7, "ab" * 32, ((1, 3), (5, 5)))


def test_a_pin_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    pin = PIN.renewed(NEW, 9)
    pin.save(tmp_path / "prod.head")
    assert Pin.load(tmp_path / "prod.head") == pin
    assert [path.name for path in tmp_path.iterdir()] == ["prod.head"]


def test_a_pin_from_before_anything_could_expire_is_read(tmp_path: Path) -> None:
    fields = f'{{"signing_key": "{"00" * 32}", "recipients": [], "sequence": 0, "digest": ""}}'
    (tmp_path / "prod.head").write_text(fields)
    assert Pin.load(tmp_path / "prod.head") == Pin(NEW)


def test_a_missing_pin_says_how_to_trust_a_host(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="nothing is pinned of prod yet") as caught:
        Pin.load(tmp_path / "prod.head")
    assert "invoke backup.trust --host prod" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"signing_key": "00", "recipients": []}', "null"])
def test_what_is_no_pin_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "prod.head").write_text(text)
    with pytest.raises(RepositoryError, match="is not a pin") as caught:
        Pin.load(tmp_path / "prod.head")
    assert caught.value.hint == "restore it from version control"


def test_a_folder_that_is_not_there_cannot_take_a_pin(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="cannot be written"):
        PIN.save(tmp_path / "backups" / "prod.head")


def test_a_head_moves_forwards_only() -> None:
    assert PIN.moved(8, "cd" * 32).sequence == 8
    assert PIN.moved(7, "ab" * 32) == PIN
    for sequence, digest in ((6, "ab" * 32), (7, "cd" * 32)):
        with pytest.raises(RepositoryError, match="is older than the pinned 7"):
            PIN.moved(sequence, digest)


def test_expired_snapshots_are_kept_as_runs() -> None:
    assert PIN.without([4]).expired == ((1, 5),)
    assert PIN.without([7, 9, 8]).expired == ((1, 3), (5, 5), (7, 9))
    assert PIN.without([2]) == PIN


@pytest.mark.parametrize(
    ("before", "after", "misses"), [(3, 4, False), (4, 6, False), (3, 5, True), (3, 6, True), (1, 3, False)]
)
def test_only_what_did_not_expire_is_missed(before: int, after: int, misses: bool) -> None:
    assert PIN.misses(before, after) is misses


def test_a_former_key_is_believed_for_what_it_signed_and_for_nothing_later() -> None:
    pin = PIN.renewed(NEW, 9)
    assert pin.keys(9) == (NEW, OLD)
    assert pin.keys(10) == (NEW,)
