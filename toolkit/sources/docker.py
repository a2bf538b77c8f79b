"""The host's own Docker, as sources need it: look, run a program in a container, and know how that program ended.

`docker exec` can end before the program in the container does, and killing it leaves the program running. So every
program runs under a few lines of shell that say its process id and its own exit code on standard error; only an exit
code of 0 said there counts as success, and a program that is given up is ended by its process id.
"""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from toolkit.sources.login import Login
from toolkit.sources.process import PATIENCE, Process
from toolkit.words.command import Command, Result, command
from toolkit.words.errors import HostError

Inspected = Mapping[str, Any]
"""What `docker inspect` says of one container, image or volume."""

LOOK = 60.0
"""Seconds for a question that the Engine answers by itself."""

_WRAP = """
echo "toolkit pid $$" >&2
{prelude}"$@"
code=$?
echo "toolkit exit $code" >&2
exit "$code"
"""
# The wrapper leads a session of its own, so this reaches whatever it started. Some shells take a `--` for a number.
_KILL = """
kill -TERM "-$1" 2>/dev/null || exit 0
for _ in 1 2 3 4 5; do kill -0 "-$1" 2>/dev/null || exit 0; sleep 1; done
kill -KILL "-$1"
"""
_MARK = re.compile(rb"^toolkit (pid|exit) (\d+)\n", re.MULTILINE)


class Inside(Process):
    """A program in a container."""

    def verdict(self, code: int) -> int:
        exits = [int(number) for kind, number in _MARK.findall(self.said) if kind == b"exit"]
        # Docker's own code counts when the wrapper said nothing; a 0 without its word is no success.
        return exits[-1] or code if exits else code or -1

    @property
    def complaint(self) -> str:
        lines = _MARK.sub(b"", self.said).decode(errors="replace").strip().splitlines()
        if not lines and not self.pid:
            return "docker could not start it: the container is stopped or going down, or has no shell"
        return "\n".join(lines[-6:])

    @property
    def pid(self) -> str:
        """The process id inside the container; empty before it is known."""
        found = _MARK.match(self.head)
        return found[2].decode() if found else ""


class Docker:
    """The Engine of this machine by its command line."""

    def ask(self, *words: str | int, stdin: bytes | None = None, timeout: float = LOOK) -> Result:
        """Run `docker …` and return the result. Raises HostError where it does not answer in time."""
        wanted = command("docker", *words, stdin=stdin)
        try:
            done = subprocess.run(
                wanted.argv, input=wanted.input(), capture_output=True, timeout=timeout, check=False, env=_environment()
            )
        except FileNotFoundError as error:
            raise HostError("docker is not installed here", hint="`invoke provision` installs it") from error
        except subprocess.TimeoutExpired as error:
            hint = "look at `systemctl status docker` and at the container"
            raise HostError(f"docker {words[0]} did not answer within {timeout:.0f} s", hint=hint) from error
        return Result(wanted, done.returncode, done.stdout, done.stderr)

    def run(self, *words: str | int, stdin: bytes | None = None, timeout: float = LOOK) -> Result:
        """Run `docker …`. Raises HostError unless it succeeds."""
        result = self.ask(*words, stdin=stdin, timeout=timeout)
        if not result.ok:
            hint = "look at `docker ps --all` on this host"
            raise HostError(f"docker {words[0]} failed: {result.complaint}", hint=hint)
        return result

    def inspect(self, kind: str, *names: str) -> list[Inspected]:
        """Return what the Engine knows of containers, images or volumes. Raises HostError where one is not there."""
        if not names:
            return []
        found: list[Inspected] = json.loads(self.run(kind, "inspect", *names).stdout)
        return found

    def containers(self, project: str) -> list[Inspected]:
        """Return all containers of a Compose project, running or not."""
        label = f"label=com.docker.compose.project={project}"
        names = self.run("ps", "--all", "--quiet", "--no-trunc", "--filter", label).text.split()
        with suppress(HostError):
            return self.inspect("container", *names)
        # One went between the two calls.
        return [found for name in names if (found := self._perhaps(name))]

    def digest(self, container: Inspected) -> str:
        """The digest of a container's image, its id where no registry ever named it."""
        with suppress(HostError):
            image = self.inspect("image", container["Image"])[0]
            for reference in image.get("RepoDigests") or ():
                return str(reference).rpartition("@")[2]
        return str(container["Image"])

    def complained(self, container: str, words: str) -> bool:
        """Whether a container's log said this lately. The log is looked at and never shown: it may hold data."""
        said = self.ask("logs", "--tail", 50, container)
        return words.encode() in said.stdout + said.stderr

    def start(
        self,
        container: str,
        wanted: Command,
        *,
        user: str = "",
        login: Login | None = None,
        patience: float = PATIENCE,
        what: str = "",
    ) -> Inside:
        """Start a program in a container with binary pipes; `wanted.stdin` is written first."""
        prelude, words = login.prelude() if login else ("", ())
        options = ("--interactive", *(("--user", user) if user else ()))
        assert not wanted.env, "an environment would be on the host's command line"
        line = ("sh", "-c", _WRAP.format(prelude=prelude), "sh", *words, *wanted.argv)
        inside = Inside(
            ("docker", "exec", *options, container, *line),
            what=what or f"{wanted.argv[0]} in {container[:12]}",
            patience=patience,
            end=partial(self._kill, container, user),
            env=_environment(),
        )
        try:
            inside.write(wanted.input())
        except BaseException:
            inside.close()
            raise
        return inside

    def inside(
        self, container: str, wanted: Command, *, user: str = "", login: Login | None = None, patience: float = 120.0
    ) -> bytes:
        """Run a short program in a container and return its output. Raises HostError unless it succeeds."""
        process = self.start(container, wanted, user=user, login=login, patience=patience)
        try:
            process.finish()
            output = b"".join(iter(process.some, b""))
            process.check()
            return output
        finally:
            process.close()

    def _kill(self, container: str, user: str, process: Process) -> None:
        assert isinstance(process, Inside)
        if process.pid:
            options = ("--user", user) if user else ()
            # The container may be what hangs: then the Engine ends the program with it.
            with suppress(HostError):
                self.ask("exec", *options, container, "sh", "-c", _KILL, "sh", process.pid, timeout=15)

    def _perhaps(self, name: str) -> Inspected | None:
        with suppress(HostError):
            return self.inspect("container", name)[0]
        return None


def _environment() -> dict[str, str]:
    return {**os.environ, "DOCKER_CLI_HINTS": "false"}


def service_of(container: Inspected) -> str:
    """The Compose service of a container; its name where it has none."""
    labels = container["Config"].get("Labels") or {}
    return str(labels.get("com.docker.compose.service") or container["Name"].lstrip("/"))


def variables(container: Inspected) -> Mapping[str, str]:
    """A container's environment. Values may be secret: look at names, and at values of names that are none."""
    pairs = (text.partition("=") for text in container["Config"].get("Env") or ())
    return {name: value for name, _, value in pairs}


def words_of(container: Inspected) -> Sequence[str]:
    """The command line that a container was started with."""
    return [*(container["Config"].get("Entrypoint") or ()), *(container["Config"].get("Cmd") or ())]
