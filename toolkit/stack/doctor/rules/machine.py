"""Rules about the machine: disks, memory, clock, names, units, a reboot that waits."""

from collections.abc import Iterator
from typing import Any

from toolkit.stack.doctor.evidence import Evidence
from toolkit.stack.doctor.rule import Found, Rule, there, verb
from toolkit.words.values import Duration, Size

# Of a disk or its inodes, percent: from here on nothing can be written soon, and then nothing can.
TIGHT, FULL = 90, 97
LITTLE_MEMORY = 5
# Certificates, tokens and signatures begin to be refused somewhere beyond this, seconds.
SKEW = 5.0


def _disks(evidence: Evidence) -> Iterator[tuple[str, Any]]:
    for one in evidence.rows("disks"):
        # A file system that somebody keeps read-only on purpose may be as full as it likes.
        if not one["read_only"]:
            yield one["path"], one


def _disk(evidence: Evidence) -> Iterator[Found]:
    for path, one in _disks(evidence):
        used = 100 - 100 * one["free"] / max(1, one["size"])
        if used >= TIGHT:
            seen = (f"{path}: {used:.0f} % used, {Size(one['free'])} of {Size(one['size'])} free",)
            state = "is full" if used >= FULL else "is nearly full"
            fix = there(evidence, f"du --one-file-system --human-readable --max-depth=2 {path} | sort -h | tail")
            yield Found(f"the disk of {path} {state}", seen, fix, severity="error" if used >= FULL else "warning")


def _inodes(evidence: Evidence) -> Iterator[Found]:
    for path, one in _disks(evidence):
        used = 100 - 100 * one["inodes_free"] / one["inodes"] if one["inodes"] else 0
        if used >= TIGHT:
            seen = (f"{path}: {used:.0f} % of {one['inodes']} inodes used",)
            fix = there(evidence, f"du --inodes --one-file-system --max-depth=3 {path} | sort -n | tail")
            severity = "error" if used >= FULL else "warning"
            yield Found(f"{path} has no room for more files, however small", seen, fix, severity=severity)  # type: ignore[arg-type]


def _read_only(evidence: Evidence) -> Iterator[Found]:
    for one in evidence.rows("disks"):
        if one["read_only"] and one["path"] in ("/", "/var/lib/docker", "/var/lib/toolkit", "/var/log"):
            fix = there(evidence, "dmesg | grep --ignore-case error | tail")
            cause = f"the disk of {one['path']} takes no writes: the kernel turns a failing one read-only"
            yield Found(cause, (f"{one['path']} is mounted read-only",), fix)


def _memory(evidence: Evidence) -> Iterator[Found]:
    found = evidence.body("memory")
    if found and 100 * found["available"] < LITTLE_MEMORY * found["total"]:
        seen: tuple[str, ...] = (f"{Size(found['available'])} of {Size(found['total'])} available",)
        seen += (f"{Size(found['swap_free'])} of {Size(found['swap'])} of swap free",) if found["swap"] else ()
        fix = there(evidence, "docker stats --no-stream")
        yield Found("the machine has hardly any memory left", seen, fix)


def _killed(evidence: Evidence) -> Iterator[Found]:
    rows = evidence.rows("killed")
    if rows:
        seen = tuple(f"{one['process']}, {Duration(one['ago'])} ago" for one in rows[-5:])
        cause = "the machine ran out of memory, and the kernel killed what it chose"
        yield Found(cause, seen, verb(evidence, "lint", "--connect"))


def _skew(evidence: Evidence) -> Iterator[Found]:
    skew = evidence.wanted.skew
    if abs(skew) >= SKEW:
        word = "ahead of" if skew > 0 else "behind"
        cause = f"the host's clock is {Duration(abs(round(skew)))} {word} this machine's: one of them is wrong"
        kept = evidence.body("clock").get("synchronised")
        seen = ("the host says its clock is synchronised" if kept else "the host's clock is not synchronised",)
        yield Found(cause, seen, there(evidence, "timedatectl timesync-status"))


def _time(evidence: Evidence) -> Iterator[Found]:
    found = evidence.body("clock")
    # A container has the clock of the machine that it runs on.
    if found and evidence.wanted.time and not found["kept"] and not found["container"]:
        cause = "nobody keeps the host's clock in time, and the host file asks for it"
        yield Found(cause, ("timedatectl says NTP=no",), verb(evidence, "provision"))


def _names(evidence: Evidence) -> Iterator[Found]:
    wrong = {name: said for name, said in evidence.body("names").items() if said}
    if wrong:
        seen = tuple(f"{name}: {said}" for name, said in sorted(wrong.items()))
        cause = f"the host finds no address for {', '.join(sorted(wrong))}: its DNS is down, or the name is wrong"
        yield Found(cause, seen, there(evidence, f"resolvectl query {min(wrong)} || sudo cat /etc/resolv.conf"))


def _units(evidence: Evidence) -> Iterator[Found]:
    failed = evidence.body("units").get("failed", [])
    if failed:
        named = ", ".join(failed)
        logs = " ".join(f"--unit {name}" for name in failed[:3])
        fix = there(evidence, f"journalctl {logs} --lines 20")
        yield Found(f"{len(failed)} of the host's units failed: {named}", tuple(failed[:8]), fix)


def _journald(evidence: Evidence) -> Iterator[Found]:
    known = evidence.body("units").get("known", {})
    one = known.get("systemd-journald.service", {})
    if one and one.get("ActiveState") != "active":
        cause = "the journal is down: nothing that goes wrong is written down"
        yield Found(
            cause, (f"systemd-journald is {one['ActiveState']}",), there(evidence, "systemctl restart systemd-journald")
        )


def _reboot(evidence: Evidence) -> Iterator[Found]:
    found = evidence.body("reboot")
    if found.get("required"):
        seen = (f"asked for by {', '.join(found['packages'][:6])}",) if found["packages"] else ("/run/reboot-required",)
        yield Found("an update waits for a reboot", seen, there(evidence, "systemctl reboot"))


RULES = (
    Rule(
        "disk-full",
        "error",
        99,
        ("no space left", "cannot write", "database stops", "deploy fails", "everything fails"),
        "A disk is full, or nearly: databases stop, images cannot be pulled, logs end.",
        "Find what takes the room and remove it; `invoke deploy` prunes old images by itself.",
        _disk,
    ),
    Rule(
        "inodes-out",
        "error",
        98,
        ("no space left although there is room", "cannot create files"),
        "A file system has no inodes left: no file can be made, though bytes are free.",
        "Find the folder with the many small files and empty it.",
        _inodes,
    ),
    Rule(
        "disk-read-only",
        "error",
        100,
        ("read-only file system", "cannot write"),
        "A disk became read-only, which is what the kernel does with one that fails.",
        "Look into the kernel's log, have the provider replace the disk, and `invoke recover`.",
        _read_only,
    ),
    Rule(
        "memory-short",
        "error",
        78,
        ("slow", "hangs", "out of memory", "killed"),
        "Hardly any memory is left on the machine.",
        "Set limits on the largest services, or rent more memory.",
        _memory,
    ),
    Rule(
        "killed-by-kernel",
        "error",
        80,
        ("out of memory", "services die", "restarts by itself", "exit code 137"),
        "The machine ran out of memory in the last day, and the kernel killed a process.",
        "Give every service a limit that fits the machine: `invoke lint --connect` adds them up.",
        _killed,
    ),
    Rule(
        "clock-off",
        "error",
        84,
        ("certificate not yet valid", "token expired", "login refused", "signature does not match", "wrong time"),
        "The host's clock is off: certificates, tokens and requests to S3 are refused.",
        "Let the host keep time: `machine.time` in the host file, then `invoke provision`.",
        _skew,
    ),
    Rule(
        "clock-not-kept",
        "warning",
        30,
        ("wrong time",),
        "Nobody keeps the clock in time, although the host file asks for it.",
        "`invoke provision`.",
        _time,
    ),
    Rule(
        "name-unknown",
        "error",
        88,
        ("cannot pull images", "could not resolve host", "dns", "image pull failure", "name resolution"),
        "The host finds no address for a name that it needs.",
        "Repair the host's resolver, or correct the name.",
        _names,
    ),
    Rule(
        "unit-failed",
        "warning",
        35,
        ("service of the machine failed", "degraded"),
        "A unit of systemd failed.",
        "Read its journal, mend the cause, and start it again.",
        _units,
    ),
    Rule(
        "journal-down",
        "error",
        70,
        ("no logs", "logs missing"),
        "journald does not run: logs of the machine are lost.",
        "Start it; look whether the disk of `/var/log` is full.",
        _journald,
    ),
    Rule(
        "reboot-pending",
        "info",
        10,
        ("updates not in effect",),
        "An update waits for a reboot.",
        "Reboot when it suits; secrets and services come back by themselves.",
        _reboot,
    ),
)
