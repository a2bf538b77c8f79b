"""Containers of the stack: what they are, where they are reached, and which stores and services they point to.

Of variables only their names are told, the parts of an address in their values (never a password), and a yes or no.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from toolkit.stack import containers as reading
from toolkit.stack.doctor.gather.programs import said

Body = Mapping[str, Any]

_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_PLACE = re.compile(r"(_HOST|_ADDR|_ADDRESS|_SERVER|_ENDPOINT)$")
_BARE = re.compile(r"([a-z0-9][a-z0-9._-]*)(?::(\d{1,5}))?", re.IGNORECASE)
_WORK = r"WORKERS?|JOBS?|QUEUES?|CONSUMERS?|BACKGROUND|CRON|SCHEDULER"
_SWITCH = re.compile(rf"(^|_)({_WORK})(_|$)")
_YES, _NO = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off", ""})
# Paths of these say which database is meant; that of others may be a secret.
_DATABASES = (
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "redis",
    "rediss",
    "valkey",
    "amqp",
    "mongodb",
    "clickhouse",
)
_BESIDE = re.compile("exporter|admin|commander|insight|backup|bouncer|proxy|operator|sentinel|client")
_KINDS = (
    ("postgres", ("postgres", "postgis", "timescale", "pgvector"), "/var/lib/postgresql"),
    ("redis", ("redis", "valkey", "keydb", "dragonfly"), ""),
    ("clickhouse", ("clickhouse",), "/var/lib/clickhouse"),
    ("mysql", ("mysql", "mariadb", "percona"), "/var/lib/mysql"),
)
LARGEST = 4096


def inspected(stack: str) -> str:
    """Return every container as a deploy reads it: what `stack.containers.parse` understands."""
    return said(*reading.read(stack).argv)


def described(root: Path, bodies: Iterable[Body]) -> list[dict[str, Any]]:
    """Return what else there is to say of each container."""
    return [_described(root, body) for body in bodies]


def _described(root: Path, body: Body) -> dict[str, Any]:
    config, state = body["Config"], body["State"]
    environment = dict(line.partition("=")[::2] for line in config.get("Env") or ())
    return {
        "id": body["Id"],
        "name": body["Name"].lstrip("/"),
        "service": service(body),
        "kind": kind(body),
        "error": state.get("Error", ""),
        "networks": {
            name: {"ip": one.get("IPAddress", ""), "aliases": sorted({*(one.get("Aliases") or ()), *_names(body)})}
            for name, one in (body["NetworkSettings"].get("Networks") or {}).items()
        },
        "hosts": [line.partition(":")[0] for line in body["HostConfig"].get("ExtraHosts") or ()],
        "variables": sorted(environment),
        "links": list(links(root, body, environment)),
        "switches": {name: value.lower() in _YES for name, value in environment.items() if is_switch(name, value)},
        "command": _is_worker(config),
        "policy": body["HostConfig"].get("RestartPolicy", {}).get("Name", ""),
        "memory": body["HostConfig"].get("Memory", 0),
    }


def service(body: Body) -> str:
    return str((body["Config"].get("Labels") or {}).get("com.docker.compose.service", ""))


def _names(body: Body) -> Iterator[str]:
    yield service(body)
    yield body["Name"].lstrip("/")


def kind(body: Body) -> str:
    """Return which kind of store a container is, or nothing."""
    homes = {mount["Destination"].rstrip("/") for mount in body.get("Mounts") or ()}
    kept = (name for name, _, home in _KINDS if home and any(f"{one}/".startswith(f"{home}/") for one in homes))
    return kind_of_image(str(body["Config"]["Image"])) or str(next(kept, ""))


def kind_of_image(image: str) -> str:
    """Return which kind of store an image's name says it is, or nothing."""
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()
    if _BESIDE.search(name):
        return ""
    kinds = (kind for kind, words, _ in _KINDS if any(word in name for word in words))
    return str(next(kinds, ""))


def is_switch(name: str, value: str) -> bool:
    """Whether a variable says yes or no to doing jobs."""
    return bool(_SWITCH.search(name)) and value.lower() in _YES | _NO


def _is_worker(config: Body) -> bool:
    words = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]
    return any(re.search(r"\b(worker|celery|sidekiq|consumer|rq|bullmq)\b", word) for word in words)


def links(root: Path, body: Body, environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield where variables of a container point to; those that name a file are read there."""
    for name, value in sorted(environment.items()):
        if name.endswith("_FILE") and (content := _file(root, body, value)):
            name, value = name.removesuffix("_FILE"), content
        if found := address(name, value.strip()):
            yield {"variable": name, **found}


def _file(root: Path, body: Body, path: str) -> str:
    for mount in body.get("Mounts") or ():
        if mount.get("Destination") == path:
            with suppress(OSError, UnicodeDecodeError), (root / mount["Source"].lstrip("/")).open("rb") as stream:
                return str(stream.read(LARGEST), encoding="utf-8")
    return ""


def address(name: str, value: str) -> dict[str, Any] | None:
    """Return the parts of an address that are no secret; None for what is none."""
    if _URL.fullmatch(value):
        with suppress(ValueError):
            parts = urlsplit(value)
            if parts.hostname:
                database = parts.path.lstrip("/") if parts.scheme.split("+")[0] in _DATABASES else ""
                found = {"scheme": parts.scheme.lower(), "host": parts.hostname, "port": parts.port or 0}
                return found | {"database": unquote(database), "user": unquote(parts.username or "")}
    if _PLACE.search(name) and (match := _BARE.fullmatch(value)):
        return {"scheme": "", "host": match[1], "port": int(match[2] or 0), "database": "", "user": ""}
    return None


def events(asked: Any, now: float, within: float) -> list[dict[str, Any]]:
    """Return containers that ran out of memory or ended lately, as the Engine remembers it."""
    filters = json.dumps({"type": ["container"], "event": ["oom", "die"]})
    text = asked.text("/events", since=str(int(now - within)), until=str(int(now)), filters=filters)
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [
        {
            "service": one["Actor"]["Attributes"].get("com.docker.compose.service", ""),
            "project": one["Actor"]["Attributes"].get("com.docker.compose.project", ""),
            "what": one["Action"],
            "exit_code": int(one["Actor"]["Attributes"].get("exitCode") or 0),
            "ago": round(now - float(one["time"])),
        }
        for one in rows
    ]


# What services write when something that they need is not as it should be. The first that fits counts.
PHRASES = {
    "auth": r"password authentication failed|WRONGPASS|NOAUTH|Access denied for user|invalid username-password"
    r"|Authentication failed: password is incorrect",
    "unknown-host": r"ENOTFOUND|could not translate host name|Name or service not known|Temporary failure in name reso"
    r"|failed to resolve host|no such host|NameResolutionError|No address associated with hostname",
    "missing-database": r'database "[^"]+" does not exist|Unknown database|Database \S+ doesn.t exist',
    "missing-table": r'relation "[^"]+" does not exist|no such table|Table \S+ doesn.t exist|UndefinedTable',
    "too-many": r"too many clients|remaining connection slots|Too many connections|max number of clients reached",
    "disk-full": r"No space left on device|ENOSPC|disk is full",
    "memory": r"out of memory|OOM command not allowed|Cannot allocate memory|MemoryError|std::bad_alloc",
    "port-taken": r"address already in use|EADDRINUSE|port is already allocated",
    "read-only": r"READONLY You can.t write|MISCONF |Read-only file system",
    "certificate": r"certificate has expired|certificate verify failed|x509: certificate",
    "refused": r"connection refused|ECONNREFUSED|could not connect to server|Connection reset by peer",
}
_PATTERNS = {name: re.compile(text, re.IGNORECASE) for name, text in PHRASES.items()}
LINES, LAST, LONGEST = 300, 12, 300


def words(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Return which known phrases stand in a log, how often, and the last line with each."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        for name, pattern in _PATTERNS.items():
            if pattern.search(line):
                count = found.get(name, {}).get("count", 0) + 1
                found[name] = {"phrase": name, "count": count, "line": line.strip()[:LONGEST]}
                break
    return list(found.values())
