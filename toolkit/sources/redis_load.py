"""Redis' way back, into a volume that no server uses yet.

A server with append-only files ignores a saved file. So a helper loads the saved file without them, the keys are
counted, the append-only files are switched on and written, and only then has the volume both.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from toolkit.sources import helper
from toolkit.sources.docker import Docker
from toolkit.sources.files import owner_of, write_new
from toolkit.sources.paths import mountpoint, plain
from toolkit.sources.protocol import Facts, Place, Stored, compare
from toolkit.sources.redis_client import RedisClient
from toolkit.sources.volume import clear
from toolkit.words.errors import HostError

SAVE = "dump.rdb"
AOF = "appendonlydir"
_DATA = "/toolkit-data"


@dataclass(frozen=True)
class _Layout:
    """Where the server that was captured keeps its files, below its volume, and whose they are."""

    folder: str
    save: str
    append_folder: str
    owner: tuple[int, int]

    @classmethod
    def of(cls, facts: Facts) -> "_Layout":
        owner = owner_of(facts.get("owner")) or (0, 0)
        folder = "/".join(plain(part) for part in str(facts.get("folder", ".")).split("/") if part != ".")
        return cls(folder, plain(facts.get("file", SAVE)), plain(facts.get("append_folder") or AOF), owner)

    def place(self, name: str) -> list[str]:
        """The components of a stored file's path in the volume."""
        parts = [part for part in self.folder.split("/") if part]
        if name == SAVE:
            return [*parts, self.save]
        return [*parts, self.append_folder, plain(name.removeprefix(f"{AOF}/"))]


def load(docker: Docker, stored: Stored, place: Place, patience: float) -> None:
    """Fill the volume and prove that a server comes up with its keys. Raises HostError where it does not."""
    place.need("volume", "image")
    target = mountpoint(docker, place.volume)
    if place.replace:
        clear(target)
    if any(target.iterdir()):
        raise HostError(f"volume {place.volume} is not empty", hint="load into a fresh volume")
    names = list(stored.names)
    facts = stored.facts(SAVE if SAVE in names else f"{AOF}/{_manifest(names)}")
    layout = _Layout.of(facts)
    os.chown(target, *layout.owner)
    for name in names:
        _write(stored, name, target, layout)
    user = ":".join(map(str, layout.owner))
    options = ("--volume", f"{place.volume}:{_DATA}", "--user", user)
    with helper.helper(docker, place.image, _server(facts, layout, names), options) as name:
        to = RedisClient(docker, name, patience=patience)
        _loaded(docker, to)
        _expect(facts.get("counts"), to)
        if SAVE in names and facts.get("append_only"):
            to.ask("CONFIG", "SET", "appendonly", "yes")
            done = to.until("the first append-only file", _rewritten)
            if done["aof_last_bgrewrite_status"] != "ok":
                raise HostError("redis could not write its append-only file", hint="look at the disk")
        with suppress(HostError):
            # It hangs up without an answer.
            to.ask("SHUTDOWN", "NOSAVE")
        helper.ended(docker, name)


def _server(facts: Facts, layout: _Layout, names: list[str]) -> list[str]:
    words = [
        "valkey-server" if facts.get("engine") == "Valkey" else "redis-server",
        "--save",
        "",
        "--bind",
        "127.0.0.1",
    ]
    words += ["--dir", f"{_DATA}/{layout.folder}", "--dbfilename", layout.save]
    words += ["--appenddirname", layout.append_folder] if facts.get("append_folder") else []
    if SAVE in names:
        return [*words, "--appendonly", "no"]
    return [*words, "--appendonly", "yes", "--appendfilename", _manifest(names).removesuffix(".manifest")]


def _manifest(names: list[str]) -> str:
    for name in names:
        if name.startswith(f"{AOF}/") and name.endswith(".manifest"):
            return plain(name.removeprefix(f"{AOF}/"))
    raise HostError("the snapshot holds neither a saved file nor append-only files", hint="look at its problems")


def _write(stored: Stored, name: str, target: Path, layout: _Layout) -> None:
    *above, last = layout.place(name)
    path = target
    for part in above:
        path /= part
        if not path.exists():
            path.mkdir(mode=0o700)
            os.chown(path, *layout.owner)
    write_new(path, last, partial(stored.pour, name), owner=layout.owner)


def _loaded(docker: Docker, to: RedisClient) -> None:
    """Wait until the server answers and has read its files; a damaged one makes it end instead."""
    deadline = to.clock.now() + to.patience
    while helper.running(docker, to.container):
        try:
            # A server that is still loading refuses everything else.
            to.ask("PING")
            return
        except HostError as error:
            if to.clock.now() > deadline and "LOADING" not in error.message:
                raise
            to.clock.sleep(0.2)
    said = helper.last_words(docker, to.container)
    raise HostError(f"redis does not load what was captured:\n{said}", hint="try an older snapshot")


def _rewritten(found: Mapping[str, str]) -> bool:
    return found["aof_enabled"] == "1" and found["aof_rewrite_in_progress"] == found["aof_rewrite_scheduled"] == "0"


def _expect(counts: object, to: RedisClient) -> None:
    if isinstance(counts, dict):
        for verdict in compare(counts, {"keys": to.keys()}):
            if verdict.state != "good":
                raise HostError(f"redis did not load every key: {verdict.evidence}")
