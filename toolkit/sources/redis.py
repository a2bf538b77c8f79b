"""Redis and Valkey: a finished background save, or the set of append-only files, held open while they are read.

Whatever the server writes next, it writes to other files and renames or unlinks these: an open descriptor keeps what a
file was. A server that may forget is a cache and not captured.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from toolkit.repository.inputs import Input, Stream
from toolkit.sources import redis_load, redis_probe
from toolkit.sources.docker import Docker
from toolkit.sources.files import OpenFile
from toolkit.sources.login import Login
from toolkit.sources.paths import beneath, located, plain
from toolkit.sources.process import PATIENCE
from toolkit.sources.protocol import Capture, Facts, Into, Place, Probe, Stored, iso
from toolkit.sources.redis_client import RedisClient
from toolkit.words.errors import HostError

SAVE = "dump.rdb"
_LINK = ".toolkit-capture.rdb"
_TRIES = 20


@dataclass(frozen=True, kw_only=True)
class Redis:
    """One server.

    `method` is `save` (a background save: one file, any version) or `aof` (the files of an append-only server from
    Redis 7 on, without the fork that a save needs). `always` captures what looks like a cache too.
    """

    name: str
    login: Login | None = None
    port: int = 6379
    method: Literal["save", "aof"] = "save"
    always: bool = False
    patience: float = PATIENCE
    kind: ClassVar[str] = "redis"
    loads_into: ClassVar[Into] = "volume"

    @contextmanager
    def capture(self, docker: Docker, place: Place) -> Iterator[Capture]:
        """Save, or hold the append-only files. Needs a container."""
        place.need("container")
        inspected = docker.inspect("container", place.container)[0]
        to = self._client(docker, place.container)
        if not self.always and (reason := cache(to)):
            yield Capture((), None, reason)
            return
        server = to.info("server")
        head = {
            "engine": "Valkey" if "valkey_version" in server else "Redis",
            "version": server.get("valkey_version") or server.get("redis_version", ""),
            "image": docker.digest(inspected),
            "reference": inspected["Config"]["Image"],
            "append_only": to.setting("appendonly") == "yes",
        }
        with ExitStack() as stack:
            root, within = located(inspected, to.setting("dir"))
            folder = stack.enter_context(beneath(root, within))
            head |= {"folder": within, "file": to.setting("dbfilename"), "append_folder": to.setting("appenddirname")}
            held = self._append_only if self.method == "aof" else self._saved
            inputs, moment = held(stack, to, folder, head)
            yield Capture(inputs, moment)

    def load(self, docker: Docker, stored: Stored, place: Place) -> None:
        """Fill an empty volume: loaded by a server of the image without append-only files, then with them."""
        redis_load.load(docker, stored, place, self.patience)

    def probe(self, docker: Docker, place: Place, facts: Mapping[str, Facts]) -> Probe:
        """Check the files on the disk with the server's own tools, and count keys."""
        place.need("container")
        return redis_probe.probe(self._client(docker, place.container), self.name, facts)

    def _client(self, docker: Docker, container: str) -> RedisClient:
        return RedisClient(docker, container, self.login, self.port, self.patience)

    def _saved(self, stack: ExitStack, to: RedisClient, folder: Path, head: Facts) -> tuple[list[Input], float]:
        moment = save(to)
        file = plain(to.setting("dbfilename"))
        with suppress(FileNotFoundError):
            (folder / _LINK).unlink()
        # A name of its own, for the tool that counts its keys: the next save takes the old one.
        os.link(folder / file, folder / _LINK, follow_symlinks=False)
        stack.callback(partial((folder / _LINK).unlink, missing_ok=True))
        opened = stack.enter_context(OpenFile.of(folder, _LINK))
        linked = f"{to.setting('dir').rstrip('/')}/{_LINK}"
        about = {**head, "moment": iso(moment), "method": "save", **opened.owner}

        def facts() -> Facts:
            return {**about, "counts": {"keys": redis_probe.keys_in(to, linked)}}

        return [Stream(f"{self.name}/{SAVE}", opened.read, self.kind, facts)], moment

    def _append_only(self, stack: ExitStack, to: RedisClient, folder: Path, head: Facts) -> tuple[list[Input], float]:
        name = to.setting("appenddirname")
        if not name or not head["append_only"]:
            raise HostError(
                "this server keeps no set of append-only files", hint="use the method `save`, or Redis 7 with AOF"
            )
        for _ in range(_TRIES):
            tried = ExitStack()
            before = to.bounds()
            if found := _hold(tried, to, folder, name, f"{to.setting('appendfilename')}.manifest"):
                moment, files = found
                stack.push(tried)
                after = to.bounds()
                keys = [min(before[0], after[0]), max(before[1], after[1])]
                about = {**head, "moment": iso(moment), "method": "aof"}
                return [_part(self, one, about, keys) for one in files], moment
            tried.close()
        raise HostError("the append-only files are rewritten again and again", hint="use the method `save`")


def _part(source: Redis, file: OpenFile, about: Facts, keys: list[int]) -> Input:
    counts = {"counts": {"keys": keys}} if file.name.endswith(".manifest") else {}
    facts = {**about, **file.owner, **counts}
    return Stream(f"{source.name}/appendonlydir/{file.name}", file.read, source.kind, lambda: facts)


def cache(to: RedisClient) -> str:
    """Why a server is a cache; empty where it is none."""
    policy = to.setting("maxmemory-policy")
    if policy.startswith("allkeys-") and to.setting("maxmemory") not in ("", "0"):
        return f"a cache: it evicts any key when memory is short (maxmemory-policy {policy})"
    if to.setting("appendonly") != "yes" and not to.setting("save"):
        return "a cache: it keeps nothing on disk (no save points, no append-only file)"
    return ""


def save(to: RedisClient) -> float:
    """Make a background save and wait for its end; return when it was begun. Raises HostError where it fails."""
    to.until("a background save", _quiet)
    last = int(to.ask("LASTSAVE"))
    # Its clock has whole seconds: only from the next one on does a new save show.
    while int(to.ask("TIME").split("\n")[0]) <= last:
        to.clock.sleep(0.1)
    begun = time.time()
    to.ask("BGSAVE", "SCHEDULE")
    ended = to.until("the background save", lambda found: _quiet(found) and _moved(found, last))
    if ended["rdb_last_bgsave_status"] != "ok":
        raise HostError(f"redis in {to.container[:12]} could not save", hint="look at its log: memory, or its disk")
    return begun


def _quiet(found: Mapping[str, str]) -> bool:
    return found["rdb_bgsave_in_progress"] == "0" and found["aof_rewrite_in_progress"] == "0"


def _moved(found: Mapping[str, str], last: int) -> bool:
    return int(found["rdb_last_save_time"]) > last or found["rdb_last_bgsave_status"] != "ok"


def _hold(
    stack: ExitStack, to: RedisClient, folder: Path, name: str, manifest: str
) -> tuple[float, list[OpenFile]] | None:
    """Open what the manifest names, each at the length it has now; None where a rewrite came between."""
    to.until("the rewriting of the append-only file", _quiet)
    inner = stack.enter_context(beneath(folder, name))
    first = stack.enter_context(OpenFile.of(inner, manifest))
    content = first.content()
    try:
        files = [stack.enter_context(OpenFile.of(inner, part)) for part in _named(content)]
    except HostError:
        return None
    moment = time.time()
    if not _quiet(to.info("persistence")) or stack.enter_context(OpenFile.of(inner, manifest)).content() != content:
        return None
    return moment, [first, *files]


def _named(manifest: bytes) -> list[str]:
    """The files of an append-only set: `file NAME seq N type b`, base first (redis.io, persistence)."""
    lines = (line.split() for line in manifest.decode().splitlines())
    return [words[1] for words in lines if len(words) >= 6 and words[0] == "file" and words[5] in ("b", "i")]
