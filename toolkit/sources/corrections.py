"""Corrections: what a person says of a stack's sources, laid over what was discovered.

Plain values; whoever reads a configuration file makes them from it.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from toolkit.sources.clickhouse import ClickHouse
from toolkit.sources.discover import Discovery, Found
from toolkit.sources.docker import Inspected, service_of
from toolkit.sources.login import How, Login
from toolkit.sources.mysql import Mysql
from toolkit.sources.postgres import Postgres
from toolkit.sources.process import PATIENCE
from toolkit.sources.protocol import Place, Source
from toolkit.sources.redis import Redis
from toolkit.sources.sqlite import Sqlite
from toolkit.sources.volume import Directory, Volume
from toolkit.words.errors import ConfigError

SERVICES = ("postgres", "redis", "clickhouse", "mysql")
DEFAULT_USERS = {"postgres": "postgres", "redis": "default", "clickhouse": "default", "mysql": "root"}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One source as a person describes it. It takes the place of the discovered one of the same name.

    A database names its `service`, a `volume` its volume, a `path` its path, `sqlite` one of these two and the `file`
    in it. `label` is the name's second half, by default the service, the volume, or the end of the path.
    """

    kind: str
    service: str = ""
    volume: str = ""
    path: str = ""
    file: str = ""
    label: str = ""
    user: str = ""
    password: str = ""
    """`file:/path` or `env:NAME`, inside the container."""

    method: str = ""
    """Redis: `save` or `aof`."""

    exclude: tuple[str, ...] = ()
    count: bool = True
    patience: float = PATIENCE

    @property
    def name(self) -> str:
        label = self.label or self.service or self.volume or self.path.strip("/").replace("/", "-")
        if self.kind == "sqlite" and not self.label:
            label = f"{label}.{self.file.replace('/', '-')}"
        return f"{self.kind}/{label}"


@dataclass(frozen=True)
class Corrections:
    """Everything a person says: sources to add or replace, and names of sources to leave out."""

    sources: tuple[Wanted, ...] = ()
    leave: tuple[str, ...] = ()


def corrected(found: Discovery, said: Corrections, project: str, containers: Sequence[Inspected]) -> Discovery:
    """Lay corrections over a discovery. Raises ConfigError for a service, volume or name that is not there."""
    sources = {one.source.name: one for one in found.found}
    left = list(found.left)
    for name in said.leave:
        if name not in sources:
            raise ConfigError(f"there is no source {name} to leave out", hint=_hint(name, sources))
        del sources[name]
        left.append((name, "left out, as the configuration says"))
    for wanted in said.sources:
        sources[wanted.name] = _found(_completed(wanted, sources.get(wanted.name)), project, containers)
        # What somebody names is captured, whatever it looked like.
        left = [pair for pair in left if pair[0] != wanted.name]
    return replace(found, found=tuple(sources[name] for name in sorted(sources)), left=tuple(left))


def _completed(wanted: Wanted, found: Found | None) -> Wanted:
    """Who speaks to a server stays as it was discovered, where a person says nothing about it."""
    source = found.source if found else None
    if isinstance(source, Postgres) and not wanted.user:
        wanted = replace(wanted, user=source.user)
    login = getattr(source, "login", None)
    if login is None or wanted.password:
        return wanted
    return replace(wanted, user=wanted.user or login.user, password=login.place)


def _found(wanted: Wanted, project: str, containers: Sequence[Inspected]) -> Found:
    if wanted.kind not in MAKERS:
        raise ConfigError(f"there is no kind of source called {wanted.kind}", hint=_hint(wanted.kind, MAKERS))
    return Found(MAKERS[wanted.kind](wanted), _place(wanted, project, containers), "listed in the configuration")


def _place(wanted: Wanted, project: str, containers: Sequence[Inspected]) -> Place:
    if wanted.kind in SERVICES:
        running = sorted(containers, key=lambda container: not container["State"].get("Running"))
        by_service = {service_of(container): container for container in reversed(running)}
        if wanted.service not in by_service:
            raise ConfigError(
                f"{wanted.name}: there is no service {wanted.service!r}", hint=_hint(wanted.service, by_service)
            )
        container = by_service[wanted.service]
        return Place(container=container["Id"], image=container["Image"])
    if wanted.path:
        return Place(path=wanted.path)
    mounts = [mount for container in containers for mount in container.get("Mounts") or ()]
    names = {str(mount["Name"]): str(mount["Name"]) for mount in mounts if mount.get("Type") == "volume"}
    names |= {name.removeprefix(f"{project}_"): name for name in names}
    if wanted.volume not in names:
        raise ConfigError(f"{wanted.name}: there is no volume {wanted.volume!r}", hint=_hint(wanted.volume, names))
    return Place(volume=names[wanted.volume])


def _login(wanted: Wanted) -> Login | None:
    user = wanted.user or DEFAULT_USERS[wanted.kind]
    return Login(cast(How, wanted.kind), user, wanted.password) if wanted.password else None


def _postgres(wanted: Wanted) -> Source:
    user = wanted.user or DEFAULT_USERS["postgres"]
    return Postgres(name=wanted.name, user=user, login=_login(wanted), count=wanted.count, patience=wanted.patience)


def _redis(wanted: Wanted) -> Source:
    if wanted.method not in ("", "save", "aof"):
        raise ConfigError(f"{wanted.name}: there is no method {wanted.method!r}", hint="write save or aof")
    method: Any = wanted.method or "save"
    return Redis(name=wanted.name, login=_login(wanted), method=method, always=True, patience=wanted.patience)


def _clickhouse(wanted: Wanted) -> Source:
    return ClickHouse(name=wanted.name, login=_login(wanted), patience=wanted.patience)


def _mysql(wanted: Wanted) -> Source:
    return Mysql(name=wanted.name, login=_login(wanted), count=wanted.count, patience=wanted.patience)


def _sqlite(wanted: Wanted) -> Source:
    if not wanted.file:
        raise ConfigError(f"{wanted.name}: which file?", hint="name it with `file`, relative to the volume or path")
    return Sqlite(name=wanted.name, file=wanted.file, patience=wanted.patience)


MAKERS: Mapping[str, Callable[[Wanted], Source]] = {
    "postgres": _postgres,
    "redis": _redis,
    "clickhouse": _clickhouse,
    "mysql": _mysql,
    "sqlite": _sqlite,
    "volume": lambda wanted: Volume(name=wanted.name, exclude=wanted.exclude),
    "path": lambda wanted: Directory(name=wanted.name, exclude=wanted.exclude),
}


def _hint(word: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(sorted(known)) or 'none'}"
