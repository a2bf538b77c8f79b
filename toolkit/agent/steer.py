"""Steer: a deploy is started, followed, stopped and looked at from a connection that may break at any time."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from toolkit.agent import inbox
from toolkit.agent.paths import Paths
from toolkit.stack import hold, journal, prune, transaction
from toolkit.stack.place import HEAL, Place
from toolkit.stack.request import Request
from toolkit.stack.restoring import MARK, Desk
from toolkit.words.errors import Error, HostError, Locked
from toolkit.words.values import Duration

ENTRY = "/opt/toolkit/current/bin/agent"
# Seconds in which a driver has to take the lock.
BEGINS_WITHIN = 20.0
# Seconds in which a heal is waited for. One that takes longer waits for a container that takes long to stop.
HEAL_WITHIN = 30.0

# Killed, it is started again, and goes back; five times in ten minutes, then systemd calls it failed.
UNIT = (
    *("--property=Type=exec", "--property=Restart=on-failure", "--property=RestartSec=1"),
    *("--property=StartLimitIntervalSec=600", "--property=StartLimitBurst=5"),
    *("--property=KillMode=control-group", "--property=LimitCORE=0", "--property=UMask=0077"),
)


def start(paths: Paths, request: Request, body: bytes) -> str:
    """Start a driver and return the name of its journal. Raises Locked, naming who is at work, or why it is on hold."""
    place = Place(request.stack, paths.root)
    place.prepare()
    hold.refuse(place, time.time())
    after_heal(place)
    refuse_busy(place)
    if (Desk(request.stack, paths.root).state / MARK).exists():
        hint = "`systemctl start toolkit-settle` on the host ends it; its journal says what stands in the way"
        raise HostError(f"a restore of {request.stack} was left half-way", hint=hint)
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"
    inbox.put(paths, name, request, body)
    journal.path_of(place, name).touch(mode=0o600)
    try:
        launch(paths, place, "deploy", f"Deploy of {request.stack}", ["deploy", "run", request.stack, name])
    except Error:
        inbox.drop(paths, name)
        journal.path_of(place, name).unlink(missing_ok=True)
        raise
    return name


def launch(paths: Paths, place: Place, kind: str, title: str, words: list[str]) -> None:
    """Start a driver's unit. One that is just ending, or just beginning, is waited for. Raises HostError, Locked."""
    unit = f"toolkit-{kind}-{place.stack}"
    deadline = time.monotonic() + BEGINS_WITHIN
    while complaint := _started(paths, unit, title, words):
        refuse_busy(place)
        if "already" not in complaint or time.monotonic() > deadline:
            raise HostError(f"systemd did not start the driver: {complaint}", hint=f"systemctl status {unit}")
        time.sleep(0.2)


def _started(paths: Paths, unit: str, title: str, words: list[str]) -> str:
    """Start a driver's unit; return systemd's complaint, or nothing."""
    if not paths.real:
        program = [sys.executable, "-m", "toolkit.agent", "--root", str(paths.root), *words]
        subprocess.Popen(program, start_new_session=True, stdin=subprocess.DEVNULL)
        return ""
    made = ["systemd-run", "--quiet", "--collect", f"--unit={unit}", f"--description={title}", *UNIT]
    done = subprocess.run([*made, ENTRY, *words], capture_output=True, text=True, check=False)
    return done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else ""


def after_heal(place: Place) -> None:
    """Wait for the watchdog, which is done in seconds: a deploy goes first, and does not fail for a heal."""
    deadline = time.monotonic() + HEAL_WITHIN
    while place.busy() and driver(place).get("action") == HEAL and time.monotonic() < deadline:
        time.sleep(0.2)


def refuse_busy(place: Place) -> None:
    """Raise Locked, naming who deploys, in which phase and for how long, where somebody does."""
    if not place.busy():
        return
    told = driver(place)
    since = Duration(max(0.0, time.time() - told.get("since", time.time())))
    who = f"{told['who']} is at work on {place.stack}: {told['action']} of {told['release']}" if told else "somebody is"
    phase = f", in {told['phase']} since {since}" if told else ""
    raise Locked(f"{who}{phase}", hint="`invoke attach` follows it; --wait waits until it is done")


def driver(place: Place) -> Mapping[str, Any]:
    """Return what the driver at work says of itself; empty where there is none."""
    with suppress(OSError, ValueError):
        found = json.loads(place.driver.read_bytes())
        if isinstance(found, dict):
            return found
    return {}


def follow(place: Place, name: str, out: Any) -> None:
    """Copy a journal's lines as they come, to its end. Raises HostError where there is no such journal."""
    names = journal.names(place)
    chosen = name or (names[-1] if names else "")
    if chosen not in names:
        raise HostError(f"nothing was ever done to {place.stack}", hint="`invoke deploy`")
    begun = time.monotonic()

    def alive() -> bool:
        # A driver that is killed is started again: between the two nobody holds the lock.
        nonlocal begun
        if place.busy():
            begun = time.monotonic()
        return time.monotonic() - begun < BEGINS_WITHIN

    for line in journal.follow(journal.path_of(place, chosen), alive=alive):
        out.write(line + b"\n")
        out.flush()


def stop(paths: Paths, stack: str) -> None:
    """Ask the driver at work to stop at the next safe point. Raises HostError where there is none."""
    place = Place(stack, paths.root)
    pid = driver(place).get("pid")
    if not (place.busy() and isinstance(pid, int)):
        raise HostError(f"nobody is at work on {stack}", hint="there is nothing to stop")
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR1)


def state(paths: Paths, stack: str) -> dict[str, Any]:
    """Return who is at work, what is on hold, what was left half-way, and the releases with how they ended."""
    place = Place(stack, paths.root)
    mark, held = transaction.read(place), hold.read(place, time.time())
    return {
        "driver": dict(driver(place)) if place.busy() else None,
        "transaction": asdict(mark) if mark else None,
        "hold": asdict(held) if held else None,
        "current": place.current_name(),
        "journals": journal.names(place),
        "releases": list(_releases(place)),
    }


def _releases(place: Place) -> Any:
    ends = _ends(place)
    for path in sorted(place.releases.glob("[!.]*"), reverse=True):
        with suppress(HostError):
            found = place.manifest(path.name)
            end = ends.get(path.name, {})
            yield {
                "id": found.id,
                "created": found.created,
                "who": found.who,
                "commit": found.commit,
                "passed": prune.has_passed(place, found.id),
                "result": end.get("result", "never brought up"),
                "said": end.get("fault", "").partition("\n")[0],
            }


def _ends(place: Place) -> dict[str, Any]:
    """Return how each release's last deploy ended."""
    found = {}
    for name in journal.names(place):
        events = list(journal.read(journal.path_of(place, name)))
        begin = next((event for event in events if event["kind"] == "begin"), None)
        end = next((event for event in reversed(events) if event["kind"] == "end"), None)
        if begin and end:
            found[begin["release"]] = end["outcome"]
    return found
