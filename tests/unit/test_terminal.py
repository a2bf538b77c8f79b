"""A person's terminal: the system's ssh is told exactly what the host file says."""

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from toolkit.config.models import Connection, HostFile
from toolkit.host import terminal
from toolkit.words.errors import HostError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMOBWSD/BbnYROmRaXpDxWEK36gAn8VgUvhHtTT/j/7g"

# Tells its arguments and the known hosts it was given, and ends with 7.
PROGRAM = """#!/usr/bin/env python3
import json, pathlib, sys
words = [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]
known = [word.partition("=")[2] for word in words if word.startswith("UserKnownHostsFile=")]
print(json.dumps({"words": words, "known": [pathlib.Path(name).read_text() for name in known], "files": known}))
sys.exit(7)
"""


@pytest.fixture(autouse=True)
def _programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ssh", "sudo"):
        (tmp_path / name).write_text(PROGRAM)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def host(**connection: object) -> HostFile:
    reach = Connection.model_validate({"address": "203.0.113.9"} | connection)
    return HostFile(name="web", root=Path("/repository"), connection=reach)


class Told:
    """What the program was told."""

    def __init__(self, text: str) -> None:
        read = json.loads(text)
        self.words: list[str] = read["words"]
        self.known: list[str] = read["known"]
        self.files: list[str] = read["files"]


def ran(capfd: pytest.CaptureFixture[str], host_file: HostFile, *words: str, root: bool = False) -> Told:
    assert terminal.run(host_file, words, root=root) == 7
    return Told(capfd.readouterr().out)


def test_a_shell_is_what_comes_without_a_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert ran(capfd, host()).words[-2:] == ["--", "203.0.113.9"]


def test_everything_the_host_file_says_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    words = ran(capfd, host(user="admin", port=2222, jump="ops@bastion", identity="keys/id")).words
    pairs = list(pairwise(words))
    for pair in (("-l", "admin"), ("-p", "2222"), ("-J", "ops@bastion"), ("-i", "/repository/keys/id")):
        assert pair in pairs
    assert ("-o", "IdentitiesOnly=yes") in pairs


def test_a_command_travels_as_one_line_that_a_shell_takes_apart_again(capfd: pytest.CaptureFixture[str]) -> None:
    assert ran(capfd, host(), "printf", "%s", "a b; reboot").words[-1] == "printf %s 'a b; reboot'"


def test_root_is_asked_for_on_the_far_side(capfd: pytest.CaptureFixture[str]) -> None:
    assert ran(capfd, host(), "docker", "ps", root=True).words[-1] == "sudo docker ps"


@pytest.mark.parametrize("connection", [{}, {"port": 2222}, {"address": "an-alias-of-ssh-config"}])
def test_a_pinned_key_is_the_only_one_ssh_shall_trust(
    capfd: pytest.CaptureFixture[str], connection: dict[str, object]
) -> None:
    told = ran(capfd, host(host_key=KEY, **connection))
    assert told.known == [f"toolkit-pinned-host {KEY}\n"]
    assert "HostKeyAlias=toolkit-pinned-host" in told.words
    assert "GlobalKnownHostsFile=/dev/null" in told.words
    assert "StrictHostKeyChecking=yes" in told.words
    assert not Path(told.files[0]).exists()


def test_without_a_pinned_key_ssh_decides_as_it_is_set_up(capfd: pytest.CaptureFixture[str]) -> None:
    assert "-o" not in ran(capfd, host()).words


def test_a_missing_ssh_is_told_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError, match="no `ssh` on this machine") as caught:
        terminal.run(host())
    assert "OpenSSH" in caught.value.hint


def test_this_machine_needs_no_ssh(capfd: pytest.CaptureFixture[str]) -> None:
    here = HostFile(name="here", root=Path("/repository"), connection="local")
    assert terminal.run(here, ["sh", "-c", "printf '%s' \"$1\"; exit 3", "sh", "a b"]) == 3
    assert capfd.readouterr().out == "a b"
    assert ran(capfd, here, "docker", "ps", root=True).words == ["sudo", "docker", "ps"]
