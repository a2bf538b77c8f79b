"""Ready: waiting until a database that was just started really answers, and not only its first-start scripts.

The usual images run a server of their own while they make a first database, and end it again. Until that is over,
the container's first process is still a shell. Where it is the server itself, that server's answer is all there is to
wait for: Docker runs a health check for the first time seconds after the start, and would learn no more from it.
"""

from contextlib import suppress
from pathlib import Path

from toolkit.sources import mysql_client
from toolkit.sources.clickhouse import ClickHouse
from toolkit.sources.clickhouse_client import Client as ClickHouseClient
from toolkit.sources.docker import Docker, Inspected
from toolkit.sources.helper import last_words
from toolkit.sources.mysql import Mysql
from toolkit.sources.postgres import Postgres
from toolkit.sources.postgres_client import client
from toolkit.sources.protocol import Source
from toolkit.sources.redis import Redis
from toolkit.sources.redis_client import RedisClient
from toolkit.words.clock import Clock
from toolkit.words.errors import HostError
from toolkit.words.report import Listener

WITHIN = 600.0
"""Seconds that a server has to answer."""

# A command line may keep its shell for good: one that answers for so long (seconds) has started all the same.
_SHELL_WITHIN = 30.0
_TICK = 0.1
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "busybox", "docker-entrypoi", "entrypoint.sh"})
_INITS = frozenset({"docker-init", "tini", "dumb-init", "catatonit"})
# What the kernel calls them, which keeps fifteen letters.
_SERVERS = frozenset(
    {"postgres", "redis-server", "valkey-server", "mysqld", "mariadbd", "clickhouse-serv", "clickhouse"}
)


def wait(
    docker: Docker, source: Source, container: str, *, clock: Clock, listener: Listener, within: float = WITHIN
) -> None:
    """Wait until a source's server answers in its container. Raises HostError where it ends or does not answer."""
    begun, answering = clock.now(), None
    while True:
        inspected = docker.inspect("container", container)[0]
        if not inspected["State"].get("Running"):
            raise HostError(f"{source.name}: its server ended:\n{last_words(docker, container)}")
        first = _first(inspected)
        complaint = "" if first in _SERVERS else _unhealthy(inspected)
        complaint = complaint or _complaint(docker, source, container)
        now = clock.now()
        answering = None if complaint else (now if answering is None else answering)
        if answering is not None and (first not in _SHELLS or now - answering > _SHELL_WITHIN):
            return
        if now - begun > within:
            said = complaint or "its first-start scripts do not end"
            hint = "look at its log; `docker ps --all` on the host shows it"
            raise HostError(f"{source.name}: no answer within {within:.0f} s: {said}", hint=hint)
        listener.progress(now - begun, within, "wait for its server")
        clock.sleep(_TICK)


def _unhealthy(inspected: Inspected) -> str:
    """What a container's own health check is still missing; empty where it has none, or has said something."""
    health = (inspected["State"].get("Health") or {}).get("Status", "healthy")
    return "its health check has not passed yet" if health == "starting" else ""


def _complaint(docker: Docker, source: Source, container: str) -> str:
    """Why a server is not there yet; empty where it answers."""
    try:
        greet(docker, source, container)
    except HostError as error:
        return error.message
    return ""


def greet(docker: Docker, source: Source, container: str) -> None:
    """Ask a server the least that it can be asked. Raises HostError where it does not answer."""
    if isinstance(source, Postgres):
        client(docker, container, user=source.user, login=source.login).rows("SELECT 1")
    elif isinstance(source, Redis):
        RedisClient(docker, container, source.login, source.port).ask("PING")
    elif isinstance(source, Mysql):
        with mysql_client.client(docker, container, source.login).session() as session:
            session.ask("SELECT 1")
    elif isinstance(source, ClickHouse):
        ClickHouseClient(docker, container, source.login, source.patience).rows("SELECT 1 AS one")


def _first(container: Inspected) -> str:
    """The name of a container's first process, or of what an init that does nothing else has started."""
    pid = str(container["State"].get("Pid", 0))
    with suppress(OSError):
        name = _name(pid)
        if name in _INITS and (children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            name = _name(children[0])
        return name
    return ""


def _name(pid: str) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()
