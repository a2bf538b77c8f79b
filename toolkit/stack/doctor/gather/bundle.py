"""The bundle's raw parts: what others need to see to help, gathered on the host and cleaned there before it leaves."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from toolkit.stack.doctor.gather import machine
from toolkit.stack.doctor.gather.containers import Body
from toolkit.stack.doctor.gather.programs import said
from toolkit.stack.doctor.gather.tasks import Task, answers
from toolkit.stack.engine import Engine
from toolkit.stack.place import Place

WITHIN = 20.0
UNITS = ("docker", "toolkit-watchdog", "toolkit-notify", "toolkit-secrets", "toolkit-settle")
LARGEST = 1 << 20

_PROGRAMS = {
    "docker-ps.txt": ("docker", "ps", "--all", "--no-trunc"),
    "docker-version.txt": ("docker", "version"),
    "docker-info.txt": ("docker", "info"),
    "docker-df.txt": ("docker", "system", "df"),
    "system.txt": ("sh", "-c", "cat /etc/os-release; uname -a; uptime; df -h; df -i; free -m; ss -s"),
    "kernel.txt": ("sh", "-c", "dmesg | tail -n 100"),
}


def files(root: Path, place: Place, bodies: Sequence[Body], lines: int) -> dict[str, str]:
    """Return texts by their names in the bundle; what cannot be had is told in its place."""
    tasks: dict[str, Task] = {
        f"logs/{body['Name'].lstrip('/')}.txt": partial(_log, root, body["Id"], lines) for body in bodies
    }
    tasks |= {f"journal/{unit}.txt": partial(_journal, unit, lines) for unit in UNITS}
    tasks |= {name: partial(said, *words, within=10.0, check=False) for name, words in _PROGRAMS.items()}
    found = {name: one.get("value", one.get("fault", "")) for name, one in answers(tasks, WITHIN).items()}
    return found | dict(_release(place))


def _log(root: Path, container: str, lines: int) -> str:
    return "\n".join(Engine(root).logs(container, lines))


def _journal(unit: str, lines: int) -> str:
    return "\n".join(machine.journal(f"{unit}.service", lines))


def _release(place: Place) -> dict[str, str]:
    """Return the current release's own texts, and the journal of the last deploys."""
    found = {}
    for path in sorted(place.current.glob("*")) if place.current.exists() else ():
        # Env files are links into the secrets: never those.
        if path.is_file() and not path.is_symlink():
            found[f"release/{path.name}"] = _text(path)
    for path in sorted(place.state.glob("*.jsonl"))[-3:]:
        found[f"deploys/{path.name}"] = _text(path)
    return found


def _text(path: Path) -> str:
    with suppress(OSError), path.open("rb") as stream:
        return stream.read(LARGEST).decode(errors="replace")
    return ""
