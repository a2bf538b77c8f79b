"""A drill on a fresh host of this machine's lab, made for it and removed with it."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from toolkit.config import load
from toolkit.drill.report import Report
from toolkit.drill.wish import Wish
from toolkit.host.connect import connect
from toolkit.lab import Lab
from toolkit.lab.hostfile import path_of
from toolkit.machine.registry import Login
from toolkit.repository.reach import Reach
from toolkit.words.report import Listener
from toolkit.words.values import Secret
from toolkit.workflows import drills_elsewhere
from toolkit.workflows.provision import provision

_PREFIX = "drill-"


def drill(
    root: Path, wish: Wish, reach: Reach, logins: Sequence[Login], others: Sequence[Secret], listener: Listener
) -> Report:
    """Make a host, drill there, and remove it whatever comes of it. Raises LabError, and what a drill raises."""
    lab = Lab.of(root, listener)
    # Debian 12, because its guests have limits of memory on every kind of machine. It has its packages: how long a bare
    # machine takes to have them is in none of a drill's times.
    name = f"{_PREFIX}{secrets.token_hex(3)}"
    vps = lab.host(name, "debian12", stocked=True)
    try:
        described = load.load(path_of(root, vps.name))
        host = connect(described)
        try:
            provision(described, host, listener=listener)
            return drills_elsewhere.drill(host, wish, reach, logins, others, listener)
        finally:
            host.close()
    finally:
        lab.remove(name)


def clean(root: Path) -> list[str]:
    """Remove hosts of drills that were killed."""
    lab = Lab.of(root)
    found = sorted(name for name in lab.home.state().hosts if name.startswith(_PREFIX))
    for name in found:
        lab.remove(name)
    return found
