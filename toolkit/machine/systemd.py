"""systemd: units as files, services as they really run.

A service counts as running when systemd says active, when it is on its way there, or when the unit's own conditions
keep it from running on this kind of machine (time synchronisation in a container, for one).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.converge import Change, Fact, Facts, Operation, Together, operation
from toolkit.machine import files
from toolkit.words.command import Command, command, script

PROPERTIES = (
    "LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload", "ConditionResult", "ConditionTimestampMonotonic",
)  # fmt: skip

# Static and generated units have no switch to turn on; an alias or indirect one is on through another's.
ENABLED = frozenset({"enabled", "enabled-runtime", "static", "alias", "indirect", "generated", "transient", "linked"})
UP = frozenset({"active", "activating", "reloading", "refreshing"})

# A daemon that read its files before they last changed runs with old settings. Change times are compared, because
# files arrive with whatever modification time they were made with; one in the future (a clock was set back) is passed
# over, or nothing would ever be current again.
STALE = """
unit=$1; shift
entered=$(systemctl show --value --timestamp=us+utc --property=ActiveEnterTimestamp -- "$unit") || exit 1
[ -n "$entered" ] && [ "$entered" != n/a ] || exit 0
started=$(date --date "$entered" +%s%6N) || exit 1
now=$(date +%s%6N)
for path in "$@"; do
  [ -e "$path" ] || continue
  changed=$(stat --format %.6Z -- "$path") || exit 1
  changed=${changed%.*}${changed#*.}
  if [ "$changed" -gt "$started" ] && [ "$changed" -le "$now" ]; then echo "$path"; fi
done
"""

# What a daemon said last is worth more than systemd's advice to go and look for it.
TELL = """
verb=$1; shift
systemctl "$verb" -- "$1" && exit 0
code=$?; journalctl --unit "$1" --lines 6 --output cat --no-pager >&2; exit "$code"
"""

# $1 is what to do with those that run, the rest are names.
RELOAD = """
systemctl daemon-reload || exit 1
[ "$1" = keep ] || { shift; systemctl try-restart -- "$@"; }
"""
FOLDER = "/etc/systemd/system"


@dataclass(frozen=True)
class Unit:
    """What systemd says of a unit."""

    load: str
    active: str
    file: str
    needs_reload: bool
    barred: bool

    @property
    def exists(self) -> bool:
        return self.load not in ("not-found", "")

    @property
    def enabled(self) -> bool:
        return self.file in ENABLED

    @property
    def running(self) -> bool:
        return self.active in UP or (self.barred and self.active == "inactive")


def parse_unit(text: str) -> Unit:
    """Read `systemctl show`. Before a first start the condition says no without ever having been asked."""
    value = dict(line.partition("=")[::2] for line in text.splitlines() if line)
    asked = value["ConditionTimestampMonotonic"] != "0"
    return Unit(
        value["LoadState"], value["ActiveState"], value["UnitFileState"],
        value["NeedDaemonReload"] == "yes", asked and value["ConditionResult"] == "no",
    )  # fmt: skip


def _show_all(commands: Sequence[Command]) -> Command:
    return command(*commands[0].argv, *(one.argv[-1] for one in commands[1:]))


# A call of systemctl costs as much as ten units in it. An empty line stands between two of them.
SHOW = Together(_show_all, lambda output: output.split(b"\n\n"))


def state(name: str) -> Fact[Unit]:
    """Return the fact of one unit's state; a unit that nobody knows has the load state `not-found`."""
    show = command("systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", name)
    return Fact(name, show, parse_unit, SHOW)


def stale(name: str, *paths: str) -> Fact[tuple[str, ...]]:
    """Return the fact of which of these files changed after the unit was started."""
    return Fact(f"files newer than {name}", script(STALE, name, *paths), lambda text: tuple(text.splitlines()))


@operation
def service(facts: Facts, name: str, enabled: bool = True, running: bool | None = True) -> Iterator[Change]:
    """Ensure that a unit starts at boot or not, and runs now or not; `running=None` leaves the latter alone."""
    unit = facts.get(state(name))
    if unit.load == "masked" and (enabled or running):
        yield Change(f"unmask {name}", command("systemctl", "unmask", "--", name))
    if enabled and not unit.enabled:
        yield Change(f"enable {name}", command("systemctl", "enable", "--quiet", "--", name))
    if not enabled and unit.exists and unit.file in ("enabled", "enabled-runtime", "linked"):
        yield Change(f"disable {name}", command("systemctl", "disable", "--quiet", "--", name))
    if running and not unit.running:
        yield Change(f"start {name}", start(name))
    if running is False and unit.active in UP:
        yield Change(f"stop {name}", command("systemctl", "stop", "--", name))


@dataclass(frozen=True)
class Wanted:
    """A unit of ours as it should be written; with `beside`, a file's name, what is added to somebody else's unit.

    `enabled` has it start at boot. One that `restarts` and runs does so to run what is new.
    """

    unit: str
    content: str
    beside: str = ""
    enabled: bool = False
    restarts: bool = True

    @property
    def path(self) -> str:
        return f"{FOLDER}/{self.unit}.d/{self.beside}.conf" if self.beside else f"{FOLDER}/{self.unit}"


def units(*wanted: Wanted) -> Operation:
    """Ensure units that systemd has read, all of them at once: to make it read costs a tenth of a second each time,
    and so does each call that enables one.
    """
    return Operation(f"systemd.units {wanted[0].unit}", lambda facts: _units(facts, wanted))


def asked(*wanted: Wanted) -> list[Fact[Any]]:
    """Return the facts that these are judged by."""
    return [*(files.text(one.path) for one in wanted), *(state(one.unit) for one in wanted)]


def _units(facts: Facts, wanted: Sequence[Wanted]) -> Iterator[Change]:
    facts.need(*asked(*wanted))
    changed: dict[str, bool] = {}
    for one in wanted:
        written = tuple(files.file(one.path, one.content)(facts))
        yield from written
        if written or facts.get(state(one.unit)).needs_reload:
            changed[one.unit] = one.restarts and not one.beside
    loose = [one.unit for one in wanted if one.enabled and _can_be_enabled(facts.get(state(one.unit)))]
    if loose:
        yield Change(
            f"enable {', '.join(loose)}", command("systemctl", "enable", "--quiet", "--no-reload", "--", *loose)
        )
    if changed or loose:
        again = [name for name, restarts in changed.items() if restarts]
        reload = script(RELOAD, "restart" if again else "keep", *again, called="systemctl daemon-reload")
        yield Change(f"let systemd read {', '.join(dict.fromkeys([*changed, *loose]))}", reload)


def _can_be_enabled(unit: Unit) -> bool:
    # One that is masked has to be unmasked first, which is `service`'s to do.
    return not unit.enabled and unit.load != "masked"


@operation
def current(facts: Facts, name: str, *paths: str) -> Iterator[Change]:
    """Ensure that a running service has read these files: restart it where one of them is newer than its start."""
    newer = facts.get(stale(name, *paths))
    if newer:
        yield Change(f"restart {name}, which has not read {', '.join(newer)}", restart(name))


def start(name: str) -> Command:
    """Return the command that starts a unit, and shows its last words where it does not."""
    return script(TELL, "start", name, called=f"systemctl start {name}")


def restart(name: str) -> Command:
    """Return the command that restarts a unit, and shows its last words where it does not."""
    return script(TELL, "restart", name, called=f"systemctl restart {name}")
