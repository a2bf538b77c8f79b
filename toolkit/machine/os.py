"""The machine itself: which system it is, and whether the toolkit carries it."""

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.converge import Change, Fact, Facts, operation
from toolkit.words.command import script
from toolkit.words.errors import Unsupported

NEEDED = (3, 11)
# What each release brings as python3 when a package asks for it.
PYTHON_OF = {
    ("debian", "12"): (3, 11),
    ("debian", "13"): (3, 13),
    ("ubuntu", "22.04"): (3, 10),
    ("ubuntu", "24.04"): (3, 12),
    ("ubuntu", "26.04"): (3, 14),
}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

# Following the links to python3.13 costs a tenth of starting it.
LOOK = """
. /etc/os-release
echo "$ID"; echo "${VERSION_ID:-}"; echo "${VERSION_CODENAME:-}"; uname -m
systemd-detect-virt --container 2>/dev/null
for python in python3 python3.14 python3.13 python3.12 python3.11; do
  found=$(command -v "$python") && readlink -f "$found"
done
exit 0
"""


@dataclass(frozen=True)
class System:
    """What runs the machine. `container` is empty on a machine with a kernel of its own."""

    name: str
    version: str
    codename: str
    architecture: str
    container: str
    python: tuple[int, int] | None

    def __str__(self) -> str:
        return f"{self.name} {self.version} on {self.architecture}"


def parse_system(text: str) -> System:
    """Read what `LOOK` prints: four lines, the kind of container or `none`, then interpreters."""
    name, version, codename, processor, container, *pythons = text.splitlines()
    return System(
        name,
        version,
        codename,
        ARCHITECTURES.get(processor, processor),
        "" if container == "none" else container,
        max((_version(path) for path in pythons), default=None),
    )


def _version(path: str) -> tuple[int, int]:
    major, _, minor = path.rpartition("python")[2].partition(".")
    return int(major), int(minor or 0)


SYSTEM = Fact("operating system", script(LOOK), parse_system)


@operation
def supported(facts: Facts) -> Iterator[Change]:
    """Refuse a machine the toolkit does not carry, before anything on it changes."""
    system, where = facts.get(SYSTEM), facts.host.name
    if (system.name, system.version) not in PYTHON_OF:
        raise Unsupported(
            f"{where}: {system.name} {system.version or '(no version)'} is not supported",
            hint="use Debian 12 or 13, or Ubuntu 22.04, 24.04 or 26.04",
        )
    if system.architecture not in ARCHITECTURES.values():
        raise Unsupported(f"{where}: no support for {system.architecture} processors", hint="use amd64 or arm64")
    _refuse_old_python(where, system)
    yield from ()


def _refuse_old_python(where: str, system: System) -> None:
    python = system.python or PYTHON_OF[system.name, system.version]
    if python < NEEDED:
        found, needed = (".".join(map(str, version)) for version in (python, NEEDED))
        raise Unsupported(
            f"{where}: {system.name} {system.version} has Python {found}, and the toolkit needs {needed} or newer",
            hint="upgrade the system, or put a newer one beside it: `apt-get install python3.11 python3.11-venv`",
        )
