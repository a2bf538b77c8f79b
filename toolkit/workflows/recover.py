"""Recover: a bare machine becomes the host that was lost, from the bucket, the operator's identity and this repository.

    open → provision → stage → hand over: preflight, pull, secrets, data, one-shots, stateful, stateless, gate, switch

The machine's part is an ordinary provision, the stack's part an ordinary deploy with one more phase in it: the data.
Each is safe to repeat, and what was done is written down on both sides, so a recovery that was cut is begun again.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from toolkit.config import backup_files
from toolkit.config.models import Connection, HostFile
from toolkit.host import Host
from toolkit.repository import Snapshot, browse
from toolkit.sources.refill import sources_in
from toolkit.words import atomic
from toolkit.words.clock import Clock
from toolkit.words.errors import ConfigError, Error, HostError, SecretError
from toolkit.words.report import Listener
from toolkit.words.values import Secret
from toolkit.workflows import agent, restoring, steering
from toolkit.workflows import deploy as deploying
from toolkit.workflows import provision as provisioning
from toolkit.workflows.attempt import Attempt, Values, begin, required
from toolkit.workflows.backups import Backups
from toolkit.workflows.prepare import prepare
from toolkit.workflows.steering import Following

Done = TypeVar("Done")
FORMAT = "toolkit recovery 1"
_SECRETS = "stack/secrets"


@dataclass(frozen=True)
class Recovered:
    """A stack that serves again. `seconds` has the time of each phase, over all attempts; `rto` is their sum."""

    host: str
    to: str
    stack: str
    snapshot: str
    taken: str
    release: str
    attempts: int
    seconds: Mapping[str, float]
    rto: float
    sources: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    services: tuple[Mapping[str, str], ...]
    report: str
    """The file in this repository that keeps these times."""


@dataclass(frozen=True)
class Plan:
    """What a recovery will do."""

    host: str
    to: str
    stack: str
    snapshot: str
    taken: str
    age_seconds: float
    outcome: str
    sources: tuple[str, ...]
    bytes: int
    release: str
    continues: bool


@dataclass
class Log:
    """The control side's mark of a recovery: `backups/<host>.recovery.json`, there until it has ended."""

    path: Path
    to: str
    snapshot: str = ""
    began: str = ""
    attempts: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path, to: str) -> "Log":
        """Read the mark of an earlier attempt onto the same machine; another machine begins anew."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            found = json.loads(path.read_bytes())
            if found.pop("format") == FORMAT and found["to"] == to:
                return cls(path, **found)
        return cls(path, to)

    def keep(self) -> None:
        content = {name: value for name, value in asdict(self).items() if name != "path"}
        atomic.replace(self.path, json.dumps({"format": FORMAT, **content}, indent=1).encode() + b"\n", mode=0o644)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def timed(self, name: str, work: Callable[[], Done]) -> Done:
        """Do one phase, and add up how long it took, whether it succeeds or not."""
        begun = time.monotonic()
        try:
            return work()
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - begun, 1)
            self.keep()


def described_as(lost: HostFile, to: HostFile | None, connection: Connection | None) -> HostFile:
    """Return the host file of the lost host, for the machine that takes its place.

    Everything keeps the lost host's name, and with it its secrets and backups. How to reach the machine, and what the
    machine itself should be, is what the other host file says, where there is one.
    """
    if to is not None:
        return replace(lost, connection=to.connection, machine=to.machine)
    return replace(lost, connection=connection or lost.connection)


def plan(backups: Backups, to: str, which: str, *, listener: Listener, clock: Clock) -> Plan:
    """Open the snapshot and say what would be done. No machine is reached."""
    log = _log(backups, to)
    snapshot = _opened(backups, log.snapshot or which, listener)
    document = snapshot.manifest
    taken = datetime.fromisoformat(document.started).replace(tzinfo=UTC)
    return Plan(
        host=backups.host,
        to=to,
        stack=required(backups.described).name,
        snapshot=str(snapshot.name),
        taken=document.started,
        age_seconds=round(max(0.0, clock.wall() - taken.timestamp()), 1),
        outcome=document.outcome,
        sources=tuple(sources_in(document.sources, restoring.trees_of(backups))),
        bytes=document.bytes,
        release=str(document.facts.get("release", "")),
        continues=bool(log.attempts),
    )


def recover(
    backups: Backups, described: HostFile, host: Host, to: str, which: str, *, listener: Listener, clock: Clock
) -> Recovered:
    """Bring everything up on the machine behind `host`. Run it again where it was cut: it goes on.

    Raises RepositoryError where the snapshot cannot be had, ConfigError for a machine that has a stack of its own, and
    whatever a provision and a deploy raise.
    """
    log = _log(backups, to)
    log.attempts += 1
    log.began = log.began or f"{datetime.fromtimestamp(clock.wall(), UTC):%Y-%m-%dT%H:%M:%SZ}"
    snapshot = log.timed("open", lambda: _opened(backups, log.snapshot or which, listener))
    log.snapshot = str(snapshot.name)
    for path, text in snapshot.manifest.problems:
        log.note(f"the snapshot lacks {path}: {text}")
    log.timed("provision", lambda: provisioning.provision(described, host, listener=listener))
    services = _deploy(backups, described, host, snapshot, log, listener, clock)
    return _ended(backups, host, snapshot, log, services)


def _deploy(
    backups: Backups,
    described: HostFile,
    host: Host,
    snapshot: Snapshot,
    log: Log,
    listener: Listener,
    clock: Clock,
) -> tuple[str, tuple[Mapping[str, str], ...]]:
    """Have the host's driver bring the stack up with its data, or follow the one that an attempt before left there."""
    stack = required(described).name
    told = steering.state(host, stack)
    if told["driver"]:
        listener.warn(f"{host.name}: the recovery goes on there; following it")
        return _followed(steering.attach(host, stack, listener=listener, clock=clock), log)
    if told["current"]:
        return _there_already(host, stack, told, snapshot)
    attempt = _attempt(described, host, snapshot, log, listener, clock)
    key = deploying.key_of(attempt, deploying.look(attempt))
    prepared = log.timed("stage", lambda: prepare(attempt, key))
    reach = restoring.reach_of(backups)
    refill = {"reach": reach.header(), "snapshot": str(snapshot.name), "trees": restoring.trees_of(backups)}
    following = deploying.start(attempt, prepared, wait=False, refill=refill, secret=reach.body())
    return _followed(following, log)


def _attempt(
    described: HostFile, host: Host, snapshot: Snapshot, log: Log, listener: Listener, clock: Clock
) -> Attempt:
    """An attempt at a deploy with the snapshot's images, and its secrets where the vault has them no more."""
    values = Fallback(described, snapshot, log, listener)
    attempt = begin(described, host, listener=listener, clock=clock, values=values)
    return replace(attempt, pins=_pins(snapshot))


def _pins(snapshot: Snapshot) -> dict[str, str]:
    """The digests of the release that was captured, by image reference."""
    document = snapshot.manifest.facts.get("manifest")
    found = document.get("digests") if isinstance(document, Mapping) else None
    return {str(name): str(digest) for name, digest in found.items()} if isinstance(found, Mapping) else {}


class Fallback(Values):
    """The vault's values, and the snapshot's where the vault has none."""

    def __init__(self, described: HostFile, snapshot: Snapshot, log: Log, listener: Listener) -> None:
        super().__init__(described)
        self._snapshot, self._log, self._listener = snapshot, log, listener

    def secret(self, name: str) -> Secret:
        """Return a secret of the stack. Raises SecretError where neither has it."""
        try:
            return super().secret(name)
        except SecretError as error:
            found = self._captured(name)
            if found is None:
                raise
            told = f"secret {name} is the snapshot's, because the vault's cannot be had: {error.message}"
            self._log.note(told)
            self._listener.warn(told)
            return found

    def _captured(self, name: str) -> Secret | None:
        document = self._snapshot.manifest.facts.get("manifest")
        tags = document.get("secrets") if isinstance(document, Mapping) else None
        if not isinstance(tags, Mapping) or name not in tags:
            return None
        content = bytearray()
        try:
            browse.dump(self._snapshot, f"{_SECRETS}/{name}-{tags[name]}", content.extend)
        except Error:
            return None
        return Secret(bytes(content))


def _followed(following: Following, log: Log) -> tuple[str, tuple[Mapping[str, str], ...]]:
    """Follow the driver to its end; its phases are timed by its own clock."""
    try:
        outcome, took = following.finish()
    finally:
        beginnings = [(str(event["name"]), float(event["at"])) for event in following.heard]
        ends = [at for _, at in beginnings[1:]]
        for (name, at), end in zip(beginnings, ends, strict=False):
            log.seconds[name] = round(log.seconds.get(name, 0.0) + end - at, 1)
        log.keep()
    if beginnings:
        last, known = beginnings[-1][0], sum(end - at for (_, at), end in zip(beginnings, ends, strict=False))
        log.seconds[last] = round(log.seconds.get(last, 0.0) + max(0.0, took - known), 1)
    told = ({"service": one.service, "state": one.state, "reason": one.reason} for one in outcome.services)
    return outcome.release, tuple(told)


def _there_already(
    host: Host, stack: str, told: Mapping[str, Any], snapshot: Snapshot
) -> tuple[str, tuple[Mapping[str, str], ...]]:
    """Return what an attempt before brought up. Raises ConfigError for a stack that no recovery brought."""
    loaded = agent.asked(host, "restore", "recovered", stack)["recovery"]
    if loaded.get("snapshot") != str(snapshot.name):
        hint = "recover onto a bare machine; `invoke restore` puts data back where a stack runs"
        raise ConfigError(f"{host.name}: the machine runs {stack} already, release {told['current']}", hint=hint)
    return str(told["current"]), ()


def _ended(
    backups: Backups, host: Host, snapshot: Snapshot, log: Log, brought: tuple[str, tuple[Mapping[str, str], ...]]
) -> Recovered:
    stack = required(backups.described).name
    loaded = agent.asked(host, "restore", "recovered", stack)["recovery"]
    if loaded.get("snapshot") != log.snapshot:
        raise HostError(f"{host.name}: the data on it is not of snapshot {log.snapshot}", hint="recover again")
    for name, why in loaded.get("unplaced", ()):
        log.note(f"{name} is not recovered: {why}")
    report = backups.file.root / backup_files.FOLDER / "reports" / f"{backups.host}-recovery-{_stamp(log.began)}.json"
    made = Recovered(
        host=backups.host,
        to=log.to,
        stack=stack,
        snapshot=log.snapshot,
        taken=snapshot.manifest.started,
        release=brought[0],
        attempts=log.attempts,
        seconds=dict(log.seconds),
        rto=round(sum(log.seconds.values()), 1),
        sources=tuple(loaded["done"].values()),
        notes=tuple(log.notes),
        services=brought[1],
        report=str(report.relative_to(backups.file.root)),
    )
    report.parent.mkdir(exist_ok=True)
    content = {"format": FORMAT, "began": log.began, **asdict(made)}
    atomic.replace(report, json.dumps(content, indent=1).encode() + b"\n", mode=0o644)
    log.path.unlink(missing_ok=True)
    return made


def _stamp(moment: str) -> str:
    return moment.replace("-", "").replace(":", "")


def _log(backups: Backups, to: str) -> Log:
    return Log.of(backups.file.root / backup_files.FOLDER / f"{backups.host}.recovery.json", to)


def _opened(backups: Backups, which: str, listener: Listener) -> Snapshot:
    repository = backups.repository(listener.warn)
    return repository.newest() if which == "latest" else repository.open(repository.find(which))
