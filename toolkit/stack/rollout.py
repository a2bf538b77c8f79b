"""Rollout: the moves of a release, carried out on the host by Compose, one service after the other.

Compose is always told which services to bring up and never to look after others (`--no-deps`): what is restarted, and
when, is decided by the moves, and is the same with every version of Compose.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from toolkit.stack import gate, proxies, stopping
from toolkit.stack.containers import Container, Verdict, judge
from toolkit.stack.gate import Patience
from toolkit.stack.manifest import Manifest
from toolkit.stack.moves import Move, levels
from toolkit.stack.rolling import Rolling
from toolkit.stack.site import Site
from toolkit.words.command import command
from toolkit.words.errors import DeployFailed, HostError

# What Compose itself may need beside the time in which containers stop.
OVERHEAD = 120


@dataclass(frozen=True)
class Rollout:
    """One release on its way up. Raises DeployFailed, with evidence, where a service does not come up."""

    site: Site
    manifest: Manifest
    moves: Sequence[Move]
    within: float
    brought: set[str] = field(default_factory=set)
    """Services that were brought up already: one-shots need some before their turn."""

    ready: set[str] = field(default_factory=set)
    """Those of them that were waited for."""

    def one_shots(self) -> tuple[str, ...]:
        """Run what does its work and ends; what it needs and is not there is started first. Returns their names."""
        names = self._names("run")
        if not names:
            return ()
        missing = {move.service for move in self.moves if move.kind == "start"}
        self._start(self._needed_by(names) & missing)
        for level in levels(self.manifest.services, names):
            self._await_needs(level)
            self._compose("up", "--detach", "--force-recreate", names=level)
            self._await(level, Patience(self.manifest.terms.one_shots_within))
        return tuple(names)

    def stateful(self) -> tuple[str, ...]:
        """Bring up what keeps data, where it changed. Returns their names."""
        return self._start(self._touched(stateful=True))

    def stateless(self) -> tuple[str, ...]:
        """Bring up everything else, rolling where a service allows it. Returns their names."""
        self.remove(self._in_the_way())
        return self._start(self._touched(stateful=False))

    def remove(self, names: Iterable[str] | None = None) -> None:
        """Remove services that do not belong to the release; all of them, where none is named."""
        gone = {move.service for move in self.moves if move.kind == "remove"}
        chosen = gone if names is None else gone & set(names)
        stopping.remove(self.site, [one for one in self.site.containers() if one.service in chosen])

    def _names(self, *kinds: str) -> list[str]:
        return [move.service for move in self.moves if move.kind in kinds]

    def _touched(self, *, stateful: bool) -> set[str]:
        names = self._names("start", "recreate", "roll", "restart")
        return {name for name in names if self.manifest.services[name].stateful == stateful}

    def _needed_by(self, names: Iterable[str]) -> set[str]:
        services, found, left = self.manifest.services, set[str](), list(names)
        while left:
            for name in services[left.pop()].needs:
                if name in services and name not in found and not services[name].one_shot:
                    found.add(name)
                    left.append(name)
        return found

    def _in_the_way(self) -> list[str]:
        """Return services without a future whose ports somebody else wants now."""
        wanted = {_number(port) for service in self.manifest.services.values() for port in service.ports}
        return [one.service for one in self.site.containers() if wanted & {_published(port) for port in one.ports}]

    def _start(self, names: Iterable[str]) -> tuple[str, ...]:
        """Bring services up level by level; each waits until those that it needs healthy are."""
        ordered = levels(self.manifest.services, set(names) - self.brought)
        for level in ordered:
            self.site.pause()
            self._await_needs(level)
            self._bring(level)
            self.brought.update(level)
        return tuple(sorted(name for level in ordered for name in level))

    def _await_needs(self, names: Sequence[str]) -> None:
        """Wait for what services need healthy, as far as this rollout brought it up; the rest was healthy before."""
        needs = [self.manifest.services[name].needs for name in names]
        wanted = {one for need in needs for one, until in need.items() if until == "service_healthy"}
        if awaited := sorted(wanted & self.brought - self.ready):
            self._await(awaited, Patience(self.within))
            self.ready.update(awaited)

    def _bring(self, names: Sequence[str]) -> None:
        kinds = {move.service: move.kind for move in self.moves}
        anew = [name for name in names if kinds[name] == "recreate"]
        if anew:
            self._stop_first(anew)
            self._compose("up", "--detach", "--force-recreate", names=anew)
        if there := [name for name in names if kinds[name] == "start"]:
            self._compose("up", "--detach", "--no-recreate", names=there)
        for name in names:
            if kinds[name] == "roll":
                Rolling(self.site, self.manifest, name, self.within, self._compose).roll()
            if kinds[name] == "restart":
                self._restart(name)
        moved = [name for name in names if kinds[name] in ("recreate", "restart")]
        if moved and (complaint := proxies.reload(self.site, self.manifest, moved)):
            self.site.listener.warn(complaint)

    def _stop_first(self, names: Sequence[str]) -> None:
        """Stop what must not overlap, and what may take long to stop, before Compose makes it anew.

        Compose would give a container the grace that the new release asks for, and not the one that it was made with.
        """
        exclusive = set(names) & set(self.manifest.terms.exclusive)
        found = [one for one in self.site.containers() if one.service in names]
        stopping.stop(self.site, [one for one in found if one.service in exclusive or one.grace > stopping.QUICK])

    def _restart(self, name: str) -> None:
        found = [one for one in self.site.containers() if one.service == name]
        stopping.stop(self.site, found)
        self.site.host.run(command("docker", "start", *(one.id for one in found)))

    def _compose(self, *words: str, names: Sequence[str], scale: dict[str, int] | None = None) -> None:
        counts = {name: self.manifest.services[name].replicas for name in names} | (scale or {})
        scaling = [part for name, count in counts.items() for part in ("--scale", f"{name}={count}")]
        own = ("--no-deps", "--no-build", "--pull", "never")
        up = self.site.compose(self.manifest)(*words, *own, *scaling, *names)
        limit = int(max(self.manifest.services[name].grace for name in names) + OVERHEAD)
        run = command("timeout", "--kill-after=10", limit, *up.argv)
        result = self.site.host.run(run, check=False, follow=self.site.listener.line)
        if not result.ok:
            raise self._failed(names, result.complaint)

    def _await(self, names: Sequence[str], patience: Patience) -> None:
        services = {name: self.manifest.services[name] for name in names}

        def look() -> Sequence[Verdict]:
            return judge(services, [one for one in self.site.containers() if self._ours(one)])

        passed = gate.wait(look, patience, clock=self.site.clock, listener=self.site.listener, pause=self.site.pause)
        if not passed.good:
            raise self._failed(names, "")

    def _ours(self, container: Container) -> bool:
        return container.marks.items() >= self.manifest.marks.get(container.service, {}).items()

    def _failed(self, names: Sequence[str], said: str) -> DeployFailed:
        services = {name: self.manifest.services[name] for name in names}
        verdicts = judge(services, self.site.containers())
        told = [*said.splitlines()[-3:], *map(str, gate.diagnose(self.site.host, verdicts))]
        return DeployFailed(f"{', '.join(names)} did not come up:\n" + "\n".join(told))


def prove(site: Site, manifest: Manifest, finished: Sequence[str] = ()) -> None:
    """Raise HostError unless exactly this release runs: its images, definitions, files and secrets, and all of it.

    `finished` names one-shots that need no container.
    """
    found, hint = site.containers(), "`invoke plan` says what differs; deploy again"
    for one in found:
        wanted = manifest.marks.get(one.service)
        if wanted is None or one.image != manifest.pinned(one.service) or dict(one.marks) != dict(wanted):
            raise HostError(f"{one.name} is not of release {manifest.id}", hint=hint)
    verdicts = judge(manifest.services, found, finished=finished)
    if missing := [one.service for one in verdicts if one.state == "missing"]:
        raise HostError(f"{', '.join(missing)} did not come up", hint=hint)


def _number(port: str) -> str:
    return port.rpartition(":")[2].partition("/")[0]


def _published(port: str) -> str:
    return port.partition("→")[0].rpartition(":")[2]
