"""The control side and the agent across a real process: only the shipped files, frames on standard input and output."""

import json
import os
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from toolkit.crypto import tags
from toolkit.host.fake import FakeHost
from toolkit.host.local import LocalProcess
from toolkit.machine.agent import ENTRY
from toolkit.vault.delivery import Delivery, Entry
from toolkit.words import frames
from toolkit.words.command import Command, Result
from toolkit.words.errors import HostError, SecretError
from toolkit.words.values import Secret
from toolkit.workflows import agent, wheelhouse

KEY = b"5f" * 32
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
START = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from toolkit.agent.__main__ import main
sys.exit(main())
"""


@dataclass
class AgentHost(FakeHost):
    """A host whose agent is a process of this machine, over a root of its own."""

    lib: Path = Path()
    root: Path = Path()

    def line(self, command: Command) -> str:
        assert command.argv[0] == ENTRY
        return shlex.join(
            [sys.executable, "-P", "-c", START, str(self.lib), "--root", str(self.root), *command.argv[1:]]
        )

    def open(self, command: Command) -> LocalProcess:
        return LocalProcess(self.line(command))

    def run(self, command: Command, **_options: object) -> Result:
        process = LocalProcess(self.line(command))
        process.finish()
        out, err = b"", b""
        while any(more := process.read()):
            out, err = out + more[0], err + more[1]
        return Result(command, process.wait(), out, err)


@pytest.fixture
def host(tmp_path: Path) -> AgentHost:
    """Return a host with the agent that this toolkit would ship."""
    lib = tmp_path / "lib"
    for name, content in wheelhouse.own_files().items():
        (lib / name).parent.mkdir(parents=True, exist_ok=True)
        (lib / name).write_bytes(content)
    release = wheelhouse.release(PYTHON, "amd64").name
    (lib / "toolkit/agent/release.json").write_text(json.dumps({"release": release, "architecture": "amd64"}))
    (tmp_path / "root/var/lib/toolkit").mkdir(parents=True)
    (tmp_path / "root/var/lib/toolkit/key").write_bytes(KEY)
    return AgentHost(name="prod", lib=lib, root=tmp_path / "root")


def delivery(values: dict[str, bytes]) -> Delivery:
    entries = [
        Entry(name, tags.tag(KEY, name, value), 0o400, os.getuid(), os.getgid(), len(value))
        for name, value in values.items()
    ]
    return Delivery("shop", "r1", tuple(entries))


def put(host: AgentHost, values: dict[str, bytes]) -> dict:
    return agent.put(host, delivery(values), [Secret(value) for value in values.values()])


def delivered(host: AgentHost) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in host.root.glob("run/secrets/shop/*"))


def test_a_delivery_goes_through(host: AgentHost) -> None:
    receipt = put(host, {"db": b"one", "api": bytes(range(256)) * 1000})
    assert len(receipt["written"]) == 2
    assert delivered(host) == ["api", "db"]


def test_the_agent_lists_what_it_has(host: AgentHost) -> None:
    put(host, {"db": b"one"})
    [stack] = agent.listing(host)["stacks"]
    assert (stack["stack"], stack["release"], stack["holes"]) == ("shop", "r1", [])


def test_what_the_agent_refuses_is_raised_here(host: AgentHost) -> None:
    wrong = replace(delivery({"db": b"one"}).files[0], tag="0" * 16)
    with pytest.raises(SecretError, match="prod: db: the tag is not that of the value") as caught:
        agent.put(host, Delivery("shop", "r1", (wrong,)), [Secret(b"one")])
    assert caught.value.exit_code == 11
    assert "deploy again" in caught.value.hint


def test_a_path_that_cannot_be_used_is_named(host: AgentHost) -> None:
    (host.root / "run").write_text("a file where a folder belongs")
    with pytest.raises(HostError, match=r"run/secrets: Not a directory"):
        put(host, {"db": b"one"})


def test_an_agent_of_another_version_gets_no_secret(host: AgentHost) -> None:
    note = host.lib / "toolkit/agent/release.json"
    note.write_text(json.dumps({"release": "f" * 24, "architecture": "amd64"}))
    for work in (lambda: put(host, {"db": b"one"}), lambda: agent.listing(host)):
        with pytest.raises(HostError, match=r"the agent there .f{24}. is not the one of this toolkit") as caught:
            work()
        assert caught.value.hint == "invoke provision --host prod"
    assert delivered(host) == []


def test_an_agent_that_is_missing_or_broken_is_told_with_its_words(host: AgentHost) -> None:
    (host.lib / "toolkit/agent/__main__.py").write_text("raise SystemExit('out of order')\n")
    for work in (lambda: put(host, {"db": b"one"}), lambda: agent.listing(host)):
        with pytest.raises(HostError, match="prod: no answer from the agent:\nout of order") as caught:
            work()
        assert caught.value.hint == "invoke provision --host prod"


@pytest.mark.parametrize("cut", [1, 7, 40, 150])
def test_a_stream_that_is_cut_delivers_nothing(host: AgentHost, cut: int) -> None:
    request = frames.pack(delivery({"db": b"one"}).header(), b"one")
    process = host.open(Command((ENTRY, "secrets", "put")))
    process.write(request[:-cut])
    process.finish()
    out = b""
    while any(more := process.read()):
        out += more[0]
    read = iter_bytes(out)
    frames.take(read)
    fault = frames.take(read)[0]["fault"]
    assert "bytes early" in fault["message"]
    assert process.wait() == fault["code"] == 12
    assert delivered(host) == []


def iter_bytes(data: bytes):
    rest = bytearray(data)

    def read(size: int) -> bytes:
        piece = bytes(rest[:size])
        del rest[:size]
        return piece

    return read


def test_a_restore_says_on_standard_error_why_it_fails(host: AgentHost) -> None:
    put(host, {"db": b"one"})
    next(host.root.glob("var/lib/toolkit/secrets/shop/*.age")).unlink()
    result = host.run(Command((ENTRY, "secrets", "restore")))
    assert result.code == 11
    assert "not every secret is back" in result.complaint
    assert "hint: `invoke deploy`" in result.complaint


@pytest.mark.parametrize("words", [b"", b"\0\0\0\2\0\0\0\0[]", b"\0\0\0\2\0\0\0\0{", b"\0\0\0\1\0\0\0\0{", b"\xff" * 8])
def test_what_is_no_frame_is_refused(words: bytes) -> None:
    with pytest.raises(HostError):
        frames.take(iter_bytes(words))


def test_lengths_beyond_reason_are_refused_before_anything_is_read() -> None:
    endless = frames.pack({})[:3] + b"\xff" * 5
    with pytest.raises(HostError, match="beyond the limit"):
        frames.take(iter_bytes(endless))


def test_frames_follow_each_other() -> None:
    read = iter_bytes(frames.pack({"a": 1}, b"\0body") + frames.pack({"b": "ü"}))
    assert frames.take(read) == ({"a": 1}, b"\0body")
    assert frames.take(read) == ({"b": "ü"}, b"")
