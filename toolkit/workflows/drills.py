"""Restore drills from the control side: what is asked of one, where it runs, and what becomes of its report."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.config import load
from toolkit.config.drills import Canary, Question
from toolkit.config.models import HostFile
from toolkit.config.models import Probe as ProbePart
from toolkit.crypto import age, passphrase
from toolkit.drill import box
from toolkit.drill.rehearsal import Drill, perform
from toolkit.drill.report import Report, Targets
from toolkit.drill.wish import Query, Wish
from toolkit.host.connect import connect
from toolkit.host.local import LocalHost
from toolkit.machine import registry
from toolkit.repository.reach import Reach
from toolkit.repository.read import Repository
from toolkit.sources.docker import Docker
from toolkit.stack.manifest import Probe
from toolkit.vault import terminal
from toolkit.words.clock import Clock
from toolkit.words.errors import ConfigError, SecretError
from toolkit.words.report import Listener
from toolkit.words.values import Secret
from toolkit.workflows import drills_elsewhere, drills_lab, origin
from toolkit.workflows.attempt import Values
from toolkit.workflows.backups import Backups

LOCAL, LAB = "local", "lab"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person says of one drill; what is not said, the backup file says."""

    snapshot: str = "latest"
    on: str = ""
    level: int | None = None
    beside: bool = False
    others: tuple[Secret, ...] = field(default=(), repr=False)
    """Identities that have to open the snapshot as well."""


def drill(backups: Backups, asked: Asked, listener: Listener, clock: Clock) -> Report:
    """Drill, and return the report. Raises ConfigError for a place that will not do, Locked, HostError, StoreError."""
    wish, on = wish_of(backups, asked), asked.on or backups.file.drill.on or LOCAL
    if on == LOCAL:
        return perform(_here(backups, wish, asked, listener, clock))
    if on == LAB:
        return drills_lab.drill(
            backups.file.root, wish, reach_of(backups, wish), logins_of(backups), asked.others, listener
        )
    target = load.named(backups.file.root, on)
    _refuse_production(backups, target, wish)
    host = connect(target)
    try:
        return drills_elsewhere.drill(host, wish, reach_of(backups, wish), logins_of(backups), asked.others, listener)
    finally:
        host.close()


def wish_of(backups: Backups, asked: Asked) -> Wish:
    """Return the wish: the backup file's, with what was said on the command line. Raises ConfigError."""
    said, targets = backups.file.drill, backups.file.targets
    on = asked.on or said.on or LOCAL
    wish = Wish(
        host=backups.host,
        level=0,
        snapshot=asked.snapshot,
        who=origin.who(),
        where=on if on != LOCAL else f"this machine ({origin.who().partition('@')[2]})",
        queries=tuple(_query(one) for one in said.queries),
        canary=_canary(said.canary) if said.canary else None,
        probes=tuple(_probe(one) for one in said.probes),
        workers=said.workers,
        run=said.run,
        watch=float(said.watch),
        within=float(said.within),
        beside=asked.beside,
        targets=Targets(*(None if span is None else float(span) for span in (targets.rto, targets.rpo))),
    )
    return wish.at(said.level if asked.level is None else asked.level)


def _query(said: Question) -> Query:
    within = None if said.within is None else float(said.within)
    return Query(said.source, said.query, said.database or "", said.equals, said.at_least, within)


def _canary(said: Canary) -> Query:
    return Query(said.source, said.query, said.database or "")


def _probe(said: ProbePart) -> Probe:
    return Probe(said.url, said.status, said.contains, said.insecure, said.service or "")


def _here(backups: Backups, wish: Wish, asked: Asked, listener: Listener, clock: Clock) -> Drill:
    logins = logins_of(backups) if wish.level >= 3 else []

    def login() -> AbstractContextManager[str]:
        return registry.logged_in(LocalHost(LOCAL, _nobody), logins) if logins else nullcontext("")

    # Level 0 takes no key: it can run where nobody has one.
    repository = (
        Repository(backups.owner, backups.host, (), backups.pin(), listener.warn)
        if wish.level == 0
        else backups.repository(listener.warn)
    )
    root = _root()
    return Drill(wish, repository, Docker(), clock, listener, login, asked.others, root)


def reach_of(backups: Backups, wish: Wish) -> Reach:
    """Return what another machine is lent to read the backups for the time of a drill; at level 0, no identity."""
    identities = backups.keyring.identities() if wish.level else ()
    url, root = backups.file.repository.url, backups.file.root
    return Reach.of(url, root, backups.host, backups.pin(), identities, backups.operator)


def logins_of(backups: Backups) -> list[registry.Login]:
    """Return the logins that the images of a host need. Raises SecretError."""
    values = Values(backups.described)
    return [registry.Login(one.host, one.user, values.of(one.token)) for one in backups.described.registries]


def _refuse_production(backups: Backups, target: HostFile, wish: Wish) -> None:
    same = target.name == backups.host or target.connection == backups.described.connection
    if same and wish.level >= 3 and not wish.beside:
        raise ConfigError(
            f"{target.name} is production: a drill of level {wish.level} there would take from it",
            hint="name another host, or add --beside-production: it then runs with small shares of everything",
        )


def clean(backups: Backups, on: str) -> list[str]:
    """Remove what killed drills left in a place; return their names."""
    if on in ("", LOCAL):
        return box.clean_up(Docker(), _root())
    if on == LAB:
        return drills_lab.clean(backups.file.root)
    host = connect(load.named(backups.file.root, on))
    try:
        return drills_elsewhere.clean(host)
    finally:
        host.close()


def identities_in(path: Path, listener: Listener) -> tuple[Secret, ...]:
    """Read a further identity, such as the escrow's out of its envelope. Raises SecretError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SecretError(f"the identity {path} cannot be read: {error.strerror}", hint="name its file") from error
    if passphrase.is_sealed(content):
        listener.warn(f"{path} is sealed with a passphrase")
        return age.identities_in(passphrase.unseal(content, terminal.hidden("its passphrase")))
    return age.identities_in(Secret(content))


def _root() -> Path:
    """Where a drill on this machine has its folders: for whoever is not root, in his own cache."""
    if os.geteuid() == 0:
        return Path("/")
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "toolkit/drills"


def _nobody() -> Secret:
    raise SecretError("no password is known here", hint="run as root")
