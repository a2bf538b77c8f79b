"""`docker compose config` on the control side: a Compose that is installed here, or else one in a small container.

The container has no network, no rights, a read-only root, and of this machine's disk the folders of the request alone,
read-only. Files may come from a stranger's pull request: nothing in them is executed, no environment of ours is seen by
them, and what Compose complains about is told without the pieces of files that it quotes.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from toolkit.lab.engine import Engine
from toolkit.lab.pictures import Pictures
from toolkit.machine.docker import OLDEST_COMPOSE, compose_version
from toolkit.words.command import command
from toolkit.words.errors import LabError, Unsupported
from toolkit.words.report import Listener

SCRATCH = "/run/lint"
"""The one place in the container that can be written to; no folder of a request is there."""

PATIENCE = 60
"""Seconds for one call; Compose itself needs a tenth of one."""

# A file that names a repository of git or a registry would make Compose fetch it.
_NO_REMOTES = {"COMPOSE_EXPERIMENTAL_GIT_REMOTE": "false", "COMPOSE_EXPERIMENTAL_OCI_REMOTE": "false"}
_ONE_BY_ONE = r"""
one() {
  "$@" >"$HOME/out" 2>"$HOME/err" </dev/null
  printf '%s %s %s\n' "$?" "$(wc -c <"$HOME/out")" "$(wc -c <"$HOME/err")"
  cat "$HOME/out" "$HOME/err"
}
"""


@dataclass(frozen=True)
class Request:
    """One call of `docker compose config`; all paths are absolute."""

    directory: Path
    files: tuple[Path, ...]
    project: str = ""
    profiles: tuple[str, ...] = ()
    env_file: Path | None = None

    def words(self) -> list[str]:
        named = ["--project-name", self.project] if self.project else []
        variables = ["--env-file", str(self.env_file)] if self.env_file else []
        files = [word for path in self.files for word in ("--file", str(path))]
        profiles = [word for name in self.profiles for word in ("--profile", name)]
        place = ["--project-directory", str(self.directory)]
        return [*named, *place, *variables, *files, *profiles, "config", "--format", "json"]


@dataclass(frozen=True)
class Answer:
    """What Compose said."""

    code: int
    output: bytes
    errors: str

    @property
    def complaint(self) -> str:
        """Its last words, without warnings, and without what it quotes of files."""
        lines = [line for line in self.errors.splitlines() if not re.match(r"time=\S+ level=(warning|info)", line)]
        told = re.sub(r"(?s)\bnear \".*", "near …", "\n".join(lines[-12:]).strip())
        # Names in a stranger's file may try to steer the terminal.
        plain = "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in told)
        return plain or f"exit code {self.code}"


class Compose(Protocol):
    """Whatever answers requests; `folders` are those that their files lie in."""

    def answers(self, requests: Sequence[Request], folders: Sequence[Path]) -> list[Answer]: ...


@dataclass(frozen=True)
class Installed:
    """A Compose of this machine."""

    argv: tuple[str, ...]

    def answers(self, requests: Sequence[Request], folders: Sequence[Path]) -> list[Answer]:
        del folders  # it sees what we see
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Answer:
        words = [*self.argv, *request.words()]
        # Where plugins are looked for, and nothing else: a variable of ours would beat the file's own.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_CONFIG") if name in os.environ}
        try:
            done = subprocess.run(
                words,
                env=kept | _NO_REMOTES,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Answer(124, b"", f"Compose did not answer within {PATIENCE} s")
        return Answer(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


@dataclass(frozen=True)
class Contained:
    """Debian's Compose in a container, one for all requests."""

    engine: Engine
    image: str

    def answers(self, requests: Sequence[Request], folders: Sequence[Path]) -> list[Answer]:
        calls = [command("timeout", PATIENCE, "docker-compose", *request.words()) for request in requests]
        lines = [f"export {name}={value}" for name, value in _NO_REMOTES.items()]
        script = _ONE_BY_ONE + "\n".join([*lines, *(f"one {call.line()}" for call in calls)]) + "\n"
        done = self.engine.ask("run", *self.options(folders), self.image, "sh", "-s", stdin=script.encode())
        if not done.ok:
            raise LabError(f"docker run failed: {done.complaint}", hint="is this machine's disk the Engine's own?")
        return list(_apart(done.stdout))

    def options(self, folders: Sequence[Path]) -> list[str]:
        """Return how the container is run: no network, no rights, nothing to write to but its scratch."""
        # Docker reads this option as one line of CSV.
        places = [str(folder).replace('"', '""') for folder in dict.fromkeys(folders)]
        mounts = [f'type=bind,"source={place}","target={place}",readonly' for place in places]
        fixed = [
            "--rm",
            "--interactive",
            "--network",
            "none",
            "--read-only",
            "--tmpfs",
            SCRATCH,
            "--env",
            f"HOME={SCRATCH}",
        ]
        rights = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", f"{os.getuid()}:{os.getgid()}"]
        return [*fixed, *rights, *(word for mount in mounts for word in ("--mount", mount))]


def _apart(output: bytes) -> Iterator[Answer]:
    while output:
        head, _, rest = output.partition(b"\n")
        code, size, more = map(int, head.split())
        yield Answer(code, rest[:size], rest[size : size + more].decode(errors="replace"))
        output = rest[size + more :]


def compose(listener: Listener) -> Compose:
    """Return what can resolve Compose files here. Raises Unsupported, which says what is missing."""
    for argv in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(argv[0]) and _new_enough(argv):
            return Installed(argv)
    oldest = ".".join(map(str, OLDEST_COMPOSE))
    try:
        engine = Engine()
        return Contained(engine, Pictures(engine, listener).recipe("compose", "trixie"))
    except LabError as error:
        raise Unsupported(
            f"nothing here can read Compose files: no Compose v2, and none in a container: {error.message}",
            hint=f"install Docker Compose {oldest} or newer (no daemon is needed), or start a Docker Engine",
        ) from error


def _new_enough(argv: tuple[str, ...]) -> bool:
    try:
        done = subprocess.run(
            [*argv, "version", "--short"], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        return done.returncode == 0 and compose_version(done.stdout.strip()) >= OLDEST_COMPOSE
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False
