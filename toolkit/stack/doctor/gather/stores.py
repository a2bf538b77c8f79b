"""Stores, asked themselves: Redis by its own protocol, PostgreSQL by the client in its container. Read-only."""

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from toolkit.stack.doctor.gather.containers import Body
from toolkit.stack.doctor.gather.programs import said

PATIENCE = 4.0
LARGEST = 1 << 20
# So many times the clients are looked at: between two waits a consumer does other things for a moment.
GLANCES, PAUSE = 4, 0.12
KEYS = 2000
_TAKES = frozenset({
    "blpop", "brpop", "blmove", "brpoplpush", "blmpop", "bzpopmin", "bzpopmax", "bzmpop", "xreadgroup", "xread",
})  # fmt: skip
_TAKING = frozenset({"lpop", "rpop", "lmove", "rpoplpush", "lmpop", "zpopmin", "zmpop"})
_FACTS = (
    "redis_version", "role", "loading", "maxmemory", "maxmemory_policy", "used_memory", "aof_enabled", "evicted_keys",
    "blocked_clients", "connected_clients", "maxclients", "uptime_in_seconds", "rdb_last_bgsave_status",
    "aof_last_write_status", "rejected_connections",
)  # fmt: skip


class Redis:
    """One connection. The protocol: https://redis.io/docs/latest/develop/reference/protocol-spec/."""

    def __init__(self, address: str, port: int = 6379) -> None:
        self._socket = socket.create_connection((address, port), PATIENCE)
        self._stream = self._socket.makefile("rb")

    def ask(self, *words: str) -> Any:
        """Return the answer to a command. Raises OSError where the server refuses."""
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        self._socket.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        return self._answer()

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def _answer(self) -> Any:
        line = self._stream.readline(LARGEST).rstrip(b"\r\n").decode(errors="replace")
        kind, rest = line[:1], line[1:]
        if kind == "-":
            raise OSError(rest)
        if kind == "$":
            return self._bulk(int(rest))
        if kind == "*":
            return [self._answer() for _ in range(min(int(rest), LARGEST))]
        if not kind:
            raise OSError("it closes the connection")
        return int(rest) if kind == ":" else rest

    def _bulk(self, size: int) -> str | None:
        if size < 0:
            return None
        if size > LARGEST:
            raise OSError(f"an answer of {size} bytes")
        return self._stream.read(size + 2)[:-2].decode(errors="replace")


def redis(address: str, passwords: Sequence[str], owners: Mapping[str, str]) -> dict[str, Any]:
    """Return how a Redis is set up and used: its policy, its longest lists, and who takes jobs from it.

    `owners` are services by their addresses. Raises OSError where it cannot be asked.
    """
    client = Redis(address)
    try:
        _login(client, passwords)
        info = _info(client)
        found: dict[str, Any] = {name: info[name] for name in _FACTS if name in info}
        with suppress(OSError):
            found["lists"] = list(_lists(client, info))
        with suppress(OSError):
            found |= _clients(client, owners)
        return found
    finally:
        client.close()


def _login(client: Redis, passwords: Sequence[str]) -> None:
    try:
        client.ask("PING")
        return
    except OSError as error:
        if "NOAUTH" not in str(error):
            raise
    for password in passwords:
        with suppress(OSError):
            client.ask("AUTH", password)
            return
    raise OSError("it wants a password that is in none of its places")


def _info(client: Redis) -> dict[str, str]:
    return dict(line.partition(":")[::2] for line in str(client.ask("INFO")).splitlines() if ":" in line)


def _lists(client: Redis, info: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the longest lists, streams and sorted sets of each database: one of them is the queue."""
    for name in sorted(key for key in info if re.fullmatch(r"db\d+", key))[:4]:
        client.ask("SELECT", name[2:])
        lengths = {}
        for kind, count in (("list", "LLEN"), ("stream", "XLEN"), ("zset", "ZCARD")):
            for key in _scan(client, kind)[:50]:
                with suppress(OSError):
                    lengths[key] = (kind, int(client.ask(count, key)))
        for key, (kind, length) in sorted(lengths.items(), key=lambda pair: -pair[1][1])[:5]:
            yield {"database": int(name[2:]), "key": key[:100], "kind": kind, "length": length}


def _scan(client: Redis, kind: str) -> list[str]:
    cursor, found = "0", list[str]()
    for _ in range(max(1, KEYS // 1000)):
        cursor, keys = client.ask("SCAN", cursor, "COUNT", "1000", "TYPE", kind)
        found += keys
        if cursor == "0":
            break
    return found


def _clients(client: Redis, owners: Mapping[str, str]) -> dict[str, Any]:
    """Return who is connected and who takes jobs, by service and database, over a few glances."""
    takers, everybody = Counter[str](), set[str]()
    for _ in range(GLANCES):
        for line in str(client.ask("CLIENT", "LIST")).splitlines():
            row = dict(word.partition("=")[::2] for word in line.split())
            who = owners.get(row.get("addr", "").rpartition(":")[0], "")
            everybody.add(who)
            command = row.get("cmd", "").partition("|")[0].lower()
            if who and (command in _TAKES or command in _TAKING or "b" in row.get("flags", "")):
                takers[who] += 1
        time.sleep(PAUSE)
    return {"takers": sorted(takers), "clients": sorted(everybody - {""})}


def passwords(root: Path, stack: str, bodies: Iterable[Body]) -> list[str]:
    """Return what may be the password of a Redis: from its command line, from variables, from the stack's secrets."""
    found: list[str] = []
    for body in bodies:
        given = [*(body["Config"].get("Cmd") or ())]
        text = " ".join(given)
        found += [after for word, after in pairwise(given) if word == "--requirepass"]
        found += re.findall(r"--requirepass[ =][\"']?([^\s\"']+)", text)
        for line in body["Config"].get("Env") or ():
            name, _, value = line.partition("=")
            if re.search(r"(REDIS|VALKEY|CACHE|QUEUE).*(PASS|AUTH)|REDISCLI_AUTH", name) and not name.endswith("_FILE"):
                found.append(value)
    files = sorted((root / "run/secrets" / stack).glob("[!_]*"))
    # Those whose name says so first.
    for path in sorted(files, key=lambda one: not re.search("redis|valkey|cache|queue", one.name))[:20]:
        with suppress(OSError, UnicodeDecodeError):
            found.append(path.read_text().strip())
    return list(dict.fromkeys(one for one in found if one))


_QUESTION = """SELECT json_build_object(
  'databases', (SELECT json_agg(datname) FROM pg_database WHERE NOT datistemplate),
  'roles', (SELECT json_agg(rolname) FROM pg_roles WHERE rolcanlogin),
  'tables', (SELECT count(*) FROM pg_stat_user_tables),
  'connections', (SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL),
  'most', current_setting('max_connections')::int,
  'waiting', (SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'),
  'recovering', pg_is_in_recovery())"""
_PSQL = (
    'exec psql --no-psqlrc -tAq -U "${POSTGRES_USER:-postgres}" -d "${POSTGRES_DB:-${POSTGRES_USER:-postgres}}" -c "$1"'
)


def postgres(container: str) -> dict[str, Any]:
    """Return databases, roles and connections of a PostgreSQL. Raises OSError where it cannot be asked."""
    words = ("docker", "exec", "--env", "PGCONNECT_TIMEOUT=2", container, "sh", "-c", _PSQL, "sh", _QUESTION)
    found: dict[str, Any] = json.loads(said(*words))
    return found
