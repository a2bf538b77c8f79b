"""What a guest's own Engine has paused: with cgroups of version 1 nobody can kill it, nor the guest around it.

https://docs.kernel.org/admin-guide/cgroup-v1/freezer-subsystem.html. In version 2 a frozen process dies as any other.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from toolkit.lab.engine import Engine

FREEZER = Path("/sys/fs/cgroup/freezer")
PROCESSES = Path("/proc")


def thaw(engine: Engine, *containers: str, freezer: Path = FREEZER, processes: Path = PROCESSES) -> None:
    """Let everything go on that was paused inside of containers, so that they can be removed."""
    if not freezer.is_dir():
        return
    found = (engine.inspect("container", name) for name in containers)
    first = {str(one["State"]["Pid"]) for one in found if one}
    for state in freezer.rglob("freezer.state"):
        # A cgroup may go while it is looked at, and only root may write.
        with suppress(OSError):
            if state.read_text().strip() != "THAWED" and first & _above(state.parent / "cgroup.procs", processes):
                state.write_text("THAWED")


def _above(members: Path, processes: Path) -> set[str]:
    """Return the ids of all processes that those of a cgroup descend from."""
    return {one for member in members.read_text().split() for one in _ancestors(member, processes)}


def _ancestors(pid: str, processes: Path) -> Iterator[str]:
    while pid not in ("0", ""):
        yield pid
        status = (processes / pid / "status").read_text()
        pid = next((line.split()[1] for line in status.splitlines() if line.startswith("PPid:")), "")
