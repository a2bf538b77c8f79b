"""Programs as streams: believed by their own exit code, given up when they hang, and always ended."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.sources import process as processes
from toolkit.sources.docker import Inside
from toolkit.sources.login import Login
from toolkit.sources.process import Process, way_out
from toolkit.sources.streams import feed, streamed
from toolkit.words.errors import ConfigError, HostError

ROOT = Path(__file__).parents[2]


def shell(text: str, patience: float = 30, end: Callable[[Process], None] | None = None) -> Process:
    return Process(("sh", "-c", text), what="the dump", patience=patience, end=end)


def alive(marker: str) -> bool:
    return subprocess.run(["pgrep", "-f", marker], capture_output=True, check=False).returncode == 0


def test_a_stream_is_whole_when_its_program_says_so() -> None:
    with streamed(shell("head -c 5000000 /dev/zero")) as stream:
        blocks = [*iter(lambda: stream.read(1 << 20), b"")]
    assert [len(block) for block in blocks] == [1 << 20] * 4 + [5000000 - (4 << 20)]


def test_the_end_of_the_pipe_is_not_the_end_of_the_dump() -> None:
    dump = shell("echo half; echo disk on fire >&2; exit 3")
    failed = pytest.raises(HostError, match=r"(?s)the dump failed with exit code 3.*disk on fire")
    with failed, streamed(dump) as stream:
        assert stream.read(100) == b"half\n"
        assert stream.read(100) == b""


def test_nobody_sleeps_over_a_program_whose_last_word_comes_before_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_TICK", 600.0)
    monkeypatch.setattr(processes, "_GRACE", 60.0)
    process = shell("exec 2>&-; sleep 0.5")
    process.check()
    # Whoever looks after it has gone as well, and not because its time was up.
    assert not process._drain.is_alive()
    process.close()


def test_a_text_dump_must_end_with_its_mark() -> None:
    failed = pytest.raises(HostError, match="without the mark of a whole dump")
    with failed, streamed(shell("echo INSERT"), says=b"complete") as stream:
        stream.read(100)
    with streamed(shell("echo INSERT; echo -- dump complete"), says=b"complete") as stream:
        stream.read(100)


def test_what_was_read_before_comes_first() -> None:
    with streamed(shell("printf rest"), first=b"begun ", says=b"begun rest") as stream:
        assert stream.read(3) + stream.read(100) + stream.read(100) == b"begun rest"


def test_a_program_that_hangs_is_given_up_and_what_it_started_elsewhere_is_ended() -> None:
    ended: list[str] = []
    process = shell("echo begun; exec sleep 1000", patience=1, end=lambda process: ended.append(process.what))
    assert process.read(6) == b"begun\n"
    with pytest.raises(HostError, match="the dump hung: nothing moved for 1 s"):
        process.read(6)
    with pytest.raises(HostError, match="hung"):
        process.check()
    process.close()
    assert ended == ["the dump"]


def test_a_program_that_does_not_read_is_given_up() -> None:
    process = shell("exec sleep 1000", patience=1)
    with pytest.raises(HostError):
        process.write(bytes(4 << 20))
    process.close()


def test_a_slow_reader_is_not_a_hung_program() -> None:
    process = shell("head -c 3000000 /dev/zero", patience=1)
    process.read(1)
    # Nobody waits for the program meanwhile: a store may be down for longer than a dump may be silent.
    time.sleep(1.6)
    assert len(process.read(3000000)) == 2999999
    process.check()
    process.close()


def test_leaving_early_ends_the_program() -> None:
    marker = f"sleep 7{os.getpid()}"
    with pytest.raises(ZeroDivisionError), streamed(shell(f"echo x; exec {marker}")) as stream:
        stream.read(1)
        raise ZeroDivisionError
    assert not alive(marker)


def test_a_program_that_ends_while_it_is_fed_says_why() -> None:
    process = shell("echo no such table >&2; exit 1")
    with pytest.raises(HostError, match="no such table"):
        while True:
            process.write(bytes(1 << 20))
    process.close()


def test_feeding_returns_what_it_says() -> None:
    assert feed(shell("tr a-z A-Z"), b"abc") == b"ABC"


def test_only_the_word_from_inside_the_container_is_success() -> None:
    def inside(text: str) -> Inside:
        return Inside(("sh", "-c", text), what="pg_dump")

    for text, code in (
        ("echo 'toolkit pid 5' >&2; echo 'toolkit exit 0' >&2; exit 0", None),
        ("echo 'toolkit pid 5' >&2; exit 0", -1),
        ("echo 'toolkit pid 5' >&2; echo 'toolkit exit 3' >&2; exit 0", 3),
        ("echo 'toolkit pid 5' >&2; echo 'toolkit exit 0' >&2; exit 137", 137),
        ("exit 126", 126),
    ):
        process = inside(text)
        if code is None:
            process.check()
        else:
            with pytest.raises(HostError, match=f"exit code {code}"):
                process.check()
        process.close()


def test_the_way_out_follows_from_the_last_words() -> None:
    assert "free some space" in way_out("could not extend file: No space left on device")
    assert "file:/run/secrets" in way_out("FATAL:  password authentication failed for user")
    assert "bring the stack up" in way_out("Error response from daemon: Container 5 is not running")


@pytest.mark.parametrize("place", ["", "file:relative", "env:no-name", "env:A;B", "secret", "file"])
def test_a_place_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(ConfigError, match="no place for a password"):
        Login("redis", "default", place)


def test_the_agents_part_needs_no_library_of_the_control_side() -> None:
    modules = sorted((ROOT / "toolkit/sources").glob("*.py"))
    names = [f"toolkit.sources.{path.stem}" for path in modules if path.stem not in ("__init__", "sqlite_child")]
    program = f"import sys, importlib\nfor name in {names!r}: importlib.import_module(name)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"yaml", "pydantic", "fabric", "paramiko", "boto3", "rich", "invoke"} & set(loaded.stdout.split())
