"""The tmpfs under `/run/secrets`: its own, so that its size is bounded and its pages stay out of swap."""

import subprocess
from pathlib import Path

from toolkit.agent.paths import Paths
from toolkit.words.errors import HostError

SIZE = "64m"
MODE = 0o711
OPTIONS = f"mode={MODE:04o},size={SIZE},nosuid,nodev,noexec"


def ensure(paths: Paths) -> None:
    """Have the tmpfs mounted. Raises HostError where something else is mounted there."""
    paths.memory.mkdir(mode=MODE, parents=True, exist_ok=True)
    if not paths.real:
        return
    mounted = options(paths.memory)
    if mounted is None:
        _mount(paths.memory)
    elif mounted[0] != "tmpfs":
        raise HostError(f"{paths.memory} is a {mounted[0]}, not a tmpfs", hint="unmount it: secrets stay in memory")


def stays_in_memory(paths: Paths) -> bool:
    """Whether the kernel keeps these pages out of swap."""
    mounted = options(paths.memory)
    return mounted is not None and "noswap" in mounted[1].split(",")


def options(path: Path) -> tuple[str, str] | None:
    """Return kind and options of what is mounted at a path, None where nothing is."""
    found = None
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, given, *_ = line.split()
        if where == str(path):
            found = kind, given
    return found


def _mount(path: Path) -> None:
    said = ""
    # noswap came with Linux 6.3; an older kernel refuses the option.
    for options in (f"{OPTIONS},noswap", OPTIONS):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return
        said = done.stderr.strip()
    raise HostError(f"cannot mount a tmpfs at {path}: {said}", hint="look at `dmesg` on the host")
