"""The box that a drill happens in: a Compose project, a folder in memory and one on the disk, all of one drawn name.

Whatever is made carries that name or its label, so that what a killed drill left is found and removed by the next one.
"""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.drill import fence
from toolkit.drill.sandbox import LABEL, NAME, refuse_strangers
from toolkit.sources.docker import Docker, Inspected
from toolkit.stack.compose import clean
from toolkit.words.command import Result, command
from toolkit.words.errors import HostError, Locked

MEMORY, DISK = Path("run/secrets/.drill"), Path("var/lib/toolkit/drill")
UP_WITHIN = 3600.0
# Through it, and not into it: who has a name may pass, as below /run/secrets itself.
_PASS = 0o711


class Unfit(HostError):
    """This place will not do for a drill; that says nothing of the backup."""


@dataclass(frozen=True)
class Box:
    """One box below a root. `memory` holds the release and its secrets, `disk` files that came back."""

    docker: Docker
    name: str
    root: Path = Path("/")

    @classmethod
    def drawn(cls, docker: Docker, root: Path = Path("/")) -> "Box":
        return cls(docker, f"drill-{secrets.token_hex(6)}", root)

    @property
    def memory(self) -> Path:
        return self.root / MEMORY / self.name

    @property
    def disk(self) -> Path:
        return self.root / DISK / self.name

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Have the folders, and leave nothing at all behind. A mark says that this process lives."""
        for folder, mode in ((self.memory, _PASS), (self.disk, 0o700)):
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.parent.chmod(mode)
            folder.mkdir()
            folder.chmod(mode)
        (self.disk / "pid").write_text(f"{os.getpid()} {_started(os.getpid())}")
        try:
            yield
        finally:
            remove(self.docker, self.name, self.root)


@dataclass
class Project:
    """The Compose project of a box. Its model travels by standard input: it may hold secrets in variables."""

    box: Box
    model: Mapping[str, Any] = field(repr=False)
    stack: str
    login: str = ""

    def compose(self, *words: str, timeout: float = UP_WITHIN) -> Result:
        """Call Compose for this project alone. Raises HostError in its own words."""
        refuse_strangers(self.model, self.box.name, self.stack)
        result = run_compose(
            ("--project-name", self.box.name, "--project-directory", str(self.box.disk), "--file", "-", *words),
            stdin=_text(self.model),
            timeout=timeout,
            login=self.login,
        )
        if not result.ok:
            raise HostError(f"docker compose {words[0]} failed in the sandbox:\n{result.complaint}")
        return result

    def create(self, services: Collection[str]) -> list[Inspected]:
        """Make the containers of services without starting any. Raises HostError where the Engine has such names."""
        refuse_taken(self.box.docker, self.model, self.box.name)
        # Compose makes what a service depends on as well; the model says all of it.
        self.compose("create", *sorted(services))
        return self.box.docker.containers(self.box.name)

    def start(self, service: str) -> str:
        """Start one service and nothing else; return its container. Raises HostError."""
        self.compose("up", "--detach", "--no-deps", "--no-recreate", service)
        found = self.box.docker.containers(self.box.name)
        mine = [one for one in found if one["Config"]["Labels"].get("com.docker.compose.service") == service]
        if not mine:
            raise HostError(f"the sandbox has no container of {service}")
        return str(mine[0]["Id"])

    def stop(self, service: str) -> None:
        """It stays: the rest of the stack needs it."""


def run_compose(words: Collection[str], *, stdin: bytes, timeout: float, login: str = "") -> Result:
    """Run Docker's Compose with an environment of our own. Raises HostError where it is missing or hangs."""
    variables = ["HOME=/root", *([f"DOCKER_CONFIG={login}"] if login else [])]
    argv = (*clean(*variables), "docker", "compose", "--progress", "plain", *words)
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"docker compose did not end within {timeout:.0f} s", hint="look at the drill's containers"
        ) from error
    return Result(command(*argv), done.returncode, done.stdout, done.stderr)


def need_compose() -> None:
    """Raises Unfit where there is no Docker with Compose, or no root to look into volumes."""
    hint = "`invoke provision` installs it on a host: drill --on HOST; levels 0 to 2 need no Docker"
    if os.geteuid() != 0:
        raise Unfit("a drill of level 3 or 4 needs root here", hint="use sudo, or --on HOST")
    try:
        result = run_compose(("version", "--short"), stdin=b"", timeout=60)
    except OSError as error:
        raise Unfit(f"Docker cannot be run here: {error.strerror}", hint=hint) from error
    if not result.ok:
        raise Unfit("this machine has no Docker Compose, which a drill of level 3 or 4 needs", hint=hint)


def refuse_taken(docker: Docker, model: Mapping[str, Any], name: str) -> None:
    """Raise HostError where the Engine has a volume, network or container of the sandbox's names already."""
    for kind in ("volume", "network"):
        there = set(docker.run(kind, "ls", "--format", "{{.Name}}").text.split())
        wanted = {str(body["name"]) for body in (model.get(f"{kind}s") or {}).values()}
        if taken := sorted(wanted & there):
            raise HostError(f"the {kind} {taken[0]} is there already", hint="invoke drill.clean, then drill again")
    if docker.containers(name):
        raise HostError(f"containers of {name} are there already", hint="invoke drill.clean, then drill again")


def remove(docker: Docker, name: str, root: Path = Path("/")) -> None:
    """Remove everything of one box: by its label, by its Compose project, and its folders. Raises HostError."""
    if not NAME.fullmatch(name):
        raise HostError(f"{name!r} names no drill")
    failed = []
    for label in (f"{LABEL}={name}", f"com.docker.compose.project={name}"):
        for kind, listing, removal in _KINDS:
            # Where there is no Engine, there is nothing of it.
            with suppress(HostError):
                found = docker.ask(*listing, "--filter", f"label={label}").text.split()
                if found and not (done := docker.ask(*removal, *found, timeout=120)).ok:
                    failed.append(f"{kind}: {done.complaint}")
    fence.remove(name)
    for folder in (root / MEMORY / name, root / DISK / name):
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            failed.append(f"{folder} cannot be removed")
        with suppress(OSError):
            # Not while somebody else's is in it.
            folder.parent.rmdir()
    if failed:
        raise HostError(f"the drill left something behind: {'; '.join(failed)}", hint="invoke drill.clean")


_KINDS = (
    ("container", ("ps", "--all", "--quiet", "--no-trunc"), ("rm", "--force", "--volumes")),
    ("volume", ("volume", "ls", "--quiet"), ("volume", "rm", "--force")),
    ("network", ("network", "ls", "--quiet", "--no-trunc"), ("network", "rm")),
)


def leftovers(docker: Docker, root: Path = Path("/")) -> list[str]:
    """The names of boxes that nobody works in any more."""
    names = {folder.name for at in (MEMORY, DISK) if (root / at).is_dir() for folder in (root / at).iterdir()}
    for listing in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
        with suppress(HostError):
            form = '{{.Label "' + LABEL + '"}}'
            names |= set(docker.ask(*listing, "--filter", f"label={LABEL}", "--format", form).text.split())
    names |= set(fence.standing()) if root == Path("/") else set()
    return sorted(name for name in names if NAME.fullmatch(name) and not _lives(root / DISK / name / "pid"))


def clean_up(docker: Docker, root: Path = Path("/")) -> list[str]:
    """Remove what drills left that were killed; return their names."""
    found = leftovers(docker, root)
    for name in found:
        remove(docker, name, root)
    return found


def refuse_second(root: Path = Path("/")) -> None:
    """Raise Locked where a drill is at work on this machine."""
    folder = root / DISK
    for box in folder.iterdir() if folder.is_dir() else ():
        if _lives(box / "pid") and (box / "pid").read_text().split()[0] != str(os.getpid()):
            raise Locked(f"a drill is at work on this machine: {box.name}", hint="wait until it is done")


def _lives(mark: Path) -> bool:
    with suppress(OSError, ValueError):
        pid, started = mark.read_text().split()
        return _started(int(pid)) == started
    return False


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks (proc(5), the 22nd field): a number may be another's by now."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _text(model: Mapping[str, Any]) -> bytes:
    # JSON is YAML. Compose wrote `$$` for a `$`, and reads it back the same way.
    return json.dumps(model).encode()
