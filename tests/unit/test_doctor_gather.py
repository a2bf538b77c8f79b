"""Gathering on the host: what is read from Docker, programs and files, and that no value of a variable leaves."""

import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from toolkit.stack import redact
from toolkit.stack.doctor.gather import bundle, containers, machine, main, state, stores, web
from toolkit.stack.doctor.gather.tasks import answers
from toolkit.stack.place import Place
from toolkit.words.errors import HostError

CANARY = "canary-4711"


def body(**changed: Any) -> dict[str, Any]:
    """Return what Docker says of a container, as far as it is read."""
    config = {"Image": "ghcr.io/acme/api:1", "Env": [], "Labels": {"com.docker.compose.service": "api"}, "Cmd": None}
    made: dict[str, Any] = {
        "Id": "a1",
        "Name": "/shop-api-1",
        "State": {"Status": "running", "Error": ""},
        "Config": config | changed.pop("config", {}),
        "NetworkSettings": {"Networks": {"back": {"IPAddress": "172.18.0.2", "Aliases": ["api"]}}, "Ports": {}},
        "HostConfig": {"RestartPolicy": {"Name": "always"}, "Memory": 1 << 27},
        "Mounts": [],
    }
    return made | changed


def described(one: Mapping[str, Any], root: Path = Path("/nowhere")) -> dict[str, Any]:
    return containers.described(root, [one])[0]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("URL", f"postgres://ada:{CANARY}@db:5432/shop", ("postgres", "db", 5432, "shop", "ada")),
        ("URL", "redis://cache/1", ("redis", "cache", 0, "1", "")),
        # The path of anything else may be a secret: a webhook's is.
        ("HOOK", f"https://hooks.example/{CANARY}", ("https", "hooks.example", 0, "", "")),
        ("DB_HOST", "db:5433", ("", "db", 5433, "", "")),
        ("URL", "postgresql+asyncpg://db/shop%20two", ("postgresql+asyncpg", "db", 0, "shop two", "")),
    ],
)
def test_of_an_address_only_what_is_no_secret_is_kept(name: str, value: str, found: tuple[object, ...]) -> None:
    parts = containers.address(name, value)
    assert parts
    assert tuple(parts[key] for key in ("scheme", "host", "port", "database", "user")) == found
    assert CANARY not in json.dumps(parts)


@pytest.mark.parametrize(
    ("name", "value"),
    [("KEY", "db:5432"), ("URL", "not an address"), ("URL", "http://"), ("DB_HOST", "a b"), ("URL", "http://[x")],
)
def test_what_is_no_address_is_none(name: str, value: str) -> None:
    assert containers.address(name, value) is None


def test_no_value_of_a_variable_leaves_the_host(tmp_path: Path) -> None:
    secret = tmp_path / "run/secrets/url"
    secret.parent.mkdir(parents=True)
    secret.write_text(f"postgres://ada:{CANARY}@db/shop\n")
    env = [
        f"PASSWORD={CANARY}",
        f"TOKEN_HOST={CANARY} x",
        "DATABASE_URL_FILE=/run/secrets/url",
        "RUN_JOBS=true",
        "JOBS_KEY=abc",
    ]
    one = body(config={"Env": env}, Mounts=[{"Destination": "/run/secrets/url", "Source": "/run/secrets/url"}])
    one["HostConfig"]["ExtraHosts"] = ["old:192.0.2.7"]
    found = described(one, tmp_path)
    assert found["hosts"] == ["old"]
    assert CANARY not in json.dumps(found)
    assert found["variables"] == ["DATABASE_URL_FILE", "JOBS_KEY", "PASSWORD", "RUN_JOBS", "TOKEN_HOST"]
    assert [(link["variable"], link["host"]) for link in found["links"]] == [("DATABASE_URL", "db")]
    # A switch says yes or no; what says something else may be a secret.
    assert found["switches"] == {"RUN_JOBS": True}


@pytest.mark.parametrize(
    ("image", "mount", "kind"),
    [
        ("postgres:17", "", "postgres"),
        ("ghcr.io/acme/shop-postgis@sha256:00", "", "postgres"),
        ("valkey/valkey:8", "", "redis"),
        ("oliver006/redis_exporter", "", ""),
        ("ghcr.io/acme/db:1", "/var/lib/postgresql/data", "postgres"),
        ("ghcr.io/acme/db:1", "/var/lib/mysql", "mysql"),
        ("ghcr.io/acme/api:1", "/var/lib/mysqldump", ""),
    ],
)
def test_a_store_is_known_by_its_image_or_by_where_it_keeps_data(image: str, mount: str, kind: str) -> None:
    mounts = [{"Destination": mount}] if mount else []
    assert containers.kind(body(config={"Image": image}, Mounts=mounts)) == kind


@pytest.mark.parametrize(
    ("line", "phrase"),
    [
        ('FATAL:  password authentication failed for user "ada"', "auth"),
        ("Error: getaddrinfo ENOTFOUND db", "unknown-host"),
        ('FATAL: database "shop" does not exist', "missing-database"),
        ('ERROR: relation "jobs" does not exist', "missing-table"),
        ("FATAL: sorry, too many clients already", "too-many"),
        ("write /data: no space left on device", "disk-full"),
        ("MemoryError", "memory"),
        ("listen EADDRINUSE: address already in use :::3000", "port-taken"),
        ("READONLY You can't write against a read only replica.", "read-only"),
        ("x509: certificate has expired", "certificate"),
        ("connect ECONNREFUSED 172.18.0.3:6379", "refused"),
    ],
)
def test_known_phrases_are_found_in_logs(line: str, phrase: str) -> None:
    assert containers.words(["all well", line, line]) == [{"phrase": phrase, "count": 2, "line": line}]


def test_a_task_that_hangs_is_left_behind_and_one_that_breaks_is_told() -> None:
    def broken() -> None:
        raise HostError("it broke")

    hangs = threading.Event()
    found = answers({"good": lambda: 1, "bad": broken, "late": hangs.wait, "worse": lambda: [][0]}, 0.3)
    hangs.set()
    assert found["good"]["value"] == 1
    assert found["bad"]["fault"] == "it broke"
    assert found["late"] == {"fault": "no answer within 0.3 s"}
    assert found["worse"]["fault"].startswith("IndexError")


class Speaker(socketserver.StreamRequestHandler):
    """A Redis that knows what it was told, after a password."""

    told: Mapping[tuple[str, ...], str] = {}

    def handle(self) -> None:
        known = not self.server.password  # type: ignore[attr-defined]
        while line := self.rfile.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:-2].decode())
            if words[0] == "AUTH":
                known = words[1] == self.server.password  # type: ignore[attr-defined]
                self.wfile.write(b"+OK\r\n" if known else b"-WRONGPASS invalid\r\n")
            elif not known:
                self.wfile.write(b"-NOAUTH Authentication required.\r\n")
            else:
                self.wfile.write(self.server.answer(words))  # type: ignore[attr-defined]


INFO = "redis_version:8.0\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:0\r\ndb0:keys=1,expires=0\r\n"
CLIENTS = "addr=172.18.0.2:5000 flags=b cmd=brpop\naddr=172.18.0.3:5000 flags=N cmd=get\n"


def _bulk(text: str) -> bytes:
    return f"${len(text)}\r\n{text}\r\n".encode()


def _answer(words: list[str]) -> bytes:
    if words[0] == "SCAN":
        keys = [_bulk("jobs")] if words[-1] == "list" else []
        return b"*2\r\n" + _bulk("0") + f"*{len(keys)}\r\n".encode() + b"".join(keys)
    fixed = {
        "PING": b"+PONG\r\n",
        "SELECT": b"+OK\r\n",
        "INFO": _bulk(INFO),
        "LLEN": b":7\r\n",
        "CLIENT": _bulk(CLIENTS),
    }
    return fixed.get(words[0], b"-ERR unknown command\r\n")


@contextmanager
def redis_at(monkeypatch: pytest.MonkeyPatch, password: str = "") -> Iterator[None]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Speaker) as server:
        server.daemon_threads = True
        server.password, server.answer = password, _answer  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        connect = socket.create_connection
        monkeypatch.setattr(
            socket, "create_connection", lambda _where, patience: connect(("127.0.0.1", port), patience)
        )
        yield
        server.shutdown()


@pytest.mark.parametrize("password", ["", CANARY])
def test_a_redis_says_how_it_is_set_up_and_who_takes_jobs(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    owners = {"172.18.0.2": "worker", "172.18.0.3": "api"}
    with redis_at(monkeypatch, password):
        found = stores.redis("172.18.0.9", ["wrong", CANARY], owners)
    assert found["maxmemory_policy"] == "allkeys-lru"
    assert found["lists"] == [{"database": 0, "key": "jobs", "kind": "list", "length": 7}]
    assert (found["takers"], found["clients"]) == (["worker"], ["api", "worker"])
    assert CANARY not in json.dumps(found)


def test_a_redis_whose_password_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_at(monkeypatch, "another"), pytest.raises(OSError, match="none of its places"):
        stores.redis("172.18.0.9", [CANARY], {})


def test_passwords_are_found_where_people_put_them(tmp_path: Path) -> None:
    folder = tmp_path / "run/secrets/shop"
    folder.mkdir(parents=True)
    (folder / "redis_password-0123456789abcdef").write_text("four\n")
    (folder / "_env-0123456789abcdef").write_text("A=five")
    bodies = [
        body(config={"Cmd": ["redis-server", "--requirepass", "one"]}),
        body(config={"Cmd": ["sh", "-c", "redis-server --requirepass 'two'"]}),
        body(config={"Env": ["REDIS_PASSWORD=three", "REDIS_PASSWORD_FILE=/x"]}),
    ]
    assert stores.passwords(tmp_path, "shop", bodies) == ["one", "two", "three", "four"]


def test_backups_are_read_from_metrics_and_schedules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "var/lib/toolkit/metrics"
    folder.mkdir(parents=True)
    monkeypatch.setattr(state, "said", lambda *_: "inactive\n")
    nothing = {"scheduled": False, "every": None, "backup": None, "code": None, "working": False}
    nothing |= {"unshipped": {}, "drill": None, "passed": None}
    assert state.backups(tmp_path) == nothing
    (folder / "backup.prom").write_text(
        "# HELP toolkit_backup_last_exit_code Exit code of the last run.\n"
        "toolkit_backup_period_seconds 3600\ntoolkit_backup_last_success_timestamp_seconds 20\n"
        'toolkit_backup_last_result{result="incomplete"} 1\ntoolkit_backup_last_exit_code 3\nbroken line\n'
    )
    (folder / "drill.prom").write_text("toolkit_drill_last_timestamp_seconds 1.5e1\ntoolkit_drill_last_passed 0.5\n")
    monkeypatch.setattr(state, "said", lambda *_: "active\n")
    wal = 'toolkit_backup_wal_failures{source="db"}'
    (folder / "backup_wal.prom").write_text(f'{wal} 4\ntoolkit_backup_wal_failures{{source="other"}} 0\n')
    told = {"scheduled": True, "every": 3600.0, "backup": 20.0, "code": 3.0, "working": False}
    told |= {"unshipped": {wal: 4.0}, "drill": 15.0, "passed": 0.5}
    assert state.backups(tmp_path) == told
    # Nothing was ever backed up.
    (folder / "backup.prom").write_text("toolkit_backup_last_success_timestamp_seconds 0\n")
    assert state.backups(tmp_path)["backup"] is None
    monkeypatch.setattr(state, "said", lambda *_: "inactive\n")
    (tmp_path / "etc/cron.d").mkdir(parents=True)
    (tmp_path / "etc/cron.d/toolkit-backup").touch()
    assert state.backups(tmp_path)["scheduled"] is True


def test_what_the_toolkit_keeps_is_read_as_it_is(tmp_path: Path) -> None:
    place = Place("shop", tmp_path)
    assert state.deploys(place) == {
        "current": "",
        "hold": None,
        "busy": False,
        "restoring": False,
        "driver": {},
        "transaction": None,
        "ends": [],
    }
    assert not place.run.exists(), "looking makes nothing"
    place.prepare()
    (place.state / "transaction.json").write_text("{")
    assert "damaged" in state.deploys(place)
    with place.locked(), place.restoring():
        told = state.deploys(place)
    assert (told["busy"], told["restoring"]) == (True, True)
    assert (state.manifest(place), state.record(place)) == ("", "")


def test_sockets_units_and_the_kernels_words_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    told = 'tcp LISTEN 0 4096 0.0.0.0:80 0.0.0.0:* users:(("docker-proxy",pid=1,fd=4))\n'
    told += "tcp LISTEN 0 128 [::1%lo]:22 [::]:*\n"
    monkeypatch.setattr(machine, "said", lambda *_, **__: told)
    assert machine.listening() == [
        {"protocol": "tcp", "address": "0.0.0.0", "port": "80", "process": "docker-proxy"},
        {"protocol": "tcp", "address": "::1", "port": "22", "process": ""},
    ]
    now = 100_000.0
    monkeypatch.setattr(time, "clock_gettime", lambda _: now)
    words = f"[ {now - 60:.6f}] Out of memory: Killed process 7 (postgres)\n"
    words += f"[ {now:.6f}] Memory cgroup out of memory: Killed process 8 (x)\n"
    monkeypatch.setattr(machine, "said", lambda *_, **__: words)
    assert machine.killed() == [{"process": "postgres", "ago": 60}]
    shown = "Id=docker.service\nActiveState=active\n\nId=ssh.service\nActiveState=failed\n"
    monkeypatch.setattr(
        machine, "said", lambda *given, **__: "ssh.service loaded failed\n" if "list-units" in given else shown
    )
    found = machine.units()
    assert (found["known"]["docker.service"], found["failed"]) == ({"ActiveState": "active"}, ["ssh.service"])


def test_a_journal_is_read_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forwards, `--lines` with `--since` gives the first lines on Debian 12, and the newest are missed."""
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(machine, "said", lambda *words, **_: asked.append(words) or "newest\nolder\n")
    assert machine.journal("docker.service", 2, "-1h") == ["older", "newest"]
    assert {"--reverse", "--since", "-1h"} <= set(asked[0])


def test_ports_that_may_speak_http_are_asked_once_and_stores_never(tmp_path: Path) -> None:
    api = body(
        config={
            "Env": ["WEB_URL=http://web:3000", "DB=postgres://db/x"],
            "Healthcheck": {"Test": ["CMD", "curl", "localhost:8080/health"]},
        }
    )
    web_body = body(Name="/shop-web-1", config={"Labels": {"com.docker.compose.service": "web"}})
    web_body["NetworkSettings"] = {
        "Networks": {"back": {"IPAddress": "172.18.0.3", "Aliases": ["web"]}},
        "Ports": {"80/tcp": [{"HostPort": "80"}], "53/udp": [{"HostPort": "53"}]},
    }
    db = body(
        Name="/shop-db-1",
        config={
            "Image": "postgres:17",
            "Labels": {"com.docker.compose.service": "db"},
            "Healthcheck": {"Test": ["CMD", "x", "127.0.0.1:5432"]},
        },
    )
    bodies = [api, web_body, db]
    found = web.ports(bodies, containers.described(tmp_path, bodies))
    assert sorted(found) == [("api", "172.18.0.2", 8080), ("web", "172.18.0.3", 80), ("web", "172.18.0.3", 3000)]


def test_the_bundle_takes_the_releases_own_files_and_never_its_env(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place("shop", tmp_path)
    place.prepare()
    release = place.release("a")
    release.mkdir()
    (release / "compose.yaml").write_text("services: {}")
    (tmp_path / "env").write_text(f"A={CANARY}")
    (release / ".env").symlink_to(tmp_path / "env")
    place.current.symlink_to(release)
    (place.state / "20260101T000000Z-abcdef.jsonl").write_text("{}\n")
    monkeypatch.setattr(bundle, "said", lambda *words, **_: " ".join(words))
    found = bundle.files(tmp_path, place, [body()], 10)
    assert found["release/compose.yaml"] == "services: {}"
    assert found["deploys/20260101T000000Z-abcdef.jsonl"] == "{}\n"
    assert found["docker-ps.txt"] == "docker ps --all --no-trunc"
    # Docker is not there: that is told in the log's place.
    assert found["logs/shop-api-1.txt"] == "docker does not run"
    assert CANARY not in json.dumps(found)


def test_values_of_env_files_are_settings_that_a_bundle_hides(tmp_path: Path) -> None:
    folder = tmp_path / "run/secrets/shop"
    folder.mkdir(parents=True)
    (folder / "_env-0123456789abcdef").write_text('NAME=\'acme\'\nPORT=80\nURL="a\\"b c"\n')
    cleaner = redact.Redactor(redact.settings(tmp_path, "shop"))
    assert cleaner.text('ghcr.io/acme on 80, a"b c') == "ghcr.io/[NAME] on 80, [URL]"


def test_what_programs_and_services_said_is_cleaned_and_what_rules_compare_is_not() -> None:
    known = [redact.Known("token", CANARY.encode())]
    sections = {
        "log shop-api-1": {"value": {"last": [CANARY]}},
        "names": {"value": {"x": ""}},
        "docker": {"fault": f"it says {CANARY}"},
        "described": {"value": [{"error": CANARY}]},
        "redis queue": {"value": {"lists": [{"key": f"session:{CANARY}"}]}},
    }
    assert CANARY not in json.dumps(main._said(sections, known))
