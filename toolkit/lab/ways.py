"""The ways to run systemd in a container, from the most like a machine to what a restricted machine still allows."""

import re
from dataclasses import dataclass
from pathlib import Path

# In the kernel's order: the position is the bit. What comes after AUDIT_READ older Engines do not know by name.
CAPABILITIES = re.findall(
    r"\w+",
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ",
)


@dataclass(frozen=True)
class Way:
    """A name to remember and report, and the options for `docker create`."""

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Machine:
    """What this machine offers: its capability bounding set, and which versions of cgroups are mounted."""

    bounding: int
    cgroup_v1: bool
    cgroup_unified: bool

    @classmethod
    def here(cls) -> "Machine":
        status = Path("/proc/self/status")
        text = status.read_text() if status.exists() else ""
        tree = Path("/sys/fs/cgroup")
        return cls(bounding_set(text), (tree / "memory").is_dir(), (tree / "unified").is_dir())


def bounding_set(status: str) -> int:
    """Read the capability bounding set from the text of /proc/self/status; everything where it says nothing."""
    lines = (line.split() for line in status.splitlines())
    return next((int(words[1], 16) for words in lines if words and words[0] == "CapBnd:"), -1)


def capabilities(bounding: int) -> list[str]:
    """Return the names of the capabilities in a bounding set."""
    return [name for bit, name in enumerate(CAPABILITIES) if bounding >> bit & 1]


def ways(suite: str, machine: Machine) -> list[Way]:
    """Return the ways worth trying for a guest of this Debian suite, the best first."""
    return [
        Way(f"{rights}, {cgroups}", options + mounts)
        for rights, options in _rights(machine)
        for cgroups, mounts in _cgroups(suite, machine)
    ]


def _rights(machine: Machine) -> list[tuple[str, tuple[str, ...]]]:
    listed = ["--cap-drop=ALL", *(f"--cap-add={name}" for name in capabilities(machine.bounding))]
    for profile in ("seccomp", "apparmor", "systempaths"):
        listed += ["--security-opt", f"{profile}=unconfined"]
    return [("privileged", ("--privileged",)), ("listed capabilities", tuple(listed))]


def _cgroups(suite: str, machine: Machine) -> list[tuple[str, tuple[str, ...]]]:
    private = ("private cgroup v2", ("--cgroupns=private",))
    whole = ("cgroup v2 of the machine", ("--cgroupns=host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"))
    if not machine.cgroup_v1:
        return [private, whole]
    found: list[tuple[str, tuple[str, ...]]] = []
    if suite == "bookworm":  # systemd 257 of the next release refuses version 1
        found.append(("cgroup v1 of the machine", whole[1]))
    if machine.cgroup_unified:
        unified = ("--cgroupns=host", "--volume", "/sys/fs/cgroup/unified:/sys/fs/cgroup:rw")
        found.append(("cgroup v2 without controllers", unified))
    return found or [private]
