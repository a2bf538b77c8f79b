"""Restores without a host: what is chosen, what is left by a cut at any moment, and what never gets out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import OPERATOR, Host
from toolkit.agent import steer
from toolkit.agent.paths import Paths
from toolkit.agent.restoring import aside, choice, mark, restoration, swap
from toolkit.agent.restoring.mark import LOADING, PASSED, SWAPPING, Mark
from toolkit.agent.restoring.restoration import FAILED, MIXED, PUT_BACK, RESTORED, Restoration
from toolkit.agent.restoring.swap import Swap
from toolkit.repository import Pin, Snapshot, Stream
from toolkit.repository.reach import Reach
from toolkit.sources.docker import Inspected
from toolkit.sources.refill import layout, sources_in
from toolkit.sources.streams import text
from toolkit.stack.request import Request
from toolkit.stack.restoring import FORGET, RESTORE, UNDO, Desk, Wish
from toolkit.store import Credentials
from toolkit.words.command import Result, command
from toolkit.words.errors import ConfigError, DeployFailed, HostError, RepositoryError, Stopped
from toolkit.words.report import Silent
from toolkit.words.values import Secret


def container(service: str, image: str, *mounts: tuple[str, str], needs: str = "") -> Inspected:
    labels = {"com.docker.compose.service": service, "com.docker.compose.project": "shop"}
    found = [{"Type": "volume", "Name": name, "Destination": where, "Source": f"/v/{name}"} for name, where in mounts]
    return {
        "Id": f"id-{service}",
        "Name": f"/shop-{service}-1",
        "Image": "sha256:1",
        "Config": {"Image": image, "Labels": labels, "Env": [], "Cmd": [], "Entrypoint": []},
        "State": {"Running": True},
        "Mounts": found,
    }


CONTAINERS = (
    container("db", "postgres:17", ("shop_db", "/var/lib/postgresql/data")),
    container("queue", "redis:8", ("shop_queue", "/data")),
    container("app", "shop", ("shop_files", "/srv/files")),
)


def stream(called: str, kind: str, **facts: Any) -> Stream:
    return Stream(called, lambda: text("content"), kind, lambda: facts)


def snapshot(folder: Path, *inputs: Stream, **options: Any) -> Snapshot:
    host = Host(folder)
    host.backup(*inputs, **options)
    return host.repository().newest()


WHOLE = (
    stream("postgres/db/globals.sql", "postgres"),
    stream("postgres/db/databases/shop.dump", "postgres", name="shop"),
    stream("redis/queue/dump.rdb", "redis"),
    stream("volume/files/one", "volume"),
    stream("sqlite/files.app.db/database.sqlite", "sqlite", file="app.db"),
    stream("stack/release/release.json", "release"),
)


def test_every_source_has_its_place_and_files_come_before_servers(tmp_path: Path) -> None:
    found = layout(snapshot(tmp_path, *WHOLE), CONTAINERS)
    assert [(part.name, part.service, part.volumes) for part in found.parts] == [
        ("volume/files", "", ("shop_files",)),
        ("sqlite/files.app.db", "", ("shop_files",)),
        ("redis/queue", "queue", ("shop_queue",)),
        ("postgres/db", "db", ("shop_db",)),
    ]
    assert found.unplaced == ()


def test_what_has_no_place_is_said_with_the_reason(tmp_path: Path) -> None:
    more = (stream("path/etc-shadow/x", "path"), stream("mysql/db/databases.sql", "mysql"))
    found = layout(snapshot(tmp_path, *WHOLE, *more), CONTAINERS[:1])
    assert dict(found.unplaced) == {
        "redis/queue": "the stack has no service queue",
        "volume/files": "no container of the stack has this volume",
        "sqlite/files.app.db": "no container of the stack has this volume",
        "path/etc-shadow": "this host's settings name no such path",
        "mysql/db": "db is no mysql any more",
    }


def test_a_service_is_found_by_what_the_capture_wrote_down(tmp_path: Path) -> None:
    facts = {"sources": {"postgres/main": {"kind": "postgres", "service": "db"}}}
    made = snapshot(tmp_path, stream("postgres/main/globals.sql", "postgres"), facts=facts)
    assert [part.service for part in layout(made, CONTAINERS).parts] == ["db"]


def test_a_directory_of_the_host_belongs_where_the_operator_says_and_nowhere_else(tmp_path: Path) -> None:
    made = snapshot(tmp_path, stream("files", "tree", place="/etc"))
    assert sources_in(made.manifest.sources) == {}
    placed = layout(made, (), trees={"files": "/srv/files"})
    assert [part.place.path for part in placed.parts] == ["/srv/files"]


def test_what_shares_a_volume_comes_back_together_and_half_a_volume_never(tmp_path: Path) -> None:
    made = snapshot(tmp_path / "whole", *WHOLE)
    found = choice.chosen(made, CONTAINERS, ("sqlite/files.app.db",), {})
    assert [part.name for part in found.parts] == ["volume/files", "sqlite/files.app.db"]
    half = snapshot(tmp_path / "half", WHOLE[4])
    with pytest.raises(HostError, match="does not have the rest of its volume"):
        choice.chosen(half, CONTAINERS, (), {})
    with pytest.raises(ConfigError, match="no source postgres/other"):
        choice.chosen(made, CONTAINERS, ("postgres/other",), {})
    with pytest.raises(HostError, match="has a place here"):
        choice.chosen(made, (), (), {})


@dataclass
class FakeDocker:
    """Volumes as folders; what is asked for by name is remembered. `refuse` fails a call by its first words."""

    root: Path
    did: list[str] = field(default_factory=list)
    refuse: str = ""

    def inspect(self, kind: str, *names: str) -> list[Inspected]:
        found = [{"Driver": "local", "Options": None, "Mountpoint": str(self.root / name / "_data")} for name in names]
        return found if kind == "volume" else []

    def containers(self, project: str) -> list[Inspected]:
        return list(CONTAINERS[:1])

    def run(self, *words: str | int, **_: Any) -> Result:
        line = " ".join(map(str, words))
        self.did.append(line)
        if self.refuse and line.startswith(self.refuse):
            raise HostError(f"docker {self.refuse} failed")
        if line.startswith("volume create"):
            (self.root / str(words[-1]) / "_data").mkdir(parents=True)
        if line.startswith("volume rm"):
            for path in sorted((self.root / str(words[-1])).rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            (self.root / str(words[-1])).rmdir()
        return Result(command("docker"), 0, b"", b"")


class FakeDriver:
    def __init__(self, outcomes: list[Exception | None], seen: Callable[[], str]) -> None:
        self.outcomes, self.seen, self.data = outcomes, seen, list[str]()

    def again(self, release: str) -> Sequence[Any]:
        self.data.append(self.seen())
        if self.outcomes and (error := self.outcomes.pop(0)):
            raise error
        return ()


@dataclass
class FakeSite:
    """A site that knows one release."""

    place: Any
    stack: str = "shop"
    listener: Any = field(default_factory=Silent)

    def pause(self) -> None: ...

    def unstoppable(self) -> "FakeSite":
        return self

    def containers(self) -> Sequence[Any]:
        return ()


class Room:
    """A stack with one volume, `old` in it, and a restore whose load writes `new` beside."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.docker = FakeDocker(folder / "volumes")
        self.live = folder / "volumes/shop_db/_data"
        self.live.mkdir(parents=True)
        (self.live / "content").write_text("old")
        self.desk = Desk("shop", folder / "root")
        self.desk.prepare()
        self.outcomes: list[Exception | None] = []
        self.driver = FakeDriver(self.outcomes, self.content)
        self.load: Callable[[Mark], None] = self._write
        monkeypatch.setattr(Restoration, "_driver", lambda *_, **__: self.driver)
        monkeypatch.setattr(Restoration, "_open", lambda _: None)
        monkeypatch.setattr(Restoration, "_prepared", lambda _, __: (self.begun(), None))
        monkeypatch.setattr(Restoration, "_load", lambda _, __, current, ___: self.load(current))
        monkeypatch.setattr(Restoration, "_finished", lambda one, *_: one._told(RESTORED))

    def content(self) -> str:
        return (self.live / "content").read_text()

    def begun(self) -> Mark:
        beside = self.live.parent.parent / "shop_db.restore-1/_data"
        one = Swap(str(self.live), str(beside), self.live.stat().st_ino, "shop_db", "shop_db.restore-1")
        return mark.write(self.desk, Mark("1", "s", "t", "r", "me", "now", (one,), ("db",)))

    def _write(self, current: Mark) -> None:
        aside.make(self.docker, current.swaps, current.id)  # type: ignore[arg-type]
        Path(current.swaps[0].beside, "content").write_text("new")

    def restoration(self, action: str = RESTORE) -> Restoration:
        site = FakeSite(None)
        return Restoration(
            site,
            self.desk,
            Wish(action, "shop", "me"),
            Secret(b""),
            lambda _: None,
            self.docker,  # type: ignore[arg-type]
        )

    def volumes(self) -> list[str]:
        return sorted(path.name for path in self.docker.root.iterdir())


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(tmp_path, monkeypatch)


def test_a_restore_swaps_keeps_goes_back_and_forgets(room: Room) -> None:
    assert room.restoration().restore()["result"] == RESTORED
    assert (room.content(), mark.read(room.desk)) == ("new", None)
    assert [one.id for one in mark.kept(room.desk)] == ["1"]
    assert room.restoration(UNDO).undo()["result"] == "undone"
    assert room.content() == "old"
    assert room.restoration(UNDO).undo()["result"] == "undone"
    assert room.content() == "new"
    assert room.restoration(FORGET).forget()["forgotten"] == ["1"]
    assert room.volumes() == ["shop_db"]
    told = room.restoration(UNDO).undo()
    assert (told["result"], told["code"]) == (FAILED, HostError.exit_code)
    assert "nothing is kept" in told["fault"]


def test_a_load_that_fails_leaves_what_is_in_use_and_nothing_beside(room: Room) -> None:
    def load(current: Mark) -> None:
        room._write(current)
        raise RepositoryError("a damaged pack")

    room.load = load
    told = room.restoration().restore()
    assert (told["result"], told["code"], told["fault"]) == (FAILED, RepositoryError.exit_code, "a damaged pack")
    assert (room.content(), room.volumes(), mark.read(room.desk)) == ("old", ["shop_db"], None)
    assert room.driver.data == []


def test_whoever_stops_it_before_the_swap_stops_it_for_nothing(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: FakeSite) -> None:
        raise Stopped("stopped as asked")

    assert room.restoration().restore()["result"] == RESTORED
    monkeypatch.setattr(FakeSite, "pause", stop)
    told = room.restoration(UNDO).undo()
    assert (told["result"], told["code"]) == (FAILED, Stopped.exit_code)
    # What was kept is still kept, and nothing was brought up once more.
    assert (room.content(), mark.read(room.desk), room.driver.data) == ("new", None, ["new"])
    assert room.volumes() == ["shop_db", "shop_db.restore-1"]


def test_a_load_that_was_asked_to_stop_is_removed(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: FakeSite) -> None:
        raise Stopped("stopped as asked")

    monkeypatch.setattr(FakeSite, "pause", stop)
    assert room.restoration().restore()["code"] == Stopped.exit_code
    assert (room.content(), room.volumes(), mark.read(room.desk)) == ("old", ["shop_db"], None)
    assert room.driver.data == []


def test_nobody_deploys_over_a_restore_that_was_left_half_way(room: Room, tmp_path: Path) -> None:
    room.begun()
    with pytest.raises(HostError, match="left half-way"):
        steer.start(Paths(tmp_path / "root"), Request("deploy", "shop", "r1", "me"), b"")


def test_a_stack_that_does_not_become_healthy_has_its_old_data_back(room: Room) -> None:
    room.outcomes[:] = [DeployFailed("not healthy")]
    told = room.restoration().restore()
    assert (told["result"], told["code"]) == (PUT_BACK, DeployFailed.exit_code)
    # It was brought up on the new data, and once more on the old.
    assert room.driver.data == ["new", "old"]
    assert (room.content(), room.volumes(), mark.read(room.desk)) == ("old", ["shop_db"], None)
    assert mark.kept(room.desk) == []


def test_old_data_that_does_not_come_up_either_is_said_and_is_in_its_place(room: Room) -> None:
    room.outcomes[:] = [DeployFailed("not healthy"), DeployFailed("still not")]
    told = room.restoration().restore()
    assert told["result"] == PUT_BACK
    assert "in its place again, and the stack is not healthy: still not" in told["fault"]
    assert room.content() == "old"


def test_a_way_back_that_fails_says_by_hand_how_and_keeps_its_mark(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Sequence[Swap]) -> None:
        raise HostError("no exchange")

    room.outcomes[:] = [DeployFailed("not healthy")]
    monkeypatch.setattr(swap, "back", refuse)
    told = room.restoration().restore()
    assert (told["result"], told["code"]) == (MIXED, 26)
    assert str(room.live) in told["hint"]
    assert mark.read(room.desk) is not None
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("phase", "exchanged", "result", "content", "kept"),
    [
        (LOADING, False, FAILED, "old", []),
        (SWAPPING, False, PUT_BACK, "old", []),
        (SWAPPING, True, PUT_BACK, "old", []),
        (PASSED, True, RESTORED, "new", ["1"]),
    ],
)
def test_whatever_a_crash_left_is_settled(
    room: Room, phase: str, exchanged: bool, result: str, content: str, kept: list[str]
) -> None:
    current = room.begun()
    room._write(current)
    if exchanged:
        swap.there(current.swaps)
    mark.write(room.desk, replace(current, phase=phase))
    told = room.restoration().settle()
    assert told is not None
    assert told["result"] == result
    assert (room.content(), [one.id for one in mark.kept(room.desk)]) == (content, kept)
    assert mark.read(room.desk) is None
    assert room.restoration().settle() is None


def test_a_removal_that_fails_leaves_the_mark_for_the_next_look(room: Room) -> None:
    room._write(room.begun())
    room.docker.refuse = "volume rm"
    room.restoration().settle()
    assert mark.read(room.desk) is not None
    room.docker.refuse = ""
    room.restoration().settle()
    assert (mark.read(room.desk), room.volumes()) == (None, ["shop_db"])


def test_two_directories_change_places_and_only_where_they_have_not(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    pair = Swap(str(tmp_path / "one"), str(tmp_path / "two"), (tmp_path / "one").stat().st_ino)
    swap.there([pair])
    swap.there([pair])
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["two"]
    swap.back([pair])
    swap.back([pair])
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["one"]
    with pytest.raises(HostError, match="cannot exchange"):
        swap.exchange(tmp_path / "one", tmp_path / "missing")


def test_a_volume_on_a_device_of_its_own_is_refused(tmp_path: Path) -> None:
    class Device(FakeDocker):
        def inspect(self, kind: str, *names: str) -> list[Inspected]:
            return [{"Driver": "local", "Options": {"device": "/dev/sdb"}, "Mountpoint": "/x"}]

    part = layout(snapshot(tmp_path / "state", WHOLE[0]), CONTAINERS).parts[0]
    with pytest.raises(HostError, match="a device of its own"):
        aside.swaps_for(Device(tmp_path), [part], "1")  # type: ignore[arg-type]


def test_a_damaged_mark_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    desk = Desk("shop", tmp_path)
    desk.prepare()
    for content in ("{", "{}", '{"format": "toolkit restore 1", "swaps": [{"live": 1}]}', "[]"):
        (desk.state / "restore.json").write_text(content)
        with pytest.raises(HostError, match="is damaged"):
            mark.read(desk)


def reach(folder: Path) -> Reach:
    key = Host(folder).origin.signing_key().verify_key
    user = Credentials("access-canary", Secret(b"secret-canary"), Secret(b"token-canary"))
    return Reach("s3://bucket/x?endpoint=https://e", "prod", Pin(key), (OPERATOR,), user, "a certificate")


def test_a_reach_travels_whole_and_its_secrets_only_in_its_body(tmp_path: Path) -> None:
    made = reach(tmp_path)
    assert Reach.parse(json.loads(json.dumps(made.header())), made.body()) == made
    shown = repr(made) + json.dumps(made.header())
    for canary in ("access-canary", "secret-canary", "token-canary", "AGE-SECRET-KEY"):
        assert canary not in shown
        assert canary.encode() in made.body().reveal()
    assert "secret" not in repr(made.body()).lower().replace("secret(…)", "")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"identities": [1]}', b'{"identities": "AGE-SECRET-KEY-X"'])
def test_a_reach_that_makes_no_sense_is_refused_without_a_word_of_it(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(HostError) as caught:
        Reach.parse(reach(tmp_path).header(), Secret(body))
    assert "AGE-SECRET" not in str(caught.value)
    # A traceback would show the cause, and the cause what was sent.
    assert caught.value.__suppress_context__


def test_a_wish_is_checked_where_it_arrives() -> None:
    made = Wish(RESTORE, "shop", "me", sources=("a",), trees={"a": "/b"}, reach={"x": 1})
    assert Wish.parse(json.loads(json.dumps(made.header()))) == made
    for header in ({}, {**made.header(), "stack": "../x"}, {**made.header(), "action": "x"}, {**made.header(), "y": 1}):
        with pytest.raises(HostError):
            Wish.parse(header)


def test_a_disk_without_room_for_what_comes_is_noticed_before_anything_is_made(tmp_path: Path) -> None:
    made = snapshot(tmp_path / "state", WHOLE[0], WHOLE[3])
    found = layout(made, CONTAINERS)
    pair = Swap(str(tmp_path), str(tmp_path), 0)
    restoration._check_room([pair], choice.size(made, found))
    large = [replace(one, bytes=1 << 60) if one.kind == "postgres" else one for one in made.manifest.sources]
    huge = replace(made, manifest=replace(made.manifest, sources=large))
    with pytest.raises(HostError, match="has room for"):
        restoration._check_room([pair], choice.size(huge, found))
    # What is not restored needs no room.
    files = [part for part in found.parts if part.source.kind == "volume"]
    restoration._check_room([pair], choice.size(huge, replace(found, parts=tuple(files))))
