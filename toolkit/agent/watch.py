"""The watchdog's process: systemd starts it, and kills and starts it again when it no longer says that it is alive."""

import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from toolkit.agent import audit, notify
from toolkit.agent.notify import Event
from toolkit.agent.paths import Paths
from toolkit.stack.engine import Engine
from toolkit.stack.manifest import Manifest
from toolkit.stack.moves import Move
from toolkit.stack.place import Place
from toolkit.stack.watchdog import history
from toolkit.stack.watchdog.aside import Aside
from toolkit.stack.watchdog.history import Incident
from toolkit.stack.watchdog.policy import Policy
from toolkit.stack.watchdog.watch import WHO, Outside, Watch
from toolkit.words.clock import SystemClock
from toolkit.words.errors import HostError
from toolkit.words.values import Duration, Secret

# Seconds between signs of life where systemd does not say how long it waits for one.
BEAT = 10.0

WORDS = {
    "gone": "was gone",
    "dead": "had ended",
    "crashing": "kept ending",
    "hung": "was hung",
    "leaking": "took ever more memory",
    "silent": "did not answer",
}


def run(paths: Paths) -> int:
    """Watch until systemd says that it is enough. Raises HostError where nobody said what to watch."""
    policy = Policy.read(paths.policy)
    place = Place(policy.stack, paths.root)
    watch = Watch(place, policy, _outside(paths, place))
    stopped: list[int] = []

    def stop(number: int, _frame: object) -> None:
        stopped.append(number)
        watch.wake.set()

    signal.signal(signal.SIGTERM, stop)
    say("READY=1", f"STATUS=watching {policy.stack}")
    try:
        while not stopped:
            begun = time.monotonic()
            # Cleared before the round: what ends meanwhile is not missed.
            watch.wake.clear()
            watch.round()
            _sleep(watch, begun + policy.every, stopped)
    finally:
        say("STOPPING=1")
        watch.close()
    return 0


def _sleep(watch: Watch, until: float, stopped: list[int]) -> None:
    while not stopped and (left := until - time.monotonic()) > 0:
        alive()
        if watch.wake.wait(min(left, beat())):
            return


def _outside(paths: Paths, place: Place) -> Outside:
    return Outside(
        engine=lambda: Engine(paths.root),
        clock=SystemClock(),
        tell=partial(tell, paths, place),
        remake=partial(_remake, place),
        aside=Aside(place, coming=lambda: any(paths.requests.glob("*.json")) or (paths.paused / place.stack).exists()),
        beat=alive,
    )


def _remake(place: Place, manifest: Manifest, moves: list[Move]) -> None:
    # What calls Compose is needed seldom, and not kept in memory until it is.
    from toolkit.host.local import LocalHost
    from toolkit.stack.watchdog.remake import remake

    host = LocalHost(place.stack, _nobody_to_ask)
    try:
        remake(host, place, SystemClock(), manifest, moves)
    finally:
        host.close()


def _nobody_to_ask() -> Secret:
    raise HostError("the watchdog does not run as root", hint="provision again")


def say(*words: str) -> None:
    """Tell systemd something: sd_notify(3), a datagram to the socket that it names."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # A name that begins with @ is no file: the kernel writes a zero byte there.
    where = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(1)
        try:
            channel.sendto("\n".join(words).encode(), where)
        except OSError:
            # A lost word costs at most a restart.
            return


def beat() -> float:
    """Return the seconds between signs of life: a third of what systemd waits, sd_watchdog_enabled(3)."""
    said = os.environ.get("WATCHDOG_USEC", "")
    return int(said) / 3e6 if said.isdigit() and int(said) else BEAT


def alive() -> None:
    say("WATCHDOG=1")


def tell(paths: Paths, place: Place, incident: Incident) -> None:
    """Write an incident down, and have whoever wants to know be told."""
    history.add(place, incident)
    about = {"service": incident.service, "kind": incident.kind, "result": incident.result}
    done = {"did": list(incident.did), "reason": incident.reason, "said": incident.said, "took": incident.took}
    audit.record(paths, "heal", stack=place.stack, who=WHO, release=incident.release, **about, **done)
    if (event := event_of(place.stack, incident)) is not None:
        notify.post(paths, event)


def event_of(stack: str, incident: Incident) -> Event | None:
    """Return what people are told of an incident; None for what is only one try of several."""
    result = "-".join(incident.result.split())
    subject = f"{stack}/{incident.service}" if incident.service else stack
    titles: dict[str, Callable[[], str]] = {
        "healed": lambda: f"{_what(incident)} and is well again after {Duration(incident.took)}",
        "given-up": lambda: f"{incident.service} is given up: {incident.reason}",
        "recovered": lambda: f"{incident.service} is well again: {incident.reason}",
        "silent": lambda: incident.reason,
        "back": lambda: incident.reason,
    }
    if result not in titles:
        return None
    kind = {"given-up": "gave-up"}.get(result, result)
    if not incident.service:
        kind = f"{'docker' if incident.kind == 'docker' else 'address'}-{result}"
    severity: Any = {"given-up": "error", "silent": "error", "healed": "warning"}.get(result, "info")
    details = {
        key: getattr(incident, key) for key in ("service", "kind", "reason", "result", "did", "took", "evidence")
    }
    return Event(f"watchdog.{kind}", severity, subject, titles[result](), _text(incident), details)


def _what(incident: Incident) -> str:
    return f"{incident.service} {WORDS.get(incident.kind, 'was not well')}"


def _text(incident: Incident) -> str:
    lines = [f"why: {incident.reason}"] if incident.result == "healed" else []
    if incident.did:
        lines.append(f"done: {', '.join(incident.did)}")
    for one in incident.evidence.get("containers", ()):
        told = f"{one['name']}: {one['status']}, exit code {one['exit_code']}, {one['restarts']} restarts"
        lines.append(told + (", killed for memory" if one["oom_killed"] else ""))
        lines += [f"  health check said: {line}" for line in one["health_log"][-1:] if line]
        lines += [f"  | {line}" for line in one.get("last_lines", ())[-10:]]
    if release := incident.evidence.get("release"):
        lines.append(f"runs release {release['id']}, deployed {release['created']} by {release['who']}")
    if incident.result == "given up":
        lines.append("It is left alone until it has been healthy for a while by itself, or somebody deploys.")
    return "\n".join(lines)


def status(paths: Paths, stack: str) -> dict[str, Any]:
    """Return what the watchdog saw last, whether it still does, and who is told."""
    from toolkit.agent.notify import sender

    place = Place(stack, paths.root)
    shown = history.shown(place)
    age = time.time() - shown["at"] if shown else None
    watching = age is not None and age < max(3 * float(shown["every"]), 60.0) and paths.policy.exists()
    return {"watching": watching, "age": age, "seen": shown, "notify": sender.overview(paths)}
