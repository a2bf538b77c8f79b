"""Restore in place, from the control side: the host does it, with what it is lent for that time.

The snapshot is opened here first: a wrong identity, a key that nobody pinned or a snapshot that is not there end the
run before the host hears of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from toolkit.config.models import HostFile
from toolkit.host import Host
from toolkit.machine.agent import ENTRY
from toolkit.repository import Snapshot
from toolkit.repository.browse import entries, missing
from toolkit.repository.reach import Reach
from toolkit.sources import excerpts
from toolkit.sources.docker import Inspected, service_of
from toolkit.sources.excerpts import Excerpt
from toolkit.sources.refill import Layout, layout, sources_in
from toolkit.stack.restoring import FORGET, RESTORE, UNDO, Wish
from toolkit.words import frames
from toolkit.words.clock import Clock
from toolkit.words.command import command, script
from toolkit.words.errors import ConfigError, Mixed
from toolkit.words.report import Listener
from toolkit.words.values import Secret
from toolkit.workflows import agent, origin
from toolkit.workflows.attempt import required
from toolkit.workflows.backups import Backups
from toolkit.workflows.steering import Following

CONTAINERS = """
ids=$(docker ps --all --quiet --no-trunc --filter "label=com.docker.compose.project=$1") || exit
[ -n "$ids" ] && exec docker inspect $ids
echo '[]'
"""


@dataclass(frozen=True)
class Row:
    """One source in a plan: what it will replace, and how much comes."""

    source: str
    replaces: str
    service: str
    bytes: int
    moment: str


@dataclass(frozen=True)
class Plan:
    """What a restore will do. `age` is how much newer the present is than the snapshot: that is what gets lost."""

    host: str
    stack: str
    snapshot: str
    taken: str
    age_seconds: float
    outcome: str
    sources: tuple[Row, ...]
    left: tuple[tuple[str, str], ...]
    stops: tuple[str, ...]
    problems: Sequence[tuple[str, str]] = ()
    others: tuple[str, ...] = ()
    """Sources of the snapshot that were not asked for."""

    at: str = ""
    """The moment to which a database is brought, from the base that `snapshot` names and the log after it."""

    shippings: int = 0


@dataclass(frozen=True)
class Restore:
    """One restore before it is asked for."""

    backups: Backups
    host: Host
    snapshot: Snapshot
    plan: Plan
    wish: Wish
    reach: Reach = field(repr=False)


def prepare(
    backups: Backups,
    host: Host,
    *,
    which: str,
    sources: Sequence[str],
    listener: Listener,
    clock: Clock,
    path: str = "",
    to: str = "",
) -> Restore:
    """Open the snapshot and say what a restore of it would do. Nothing on the host is touched.

    Raises RepositoryError for a snapshot that cannot be had or trusted or lacks the path, ConfigError for a source that
    it lacks, or a path that cannot be put back by itself.
    """
    stack = required(backups.described).name
    repository = backups.repository(listener.warn)
    snapshot = repository.newest() if which == "latest" else repository.open(repository.find(which))
    trees = trees_of(backups)
    _refuse_unknown(snapshot, sources, trees)
    if to and path and not any(True for _ in entries(snapshot, path)):
        raise missing(snapshot, path)
    excerpt = excerpts.find(snapshot, path, trees) if path and not to else None
    found: list[Inspected] = [] if to else json.loads(host.run(script(CONTAINERS, stack)).text)
    plan = _plan(host.name, stack, snapshot, found, (excerpt.source,) if excerpt else sources, trees, clock)
    if excerpt:
        plan = _of_excerpt(plan, excerpt)
    reach = reach_of(backups)
    wish = Wish(
        RESTORE,
        stack,
        origin.who(),
        str(snapshot.name),
        tuple(sources),
        path=path,
        to=to,
        trees=trees,
        reach=reach.header(),
    )
    return Restore(backups, host, snapshot, plan, wish, reach)


def reach_of(backups: Backups) -> Reach:
    """Return what a host is lent to read its backups."""
    return Reach.of(
        backups.file.repository.url,
        backups.file.root,
        backups.host,
        backups.pin(),
        backups.keyring.identities(),
        backups.operator,
    )


def trees_of(backups: Backups) -> dict[str, str]:
    """Return where the directories of the backup file are on the host, by their names in a snapshot."""
    return {tree.called: tree.path for tree in backups.file.paths}


def _refuse_unknown(snapshot: Snapshot, sources: Sequence[str], trees: Mapping[str, str]) -> None:
    known = sources_in(snapshot.manifest.sources, trees)
    if unknown := [name for name in sources if name not in known]:
        hint = f"it has {', '.join(sorted(known)) or 'none'}"
        raise ConfigError(f"snapshot {snapshot.name} has no source {unknown[0]}", hint=hint)


def _plan(
    host: str,
    stack: str,
    snapshot: Snapshot,
    containers: Sequence[Inspected],
    wanted: Sequence[str],
    trees: Mapping[str, str],
    clock: Clock,
) -> Plan:
    document = snapshot.manifest
    found: Layout = layout(snapshot, containers, trees=trees)
    shared = {volume for part in found.parts if part.name in wanted for volume in part.volumes}
    chosen = [one for one in found.parts if not wanted or one.name in wanted or set(one.volumes) & shared]
    names = {one.name for one in chosen}
    taken = datetime.fromisoformat(document.started).replace(tzinfo=UTC)
    volumes = {volume for one in chosen for volume in one.volumes}
    return Plan(
        host=host,
        stack=stack,
        snapshot=str(snapshot.name),
        taken=document.started,
        age_seconds=round(max(0.0, clock.wall() - taken.timestamp()), 1),
        outcome=document.outcome,
        sources=tuple(_row(one.name, one.service, one.volumes, one.place.path, snapshot) for one in chosen),
        left=tuple(pair for pair in found.unplaced if not wanted or pair[0] in wanted),
        stops=stopped_by(containers, volumes),
        problems=document.problems,
        others=tuple(sorted(set(sources_in(document.sources, trees)) - names - {name for name, _ in found.unplaced})),
    )


def _of_excerpt(whole: Plan, excerpt: Excerpt) -> Plan:
    """The plan of a source, for one path of it: the rest of the source is left as it is."""
    rows = tuple(
        replace(row, source=excerpt.path, replaces=f"{row.replaces}: {excerpt.below}", bytes=excerpt.bytes)
        for row in whole.sources
        if row.source == excerpt.source
    )
    beside = (row.source for row in whole.sources if row.source != excerpt.source)
    return replace(whole, sources=rows, others=tuple(sorted({*whole.others, *beside})))


def stopped_by(containers: Sequence[Inspected], volumes: set[str]) -> tuple[str, ...]:
    """The services that use one of these volumes."""
    return tuple(sorted({service_of(one) for one in containers if _mounts(one, volumes)}))


def _mounts(container: Inspected, volumes: set[str]) -> bool:
    return any(mount.get("Name") in volumes for mount in container.get("Mounts") or ())


def _row(name: str, service: str, volumes: Sequence[str], path: str, snapshot: Snapshot) -> Row:
    infos = [one for one in snapshot.manifest.sources if one.name == name or one.name.startswith(f"{name}/")]
    moments = [str(one.facts[key]) for one in infos for key in ("moment", "ended") if key in one.facts]
    replaced = ", ".join(f"volume {volume}" for volume in volumes) or path
    return Row(name, replaced, service, sum(one.bytes for one in infos), max(moments, default=""))


def run(restore: Restore, *, listener: Listener, clock: Clock) -> dict[str, Any]:
    """Have the host do it, and follow it to the end. Raises what it ended with."""
    return _ended(restore.host, restore.wish, restore.reach.body(), listener, clock)


def undo(described: HostFile, host: Host, kept: str, *, listener: Listener, clock: Clock) -> dict[str, Any]:
    """Let what a restore kept and what it brought change places again."""
    wish = Wish(UNDO, required(described).name, origin.who(), kept=kept)
    return _ended(host, wish, Secret(b""), listener, clock)


def forget(described: HostFile, host: Host, kept: str, *, listener: Listener, clock: Clock) -> dict[str, Any]:
    """Remove what restores kept."""
    wish = Wish(FORGET, required(described).name, origin.who(), kept=kept)
    return _ended(host, wish, Secret(b""), listener, clock)


def kept(described: HostFile, host: Host) -> list[Mapping[str, Any]]:
    """Return what restores of this stack have kept, oldest first."""
    found: list[Mapping[str, Any]] = agent.asked(host, "restore", "kept", required(described).name)["kept"]
    return found


def _ended(host: Host, wish: Wish, body: Secret, listener: Listener, clock: Clock) -> dict[str, Any]:
    return _told(_start(host, wish, body, listener, clock))


def attach(described: HostFile, host: Host, *, listener: Listener, clock: Clock) -> dict[str, Any]:
    """Follow the newest restore, which may have ended already. Raises HostError where there never was one."""
    stack = required(described).name
    process = host.open(command(ENTRY, "restore", "follow", stack))
    process.finish()
    lines = agent.Stream(host, process).lines()
    return _told(Following(host, stack, "", lines, listener, clock, verb="restore"))


def _told(following: Following) -> dict[str, Any]:
    end, host, stack = following.ended(), following.host, following.stack
    outcome = {**end["outcome"], "took": end["took"], "host": host.name, "stack": stack}
    if outcome["fault"]:
        kind = Mixed if outcome["result"] == "mixed" else agent.kind_of(int(outcome["code"]))
        runs = {
            "put back": "the data from before is in its place, and the stack runs on it",
            "mixed": f"{stack} HAS NEITHER ITS OLD NOR ITS NEW DATA WHOLE",
        }.get(str(outcome["result"]), "nothing in use was touched")
        raise kind(f"{host.name}: {outcome['fault']}\n{runs}", hint=str(outcome["hint"]))
    return outcome


def _start(host: Host, wish: Wish, body: Secret, listener: Listener, clock: Clock) -> Following:
    listener.step("hand over to the host")
    stream = agent.Stream(host, host.open(command(ENTRY, "restore", "start")))
    try:
        agent.check(host, stream.hear())
        stream.say(frames.pack(wish.header(), body.reveal()))
        answer = stream.hear()
        if "fault" in answer:
            raise agent.fault(host, answer["fault"])
    except BaseException:
        stream.close()
        raise
    listener.done()
    return Following(host, wish.stack, answer["journal"], stream.lines(), listener, clock, verb="restore")
