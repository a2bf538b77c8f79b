"""Who still talks to a copy that is to go: connections as the kernel writes them, in a folder instead of /proc."""

import subprocess
from pathlib import Path

import pytest

from toolkit.stack import rolling
from toolkit.words.command import script

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LISTENS = "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 1 1 0000\n"
ZERO = "0" * 32


def line(remote: str, state: str, port: str = "1F90", local: str = "020011AC") -> str:
    return f"   1: {local}:{port} {remote}:C350 {state} 00000000:00000000 00:00000000 00000000  1000 0 2 1 0000\n"


def count(folder: Path, four: str, six: str = "") -> int:
    (folder / "net").mkdir()
    (folder / "net/tcp").write_text(HEAD + four)
    (folder / "net/tcp6").write_text(HEAD + six)
    asked = script(rolling._COUNT, f"..{folder}")
    return int(subprocess.run(asked.argv, capture_output=True, check=True).stdout)


@pytest.mark.parametrize(("state", "counted"), [("01", 1), ("03", 1), ("06", 0), ("08", 0), ("02", 0)])
def test_a_connection_counts_while_it_stands_or_is_about_to(tmp_path: Path, state: str, counted: int) -> None:
    assert count(tmp_path, LISTENS + line("010011AC", state)) == counted


def test_the_containers_own_connections_do_not_count(tmp_path: Path) -> None:
    asks_a_database = line("050011AC", "01", port="B5C6")
    checks_its_health = line("0100007F", "01", local="0100007F") + line("0200007F", "01", local="0200007F")
    same_by_v6 = line("00000000000000000000000001000000", "01", local="00000000000000000000000001000000")
    assert count(tmp_path, LISTENS + asks_a_database + checks_its_health, same_by_v6) == 0


def test_both_families_are_added_up_wherever_the_listener_is_named(tmp_path: Path) -> None:
    mapped = line("0000000000000000FFFF0000010011AC", "01", local="0000000000000000FFFF0000020011AC")
    listens = LISTENS.replace("00000000:1F90 00000000", f"{ZERO}:1F90 {ZERO}")
    assert count(tmp_path, line("010011AC", "01"), mapped + listens) == 2
