"""The driver: whatever happens, and wherever it is cut off, the stack is one release whole in the end."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.fake_docker import Box, FakeDocker, Killed
from toolkit.stack import prune, record, room, transaction
from toolkit.stack.driver import Driver, Work
from toolkit.stack.manifest import Manifest, Terms
from toolkit.stack.outcome import DEPLOYED, FAILED, MIXED, ROLLED_BACK, Outcome
from toolkit.stack.place import Place
from toolkit.stack.service import Check, Limits, Service
from toolkit.stack.site import Site
from toolkit.words.clock import FakeClock
from toolkit.words.errors import SecretError, Stopped
from toolkit.words.report import Silent

DIGESTS = {f"{name}:{version}": f"sha256:{name}{version}" for name in ("db", "api", "web", "job") for version in (1, 2)}
CHECK = Check(("CMD", "true"), interval=1, timeout=1, retries=1)

OLD, NEW = "20260101T000000Z-old", "20260102T000000Z-new"


def services(version: int) -> dict[str, Service]:
    return {
        "db": Service("db:1", volumes=("data",), check=CHECK),
        "job": Service(f"job:{version}", one_shot=True, needs={"db": "service_healthy"}),
        "api": Service(f"api:{version}", replicas=2, check=CHECK, networks=("net",), needs={"db": "service_healthy"}),
        "web": Service(f"web:{version}", ports=("0.0.0.0:80/tcp",), check=CHECK, needs={"api": "service_healthy"}),
    }


def manifest(name: str, version: int, given: dict[str, Service] | None = None) -> Manifest:
    found = given or services(version)
    marks = {one: {"toolkit.service": f"{one}-{body.image}"} for one, body in found.items()}
    return Manifest(
        id=name,
        created="2026-01-01T00:00:00Z",
        inputs=name,
        services=found,
        digests=DIGESTS,
        terms=Terms(files=(), within=60.0, steady=1.0),
        secrets={"_env": f"{version}" * 16},
        marks=marks,
    )


class Heard(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@dataclass
class World:
    """A host with a place of its own, an Engine, and two releases of which the old one runs."""

    root: Path
    engine: FakeDocker
    heard: Heard = field(default_factory=Heard)
    phases: list[str] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)
    stop_in: str = ""
    fail_secrets: bool = False

    @property
    def place(self) -> Place:
        return Place("shop", self.root)

    def add(self, made: Manifest) -> None:
        folder = self.place.release(made.id)
        folder.mkdir(parents=True)
        (folder / "release.json").write_bytes(made.dumps())
        self.engine.manifests[made.id] = made

    def driver(self, *, one_shots: bool = True) -> Driver:
        site = Site(self.engine, self.place, FakeClock(), self.heard, self._pause)
        return Driver(site, Work(self._login, self._deliver, self.phases.append, one_shots))

    @contextmanager
    def _login(self) -> Iterator[str]:
        yield "/run/login"

    def _deliver(self, made: Manifest) -> None:
        if self.fail_secrets:
            raise SecretError("no secret token")
        self.delivered.append(made.id)

    def _pause(self) -> None:
        if self.stop_in and self.phases[-1:] == [self.stop_in]:
            raise Stopped("stopped as asked")

    def runs(self) -> dict[str, set[str]]:
        """Return the versions of what runs, by service; one-shots are no part of what serves."""
        found: dict[str, set[str]] = {}
        for box in self.engine.boxes:
            if box.service != "job":
                found.setdefault(box.service, set()).add(box.marks["toolkit.service"])
        return found

    def whole(self, name: str) -> bool:
        """Whether exactly this release runs: all of it, and nothing else."""
        wanted = self.engine.manifests[name]
        counts = {n: one.replicas for n, one in wanted.services.items() if not one.one_shot}
        running = [box for box in self.engine.boxes if box.service != "job"]
        return (
            self.runs() == {n: {wanted.marks[n]["toolkit.service"]} for n in counts}
            and len(running) == sum(counts.values())
            and all(box.status == "running" for box in running)
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return a_world(tmp_path)


def a_world(root: Path, *, deployed: bool = True) -> World:
    made = World(root, FakeDocker())
    made.place.prepare()
    made.add(manifest(OLD, 1))
    made.add(manifest(NEW, 2))
    if deployed:
        outcome = made.driver().deploy(OLD)
        assert outcome.result == DEPLOYED, outcome
        made.engine.changes.clear()
        made.engine.ran.clear()
        made.phases.clear()
    return made


def test_a_deploy_goes_through_its_phases_and_ends_with_the_new_release(world: World) -> None:
    kept = {box.id for box in world.engine.boxes if box.service == "db"}
    outcome = world.driver().deploy(NEW)
    assert outcome.result == DEPLOYED
    assert world.phases == [
        "preflight", "pull", "secrets", "one-shots", "stateful", "stateless", "gate", "switch", "prune",
    ]  # fmt: skip
    assert world.whole(NEW)
    assert world.place.current_name() == NEW
    assert outcome.recreated == ("api", "job", "web")
    assert {box.id for box in world.engine.boxes if box.service == "db"} == kept
    assert transaction.read(world.place) is None
    assert {move.service: move.kind for move in outcome.moves} == {
        "db": "keep", "job": "run", "api": "roll", "web": "recreate",
    }  # fmt: skip


def test_the_order_is_one_shots_then_what_keeps_data_then_the_rest(tmp_path: Path) -> None:
    world = a_world(tmp_path, deployed=False)
    world.driver().deploy(OLD)
    assert world.engine.changes == ["pull", "up db", "up job", "up api", "up web"]


def test_images_are_there_before_anything_is_touched(world: World) -> None:
    world.engine.refuse = lambda change: "no route to host" if change == "pull" else ""
    before = list(world.engine.boxes)
    outcome = world.driver().deploy(NEW)
    assert (outcome.result, outcome.release, outcome.code) == (FAILED, OLD, 12)
    assert "no route to host" in outcome.fault
    assert world.engine.boxes == before
    assert transaction.read(world.place) is None


def test_secrets_that_cannot_be_delivered_leave_everything_as_it_was(world: World) -> None:
    world.fail_secrets = True
    outcome = world.driver().deploy(NEW)
    assert (outcome.result, outcome.code) == (FAILED, 11)
    assert world.whole(OLD)
    assert [change for change in world.engine.changes if change != "pull"] == []


@pytest.mark.parametrize("image", ["api:2", "web:2"])
@pytest.mark.parametrize("fault", ["sick", "broken"])
def test_a_service_that_does_not_come_up_brings_the_old_release_back(world: World, image: str, fault: str) -> None:
    getattr(world.engine, fault).add(f"{image}@{DIGESTS[image]}")
    outcome = world.driver().deploy(NEW)
    assert (outcome.result, outcome.release, outcome.code) == (ROLLED_BACK, OLD, 18)
    assert image.partition(":")[0] in outcome.fault
    assert "what it said last" in outcome.fault
    assert world.whole(OLD)
    assert world.place.current_name() == OLD


def test_a_failing_migration_touches_nothing_that_serves(world: World) -> None:
    world.engine.broken.add(f"job:2@{DIGESTS['job:2']}")
    before = {box.id for box in world.engine.boxes if box.service != "job"}
    outcome = world.driver().deploy(NEW)
    assert outcome.result == ROLLED_BACK
    assert {box.id for box in world.engine.boxes if box.service != "job"} == before
    # Its container goes too: it is of a release that does not run.
    assert not [box for box in world.engine.boxes if box.service == "job" and "job:2" in box.image]


def test_going_back_does_not_migrate_again(world: World) -> None:
    world.driver().deploy(NEW)
    world.engine.changes.clear()
    outcome = world.driver(one_shots=False).deploy(OLD)
    assert outcome.result == DEPLOYED
    assert world.whole(OLD)
    assert "up job" not in world.engine.changes
    assert record.read(world.place).finished == ("job",)
    assert all(one.good for one in outcome.services)


def test_a_first_deploy_that_fails_leaves_nothing_running(tmp_path: Path) -> None:
    world = a_world(tmp_path, deployed=False)
    world.engine.sick.add(f"web:1@{DIGESTS['web:1']}")
    outcome = world.driver().deploy(OLD)
    assert (outcome.result, outcome.release) == (ROLLED_BACK, "")
    assert world.engine.boxes == []
    assert transaction.read(world.place) is None


@pytest.mark.parametrize("phase", ["preflight", "pull", "secrets", "one-shots", "stateful", "stateless", "gate"])
def test_a_stop_is_heard_in_every_phase_and_ends_with_the_old_release(tmp_path: Path, phase: str) -> None:
    world = a_world(tmp_path)
    world.stop_in = phase
    outcome = world.driver().deploy(NEW)
    assert outcome.code == 27
    assert outcome.result == (FAILED if phase in ("preflight", "pull", "secrets") else ROLLED_BACK)
    assert world.whole(OLD)


def test_a_way_back_that_fails_is_tried_again(world: World) -> None:
    world.engine.sick.add(f"web:2@{DIGESTS['web:2']}")
    failures = iter(["the daemon restarts"])

    def refuse(change: str) -> str:
        return next(failures, "") if "rollback" in world.phases and change == "up web" else ""

    world.engine.refuse = refuse
    assert world.driver().deploy(NEW).result == ROLLED_BACK
    assert world.whole(OLD)


def test_a_way_back_that_fails_for_good_is_said_loudly_and_the_next_deploy_starts_from_there(world: World) -> None:
    world.engine.sick.add(f"web:2@{DIGESTS['web:2']}")
    world.engine.refuse = lambda change: "no space left" if "rollback" in world.phases and "up" in change else ""
    outcome = world.driver().deploy(NEW)
    assert (outcome.result, outcome.code) == (MIXED, 26)
    assert "web" in outcome.fault
    assert "no space left" in outcome.fault
    mark = transaction.read(world.place)
    assert mark is not None
    assert mark.previous == OLD
    # Whatever was in the way is gone, and the fault corrected.
    world.engine.refuse, world.engine.sick = lambda change: "", set()
    world.phases.clear()
    assert world.driver().deploy(NEW).result == DEPLOYED
    assert world.whole(NEW)
    assert transaction.read(world.place) is None


def test_without_a_place_for_the_mark_nothing_is_touched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transaction, "begin", full)
    outcome = world.driver().deploy(NEW)
    assert outcome.result == FAILED
    assert "No space left" in outcome.fault
    assert world.whole(OLD)


def moments(root: Path) -> int:
    """Return how many moments of a whole deploy there are to die in: before and after each change."""
    world = a_world(root)
    world.driver().deploy(NEW)
    return 2 * len(world.engine.changes)


def test_cut_off_at_any_moment_the_stack_is_one_release_whole_in_the_end(tmp_path: Path) -> None:
    count = moments(tmp_path / "count")
    assert count >= 12
    for moment in range(count):
        world = a_world(tmp_path / f"at-{moment}")
        world.engine.kill_at = moment
        with pytest.raises(Killed):
            world.driver().deploy(NEW)
        world.engine.kill_at = -1
        settled = world.driver(one_shots=False).settle()
        assert world.whole(OLD), (moment, world.engine.changes, settled)
        assert transaction.read(world.place) is None
        assert not room._ballast(world.driver().site).exists()
        # And nothing of it is in the way of the next one.
        assert world.driver().deploy(NEW).result == DEPLOYED, moment
        assert world.whole(NEW)


def test_cut_off_on_the_way_back_it_is_gone_on_with(tmp_path: Path) -> None:
    def dying(root: Path, moment: int) -> World:
        world = a_world(root)
        world.engine.sick.add(f"web:2@{DIGESTS['web:2']}")
        world.engine.kill_at = moment
        return world

    world = dying(tmp_path / "count", -1)
    world.driver().deploy(NEW)
    for moment in range(2 * len(world.engine.changes)):
        world = dying(tmp_path / f"at-{moment}", moment)
        with pytest.raises(Killed):
            world.driver().deploy(NEW)
        world.engine.kill_at = -1
        world.driver(one_shots=False).settle()
        assert world.whole(OLD), (moment, world.engine.changes)


def test_what_had_passed_its_gate_is_finished_and_not_taken_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object, **__: object) -> None:
        raise Killed("between gate and switch")

    with monkeypatch.context() as patch:
        patch.setattr("toolkit.stack.driver.switch", dies)
        with pytest.raises(Killed):
            world.driver().deploy(NEW)
    assert world.place.current_name() == OLD
    settled = world.driver().settle()
    assert settled is not None
    assert (settled.result, world.place.current_name()) == (DEPLOYED, NEW)
    assert world.whole(NEW)


def test_where_nothing_was_cut_off_there_is_nothing_to_settle(world: World) -> None:
    assert world.driver().settle() is None


def test_a_container_that_somebody_edited_is_made_anew(world: World) -> None:
    box = next(box for box in world.engine.boxes if box.service == "web")
    box.host = {"Memory": 1}
    third = "20260103T000000Z-third"
    world.add(manifest(third, 1))
    outcome = world.driver().deploy(third)
    assert outcome.result == DEPLOYED
    assert {move.service: move.why for move in outcome.moves if move.kind == "recreate"} == {"web": "changed by hand"}


def test_services_that_the_release_does_not_have_go_after_the_gate(world: World) -> None:
    world.engine.boxes.append(Box("stray", "old-cron", 9, "cron:1", {}))
    assert world.driver().deploy(NEW).result == DEPLOYED
    assert world.whole(NEW)
    assert world.engine.changes[-2:] == ["stop", "rm 1"]


def test_an_image_of_the_release_before_that_is_gone_is_brought_back_first(world: World) -> None:
    lost = f"web:1@{DIGESTS['web:1']}"
    world.engine.pulled.discard(lost)
    world.engine.sick.add(f"web:2@{DIGESTS['web:2']}")
    assert world.driver().deploy(NEW).result == ROLLED_BACK
    assert lost in world.engine.pulled
    assert world.whole(OLD)


def test_more_reserved_than_there_is_is_refused_and_limits_beyond_are_told(world: World) -> None:
    for number, limits, result in (
        (1, Limits(reserved_memory=9_000_000_000), FAILED),
        (2, Limits(memory=9_000_000_000), DEPLOYED),
    ):
        name = f"20260104T00000{number}Z-limits"
        web = replace(services(2)["web"], limits=limits)
        world.add(manifest(name, 2, services(2) | {"web": web}))
        assert world.driver().deploy(name).result == result
    assert any("limits of memory add up" in text for text in world.heard.warnings)


def test_a_port_that_somebody_else_has_is_told_by_name(world: World) -> None:
    world.engine.ports["apache"] = 'tcp LISTEN 0 511 *:80 *:* users:(("apache2",pid=1,fd=4))\n'
    outcome = world.driver().deploy(NEW)
    assert (outcome.result, outcome.fault) == (FAILED, "port 80/tcp, which web publishes, is taken by apache2")


def test_a_changed_file_of_a_release_is_noticed(world: World, tmp_path: Path) -> None:
    third = "20260105T000000Z-third"
    path = tmp_path / "opt/shop/files/ab/site.conf"
    path.parent.mkdir(parents=True)
    path.write_text("as it was")
    world.add(replace(manifest(third, 2), content={"/opt/shop/files/ab/site.conf": "00" * 32}))
    outcome = world.driver().deploy(third)
    assert outcome.result == FAILED
    assert "is not what release" in outcome.fault


def test_old_releases_go_with_their_images_and_nothing_else(world: World) -> None:
    for number in range(1, 9):
        name = f"202602{number:02}T000000Z-n"
        world.add(manifest(name, 1 + number % 2))
        assert world.driver().deploy(name).result == DEPLOYED
        (world.place.release(name) / "release.json").touch()
    names = {path.name for path in world.place.releases.glob("[!.]*") if prune.has_passed(world.place, path.name)}
    assert len(names) == prune.KEEP
    assert world.place.current_name() in names


def test_outcomes_survive_their_journal(world: World) -> None:
    from toolkit.stack import outcome as outcomes

    made = world.driver().deploy(NEW)
    read = outcomes.parse(json.loads(json.dumps(made.dumps())))
    assert isinstance(read, Outcome)
    assert [one.service for one in read.services] == [one.service for one in made.services]
    assert read.moves == made.moves
    assert read.recreated == made.recreated
