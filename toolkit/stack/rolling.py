"""Rolling: new copies of a service beside the old ones, healthy before a single old one goes.

An old copy leaves in steps: proxies learn of the new ones, the old refuses new connections while those it has go on
(a proxy that is refused asks the next copy), and once they are done, or the time is over, it is stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from toolkit.stack import gate, proxies, stopping
from toolkit.stack.containers import Container, Verdict, judge
from toolkit.stack.gate import Patience
from toolkit.stack.manifest import Manifest
from toolkit.stack.site import Site
from toolkit.words.command import Result, command, script
from toolkit.words.errors import DeployFailed

POLL = 0.25

# A reset tells a proxy at once to ask somebody else. Connections that stand, and those from inside, are left alone.
_REFUSE = """
nsenter --target "$1" --net nft -f - <<'RULES'
table inet toolkit_drain {
  chain input {
    type filter hook input priority -300;
    iifname != "lo" tcp flags & (syn | ack) == syn reject with tcp reset
  }
}
RULES
"""

# Connections that stand (state 01) or are about to (03) to ports that something listens on (0A), other than from the
# container itself.
_COUNT = """
cat "/proc/$1/net/tcp" "/proc/$1/net/tcp6" 2>/dev/null | awk '
  { split($2, here, ":"); split($3, there, ":") }
  $4 == "0A" { listening[here[2]] = 1 }
  $4 ~ /^0[13]$/ && there[1] !~ /7F$/ && there[1] != "00000000000000000000000001000000" { open[NR] = here[2] }
  END { count = 0; for (one in open) if (open[one] in listening) count++; print count }'
"""


class Compose(Protocol):
    def __call__(self, *words: str, names: Sequence[str], scale: dict[str, int] | None = None) -> None: ...


@dataclass(frozen=True)
class Rolling:
    """One service on its way from old copies to new ones."""

    site: Site
    manifest: Manifest
    name: str
    within: float
    compose: Compose

    def roll(self) -> None:
        """Replace the copies.

        Raises DeployFailed where new ones do not become healthy, or a proxy does not learn of them; the old ones still
        run.
        """
        found = self._found()
        service, fresh = self.manifest.services[self.name], [one for one in found if self._is_new(one)]
        # Cut off before, a rollout may have left copies that are right and do not run.
        if still := [one.id for one in fresh if one.status != "running"]:
            self.site.host.run(command("docker", "start", *still))
        if missing := service.replicas - len(fresh):
            self.site.listener.line(f"{self.name}: {missing} new beside {len(found)} old")
            self.compose("up", "--detach", "--no-recreate", names=[self.name], scale={self.name: len(found) + missing})
        self._await_new()
        old = [one for one in self._found() if not self._is_new(one)]
        complaint = proxies.reload(self.site, self.manifest, [self.name])
        # With the old copies gone it would have nobody to ask. On the way back it asks those that stay.
        if complaint and not self.site.returning:
            raise DeployFailed(f"the old copies of {self.name} stay, because {complaint}")
        self._drain(old)
        stopping.remove(self.site, old)
        if complaint := proxies.reload(self.site, self.manifest, [self.name]):
            self.site.listener.warn(complaint)

    def _found(self) -> list[Container]:
        return [one for one in self.site.containers() if one.service == self.name]

    def _is_new(self, container: Container) -> bool:
        wanted = self.manifest.marks[self.name]
        return container.image == self.manifest.pinned(self.name) and dict(container.marks) == dict(wanted)

    def _await_new(self) -> None:
        expected = {self.name: self.manifest.services[self.name]}

        def look() -> Sequence[Verdict]:
            return judge(expected, [one for one in self._found() if self._is_new(one)])

        site = self.site
        passed = gate.wait(look, Patience(self.within), clock=site.clock, listener=site.listener, pause=site.pause)
        if not passed.good:
            told = "\n".join(map(str, gate.diagnose(site.host, passed.verdicts)))
            raise DeployFailed(f"new copies of {self.name} did not become healthy:\n{told}")

    def _drain(self, old: Sequence[Container]) -> None:
        running = [one for one in old if one.pid]
        for one in running:
            if not self._refuse(one).ok:
                self.site.listener.warn(f"{one.name} takes connections until it stops: nft did not work inside of it")
        deadline = self.site.clock.now() + self.manifest.terms.drain
        while self.site.clock.now() < deadline and any(self._connections(one) for one in running):
            self.site.clock.sleep(POLL)

    def _refuse(self, container: Container) -> Result:
        return self.site.host.run(script(_REFUSE, container.pid, called=f"drain {container.name}"), check=False)

    def _connections(self, container: Container) -> int:
        return int(self.site.host.run(script(_COUNT, container.pid)).text.strip() or 0)
