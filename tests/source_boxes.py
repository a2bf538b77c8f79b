"""What the lab tests of sources share: real servers in containers of this lab, and backups of them."""

import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.repository_setup import Host
from toolkit.lab import Lab
from toolkit.repository import Report, Snapshot
from toolkit.repository.inputs import Input, Readable, Stream
from toolkit.sources.docker import Docker
from toolkit.sources.protocol import Place, Source
from toolkit.sources.stored import FromSnapshot, facts_of
from toolkit.store import open_store

ROOT = Path(__file__).parents[1]
IMAGES = {
    "postgres": ("examples/images/postgres", "trixie"),
    "redis": ("examples/images/redis", "trixie"),
    "mariadb": ("tests/images/mariadb", "trixie"),
    "clickhouse": ("tests/images/clickhouse", "bookworm"),
}
# Every character that some shell, option file or protocol might trip over, and a canary to search for.
PASSWORD = f"""a:b\\c"d'e <&> $HOME `x` %s canary-{secrets.token_hex(8)}"""
DOCKER = Docker()


@dataclass
class Boxes:
    """Containers and volumes of one test module, removed at its end."""

    lab: Lab
    folder: Path
    containers: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)

    def image(self, kind: str) -> str:
        if kind == "base":
            return self.lab.pictures.base("trixie")
        context, suite = IMAGES[kind]
        return self.lab.pictures.context(ROOT / context, suite, f"toolkit-source-{kind}")

    def volume(self, *options: str) -> str:
        name = self.lab.home.name(f"source-{secrets.token_hex(4)}")
        self.lab.engine.run("volume", "create", "--label", self.lab.home.label, *options, name)
        self.volumes.append(name)
        return name

    def start(self, kind: str, *words: str, options: tuple[str, ...] = (), mount: str = "", volume: str = "") -> str:
        """Run a server and return its container's name. `mount` is where its volume goes."""
        name = self.lab.home.name(f"source-{kind}-{secrets.token_hex(4)}")
        fixed = ["--name", name, "--label", self.lab.home.label, "--network", self.lab.home.name("net")]
        fixed += ["--volume", f"{volume or self.volume()}:{mount}"] if mount else []
        self.containers.append(name)
        self.lab.engine.run("run", "--detach", *fixed, *options, self.image(kind), *words)
        return name

    def secret(self, value: str = PASSWORD) -> tuple[str, ...]:
        """The options that mount a password file which only root may read."""
        path = self.folder / f"secret-{secrets.token_hex(4)}"
        path.touch(mode=0o400)
        path.write_text(value)
        return ("--volume", f"{path}:/run/secrets/password:ro")

    def remove(self) -> None:
        self.lab.engine.ask("rm", "--force", "--volumes", *self.containers)
        if self.volumes:
            self.lab.engine.ask("volume", "rm", "--force", *self.volumes)


@contextmanager
def boxes(lab: Lab, folder: Path) -> Iterator[Boxes]:
    made = Boxes(lab, folder)
    try:
        yield made
    finally:
        made.remove()


def within(container: str, *words: str, stdin: str = "", user: str = "root") -> str:
    """Run a program in a container, past the toolkit: a test believes nothing that it tests."""
    line = ["docker", "exec", "--interactive", "--user", user, container, *words]
    done = subprocess.run(line, input=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def until(reached: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for a server, which is real and takes its time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if reached():
                return
        except AssertionError:
            pass
        assert time.monotonic() < deadline, "it did not come up"
        time.sleep(0.1)


@dataclass
class Vault:
    """A repository in a directory."""

    folder: Path

    @property
    def host(self) -> Host:
        return Host(self.folder / "state", open_store(f"file://{self.folder}/store"))

    def save(self, inputs: list[Input], **options: Any) -> Report:
        return self.host.backup(*inputs, **options)

    def capture(self, source: Source, place: Place, change: Callable[[Input], Input] = lambda given: given) -> Report:
        with source.capture(DOCKER, place) as capture:
            assert not capture.skipped
            return self.save([change(given) for given in capture.inputs])

    def newest(self) -> Snapshot:
        return self.host.repository().newest()

    def stored(self, source: Source) -> FromSnapshot:
        return FromSnapshot(self.newest(), source.name)

    def facts(self, source: Source) -> dict[str, Any]:
        return facts_of(self.newest().manifest.sources, source.name)


def interrupted(given: Input, action: Callable[[], object], after: int = 2 << 20) -> Input:
    """The same stream, with something happening to its source when so many bytes were read."""
    assert isinstance(given, Stream)
    happened = False

    class Reading:
        def __init__(self, source: Readable) -> None:
            self.source, self.size = source, 0

        def read(self, size: int, /) -> bytes:
            nonlocal happened
            block = self.source.read(min(size, 1 << 20))
            self.size += len(block)
            if self.size >= after and not happened:
                happened = True
                action()
            return block

    @contextmanager
    def opened() -> Iterator[Readable]:
        with given.open() as source:
            yield Reading(source)

    return replace(given, open=opened)


@contextmanager
def watching(*canaries: bytes, leave: bytes = b"") -> Iterator[set[str]]:
    """Look at the command line and environment of every process of this machine, containers' included, meanwhile.

    A process with `leave` in either may know: a test's own verb that is told so.
    """
    wanted, seen, over = canaries or (PASSWORD[-23:].encode(),), set[str](), threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for path in (*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")):
                with suppress(OSError):
                    content = path.read_bytes()
                    if any(one in content for one in wanted) and not (leave and leave in content):
                        seen.add(f"{path}: {content[:300]!r}")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
