"""Healing: one service brought back, gently first, by force then, and made anew where its container is gone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from toolkit.stack import containers
from toolkit.stack.containers import STEADY, Container
from toolkit.stack.engine import Gone
from toolkit.stack.manifest import Manifest
from toolkit.stack.moves import Kind, Move
from toolkit.stack.service import Service
from toolkit.stack.watchdog.care import Step
from toolkit.stack.watchdog.examine import Health
from toolkit.stack.watchdog.look import Asked
from toolkit.words.clock import Clock
from toolkit.words.errors import Error, HostError

# What the Engine may need beside the time in which a container stops.
OVERHEAD = 30.0
# For what lies between the checks of a container that has just been started.
SLACK = 15.0
GLANCE = 0.25

Remake = Callable[[Manifest, Sequence[Move]], None]
"""Have the release's own Compose call make services anew. Raises Error."""

Prove = Callable[[Sequence[Container]], str]
"""Ask containers that are well whether they answer; return what is wrong, or nothing."""


@dataclass(frozen=True)
class Result:
    """How a heal ended: what was done, whether the service is well again, and what is wrong where it is not."""

    well: bool
    did: tuple[str, ...]
    said: str = ""


@dataclass
class Heal:
    """One heal of one service, with a connection to the Engine of its own."""

    stack: str
    asked: Asked
    manifest: Manifest
    health: Health
    clock: Clock
    remake: Remake = field(repr=False)
    prove: Prove = field(default=lambda _: "", repr=False)
    did: list[str] = field(default_factory=list)

    def run(self, step: Step) -> Result:
        """Bring the service back, and wait until it is well. Raises nothing: whatever goes wrong is told."""
        try:
            self._act(step)
            said = self._await()
        except Error as error:
            said = error.message
        finally:
            self.asked.close()
        return Result(not said, tuple(self.did), said)

    def _act(self, step: Step) -> None:
        if step == "recreate":
            return self._make("start")
        try:
            for one in self.health.containers:
                self._bring_back(one, step)
            self._take_along()
        except Gone:
            self._make("start")
        return None

    def _bring_back(self, one: Container, step: Step) -> None:
        if step == "restart":
            try:
                self.asked.restart(one.id, within=one.grace + OVERHEAD)
                return self._note("restarted")
            except Gone:
                raise
            except HostError as error:
                self._note(f"could not be restarted: {error.message}")
        return self._force(one)

    def _force(self, one: Container) -> None:
        # One that does not run cannot be killed, and need not be.
        with suppress(HostError):
            self.asked.kill(one.id)
        try:
            self.asked.start(one.id)
            self._note("killed and started")
        except Gone:
            raise
        except HostError as error:
            self._note(f"could not be started: {error.message}")
            self._make("recreate")

    def _make(self, kind: Kind) -> None:
        why = self.health.reason
        # Whoever lives in its network or process space cannot outlive its container.
        joined = [Move(name, "recreate", why) for name in self._joined()]
        self.remake(self.manifest, [Move(self.health.service, kind, why), *joined])
        self._note("made anew")

    def _take_along(self) -> None:
        """Restart what cannot go on beside a new start of this service: who lives in its space, and who follows it."""
        services = {*self._joined(), *self._followers()}
        for one in self._containers() if services else ():
            if one.service in services and one.status == "running":
                self.asked.restart(one.id, within=one.grace + OVERHEAD)
                self._note(f"restarted {one.service} with it")

    def _joined(self) -> list[str]:
        return sorted(name for name, one in self.manifest.services.items() if self.health.service in one.joins)

    def _followers(self) -> list[str]:
        return sorted(name for name, one in self.manifest.services.items() if self.health.service in one.follows)

    def _note(self, what: str) -> None:
        if what not in self.did:
            self.did.append(what)

    def _await(self) -> str:
        """Wait until every container of the service is well; return what is wrong when the time is over."""
        service = self.manifest.services[self.health.service]
        deadline = self.clock.now() + patience(service)
        while True:
            mine = [one for one in self._containers() if one.service == self.health.service]
            said = _complaint(service, mine) or self.prove(mine)
            hopeless = any(one.health == "unhealthy" for one in mine)
            if not said or hopeless or self.clock.now() >= deadline:
                return said
            self.clock.sleep(GLANCE)

    def _containers(self) -> Iterator[Container]:
        now = self.clock.wall()
        for body in self.asked.containers(self.stack):
            if (found := containers.from_api(body, now)) is not None:
                yield found


def _complaint(service: Service, found: Sequence[Container]) -> str:
    if len(found) < service.replicas:
        return f"{len(found)} of {service.replicas} containers are there"
    return next((said for one in found if (said := _ails(one))), "")


def _ails(one: Container) -> str:
    if one.status != "running":
        return f"{one.name} is {one.status}, exit code {one.exit_code}"
    if one.health:
        return "" if one.health == "healthy" else f"{one.name} is {one.health}"
    return "" if one.age >= STEADY else f"{one.name} has just started"


def patience(service: Service) -> float:
    """Return the seconds in which a service that was started may become well."""
    check = service.check
    return SLACK + (check.patience if check is not None and not check.off else STEADY)
