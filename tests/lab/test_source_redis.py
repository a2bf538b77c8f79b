"""Redis 8 as a source: saved and append-only, into fresh volumes, and what must be noticed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from tests.source_boxes import DOCKER, PASSWORD, Boxes, Vault, boxes, until, watching, within
from toolkit.lab import Lab
from toolkit.repository import restore
from toolkit.repository.restore import How
from toolkit.sources.login import Login
from toolkit.sources.paths import mountpoint
from toolkit.sources.protocol import Place
from toolkit.sources.redis import Redis
from toolkit.sources.stored import FromFolder
from toolkit.words.errors import HostError

pytestmark = pytest.mark.lab

LOGIN = Login("redis", "default", "file:/run/secrets/password")
# The password arrives on standard input, as one more line of Redis' configuration.
START = """printf 'requirepass "%s"\\n' "$(sed 's/[\\\\"]/\\\\&/g' /run/secrets/password)" |
exec docker-entrypoint.sh redis-server - --appendonly yes"""
SAY = """{ printf 'AUTH "%s"\\n' "$(sed 's/[\\\\"]/\\\\&/g' /run/secrets/password)"; cat; } | redis-cli"""


def say(container: str, *lines: str) -> list[str]:
    return within(container, "sh", "-c", SAY, stdin="".join(f"{line}\n" for line in lines)).splitlines()[1:]


@pytest.fixture(scope="module")
def made(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    with boxes(lab, tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture(scope="module")
def cache(made: Boxes) -> str:
    container = made.start("redis", "sh", "-c", START, options=made.secret(), mount="/data")
    until(lambda: say(container, "PING") == ["PONG"])
    say(container, *(f"SET key:{number} {'v' * 100}" for number in range(5000)))
    say(container, "RPUSH jobs a b c", "SET soon 1 EX 100000", "SELECT 3", "SET elsewhere 1")
    return container


def brought_back(made: Boxes, vault: Vault, source: Redis) -> str:
    """A server with the stack's own settings, on a volume that was loaded."""
    volume = made.volume()
    source.load(DOCKER, vault.stored(source), Place(volume=volume, image=made.image("redis")))
    container = made.start("redis", "redis-server", "--appendonly", "yes", mount="/data", volume=volume)
    until(lambda: within(container, "redis-cli", "PING") == "PONG\n")
    return container


@pytest.mark.parametrize("method", ["save", "aof"])
def test_every_key_comes_back_into_an_append_only_server(
    made: Boxes, cache: str, tmp_path: Path, method: Literal["save", "aof"]
) -> None:
    source = Redis(name="redis/cache", login=LOGIN, method=method)
    with watching() as seen:
        report = Vault(tmp_path).capture(source, Place(container=cache))
    assert (report.outcome, report.unread, seen) == ("complete", (), set())
    fresh = brought_back(made, Vault(tmp_path), source)
    probe = Redis(name=source.name).probe(DOCKER, Place(container=fresh), Vault(tmp_path).facts(source))
    assert probe.good, probe
    assert probe.counts == {"keys": 5003}
    assert within(fresh, "redis-cli", "LRANGE", "jobs", "0", "-1").split() == ["a", "b", "c"]
    assert within(fresh, "redis-cli", "-n", "3", "GET", "elsewhere") == "1\n"
    assert 0 < int(within(fresh, "redis-cli", "TTL", "soon")) <= 100000
    # What was loaded is in the append-only set, not only in memory.
    assert within(fresh, "redis-cli", "CONFIG", "GET", "appendonly").split() == ["appendonly", "yes"]
    assert within(fresh, "ls", "/data/appendonlydir").count("appendonly.aof") == 3
    assert within(cache, "sh", "-c", "ls -A /data") == "appendonlydir\ndump.rdb\n"


def test_the_count_is_that_of_the_file_though_keys_go_on_coming(cache: str, tmp_path: Path) -> None:
    source = Redis(name="redis/cache", login=LOGIN)
    with source.capture(DOCKER, Place(container=cache)) as capture:
        say(cache, *(f"SET later:{number} 1" for number in range(500)))
        Vault(tmp_path).save(list(capture.inputs))
    assert Vault(tmp_path).facts(source)["dump.rdb"]["counts"]["keys"] == [5002, 5003]
    say(cache, *(f"DEL later:{number}" for number in range(500)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--maxmemory", "10mb", "--maxmemory-policy", "allkeys-lru"), "evicts any key"),
        (("--save", "", "--appendonly", "no"), "keeps nothing on disk"),
    ],
)
def test_a_cache_is_not_captured_unless_somebody_insists(made: Boxes, options: tuple[str, ...], reason: str) -> None:
    container = made.start("redis", "redis-server", *options)
    until(lambda: within(container, "redis-cli", "PING") == "PONG\n")
    with Redis(name="redis/c").capture(DOCKER, Place(container=container)) as capture:
        assert reason in capture.skipped
        assert capture.inputs == ()
    with Redis(name="redis/c", always=True).capture(DOCKER, Place(container=container)) as capture:
        assert [given.name for given in capture.inputs] == ["redis/c/dump.rdb"]


@pytest.mark.parametrize("login", [None, Login("redis", "default", "file:/etc/hostname")])
def test_a_wrong_password_is_told_with_the_way_out_and_not_shown(cache: str, login: Login | None) -> None:
    with pytest.raises(HostError) as caught, Redis(name="redis/c", login=login).capture(DOCKER, Place(container=cache)):
        pass
    assert any(word in caught.value.message for word in ("NOAUTH", "WRONGPASS"))
    assert "file:/run/secrets" in caught.value.hint
    assert PASSWORD not in str(caught.value)


def test_a_flipped_bit_is_refused_at_load_and_found_by_the_probe(made: Boxes, cache: str, tmp_path: Path) -> None:
    vault, source = Vault(tmp_path / "vault"), Redis(name="redis/cache", login=LOGIN)
    vault.capture(source, Place(container=cache))
    restore(vault.newest(), tmp_path / "out", How(below=source.name))
    flip(tmp_path / "out/dump.rdb")
    folder = FromFolder(tmp_path / "out", vault.facts(source))
    with pytest.raises(HostError, match=r"does not load what was captured[^$]*(CRC|Terminating|RDB)"):
        source.load(DOCKER, folder, Place(volume=made.volume(), image=made.image("redis")))
    fresh = brought_back(made, vault, source)
    mount = DOCKER.inspect("container", fresh)[0]["Mounts"][0]["Name"]
    flip(mountpoint(DOCKER, mount) / "dump.rdb")
    probe = Redis(name=source.name).probe(DOCKER, Place(container=fresh), vault.facts(source))
    assert [(verdict.what, verdict.state) for verdict in probe.verdicts if verdict.state != "good"] == [
        ("redis-check-rdb /data/dump.rdb", "bad")
    ]


def test_a_full_volume_ends_a_load_with_its_reason(made: Boxes, cache: str, tmp_path: Path) -> None:
    vault, source = Vault(tmp_path), Redis(name="redis/cache", login=LOGIN)
    vault.capture(source, Place(container=cache))
    small = made.volume("--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=64k")
    # Somebody has to use a volume of this kind, or it is not mounted, and all would go to the disk below it.
    with pytest.raises(HostError, match="is not mounted"):
        source.load(DOCKER, vault.stored(source), Place(volume=small, image=made.image("redis")))
    made.start("redis", "sleep", "600", mount="/elsewhere", volume=small)
    with pytest.raises(HostError) as caught:
        source.load(DOCKER, vault.stored(source), Place(volume=small, image=made.image("redis")))
    assert "No space left on device" in caught.value.message
    assert "make room" in caught.value.hint


def test_helpers_leave_nothing_behind() -> None:
    assert DOCKER.run("ps", "--all", "--quiet", "--filter", "label=toolkit.helper").text == ""


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
