"""The watch: round after round of looking, deciding and healing, and everything that has to be remembered between them.

Heals run beside the rounds, because a container may take long to stop. While one is at work the watchdog holds the
stack's lock, so a deploy and a heal never meet.
"""

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from toolkit.stack.containers import Container
from toolkit.stack.engine import Silent
from toolkit.stack.manifest import Manifest
from toolkit.stack.moves import levels
from toolkit.stack.place import HEAL, Place
from toolkit.stack.watchdog import care, evidence, examine, history, look, reach
from toolkit.stack.watchdog.aside import Aside, is_down
from toolkit.stack.watchdog.care import Care, Decision
from toolkit.stack.watchdog.evidence import Scene
from toolkit.stack.watchdog.examine import Health, Past
from toolkit.stack.watchdog.heal import Heal, Remake, Result
from toolkit.stack.watchdog.history import Incident
from toolkit.stack.watchdog.look import Asked, Look
from toolkit.stack.watchdog.policy import Policy
from toolkit.stack.watchdog.reach import Asker
from toolkit.words import atomic
from toolkit.words.clock import Clock
from toolkit.words.errors import Error, Locked

WHO = "the watchdog"
# Docker that restarts for an upgrade is back by then; seconds.
BLIND = 20.0


def _in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name=HEAL, daemon=True).start()


@dataclass(frozen=True)
class Outside:
    """What the watch needs of the world around it.

    `tell` hears of every incident; `beat` is called again and again, as long as the watch is not stuck.
    """

    engine: Callable[[], Asked]
    clock: Clock
    tell: Callable[[Incident], None]
    remake: Remake
    aside: Aside
    beat: Callable[[], None] = lambda: None
    spawn: Callable[[Callable[[], None]], None] = _in_a_thread


@dataclass
class Watch:
    """One stack, watched. `wake` is set when a heal has ended, so that the next round need not wait."""

    place: Place
    policy: Policy
    outside: Outside
    asker: Asker = field(default_factory=Asker)
    wake: threading.Event = field(default_factory=threading.Event)
    _asked: Asked | None = None
    _manifest: Manifest | None = None
    _before: Look | None = None
    _past: Past = field(default_factory=Past)
    _healing: dict[str, Health] = field(default_factory=dict)
    _ended: "queue.SimpleQueue[tuple[Health, float, Result, Mapping[str, Any]]]" = field(
        default_factory=queue.SimpleQueue
    )
    _lock: ExitStack = field(default_factory=ExitStack)
    _blind_since: float = 0.0
    _told: set[str] = field(default_factory=set)
    _heals: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._memory = history.folder(self.place) / "care.json"
        self._cares: dict[str, Care] = care.read(self._memory)

    def round(self) -> None:
        """Look once, and do what there is to do. Raises nothing that the next round might not find mended."""
        self.outside.beat()
        now = self.outside.clock.wall()
        try:
            self._collect()
            manifest = self._current()
            if manifest is None:
                return self._show(now, why="nothing is deployed yet")
            seen = self._look(now)
        except Silent as error:
            return self._blind(now, error)
        except Error as error:
            return self._show(now, why=error.message)
        self._sighted()
        return self._see(manifest, seen)

    def _current(self) -> Manifest | None:
        name = self.place.current_name()
        if not name:
            return None
        if self._manifest is None or self._manifest.id != name:
            self._manifest = self.place.manifest(name)
        return self._manifest

    def _look(self, now: float) -> Look:
        if self._asked is None:
            self._asked = self.outside.engine()
        return look.look(self._asked, self.place.stack, now, self.outside.beat)

    def _see(self, manifest: Manifest, seen: Look) -> None:
        services = examine.watched(manifest, self.policy)
        self._past = examine.remember(self._past, seen, self.policy, _machine_memory())
        first = examine.examine(services, seen, self._past, self.policy)
        if complaints := self._complaints(manifest, seen, first):
            # One that ended since is dead or gone, which says more than that nobody answers.
            with suppress(Silent, Error):
                seen = self._look(seen.at)
        health = examine.examine(services, seen, self._past, self.policy, complaints)
        why = self.outside.aside.why(manifest, seen.at, ours=bool(self._healing))
        if not why and is_down(seen.containers):
            why = "the stack is down: `invoke deploy` brings it up"
        waits: dict[str, str] = {}
        if not why:
            self._unowned(complaints)
            waits = self._care_for(Scene(self.place, manifest, seen, self._before), health)
        self._before = seen
        self._show(seen.at, health=health, why=why, waits=waits, release=manifest.id)

    def _complaints(self, manifest: Manifest, seen: Look, health: Mapping[str, Health]) -> dict[str, str]:
        """Return what does not answer, by service; under a probe's address where no service answers for it."""
        self.outside.beat()
        running = [one for one in seen.containers if one.status == "running"]
        well = {name for name, one in health.items() if one.state == "well" and name not in self._healing}
        asked = [one for one in examine.ready(running) if one.service in well]
        questions = {
            f"{address}:{port}": (one.service, reach.knocking(address, port))
            for one in asked
            for address, port in reach.doors(one)
        }
        for probe in manifest.terms.probes:
            owner = reach.owner(probe, running)
            if owner in well or not owner:
                questions[probe.url] = owner or probe.url, reach.probing(probe)
        found = self.asker.complaints({name: ask for name, (_, ask) in questions.items()})
        self.outside.beat()
        return {questions[name][0]: said for name, said in found.items()}

    def _unowned(self, complaints: Mapping[str, str]) -> None:
        """Tell once of an address that fails and that no service answers for, and once when it answers again."""
        failing = {name: said for name, said in complaints.items() if "://" in name}
        for name in failing.keys() - self._told:
            self._tell("", "silent", failing[name], "silent")
        for name in {one for one in self._told if "://" in one} - failing.keys():
            self._tell("", "silent", f"{name} answers again", "back")
        self._told = {one for one in self._told if "://" not in one} | failing.keys()

    def _care_for(self, scene: Scene, health: Mapping[str, Health]) -> dict[str, str]:
        """Decide about every service, those that others need first; return what is waited for, by service."""
        before, waits = dict(self._cares), dict[str, str]()
        ill = dict(health) | dict(self._healing)
        for name in (one for level in levels(scene.manifest.services, health) for one in level):
            if name in self._healing:
                waits[name] = "is being healed"
                continue
            if health[name].state == "sick" and (other := care.in_the_way(name, scene.manifest.services, ill)):
                waits[name] = f"waits for {other}"
                continue
            known = self._cares.get(name, Care())
            decision = care.decide(known, health[name], self.policy, scene.look.at, scene.manifest.id)
            self._cares[name] = decision.care
            if decision.why:
                waits[name] = decision.why
            self._carry_out(scene, health[name], decision)
        if self._cares != before:
            care.write(self._memory, self._cares)
        return waits

    def _carry_out(self, scene: Scene, health: Health, decision: Decision) -> None:
        if decision.do == "heal":
            self._heal(scene, health, decision)
        elif decision.do == "give up":
            assert self._asked is not None
            found = scene.gather(self._asked, health)
            self._tell(health.service, health.kind or "", health.reason, "given up", found)
        elif decision.do == "recovered":
            self._tell(health.service, "", "it has been healthy by itself for a while", "recovered")

    def _heal(self, scene: Scene, health: Health, decision: Decision) -> None:
        assert self._asked is not None
        if not self._healing:
            try:
                self._lock.enter_context(self.place.locked())
            except Locked:
                # Somebody has just begun; the next round stands aside.
                return
        self._healing[health.service] = health
        self._say_who(scene.look.at)
        self.outside.beat()
        # First of all: what is done next destroys it.
        found = scene.gather(self._asked, health)
        prove = partial(self._prove, scene.manifest) if health.kind == "silent" else lambda _: ""
        work = Heal(
            self.place.stack,
            self.outside.engine(),
            scene.manifest,
            health,
            self.outside.clock,
            self.outside.remake,
            prove,
        )

        def run() -> None:
            result = work.run(decision.step)
            self._ended.put((health, scene.look.at, result, found))
            self.wake.set()

        self.outside.spawn(run)

    def _say_who(self, since: float) -> None:
        told = {"action": HEAL, "who": WHO, "release": ", ".join(sorted(self._healing)), "phase": HEAL, "since": since}
        atomic.replace(self.place.driver, json.dumps(told).encode(), mode=0o600)

    def _prove(self, manifest: Manifest, containers: Sequence[Container]) -> str:
        """Ask the ports and probes of a service that has just been healed; return what does not answer."""
        asks = [reach.knocking(address, port) for one in containers for address, port in reach.doors(one)]
        service = containers[0].service if containers else ""
        asks += [reach.probing(one) for one in manifest.terms.probes if reach.owner(one, containers) == service]
        return next((said for ask in asks if (said := ask())), "")

    def _collect(self) -> None:
        """Take in heals that have ended since the last round."""
        while not self._ended.empty():
            health, noticed, result, found = self._ended.get()
            name, now = health.service, self.outside.clock.wall()
            self._healing.pop(name, None)
            self._heals[name] = self._heals.get(name, 0) + 1
            self._cares[name] = care.healed(self._cares.get(name, Care()), now, well=result.well)
            care.write(self._memory, self._cares)
            self._tell(
                name, health.kind or "", health.reason, "healed" if result.well else "failed", found,
                did=result.did, said=result.said, took=round(now - noticed, 1), at=noticed,
            )  # fmt: skip
        if not self._healing:
            self._lock.close()

    def _tell(
        self, service: str, kind: str, reason: str, result: str, found: Mapping[str, Any] | None = None, **more: Any
    ) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(more.pop("at", self.outside.clock.wall())))
        release = self._manifest.id if self._manifest else ""
        self.outside.tell(Incident(at, service, kind, reason, result, release=release, evidence=found or {}, **more))

    def _blind(self, now: float, error: Silent) -> None:
        self._blind_since = self._blind_since or now
        if now - self._blind_since >= max(BLIND, self.policy.every) and "docker" not in self._told:
            self._told.add("docker")
            self._tell("", "docker", error.message, "silent")
        self._show(now, why=error.message, docker=False)

    def _sighted(self) -> None:
        if "docker" in self._told:
            self._told.discard("docker")
            self._tell("", "docker", "docker answers again", "back")
        self._blind_since = 0.0

    def _show(
        self,
        now: float,
        *,
        health: Mapping[str, Health] | None = None,
        why: str = "",
        waits: Mapping[str, str] | None = None,
        release: str = "",
        docker: bool = True,
    ) -> None:
        """Write down what was seen, for people and for whoever scrapes."""
        rows = [self._row(one, (waits or {}).get(one.service, "")) for one in (health or {}).values()]
        told = {"at": now, "every": self.policy.every, "release": release, "aside": why, "docker": docker}
        history.show(self.place, told | {"services": rows, "left": list(self.policy.leave)})
        overall = {"standing_aside": bool(why), "docker_up": docker, "last_check_timestamp_seconds": now}
        history.measure(self.place, {row["service"]: _values(row) for row in rows}, overall)

    def _row(self, one: Health, waits: str) -> dict[str, Any]:
        gave_up = bool(self._cares.get(one.service, Care()).given_up)
        heals = self._heals.get(one.service, 0)
        told = {"service": one.service, "state": one.state, "kind": one.kind or "", "reason": one.reason}
        return told | {"waits": waits, "heals": heals, "gave_up": gave_up}

    def close(self) -> None:
        """Let go of everything that is held."""
        self._lock.close()
        if self._asked is not None:
            self._asked.close()


def _values(row: Mapping[str, Any]) -> dict[str, float]:
    return {"service_up": row["state"] == "well", "heals_total": row["heals"], "gave_up": row["gave_up"]}


def _machine_memory() -> int:
    try:
        return evidence.memory()["memory_total"]
    except (OSError, ValueError, KeyError):
        return 0
