"""Swap: one file, in use now and after a reboot. Swap the machine has already counts as well.

Swap can hold pages of tmpfs, and so secrets: docs/hardening.md says what that means.
"""

from collections.abc import Iterator, Mapping

from toolkit.converge import Change, Fact, Facts, operation
from toolkit.machine import files, os
from toolkit.words.command import command, script
from toolkit.words.errors import Unsupported
from toolkit.words.values import Size

PATH = "/swapfile"
# The kernel keeps the first page of the file for itself and reports the rest.
PAGE = 4096

# Some file systems cannot promise space for a swap file; writing it out works on them, too.
ALLOCATE = """
install --mode=0600 /dev/null "$1" || exit 1
fallocate --length "$2" "$1" 2>/dev/null && mkswap "$1" >/dev/null && swapon "$1" 2>/dev/null && exit 0
head --bytes "$2" /dev/zero >"$1" && mkswap "$1" >/dev/null && swapon "$1" && exit 0
code=$?; rm -f "$1"; exit "$code"
"""


def parse_swaps(text: str) -> dict[str, Size]:
    """Read `swapon --show=NAME,SIZE --bytes`; sizes with the first page."""
    rows = (line.rsplit(maxsplit=1) for line in text.splitlines() if line.strip())
    return {name: Size(int(size) + PAGE) for name, size in rows}


SWAPS = Fact("swap", command("swapon", "--show=NAME,SIZE", "--bytes", "--noheadings"), parse_swaps)


@operation
def file(facts: Facts, size: Size) -> Iterator[Change]:
    """Ensure swap of this size: by a file of our own where the machine has not as much already."""
    facts.need(SWAPS, os.SYSTEM, files.text("/etc/fstab"))
    swaps, wanted = facts.get(SWAPS), Size(size // PAGE * PAGE)
    if _others(swaps) >= wanted:
        return
    container = facts.get(os.SYSTEM).container
    if container:
        raise Unsupported(
            f"{facts.host.name}: a {container} container has no swap of its own",
            hint="write `swap: false` under machine: in its host file",
        )
    if swaps.get(PATH) != wanted:
        if PATH in swaps:
            yield Change(f"release {PATH} ({swaps[PATH]})", command("swapoff", PATH))
        yield Change(f"create {PATH} ({wanted}) and use it", script(ALLOCATE, PATH, wanted))
    yield from files.line("/etc/fstab", f"{PATH} none swap sw 0 0", match=rf"^{PATH}\s")(facts)


def _others(swaps: Mapping[str, Size]) -> int:
    return sum(size for path, size in swaps.items() if path != PATH)
