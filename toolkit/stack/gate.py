"""The gate: a deploy is done when every service is healthy and stays so, and has failed when one never will be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from toolkit.host import Host
from toolkit.stack import containers
from toolkit.stack.containers import Container, Verdict
from toolkit.stack.service import Service
from toolkit.words.clock import Clock
from toolkit.words.command import script
from toolkit.words.report import Listener

INTERVAL = 0.5
TAIL = 20
# A container that was started again has forgotten how it died; the Engine's events, for a while, have not.
DIED = """
docker events --since 15m --until 0s --filter "container=$1" --filter event=oom --filter event=die \\
  --format '{{.Action}} {{index .Actor.Attributes "exitCode"}}' 2>/dev/null | tail -n 20
echo 'last words'; docker logs --tail "$2" "$1" 2>&1
"""


@dataclass(frozen=True)
class Diagnosis:
    """Why a service is not healthy, with its own last words."""

    service: str
    reason: str
    exit_code: int
    oom_killed: bool
    health_log: tuple[str, ...]
    last_lines: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{self.service}: {self.reason}"]
        parts += ["  the kernel killed it for memory"] if self.oom_killed else []
        if self.exit_code and f"code {self.exit_code}" not in self.reason:
            parts.append(f"  its last exit code was {self.exit_code}")
        parts += [f"  health check said: {line}" for line in self.health_log[-1:] if line]
        parts += [f"  | {line}" for line in self.last_lines]
        return "\n".join(parts)


@dataclass(frozen=True)
class Patience:
    """How long to wait, and how long all has to stay good before it counts; seconds."""

    within: float
    steady: float = 0.0


@dataclass(frozen=True)
class Passed:
    """How a wait ended: the last verdicts, and what else was not as it should be."""

    verdicts: Sequence[Verdict]
    complaints: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return not self.complaints and all(verdict.good for verdict in self.verdicts)


Look = Callable[[], Sequence[Verdict]]
Ask = Callable[[Sequence[Verdict]], Sequence[str]]
"""Ask what containers alone do not tell; return complaints."""


def wait(
    look: Look,
    patience: Patience,
    *,
    clock: Clock,
    listener: Listener,
    ask: Ask = lambda _: (),
    pause: Callable[[], None] = lambda: None,
) -> Passed:
    """Look until all are good and steady, one has failed or the time is over; return what was seen last.

    `pause` is called before each look, and may raise to end the wait.
    """
    start, restarts = clock.now(), -1
    since: float | None = None
    while True:
        pause()
        verdicts = look()
        now, seen = clock.now(), _restarts(verdicts)
        good = all(verdict.good for verdict in verdicts)
        since = None if not good else now if since is None or seen != restarts else since
        restarts = seen
        steady = since is not None and now - since >= patience.steady
        complaints = tuple(ask(verdicts)) if steady else ()
        if steady and not complaints:
            listener.progress(len(verdicts), len(verdicts), "all healthy")
            return Passed(verdicts)
        listener.progress(sum(one.good for one in verdicts), len(verdicts), _waiting_for(verdicts, complaints))
        if any(verdict.state == "failed" for verdict in verdicts) or now - start >= patience.within:
            return Passed(verdicts, complaints)
        left = INTERVAL if since is None or steady else patience.steady - (now - since)
        clock.sleep(min(INTERVAL, left))


def _restarts(verdicts: Sequence[Verdict]) -> int:
    return sum(one.restarts for verdict in verdicts for one in verdict.containers)


def _waiting_for(verdicts: Sequence[Verdict], complaints: Sequence[str]) -> str:
    waiting = [f"{verdict.service} ({verdict.reason})" for verdict in verdicts if not verdict.good]
    waiting += [line.partition("\n")[0] for line in complaints]
    return f"waiting for {', '.join(waiting)}" if waiting else "all healthy, waiting whether they stay so"


def look(host: Host, project: str, expected: Mapping[str, Service], finished: Sequence[str] = ()) -> Sequence[Verdict]:
    """Return how every service of a stack is now."""
    found = containers.parse(host.run(containers.read(project)).text)
    return containers.judge(expected, found, finished=finished)


def diagnose(host: Host, verdicts: Sequence[Verdict]) -> tuple[Diagnosis, ...]:
    """Gather the evidence for every service that is not good."""
    return tuple(_diagnosis(host, verdict) for verdict in verdicts if not verdict.good)


def _badness(container: Container) -> tuple[bool, bool, int]:
    return container.health == "unhealthy", container.status != "running", container.restarts


def _diagnosis(host: Host, verdict: Verdict) -> Diagnosis:
    worst = max(verdict.containers, key=_badness, default=None)
    if worst is None:
        return Diagnosis(verdict.service, verdict.reason, 0, False, (), ())
    events, marked, logs = host.run(script(DIED, worst.id, TAIL), check=False).text.partition("last words\n")
    if not marked:
        events, logs = "", events
    code, oom = _death(events.splitlines(), worst)
    return Diagnosis(verdict.service, verdict.reason, code, oom, worst.health_log, tuple(logs.splitlines()))


def _death(events: Sequence[str], container: Container) -> tuple[int, bool]:
    """Return how a container died last: its exit code, and whether the kernel killed it for memory."""
    codes = [line.partition(" ")[2] for line in events if line.startswith("die ")]
    code = int(codes[-1]) if codes and codes[-1].isdigit() else container.exit_code
    return code, container.oom_killed or any(line.startswith("oom") for line in events)
