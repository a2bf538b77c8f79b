"""The beginning of a dump that pg_restore reads as a file: it is there for as long as that, and for its owner alone."""

import signal
import subprocess
import time
from pathlib import Path

from toolkit.sources import postgres_load
from toolkit.words.command import script


def keeping(kept: Path, *words: str) -> "subprocess.Popen[bytes]":
    asked = script(postgres_load._KEPT, str(kept), *words)
    process = subprocess.Popen(asked.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"the beginning")
    process.stdin.close()
    return process


def test_the_file_holds_what_was_sent_and_is_gone_afterwards(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    process = keeping(kept, "sh", "-c", 'stat --format %a "$1"; cat "$1"; exit 3', "sh")
    assert process.stdout is not None
    assert process.stdout.read() == b"600\nthe beginning"
    assert process.wait() == 3
    assert not kept.exists()


def test_nothing_is_left_where_it_is_ended(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    process = keeping(kept, "sh", "-c", 'touch "$1.begun"; sleep 0.5', "sh")
    while not (tmp_path / "kept.begun").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert not kept.exists()
