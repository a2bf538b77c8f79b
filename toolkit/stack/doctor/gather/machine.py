"""The machine: disks, memory, clock, names, units, firewall, and what is on its way there."""

import json
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from toolkit.stack.doctor.gather.programs import said

DAY = 24 * 3600.0
UNITS = (*("docker.service", "systemd-journald.service", "toolkit-watchdog.service", "toolkit-secrets.service"),)
_PROPERTIES = "Id,LoadState,ActiveState,SubState,Result,NRestarts"

# The whole machine's memory ran out; a container that reached its own limit is told by Docker.
_KILLED = re.compile(r"\[\s*(\d+)\.\d+\]\s*Out of memory: Killed process \d+ \(([^)]*)\)")


def clock() -> dict[str, Any]:
    """Return the time, as close to the answer as can be, and whether somebody keeps it."""
    told = said("timedatectl", "show", "--property=NTP", "--property=NTPSynchronized", check=False)
    found = dict(line.partition("=")[::2] for line in told.splitlines())
    container = Path("/run/systemd/container").exists()
    kept, synchronised = (found.get(name) == "yes" for name in ("NTP", "NTPSynchronized"))
    return {"kept": kept, "synchronised": synchronised, "container": container}


def disks(root: Path, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return size and room of each file system below these paths, in bytes and inodes, each once."""
    found: dict[int, dict[str, Any]] = {}
    for path in paths:
        with suppress(OSError):
            device, room = os.stat(root / path.lstrip("/")).st_dev, os.statvfs(root / path.lstrip("/"))  # noqa: PTH116
            found.setdefault(
                device,
                {
                    "path": path,
                    "size": room.f_blocks * room.f_frsize,
                    "free": room.f_bavail * room.f_frsize,
                    "inodes": room.f_files,
                    "inodes_free": room.f_favail,
                    "read_only": bool(room.f_flag & os.ST_RDONLY),
                },
            )
    return list(found.values())


def memory() -> dict[str, int]:
    """Return memory and swap in bytes."""
    lines = dict(line.partition(":")[::2] for line in Path("/proc/meminfo").read_text().splitlines())
    names = {"total": "MemTotal", "available": "MemAvailable", "swap": "SwapTotal", "swap_free": "SwapFree"}
    return {name: int(lines[key].split()[0]) * 1024 for name, key in names.items()}


def killed() -> list[dict[str, Any]]:
    """Return processes that the kernel killed for memory in the last day: names, and seconds ago."""
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    found = [(now - float(at), name) for at, name in _KILLED.findall(said("dmesg"))]
    return [{"process": name, "ago": round(ago)} for ago, name in found if ago < DAY]


def names(wanted: Sequence[str]) -> dict[str, str]:
    """Return what is wrong with each name that has to have an address; nothing where it has one."""
    return {name: _resolved(name) for name in wanted}


def _resolved(name: str) -> str:
    try:
        socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
    except OSError as error:
        return str(error.strerror or error)
    return ""


def units() -> dict[str, Any]:
    """Return the state of the units that all else hangs on, and of every one that failed."""
    told = said("systemctl", "show", f"--property={_PROPERTIES}", "--", *UNITS)
    rows = (dict(line.partition("=")[::2] for line in part.splitlines()) for part in told.split("\n\n") if part.strip())
    failed = said("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager", check=False)
    return {
        "known": {row["Id"]: {key: value for key, value in row.items() if key != "Id"} for row in rows},
        "failed": [line.split()[0] for line in failed.splitlines() if line.strip()],
    }


def reboot(root: Path) -> dict[str, Any]:
    """Return whether an update waits for a reboot, and whose."""
    with suppress(OSError):
        packages = root / "run/reboot-required.pkgs"
        asked = (root / "run/reboot-required").exists()
        return {"required": asked, "packages": packages.read_text().split() if packages.exists() else []}
    return {"required": False, "packages": []}


_TABLE = "inet toolkit"


def firewall(rules: str) -> dict[str, str]:
    """Return our table as the kernel has it, and the wanted rules as this host's nft words them."""
    tables = said("nft", "list", "tables")
    live = said("nft", "--stateless", "list", "table", *_TABLE.split()) if f"table {_TABLE}\n" in tables else ""
    worded = f"nft --file - && exec nft --stateless list table {_TABLE}"
    # In a network of its own, which is gone again with the command.
    wanted = said("unshare", "--net", "sh", "-c", worded, given=rules) if rules else ""
    return {"live": live, "wanted": wanted}


def listening() -> list[dict[str, str]]:
    """Return every socket that listens: address, port, protocol and whose it is."""
    told = said("ss", "--no-header", "--listening", "--numeric", "--tcp", "--udp", "--processes")
    return list(_sockets(told))


def _sockets(told: str) -> Iterator[dict[str, str]]:
    for line in told.splitlines():
        words = line.split()
        if len(words) >= 5:
            address, _, port = words[4].rpartition(":")
            who = line.partition('users:(("')[2].partition('"')[0]
            yield {"protocol": words[0], "address": address.strip("[]").partition("%")[0], "port": port, "process": who}


def agent(root: Path) -> dict[str, Any]:
    """Return which agent is installed; empty for none."""
    note = root / "opt/toolkit/current/lib/toolkit/agent/release.json"
    if not note.exists():
        return {}
    found = json.loads(note.read_text())
    entry = (root / "opt/toolkit/current/bin/agent").read_text()
    match = re.search(r"exec python([0-9.]+)", entry)
    return {**found, "python": match[1] if match else ""}


def secrets(root: Path) -> dict[str, Any]:
    """Return what the agent says of secrets: names and holes, no values."""
    found: dict[str, Any] = json.loads(said(str(root / "opt/toolkit/current/bin/agent"), "secrets", "list"))
    return {"in_memory": found["in_memory"], "stacks": found["stacks"]}


def journal(unit: str, lines: int, since: str = "-30d") -> list[str]:
    """Return the last lines of a unit."""
    # Backwards: together with a beginning, a number of lines means the first ones to some versions of systemd.
    words = ("--reverse", "--lines", str(lines), "--since", since, "--output", "short-iso", "--no-pager", "--quiet")
    return said("journalctl", "--unit", unit, *words, check=False).splitlines()[::-1]
