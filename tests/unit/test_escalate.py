"""From a login to root, over a scripted far side and over a real shell with a sudo of our own."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from toolkit.host.escalate import AS_ROOT, WITHOUT_PASSWORD, root_shell
from toolkit.host.local import LocalProcess
from toolkit.host.protocol import Process
from toolkit.host.shell import READY
from toolkit.words.command import command
from toolkit.words.errors import Unreachable
from toolkit.words.values import Secret

Said = tuple[bytes, bytes]
READY_NOW: Said = (READY.encode() + b"\n", b"")
PASSWORD_WANTED: Said = (b"", b"sudo: a password is required\n")


@dataclass
class Scripted:
    """A process that says these things and then ends."""

    says: list[Said]
    heard: bytes = b""
    closed: bool = False

    def write(self, data: bytes) -> None:
        self.heard += data

    def finish(self) -> None: ...

    def read(self) -> Said:
        return self.says.pop(0) if self.says else (b"", b"")

    def wait(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True


@dataclass
class FarSide:
    """Starts one scripted process after the other, and remembers the lines it was given."""

    scripts: list[list[Said]]
    lines: list[str] = field(default_factory=list)
    started: list[Scripted] = field(default_factory=list)

    def spawn(self, line: str) -> Process:
        self.lines.append(line)
        self.started.append(Scripted(self.scripts.pop(0)))
        return self.started[-1]


def nobody() -> Secret:
    raise AssertionError("no password is needed here")


def password() -> Secret:
    return Secret.of("hunter2")


def test_root_needs_no_sudo() -> None:
    far = FarSide([[READY_NOW]])
    _, way = root_shell(far.spawn, is_root=True, name="web", ask=nobody)
    assert way is AS_ROOT
    assert "sudo" not in far.lines[0]


def test_sudo_without_a_password_asks_nobody() -> None:
    far = FarSide([[READY_NOW]])
    _, way = root_shell(far.spawn, is_root=False, name="web", ask=nobody)
    assert way is WITHOUT_PASSWORD
    assert far.lines[0].startswith("LC_ALL=C sudo -n ")


def test_a_password_goes_in_as_input_and_never_into_the_line() -> None:
    far = FarSide([[PASSWORD_WANTED], [READY_NOW]])
    _, way = root_shell(far.spawn, is_root=False, name="web", ask=password)
    assert far.started[1].heard == b"hunter2\n"
    assert "hunter2" not in "".join(far.lines) + repr(way)
    assert far.started[0].closed


def test_the_way_to_root_serves_further_commands_with_the_same_password() -> None:
    far = FarSide([[PASSWORD_WANTED], [READY_NOW], []])
    _, way = root_shell(far.spawn, is_root=False, name="web", ask=password)
    way.spawn(far.spawn, "exec cat 'a b'")
    assert far.started[2].heard == b"hunter2\n"
    assert far.lines[2].startswith("LC_ALL=C sudo -k -S ")


def test_readiness_may_arrive_in_pieces_and_behind_a_banner() -> None:
    far = FarSide([[(b"Welcome!\n" + READY[:5].encode(), b""), (b"", b"motd\n"), (READY[5:].encode() + b"\n", b"")]])
    root_shell(far.spawn, is_root=True, name="web", ask=nobody)
    assert not far.started[0].closed


REFUSALS = {
    "wrong password": (
        [[PASSWORD_WANTED], [(b"", b"Sorry, try "), (b"", b"again.\n")]],
        "web: wrong sudo password", "connection.sudo_password"),
    "wrong password, last try": (
        [[PASSWORD_WANTED], [(b"", b"sudo: 1 incorrect password attempt\n")]],
        "web: wrong sudo password", "connection.sudo_password"),
    "not in sudoers": (
        [[PASSWORD_WANTED], [(b"", b"ann is not in the sudoers file.\n")]],
        "this user has no sudo: ann is not in the sudoers file", "may become root"),
    "not allowed": (
        [[(b"", b"Sorry, user ann is not allowed to execute '/bin/sh' as root on web.\n")]],
        "this user has no sudo", "may become root"),
    "may not run sudo": (
        [[(b"", b"Sorry, user ann may not run sudo on web.\n")]], "this user has no sudo", "may become root"),
    "no sudo": ([[(b"", b"sh: 1: sudo: not found\n")]], "web: sudo is not installed", "install sudo"),
    "a terminal wanted": (
        [[(b"", b"warning\nsudo: sorry, you must have a tty to run sudo\n")]],
        "cannot become root: sudo: sorry, you must have a tty", "sudo -v"),
    "a shell that ends": ([[]], "cannot become root: the login shell ended at once", "sudo -v"),
    "a shell that says no": (
        [[(b"This account is not available.\n", b"")]], "This account is not available.", "sudo -v"),
}  # fmt: skip


@pytest.mark.parametrize(("scripts", "message", "hint"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_says_what_is_wrong_and_what_to_do(scripts: list[list[Said]], message: str, hint: str) -> None:
    far = FarSide([list(script) for script in scripts])
    with pytest.raises(Unreachable) as caught:
        root_shell(far.spawn, is_root=False, name="web", ask=password)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"
    assert all(process.closed for process in far.started)


def test_a_wrong_password_is_tried_once() -> None:
    far = FarSide([[PASSWORD_WANTED], [(b"", b"Sorry, try again.\n"), READY_NOW]])
    with pytest.raises(Unreachable, match="wrong sudo password"):
        root_shell(far.spawn, is_root=False, name="web", ask=password)
    assert len(far.lines) == 2


# A sudo with the manners of the real one: -n refuses to ask, -S reads one line from standard input.
SUDO = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do
  case $1 in
    -n) echo 'sudo: a password is required' >&2; exit 1 ;;
    -S | -k | -H) ;;
    -p) shift ;;
  esac
  shift
done
read -r word
[ "$word" = right ] || { echo 'Sorry, try again.' >&2; exit 1; }
exec "$@"
"""


@pytest.fixture
def _sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "sudo").write_text(SUDO)
    (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    yield


@pytest.mark.usefixtures("_sudo")
def test_behind_a_password_is_a_shell_that_works_and_does_not_get_the_password_as_input() -> None:
    shell, way = root_shell(LocalProcess, is_root=False, name="here", ask=lambda: Secret.of("right"))
    assert shell.run(command("cat")).stdout == b""
    assert shell.run(command("echo", "in")).text == "in\n"
    shell.close()
    process = way.spawn(LocalProcess, "exec cat")
    process.write(b"stream")
    process.finish()
    assert process.read()[0] == b"stream"
    process.close()


@pytest.mark.usefixtures("_sudo")
def test_a_wrong_password_is_told_by_a_real_shell_too() -> None:
    with pytest.raises(Unreachable, match="here: wrong sudo password"):
        root_shell(LocalProcess, is_root=False, name="here", ask=lambda: Secret.of("wrong"))
