"""From a login to root: the same steps over SSH and on this machine."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from toolkit.host.protocol import Process
from toolkit.host.shell import LOOP, READY, Shell
from toolkit.words.errors import Unreachable
from toolkit.words.values import Secret

Spawn = Callable[[str], Process]
"""Start a line of shell as the login user."""

AskPassword = Callable[[], Secret]


@dataclass(frozen=True)
class Escalation:
    """How root is reached: as root already, through sudo without a password, or with one."""

    prefix: str
    password: Secret | None = None

    def spawn(self, spawn: Spawn, line: str) -> Process:
        """Start a line of shell as root."""
        process = spawn(f"{self.prefix}sh -c {shlex.quote(line)}")
        if self.password is not None:
            process.write(self.password.reveal() + b"\n")
        return process


AS_ROOT = Escalation("")
WITHOUT_PASSWORD = Escalation("LC_ALL=C sudo -n -H ")


def with_password(password: Secret) -> Escalation:
    # -k: always ask. With a remembered login sudo would leave the password line to the command itself.
    return Escalation("LC_ALL=C sudo -k -S -H -p '' ", password)


def root_shell(spawn: Spawn, *, is_root: bool, name: str, ask: AskPassword) -> tuple[Shell, Escalation]:
    """Return a root shell and the way that led there. Raises Unreachable with what to do about it."""
    first = AS_ROOT if is_root else WITHOUT_PASSWORD
    process = first.spawn(spawn, LOOP)
    complaint = _wait_ready(process)
    if complaint is None:
        return Shell(process), first
    process.close()
    if "password is required" not in complaint:
        raise _refused(name, complaint)
    second = with_password(ask())
    process = second.spawn(spawn, LOOP)
    complaint = _wait_ready(process)
    if complaint is None:
        return Shell(process), second
    process.close()
    raise _refused(name, complaint)


def _wait_ready(process: Process) -> str | None:
    """Return None once the shell is ready, or what was said instead."""
    out, err = b"", b""
    while READY.encode() not in out:
        more_out, more_err = process.read()
        out, err = out + more_out, err + more_err
        if b"try again" in err or not (more_out or more_err):
            return (err or out).decode(errors="replace").strip() or "the login shell ended at once"
    return None


def _refused(name: str, complaint: str) -> Unreachable:
    last = complaint.splitlines()[-1]
    if "try again" in complaint or "incorrect password" in complaint:
        return Unreachable(f"{name}: wrong sudo password", hint="check connection.sudo_password, or type it again")
    if "sudoers" in complaint or "not allowed" in complaint or "may not run sudo" in complaint:
        return Unreachable(f"{name}: this user has no sudo: {last}", hint="log in as a user who may become root")
    if "not found" in complaint:
        return Unreachable(f"{name}: sudo is not installed", hint="install sudo, or connect as root")
    return Unreachable(f"{name}: cannot become root: {last}", hint="try `ssh` by hand and run `sudo -v` there")
