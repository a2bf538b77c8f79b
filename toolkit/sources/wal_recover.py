"""Recovery to a point in time: a base, the log shipped after it, and a server that plays it up to a moment.

All of it happens in helpers without a network, on an empty volume; what is left is an ordinary data directory, on a
timeline of its own.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from toolkit.sources import helper
from toolkit.sources.docker import Docker
from toolkit.sources.files import write_new
from toolkit.sources.paths import beneath, mountpoint, plain
from toolkit.sources.postgres_client import Client, client
from toolkit.sources.process import PATIENCE
from toolkit.sources.protocol import Facts, Place, Stored
from toolkit.sources.volume import clear
from toolkit.sources.wal import BASE, SEGMENTS, believed, check_chain, segment_name, utc
from toolkit.words.clock import Clock, SystemClock
from toolkit.words.command import command, script
from toolkit.words.errors import HostError

_DATA = "/toolkit-data"
_LOG, _RULES = "toolkit_wal", "toolkit_hba.conf"
_VERIFY = 'command -v pg_verifybackup >/dev/null || exit 0; pg_verifybackup --no-parse-wal --quiet "$1"'
# Not this server's, but of another life of the same database: a number that is never to be given again.
_TAKEN = b"# taken\n"
# A server that plays a log must allow for as much as the one that wrote it (hot standby, "parameter settings").
_AS_MUCH = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}
_SETTINGS = 'command -v pg_controldata >/dev/null || exit 0; LC_ALL=C pg_controldata "$1"'
_LAST_COMMIT = """
SELECT coalesce(to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), '')
"""
_STAND_BY = "touch recovery.signal && chown --reference=PG_VERSION recovery.signal"


@dataclass(frozen=True)
class Reached:
    """How far a log was played: the moment that was asked for, or the log's end, and the last commit up to there.

    `last_commit` is empty where the log had none since the base.
    """

    moment: str
    last_commit: str


@dataclass(frozen=True)
class _Base:
    """An unpacked base: where it lies in a helper, whose its files are, and what its server allowed for."""

    inside: str
    owner: tuple[int, int]
    settings: Mapping[str, str]


def recover(
    docker: Docker,
    base: Stored,
    log: Sequence[Stored],
    place: Place,
    *,
    to: datetime | None = None,
    user: str = "postgres",
    beyond: int = 0,
    patience: float = PATIENCE,
    clock: Clock | None = None,
) -> Reached:
    """Fill an empty volume with the database as it was at a moment, or at the end of the log; return what was reached.

    `log` is the shippings after the base, oldest first; the timelines up to `beyond` belong to other lives of the
    database and are not taken again. Raises HostError for a gap, for a moment that the log does not reach, and for a
    base whose files are not as its own manifest says.
    """
    place.need("volume", "image")
    clock, about = clock or SystemClock(), believed(base.facts(BASE))
    shippings = [_facts(each) for each in log]
    check_chain([about, *shippings])
    _check_reach(to, shippings or [about])
    root = mountpoint(docker, place.volume)
    if place.replace:
        clear(root)
    if any(root.iterdir()):
        raise HostError(f"volume {place.volume} is not empty", hint="recover into a fresh volume")
    folder = "/".join(plain(part) for part in str(about.get("folder", ".")).split("/") if part != ".")
    inside = f"{_DATA}/{folder}".rstrip("/")
    laid = _extract(docker, base, place, inside)
    with beneath(root, folder) as data:
        _lay(log, data, about, laid.owner, beyond)
        last_commit = _play(docker, place, laid, to, user, patience, clock)
        with beneath(data, _LOG) as kept:
            clear(kept)
        (data / _LOG).rmdir()
        (data / _RULES).unlink()
    return Reached(utc(to) if to else str((shippings or [about])[-1]["moment"]), last_commit)


def _facts(shipping: Stored) -> Facts:
    for name in shipping.names:
        if name.startswith(f"{SEGMENTS}/"):
            return believed(shipping.facts(name))
    raise HostError("a snapshot without any log among those to play", hint="leave it out")


def _check_reach(to: datetime | None, shippings: Sequence[Facts]) -> None:
    if to is None:
        return
    if to.tzinfo is None:
        raise HostError("a moment without a time zone", hint="write it with one, such as 2026-11-24T12:00:00Z")
    last = datetime.fromisoformat(str(shippings[-1]["moment"]))
    if to > last:
        hint = "choose an earlier moment, or ship once more if the server still lives"
        raise HostError(f"the log reaches to {last.isoformat()}, not to {to.isoformat()}", hint=hint)


def _extract(docker: Docker, base: Stored, place: Place, inside: str) -> _Base:
    """Unpack the base where nothing but the volume can be reached, and prove it."""
    options = ("--entrypoint", "sleep", "--user", "0:0", "--volume", f"{place.volume}:{_DATA}")
    with helper.helper(docker, place.image, ["86400"], options) as box:
        docker.inside(box, command("mkdir", "-p", inside))
        unpack = command("tar", "--extract", "--file=-", "--numeric-owner", "--same-owner", f"--directory={inside}")
        process = docker.start(box, unpack, what="unpacking the base")
        try:
            base.pour(BASE, process.write)
            process.check()
        finally:
            process.close()
        docker.inside(box, script(_VERIFY, inside), patience=PATIENCE)
        dress = 'cd "$1" && chown --reference=PG_VERSION . && chmod 700 . && stat -c "%u %g" PG_VERSION'
        user, group = docker.inside(box, script(f"{dress} && {_STAND_BY}", inside)).split()
        told = docker.inside(box, script(_SETTINGS, inside)).decode(errors="replace")
    return _Base(inside, (int(user), int(group)), dict(_settings(told)))


def _settings(told: str) -> Iterator[tuple[str, str]]:
    """What pg_controldata says of the settings that a log depends on."""
    for line in told.splitlines():
        name, _, value = line.partition(":")
        if name in _AS_MUCH and value.strip().isdecimal():
            yield _AS_MUCH[name], value.strip()


def _lay(log: Sequence[Stored], data: Path, about: Facts, owner: tuple[int, int], beyond: int) -> None:
    """Put the log beside the data, each file as its newest shipping has it."""
    (data / _LOG).mkdir(mode=0o700)
    os.chown(data / _LOG, *owner)
    first = segment_name(int(about["timeline"]), int(about["start"]), int(about["segment"]))
    with beneath(data, _LOG) as kept:
        for shipping in reversed(log):
            for name in shipping.names:
                file = plain(name.removeprefix(f"{SEGMENTS}/"))
                if (file >= first or file.endswith(".history")) and not (kept / file).exists():
                    write_new(kept, file, partial(shipping.pour, name), owner=owner)
        for number in range(int(about["timeline"]) + 1, beyond + 1):
            write_new(kept, f"{number:08X}.history", lambda write: write(_TAKEN), owner=owner)
    # Nobody but us is there to connect, whatever the restored rules say.
    write_new(data, _RULES, lambda write: write(b"local all all trust\n"), owner=owner)


def _play(
    docker: Docker,
    place: Place,
    base: _Base,
    to: datetime | None,
    user: str,
    patience: float,
    clock: Clock,
) -> str:
    """Have a server play the log, become one of its own, and end; return the time of the last commit that it played."""
    inside, owner = base.inside, base.owner
    settings = {
        **base.settings,
        "restore_command": f'cp "{inside}/{_LOG}/%f" "%p"',
        "recovery_target_action": "promote",
        "recovery_target_timeline": "current",
        "listen_addresses": "",
        "archive_mode": "off",
        "hba_file": f"{inside}/{_RULES}",
    }
    if to:
        settings["recovery_target_time"] = to.astimezone(UTC).isoformat(sep=" ")
    words = [f"--{name}={value}" for name, value in settings.items()]
    options = ("--entrypoint", "postgres", "--user", f"{owner[0]}:{owner[1]}", "--volume", f"{place.volume}:{_DATA}")
    with helper.helper(docker, place.image, ["-D", inside, *words], options) as box:
        server = client(docker, box, user=user, login=None, patience=patience)
        _until_promoted(docker, box, server, patience, clock)
        last_commit = server.rows(_LAST_COMMIT)[0][0]
        server.rows("CHECKPOINT")
        docker.run("stop", "--time", 300, box, timeout=330)
        helper.ended(docker, box)
    return last_commit


def _until_promoted(docker: Docker, box: str, server: Client, patience: float, clock: Clock) -> None:
    since, before = clock.now(), ""
    while helper.running(docker, box):
        try:
            waiting, played = server.rows("SELECT pg_is_in_recovery(), coalesce(pg_last_wal_replay_lsn()::text, '')")[0]
        except HostError:
            waiting, played = "t", ""
        if waiting == "f":
            return
        if played != before:
            since, before = clock.now(), played
        if clock.now() - since > patience:
            break
        clock.sleep(0.3)
    said = helper.last_words(docker, box)
    raise HostError(f"the server did not come up from its log:\n{said}", hint="recover to an earlier moment")
