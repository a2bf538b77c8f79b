"""Pausing consumers: always for a while only, whatever happens to the one who paused them.

Before anything is paused, a transient timer of systemd is armed that resumes it, and a note is left that says what to
resume. A process that is killed leaves both. The timer does not outlive a reboot; the note does, and `heal` goes by it.
"""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.sources.docker import Docker
from toolkit.words.errors import HostError

NOTES = Path("/var/lib/toolkit/paused")

# Where the kernel freezes what Docker pauses.
GROUPS = Path("/sys/fs/cgroup")

# $1 is the note, $2 where control groups are; then the containers. One that is gone, or runs again, needs nothing.
#
# A health check that begins in the moment of a pause is frozen half-way, and the Engine waits for it with its hand on
# the container: it answers neither `inspect` nor `unpause` of this one again. So what is frozen is let go past the
# Engine until it answers, and frozen again, or it would say that the container is not paused; whoever was killed
# between the two left it so.
_RESUME = """
note=$1 groups=$2; shift 2
docker version >/dev/null || exit 1
state() { timeout 10 docker inspect --format '{{.State.Status}}' "$1" 2>/dev/null; }
set_all() { for file in $1; do case $file in */freezer.state) echo "$2" ;; *) echo "$3" ;; esac >"$file"; done; }
# Where both kinds of control groups are, Docker freezes by the first.
freezers() {
    for name in freezer.state cgroup.freeze; do
        find "$groups" -type d -name "*$1*" 2>/dev/null | while read -r group; do
            [ ! -e "$group/$name" ] || echo "$group/$name"
        done | grep . && return
    done
}
left=0
for id in "$@"; do
    files=$(freezers "$id")
    found=$(state "$id")
    [ "$?" != 124 ] || { set_all "$files" THAWED 0; found=$(state "$id"); }
    case $found in
        paused) set_all "$files" FROZEN 1; timeout 30 docker unpause "$id" >/dev/null || left=1 ;;
        exited) docker start "$id" >/dev/null || left=1 ;;
    esac
done
[ "$left" = 0 ] && rm -f -- "$note"
exit "$left"
"""
# Tried again until it succeeds: the Engine may be what is in trouble.
_PATIENT = 'for try in $(seq 30); do sh -c "$0" sh "$@" && exit 0; sleep 10; done; exit 1'


@dataclass(frozen=True)
class Pause:
    """What to pause and how. `pause` freezes processes where they are; `stop` lets them finish what they do.

    `until` is `held`, so long as it takes to hold databases still (seconds), or `read`, until everything was read: for
    files that must not change meanwhile. `at_most` is when the timer resumes, in seconds; stopping services get four
    fifths of it before they are killed.
    """

    services: tuple[str, ...] = ()
    how: Literal["pause", "stop"] = "pause"
    until: Literal["held", "read"] = "held"
    at_most: float = 300.0


@contextmanager
def paused(docker: Docker, name: str, containers: Sequence[str], pause: Pause, notes: Path = NOTES) -> Iterator[None]:
    """Pause containers for as long as the context. Raises HostError where they could not be paused, or resumed.

    `name` is the stack's: two pauses of one stack at a time are not to be.
    """
    heal(name, notes)
    if not containers:
        yield
        return
    note = _note(notes, name, containers)
    _arm(name, note, containers, pause.at_most)
    try:
        # Stopping must be over before the timer looks: what ends later would stay down.
        grace = ("--time", int(pause.at_most * 0.8)) if pause.how == "stop" else ()
        docker.run(pause.how, *grace, *containers, timeout=pause.at_most)
        yield
    finally:
        _resume(note, containers)
        _disarm(name)


def heal(name: str, notes: Path = NOTES) -> tuple[str, ...]:
    """Resume what a run that was cut off left paused, and return it. For the start of the next run, and for boot."""
    note = notes / name
    try:
        containers = tuple(note.read_text().split())
    except FileNotFoundError:
        return ()
    _resume(note, containers)
    _disarm(name)
    return containers


def _note(notes: Path, name: str, containers: Sequence[str]) -> Path:
    notes.mkdir(mode=0o700, parents=True, exist_ok=True)
    note = notes / name
    note.write_text("".join(f"{container}\n" for container in containers))
    return note


def _arm(name: str, note: Path, containers: Sequence[str], seconds: float) -> None:
    unit = f"--unit=toolkit-resume-{name}"
    timer = ("--collect", f"--on-active={seconds:.0f}", "--timer-property=AccuracySec=1s")
    words = ["systemd-run", "--quiet", unit, *timer, "sh", "-c", _PATIENT, _RESUME, str(note), str(GROUPS), *containers]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
        complaint = done.stderr.strip() if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        complaint = str(error)
    if complaint:
        note.unlink(missing_ok=True)
        raise HostError(
            f"nothing is paused, because no timer could be armed that resumes it: {complaint}",
            hint="pausing needs systemd on this host",
        )


def _disarm(name: str) -> None:
    for unit in (f"toolkit-resume-{name}.timer", f"toolkit-resume-{name}.service"):
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["systemctl", "stop", unit], capture_output=True, check=False, timeout=30)


def _resume(note: Path, containers: Sequence[str]) -> None:
    complaint = ""
    for _ in range(3):
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                ["sh", "-c", _RESUME, "sh", str(note), str(GROUPS), *containers],
                capture_output=True,
                text=True,
                check=False,
                timeout=60 + 60 * len(containers),
            )
            if done.returncode == 0:
                return
            complaint = done.stderr.strip()
        time.sleep(1)
    hint = "the timer tries again; `docker unpause` and `docker start` do it by hand"
    raise HostError(f"{', '.join(name[:12] for name in containers)} could not be resumed: {complaint}", hint=hint)
