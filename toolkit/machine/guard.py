"""The guard: changes that could lock us out are taken back by the host itself, unless a second login is proven.

A transient timer on the host runs the way back after a while. It needs no connection, so it also works when the
change has just cut ours. Only after the proof is the timer stopped.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from toolkit.converge import Change, Check, Fact, Facts, operation
from toolkit.host import Host
from toolkit.words.command import Command, script
from toolkit.words.errors import Error, HostError

PATIENCE = 90
FOLDER = "/run/toolkit/guard"

# The mark is there from arming to the end, whichever end it is: a run that was cut leaves it for the next one.
ARM = f"""
name=$1; seconds=$2; shift 2
systemctl stop "toolkit-guard-$name.timer" "toolkit-guard-$name.service" 2>/dev/null
systemctl reset-failed "toolkit-guard-$name.service" 2>/dev/null
mkdir --parents {FOLDER} && : >"{FOLDER}/$name" || exit 1
exec systemd-run --quiet --unit="toolkit-guard-$name" --service-type=oneshot \\
  --on-active="$seconds" --timer-property=AccuracySec=1s \\
  sh -c 'mark=$1; shift; "$@"; code=$?; rm -f -- "$mark"; exit "$code"' sh "{FOLDER}/$name" "$@"
"""

DISARM = f"""
systemctl stop "toolkit-guard-$1.timer" 2>/dev/null
rm -f -- "{FOLDER}/$1"
"""

# Starting a oneshot waits for its end; only then is there nothing left for the timer to do.
REVERT = """
systemctl start "toolkit-guard-$1.service" && systemctl stop "toolkit-guard-$1.timer"
"""

ARMED = Fact(
    "armed guards",
    script(f"ls {FOLDER} 2>/dev/null || true"),
    lambda text: frozenset(text.split()),
)


@operation
def guarded(
    facts: Facts,
    name: str,
    changes: Iterable[Change],
    *,
    revert: Command,
    prove: Callable[[Host], None],
    within: int = PATIENCE,
) -> Iterator[Change]:
    """Put changes between arming the way back and proving that somebody can still log in.

    Without changes there is nothing to do, unless a run that was cut left its guard armed: then the proof is made up
    for. `revert` must be safe to run twice, needs no input, and brings back what was before.
    """
    assert not revert.stdin, "the way back has nobody to feed it"
    wanted = tuple(changes)
    if not wanted and name not in facts.get(ARMED):
        return
    if wanted:
        arm = script(ARM, name, within, *_words(revert))
        yield Change(f"arm the way back: {name} is undone in {within} s unless a second login works", arm)
    yield from wanted
    yield Change("log in a second time", Check(_Proof(name, prove, within)))
    yield Change(f"disarm the way back of {name}", script(DISARM, name))


def _words(revert: Command) -> tuple[str, ...]:
    environment = tuple(f"{key}={value}" for key, value in revert.env)
    return ("env", *environment, *revert.argv) if environment else revert.argv


@dataclass(frozen=True)
class _Proof:
    """Runs the proof; where it fails, goes back at once if the connection still carries, and says which it was."""

    name: str
    prove: Callable[[Host], None]
    within: int

    def __call__(self, host: Host) -> None:
        try:
            self.prove(host)
        except Error as error:
            raise HostError(
                f"{host.name}: {self.name} would lock you out, and {self._go_back(host)}: {error.message}",
                hint=f"correct the {self.name} part of the host file; the login that failed said: {error.hint}",
            ) from error

    def _go_back(self, host: Host) -> str:
        with suppress(Error):
            if host.run(script(REVERT, self.name), check=False).ok:
                return "was taken back"
        return f"the host takes it back by itself within {self.within} s"
