"""PostgreSQL's write-ahead log, shipped: what lets a database be brought back as it was at any moment.

A replication slot makes the server keep what was not shipped yet; it is read where it lies and nothing is copied
first. When it is stored, the slot moves on. Should shipping stop for long, the server drops the slot rather than fill
its disk: that is a gap, said loudly, and only a new base closes it.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import PurePosixPath
from typing import ClassVar

from toolkit.repository.inputs import Input, Readable, Stream
from toolkit.sources.docker import Docker
from toolkit.sources.files import OpenFile
from toolkit.sources.login import Login
from toolkit.sources.paths import directory, mount_of
from toolkit.sources.postgres_client import Client, client, literal
from toolkit.sources.process import PATIENCE
from toolkit.sources.protocol import Capture, Facts, Place, Verdict, iso
from toolkit.sources.streams import streamed
from toolkit.words.command import command
from toolkit.words.errors import ConfigError, HostError, RepositoryError
from toolkit.words.values import Size

BASE, SEGMENTS = "base.tar", "segments"
KEEP = Size(4 << 30)
# 1 MiB to 1 GiB, as initdb takes them.
_SEGMENT_SIZES = frozenset(1 << shift for shift in range(20, 31))
_POSITION = """
SELECT s.restart_lsn, coalesce(s.wal_status, ''), pg_current_wal_flush_lsn(),
  (SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'),
  (SELECT timeline_id FROM pg_control_checkpoint()), (SELECT system_identifier FROM pg_control_system()),
  current_setting('data_directory')
FROM (SELECT 1) one LEFT JOIN pg_replication_slots s ON s.slot_name = {slot}
"""
_GAP_HINT = "take a new base at once: without it nothing after the gap can be recovered"


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far the log is and how far it was shipped. Places in the log are numbers of bytes."""

    shipped: int | None
    status: str
    written: int
    segment: int
    timeline: int
    system: str
    data: str

    @property
    def behind(self) -> int:
        return self.written - (self.shipped or self.written)


@dataclass(frozen=True, kw_only=True)
class Wal:
    """The log of one server. `keep` is how much the server may hold back for us before it gives the slot up."""

    name: str
    user: str = "postgres"
    login: Login | None = None
    slot: str = "toolkit"
    keep: Size = KEEP
    patience: float = PATIENCE
    kind: ClassVar[str] = "wal"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]{1,63}", self.slot):
            raise ConfigError(f"{self.slot!r} cannot name a slot", hint="use small letters, digits and _")

    def enable(self, docker: Docker, place: Place) -> None:
        """Have the server keep its log for us, up to a limit. A limit that is set already stays."""
        to = self._client(docker, place)
        slots = to.rows(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = {literal(self.slot)}")  # noqa: S608
        if to.rows("SHOW max_slot_wal_keep_size")[0][0] == "-1":
            # In one call each: ALTER SYSTEM runs in no transaction.
            to.rows(f"ALTER SYSTEM SET max_slot_wal_keep_size = '{max(int(self.keep) >> 20, 64)}MB'")
            to.rows("SELECT pg_reload_conf()")
        if not slots:
            to.rows(f"SELECT pg_create_physical_replication_slot({literal(self.slot)}, true)")

    def disable(self, docker: Docker, place: Place) -> None:
        """Let the server forget its log again."""
        where = f"WHERE slot_name = {literal(self.slot)}"
        self._client(docker, place).rows(
            f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots {where}"  # noqa: S608
        )

    @contextmanager
    def base(self, docker: Docker, place: Place) -> Iterator[Capture]:
        """Copy the whole data directory as one stream, checksums verified by the server.

        Enables what is not enabled yet, and takes a new slot for one that was lost: with a base, the gap is over.
        """
        to = self._client(docker, place)
        if self._position(to).status == "lost":
            self.disable(docker, place)
        self.enable(docker, place)
        at = self._position(to)
        inspected = docker.inspect("container", place.container)[0]
        mount = mount_of(inspected, at.data)
        within = str(PurePosixPath(at.data).relative_to(mount["Destination"])) if mount else "."
        moment = time.time()
        facts = {**_facts(at), "moment": iso(moment), "folder": within, "image": docker.digest(inspected)}
        opened = partial(_base, to)
        yield Capture([Stream(f"{self.name}/{BASE}", opened, self.kind, lambda: facts)], moment)

    @contextmanager
    def segments(self, docker: Docker, place: Place) -> Iterator[Capture]:
        """Hold what was written since the last shipping. Raises HostError for a gap.

        When the snapshot is stored, call `shipped` with the facts of any of the inputs.
        """
        to = self._client(docker, place)
        before = self._position(to)
        self._check(before)
        if before.behind == 0:
            yield Capture((), None, "nothing was written since")
            return
        moment = time.time()
        # A commit of our own: with it the log reaches past any moment before, so that recovery can stop there.
        to.rows("SELECT pg_logical_emit_message(true, 'toolkit', 'shipped')")
        at = self._position(to)
        facts = {**_facts(at), "moment": iso(moment)}
        with ExitStack() as stack:
            folder = stack.enter_context(
                directory(docker.inspect("container", place.container)[0], f"{at.data}/pg_wal")
            )
            inputs: list[Input] = []
            for name, size in needed(at):
                file = stack.enter_context(OpenFile.of(folder, name))
                opened = partial(_segment, file, size, at.segment)
                inputs.append(Stream(f"{self.name}/{SEGMENTS}/{name}", opened, self.kind, lambda: facts))
            if at.timeline > 1:
                history = stack.enter_context(OpenFile.of(folder, f"{at.timeline:08X}.history"))
                name = f"{self.name}/{SEGMENTS}/{history.name}"
                inputs.append(Stream(name, history.read, self.kind, lambda: facts))
            yield Capture(inputs, moment)

    def shipped(self, docker: Docker, place: Place, facts: Facts) -> None:
        """Tell the server that everything up to these facts is stored."""
        end = written(int(facts["end"]))
        self._client(docker, place).rows(f"SELECT pg_replication_slot_advance({literal(self.slot)}, '{end}')")

    def status(self, docker: Docker, place: Place) -> tuple[Verdict, ...]:
        """Whether the chain holds: a missing or lost slot is a gap; half of what may be kept is a warning of one."""
        at = self._position(self._client(docker, place))
        try:
            self._check(at)
        except HostError as error:
            return (Verdict("log", "bad", f"{error.message}; {error.hint}"),)
        kept = f"{Size(at.behind)} wait to be shipped, of at most {self.keep}"
        return (Verdict("log", "bad" if at.behind * 2 > self.keep else "good", kept),)

    def _client(self, docker: Docker, place: Place) -> Client:
        place.need("container")
        return client(docker, place.container, user=self.user, login=self.login, patience=self.patience)

    def _position(self, to: Client) -> Position:
        row = to.rows(_POSITION.format(slot=literal(self.slot)))[0]
        shipped, status, now, segment, timeline, system, data = row
        return Position(
            shipped=number(shipped) if shipped else None,
            status=status,
            written=number(now),
            segment=int(segment),
            timeline=int(timeline),
            system=system,
            data=data,
        )

    def _check(self, at: Position) -> None:
        if at.shipped is None and not at.status:
            raise HostError(f"gap: the server has no slot {self.slot}", hint=_GAP_HINT)
        if at.shipped is None or at.status == "lost":
            raise HostError(f"gap: the server dropped log that was not shipped (slot {self.slot})", hint=_GAP_HINT)


def number(lsn: str) -> int:
    """A place in the log from the form in which the server writes it: `16/B374D848`."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def written(place: int) -> str:
    """A place in the log in the server's form."""
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


def utc(moment: datetime) -> str:
    """A moment as people write it, to the microsecond where it has them: `2026-11-28T03:00:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def segment_name(timeline: int, place: int, size: int) -> str:
    """The file that holds a place in the log."""
    index, in_one = place // size, (1 << 32) // size
    return f"{timeline:08X}{index // in_one:08X}{index % in_one:08X}"


def needed(at: Position) -> Iterator[tuple[str, int]]:
    """Yield the files from what was shipped to what is written, and how many bytes of each count."""
    start = (at.shipped or at.written) // at.segment * at.segment
    while start < at.written:
        yield segment_name(at.timeline, start, at.segment), min(at.segment, at.written - start)
        start += at.segment


def believed(facts: Facts) -> Facts:
    """The facts, if they are of the log. Raises RepositoryError: whoever had the host could write anything."""
    numbers = [facts.get(name) for name in ("start", "end", "timeline", "segment")]
    sound = all(type(value) is int and value >= 0 for value in numbers) and facts["segment"] in _SEGMENT_SIZES
    try:
        sound = sound and datetime.fromisoformat(str(facts["moment"])).tzinfo is not None
    except (KeyError, ValueError):
        sound = False
    if not sound or not 0 < facts["timeline"] < 1 << 32 or not isinstance(facts.get("system"), str):
        raise RepositoryError("a snapshot whose facts about the log make no sense", hint="choose another base")
    return facts


def check_chain(chain: list[Facts]) -> None:
    """Raises HostError where the log of these shippings, oldest first, has a gap or is of several servers."""
    for before, after in pairwise(chain):
        if (before["system"], before["timeline"]) != (after["system"], after["timeline"]):
            raise HostError("the log is of another server, or of another life of it", hint="choose snapshots of one")
        if int(after["start"]) > int(before["end"]):
            missing = f"{written(int(before['end']))} to {written(int(after['start']))}"
            raise HostError(f"gap: the log from {missing} was never shipped", hint="recover to a time before the gap")


def _facts(at: Position) -> Mapping[str, object]:
    start = at.shipped if at.shipped is not None else at.written
    about = {"timeline": at.timeline, "system": at.system, "segment": at.segment}
    return {"engine": "PostgreSQL", "start": start, "end": at.written, **about}


@contextmanager
def _base(to: Client) -> Iterator[Readable]:
    words = ("pg_basebackup", "--pgdata=-", "--format=tar", "--wal-method=none", "--checkpoint=fast", "--no-password")
    with streamed(to.start(command(*words, f"--username={to.user}"), what="pg_basebackup")) as stream:
        yield stream


@contextmanager
def _segment(file: OpenFile, size: int, whole: int) -> Iterator[Readable]:
    with file.read() as content:
        yield _Padded(content, size, whole)


@dataclass
class _Padded:
    """The part of a segment that is written, then zeros: behind it lies what the file held before."""

    content: Readable
    left: int
    whole: int

    def read(self, size: int, /) -> bytes:
        size = min(size, self.whole)
        piece = self.content.read(min(size, self.left)) if self.left else bytes(size)
        self.left -= len(piece) if self.left else 0
        self.whole -= len(piece)
        return piece
