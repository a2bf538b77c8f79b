"""The watchdog over a fake Engine: it heals what is ill, in order, within limits, and stands aside when it should."""

import fcntl
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.fake_engine import FakeEngine
from toolkit.stack import hold, transaction
from toolkit.stack.hold import Hold
from toolkit.stack.manifest import Manifest, Probe, Terms
from toolkit.stack.moves import Move
from toolkit.stack.place import Place
from toolkit.stack.service import Check, Service
from toolkit.stack.transaction import Transaction
from toolkit.stack.watchdog import care, history, watch
from toolkit.stack.watchdog.aside import LONGEST_BOOT, Aside
from toolkit.stack.watchdog.history import Incident
from toolkit.stack.watchdog.policy import Policy
from toolkit.stack.watchdog.watch import Outside, Watch
from toolkit.words.clock import FakeClock
from toolkit.words.errors import DeployFailed, HostError

CHECK = Check(("CMD", "true"), interval=1, timeout=1, retries=1, start=2)
SERVICES = {
    "db": Service("db:1", volumes=("data",), check=CHECK),
    "job": Service("job:1", one_shot=True, needs={"db": "service_healthy"}),
    "api": Service("api:1", check=CHECK, needs={"db": "service_healthy", "job": "service_completed_successfully"}),
    "web": Service("web:1", check=CHECK, needs={"api": "service_healthy"}),
    "side": Service("side:1", joins=("web",), check=CHECK),
    "tail": Service("tail:1", follows=("db",), needs={"db": "service_started"}, check=CHECK),
    "none": Service("none:1", replicas=0),
}
RELEASE = "20260101T000000Z-one"


def manifest(name: str = RELEASE, **terms: Any) -> Manifest:
    return Manifest(name, "2026-01-01T00:00:00Z", "x", SERVICES, {}, Terms(files=(), **terms), who="ann@laptop")


@dataclass
class World:
    """A stack that runs, and its watchdog, whose heals happen at once."""

    root: Path
    policy: Policy = field(default_factory=lambda: Policy("shop"))
    clock: FakeClock = field(default_factory=FakeClock)
    incidents: list[Incident] = field(default_factory=list)
    remade: list[list[Move]] = field(default_factory=list)
    booted: float = LONGEST_BOOT
    coming: bool = False
    spawn: Callable[[Callable[[], None]], None] = field(default=lambda work: work())

    def __post_init__(self) -> None:
        self.place = Place("shop", self.root)
        self.place.prepare()
        self.deploy(manifest())
        self.engine = FakeEngine(self.clock.wall)
        for name in ("db", "api", "web", "side", "tail"):
            self.engine.add(name)
        self.clock.time = 10_000.0
        self.watch = self.fresh()

    def fresh(self) -> Watch:
        """Return a watchdog that has just been started."""
        aside = Aside(self.place, lambda: self.coming, lambda: self.booted)
        outside = Outside(lambda: self.engine, self.clock, self.incidents.append, self.remake, aside, spawn=self.spawn)
        return Watch(self.place, self.policy, outside)

    def deploy(self, made: Manifest) -> None:
        folder = self.place.release(made.id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "release.json").write_bytes(made.dumps())
        self.place.current.unlink(missing_ok=True)
        self.place.current.symlink_to(f"releases/{made.id}")

    def remake(self, made: Manifest, moves: Sequence[Move]) -> None:
        self.remade.append(list(moves))
        for move in moves:
            if move.kind == "recreate":
                self.engine.boxes = [one for one in self.engine.boxes if one.service != move.service]
            if not any(one.service == move.service for one in self.engine.boxes):
                self.engine.revive(self.engine.add(move.service))

    def rounds(self, count: int = 1) -> list[str]:
        """Go on for some rounds; return what was told."""
        known = len(self.incidents)
        for _ in range(count):
            self.watch.round()
            self.clock.sleep(self.policy.every)
        # A heal that ended in the last round is taken in with the next.
        self.watch._collect()
        return [f"{one.service} {one.kind} {one.result}".strip() for one in self.incidents[known:]]

    def seen(self) -> dict[str, Any]:
        return history.shown(self.place)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_stack_that_is_well_is_left_in_peace(world: World) -> None:
    assert world.rounds(5) == []
    assert world.engine.did == []
    assert {one["service"]: one["state"] for one in world.seen()["services"]} == dict.fromkeys(
        ("db", "api", "web", "side", "tail"), "well"
    )


def test_one_that_was_killed_is_restarted_at_once_and_everything_about_it_is_kept(world: World) -> None:
    box = world.engine.of("api")
    box.status, box.health, box.exit_code, box.oom = "exited", "", 137, True
    assert world.rounds() == ["api dead healed"]
    assert world.engine.did == ["restart api"]
    [told] = world.incidents
    assert told.reason == "ended with exit code 137: the kernel killed it for memory"
    assert told.did == ("restarted",)
    [container] = told.evidence["containers"]
    assert (container["exit_code"], container["oom_killed"]) == (137, True)
    assert container["last_lines"] == ["last words of api"]
    assert told.evidence["release"]["who"] == "ann@laptop"
    assert told.evidence["host"]["memory_total"] > 0
    assert world.rounds(3) == []


def test_a_hung_one_is_restarted(world: World) -> None:
    world.engine.of("api").health = "unhealthy"
    assert world.rounds() == ["api hung healed"]
    assert world.incidents[0].evidence["containers"][0]["health_log"] == ["api says no"]


def test_a_leaking_one_is_restarted_after_several_looks_and_not_before(world: World) -> None:
    world.engine.of("api").memory = 96_000_000
    assert world.rounds(2) == []
    assert world.rounds() == ["api leaking healed"]
    assert world.engine.of("api").memory < 50_000_000


def test_memory_that_goes_down_again_is_no_leak(world: World) -> None:
    for memory in (96_000_000, 96_000_000, 50_000_000, 96_000_000, 96_000_000):
        world.engine.of("api").memory = memory
        assert world.rounds() == []


def test_a_container_without_a_limit_has_the_machines_memory_as_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_machine_memory", lambda: 1_000_000_000)
    box = world.engine.of("api")
    box.limit, box.memory = 1_000_000_000, 790_000_000
    assert world.rounds(4) == []
    box.memory = 810_000_000
    assert world.rounds(3) == ["api leaking healed"]


def test_one_whose_container_is_gone_is_made_anew_by_the_releases_own_compose(world: World) -> None:
    world.engine.boxes.remove(world.engine.of("web"))
    assert world.rounds() == ["web gone healed"]
    assert [(one.service, one.kind) for one in world.remade[0]] == [("web", "start"), ("side", "recreate")]
    assert world.engine.did == []


def test_one_that_vanishes_while_it_is_healed_is_made_anew(world: World) -> None:
    box = world.engine.of("web")
    box.status = "exited"
    gathered = world.engine.logs

    def vanish(container: str, lines: int) -> list[str]:
        world.engine.boxes.remove(box)
        return gathered(container, lines)

    world.engine.logs = vanish  # type: ignore[method-assign]
    assert world.rounds() == ["web dead healed"]
    assert world.incidents[0].did == ("made anew",)
    assert "last_lines" not in world.incidents[0].evidence["containers"][0]


def test_what_cannot_be_restarted_is_killed_and_started_and_what_cannot_be_started_is_made_anew(world: World) -> None:
    box = world.engine.of("tail")
    box.status = "exited"
    world.engine.refuse = lambda what, service: "device busy" if what == "restart" else ""
    assert world.rounds() == ["tail dead healed"]
    assert world.engine.did == ["restart tail", "kill tail", "start tail"]
    world.engine.refuse = lambda what, service: "no such mount"
    world.engine.of("tail").status = "exited"
    world.clock.sleep(1000)
    world.rounds()
    assert [(one.service, one.kind) for one in world.remade[-1]] == [("tail", "recreate")]


def test_after_a_gentle_heal_that_was_of_no_use_comes_force(world: World) -> None:
    box = world.engine.of("tail")
    box.health, box.ends_as = "unhealthy", "unhealthy"
    assert world.rounds() == ["tail hung failed"]
    world.clock.sleep(60)
    assert world.rounds() == ["tail hung failed"]
    assert world.engine.did == ["restart tail", "kill tail", "start tail"]


def test_it_never_loops_and_gives_up_with_one_word(world: World) -> None:
    box = world.engine.of("tail")
    box.health, box.ends_as = "unhealthy", "unhealthy"
    told = world.rounds(200)
    assert told == [*["tail hung failed"] * 3, "tail hung given up"]
    assert len([one for one in world.engine.did if one == "start tail"]) == 2
    [row] = [one for one in world.seen()["services"] if one["service"] == "tail"]
    assert (row["gave_up"], row["waits"]) == (True, "given up")


def test_heals_that_take_long_and_are_of_no_use_come_to_an_end_too(world: World) -> None:
    box = world.engine.of("tail")
    box.health, box.ends_as = "unhealthy", "unhealthy"
    told = []
    for _ in range(20):
        told += world.rounds()
        world.clock.sleep(2 * world.policy.within)
    assert told == [*["tail hung failed"] * 3, "tail hung given up"]


def test_pauses_between_heals_grow(world: World) -> None:
    box = world.engine.of("tail")
    box.health, box.ends_as = "unhealthy", "unhealthy"
    at: list[float] = []
    world.engine.refuse = lambda what, service: at.append(world.clock.now()) or ""  # type: ignore[func-returns-value]
    world.rounds(40)
    restart, force, last = at
    assert 30 <= force - restart < 90
    assert 60 <= last - force < 150


def test_a_watchdog_that_was_restarted_itself_remembers_what_it_has_tried(world: World) -> None:
    box = world.engine.of("tail")
    box.health, box.ends_as = "unhealthy", "unhealthy"
    world.rounds(200)
    world.watch = world.fresh()
    assert world.rounds(50) == []


def test_a_slow_leak_is_healed_again_and_again_without_an_end(world: World) -> None:
    for _ in range(10):
        world.engine.of("api").memory = 99_000_000
        assert world.rounds(3) == ["api leaking healed"]
        world.clock.sleep(1200)


def test_one_that_was_given_up_counts_again_once_it_was_healthy_for_a_while(world: World) -> None:
    box = world.engine.of("tail")
    box.health, box.ends_as = "unhealthy", "unhealthy"
    world.rounds(100)
    box.health = box.ends_as = "healthy"
    assert world.rounds(19) == []
    assert world.rounds(5) == ["tail  recovered"]
    box.health = "unhealthy"
    assert world.rounds() == ["tail hung healed"]


def test_one_that_was_given_up_counts_again_once_somebody_deployed(world: World) -> None:
    box = world.engine.of("tail")
    box.health, box.ends_as = "unhealthy", "unhealthy"
    world.rounds(100)
    world.deploy(manifest("20260102T000000Z-two"))
    box.ends_as = "healthy"
    assert world.rounds() == ["tail hung healed"]


def test_what_others_need_comes_first_and_they_may_get_well_by_themselves(world: World) -> None:
    for name in ("db", "api", "web"):
        world.engine.of(name).health = "unhealthy"
    assert world.rounds() == ["db hung healed"]
    assert world.engine.did == ["restart db", "restart tail"]
    world.engine.of("api").health = "healthy"
    assert world.rounds() == ["web hung healed"]
    assert "restart api" not in world.engine.did


def test_those_who_need_one_that_was_given_up_are_not_restarted_for_nothing(world: World) -> None:
    for name in ("db", "api"):
        world.engine.of(name).health = world.engine.of(name).ends_as = "unhealthy"
    assert {line.split()[0] for line in world.rounds(100)} == {"db"}
    [row] = [one for one in world.seen()["services"] if one["service"] == "api"]
    assert row["waits"] == "waits for db"


def test_who_follows_and_who_lives_in_its_space_is_restarted_with_it(world: World) -> None:
    world.engine.of("db").status = "exited"
    world.rounds()
    assert world.engine.did == ["restart db", "restart tail"]
    assert world.incidents[0].did == ("restarted", "restarted tail with it")
    world.engine.did.clear()
    world.engine.of("web").health = "unhealthy"
    world.rounds()
    assert world.engine.did == ["restart web", "restart side"]


def test_a_service_in_a_crash_loop_is_one_that_ended_again_and_again_lately(world: World) -> None:
    box = world.engine.of("tail")
    box.restarts = 7
    assert world.rounds(3) == []
    box.restarts, box.exit_code = 10, 3
    assert world.rounds() == ["tail crashing healed"]
    assert world.incidents[0].reason == "ended 10 times with exit code 3"


def test_three_crashes_in_a_year_are_no_crash_loop(world: World) -> None:
    for restarts in range(1, 8):
        world.engine.of("tail").restarts = restarts
        assert world.rounds() == []
        world.clock.sleep(2000)


def test_one_that_docker_keeps_restarting_is_seen_at_once(world: World) -> None:
    box = world.engine.of("tail")
    box.status, box.health, box.restarts = "restarting", "", 3
    assert world.rounds() == ["tail crashing healed"]


@pytest.mark.parametrize("state", ["starting", "paused"])
def test_one_that_starts_or_is_paused_is_left_alone(world: World, state: str) -> None:
    box = world.engine.of("api")
    if state == "paused":
        box.status = "paused"
    else:
        box.health, box.started = "starting", world.clock.wall()
    assert world.rounds(3) == []
    [row] = [one for one in world.seen()["services"] if one["service"] == "api"]
    assert row["state"] == state


def test_one_shots_and_what_is_scaled_to_nothing_or_to_be_left_are_no_business_of_its(world: World) -> None:
    world.policy = replace(world.policy, leave=("tail",))
    world.watch = world.fresh()
    world.engine.of("tail").status = "exited"
    world.engine.add("job", status="exited", exit_code=1, health="")
    assert world.rounds(3) == []
    assert world.seen()["left"] == ["tail"]


def ill(world: World) -> None:
    world.engine.of("tail").status = "exited"


def test_it_stands_aside_while_somebody_holds_the_lock(world: World) -> None:
    ill(world)
    with world.place.locked():
        assert world.rounds(3) == []
        assert world.seen()["aside"] == "somebody is at work on the stack"
    assert world.rounds() == ["tail dead healed"]


def test_it_stands_aside_before_a_deploy_that_was_asked_for(world: World) -> None:
    ill(world)
    world.coming = True
    assert world.rounds(3) == []


def test_it_stands_aside_during_a_restore_that_anybody_says_by_a_lock(world: World) -> None:
    ill(world)
    descriptor = os.open(world.place.run / "restore", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert world.rounds(3) == []
    assert world.seen()["aside"] == "data is being restored"
    os.close(descriptor)
    assert world.rounds() == ["tail dead healed"]


def test_it_stands_aside_on_hold_and_goes_on_when_its_time_is_over(world: World) -> None:
    ill(world)
    hold.write(world.place, Hold("ann@laptop", "moving the disk", world.clock.wall() + 100))
    assert world.rounds(3) == []
    assert world.seen()["aside"] == "on hold: moving the disk (ann@laptop)"
    world.clock.sleep(100)
    assert world.rounds() == ["tail dead healed"]


def test_it_stands_aside_from_a_deploy_that_was_left_half_way(world: World) -> None:
    ill(world)
    transaction.begin(world.place, Transaction("new", RELEASE, "now"))
    assert world.rounds(3) == []
    assert "half-way" in world.seen()["aside"]
    (world.place.state / transaction.MARK).write_text("{")
    assert world.rounds() == []
    assert "is damaged" in world.seen()["aside"]


def test_right_after_a_boot_docker_brings_containers_back_by_itself(world: World) -> None:
    ill(world)
    world.booted = 29.0
    assert world.rounds() == []
    assert "has just booted" in world.seen()["aside"]
    world.booted = 30.0
    assert world.rounds() == ["tail dead healed"]


def test_a_stack_that_was_taken_down_stays_down(world: World) -> None:
    world.engine.boxes.clear()
    assert world.rounds(3) == []
    assert world.seen()["aside"].startswith("the stack is down")


def test_nothing_deployed_and_a_damaged_manifest_are_said(world: World) -> None:
    (world.place.release(RELEASE) / "release.json").write_text("{")
    assert world.rounds(2) == []
    assert "manifest is damaged" in world.seen()["aside"]
    world.place.current.unlink()
    assert world.rounds(2) == []
    assert world.seen()["aside"] == "nothing is deployed yet"


def test_docker_that_does_not_answer_is_told_once_and_so_is_its_return(world: World) -> None:
    world.rounds()
    world.engine.silent = True
    assert world.rounds(5) == ["docker silent"]
    assert world.seen()["docker"] is False
    world.engine.silent = False
    assert world.rounds(2) == ["docker back"]


def test_docker_that_is_back_soon_is_no_news(world: World) -> None:
    world.engine.silent = True
    assert world.rounds() == []
    world.engine.silent = False
    assert world.rounds(2) == []


def test_a_heal_holds_the_lock_and_says_so_until_it_has_ended(world: World) -> None:
    works: list[Callable[[], None]] = []
    world.spawn = works.append
    world.watch = world.fresh()
    ill(world)
    world.engine.of("api").health = "unhealthy"
    world.rounds()
    assert world.place.busy()
    told = json.loads(world.place.driver.read_text())
    assert (told["action"], told["who"], told["release"]) == ("heal", "the watchdog", "api, tail")
    assert world.rounds(3) == []
    assert len(works) == 2
    assert world.seen()["aside"] == ""
    works.pop()()
    world.rounds()
    assert world.place.busy()
    works.pop()()
    world.rounds()
    assert not world.place.busy()


def test_a_remake_that_fails_is_told_with_its_words(world: World) -> None:
    def fail(made: Manifest, moves: Sequence[Move]) -> None:
        raise DeployFailed("web did not come up:\nno space left on device")

    world.remake = fail  # type: ignore[method-assign]
    world.watch = world.fresh()
    world.engine.boxes.remove(world.engine.of("web"))
    assert world.rounds() == ["web gone failed"]
    assert "no space left" in world.incidents[0].said


def published(port: int) -> dict[str, Any]:
    return {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(port)}], "53/udp": [{"HostIp": "", "HostPort": "53"}]}


def test_a_port_that_does_not_answer_though_all_is_healthy_is_healed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = {8443}
    asked: list[tuple[str, int]] = []

    def knock(address: str, port: int) -> str:
        asked.append((address, port))
        return f"port {port} does not answer" if port in quiet else ""

    monkeypatch.setattr(watch.reach, "knock", knock)
    world.watch.asker.again = 0.0
    world.engine.of("web").ports = published(8443)
    world.engine.of("api").ports = published(8080)
    world.engine.refuse = lambda what, service: quiet.clear() or ""  # type: ignore[func-returns-value]
    assert world.rounds() == ["web silent healed"]
    assert world.incidents[0].reason == "port 8443 does not answer"
    assert ("127.0.0.1", 8080) in asked
    assert all(address == "127.0.0.1" for address, _ in asked)


def test_one_that_ends_while_its_port_is_asked_is_dead_and_not_silent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def knock(_address: str, _port: int) -> str:
        box = world.engine.of("web")
        if not world.engine.did:
            box.status, box.health, box.exit_code = "exited", "", 137
        return "" if box.status == "running" else "nobody listens"

    monkeypatch.setattr(watch.reach, "knock", knock)
    world.watch.asker.again = 0.0
    world.engine.of("web").ports = published(8443)
    assert world.rounds() == ["web dead healed"]


def test_a_port_that_stays_silent_after_a_heal_is_not_called_healed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch.reach, "knock", lambda address, port: "nobody listens")
    world.watch.asker.again = 0.0
    world.engine.of("web").ports = published(8443)
    assert world.rounds() == ["web silent failed"]
    assert world.incidents[0].said == "nobody listens"


@pytest.mark.parametrize(
    ("probe", "healed"),
    [
        (Probe("http://127.0.0.1:8080/health"), ["api silent failed"]),
        (Probe("http://127.0.0.1:1/health", service="tail"), ["tail silent failed"]),
        (Probe("https://shop.example:1/health"), ["silent silent"]),
    ],
    ids=["who publishes the port", "who is named", "nobody"],
)
def test_a_probe_that_fails_is_the_fault_of_who_answers_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch, probe: Probe, healed: list[str]
) -> None:
    failing = [True]
    monkeypatch.setattr(watch.reach, "knock", lambda address, port: "")
    monkeypatch.setattr(watch.reach.probes, "ask", lambda probe: "answered 503" if failing[0] else "")
    world.watch.asker.again = 0.0
    world.engine.of("api").ports = published(8080)
    world.deploy(manifest(probes=(probe,)))
    assert world.rounds() == healed
    if healed == ["silent silent"]:
        assert world.rounds(2) == []
        failing[0] = False
        assert world.rounds(2) == ["silent back"]


def test_probes_of_a_service_that_is_ill_otherwise_are_not_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(watch.reach.probes, "ask", lambda probe: asked.append(probe.url) or "")
    world.deploy(manifest(probes=(Probe("http://127.0.0.1:1/", service="web"),)))
    world.engine.of("web").health = "unhealthy"
    world.engine.of("web").ends_as = "unhealthy"
    world.rounds()
    assert asked == []


def test_metrics_are_in_prometheus_format(world: World) -> None:
    ill(world)
    world.rounds(2)
    text = (world.root / "var/lib/toolkit/metrics/watchdog-shop.prom").read_text()
    assert 'toolkit_watchdog_service_up{stack="shop",service="api"} 1' in text
    assert 'toolkit_watchdog_heals_total{stack="shop",service="tail"} 1' in text
    assert 'toolkit_watchdog_gave_up{stack="shop",service="tail"} 0' in text
    stamp = next(
        line for line in text.splitlines() if line.startswith("toolkit_watchdog_last_check_timestamp_seconds{")
    )
    assert float(stamp.rpartition(" ")[2]) == pytest.approx(world.clock.wall(), abs=100)
    for line in text.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or len(line.split()) == 2


def test_history_is_kept_and_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST", 2000)
    for number in range(40):
        history.add(world.place, Incident("now", f"s{number}", "dead", "x", "healed", evidence={"pad": "x" * 100}))
    found = history.read(world.place, 1000)
    assert found[-1]["service"] == "s39"
    assert 5 < len(found) < 40
    assert [one["service"] for one in history.read(world.place, 2)] == ["s38", "s39"]
    with (history.folder(world.place) / "history.jsonl").open("a") as file:
        file.write("half a li")
    assert history.read(world.place, 1)[0]["service"] == "s39"
    assert history.read(world.place, 0) == []


def test_what_was_remembered_and_is_damaged_costs_the_memory_alone(world: World) -> None:
    path = history.folder(world.place) / "care.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    for text in ("{", "[]", '{"format": "another"}', '{"format": "toolkit care 1", "services": {"a": {"x": 1}}}'):
        path.write_text(text)
        assert care.read(path) == {}


def test_policies_are_read_as_they_were_written(tmp_path: Path) -> None:
    policy = Policy("shop", every=2.5, leave=("a", "b"))
    path = tmp_path / "watchdog.json"
    path.write_text(policy.dumps())
    assert Policy.read(path) == policy
    for text in ("", "{}", '{"format": "toolkit watchdog 9"}', policy.dumps().replace("every", "never")):
        path.write_text(text)
        with pytest.raises(HostError, match="cannot be understood"):
            Policy.read(path)
