"""apt: packages, repositories, pins and holds.

One fact tells every installed package, and all operations share it. Installing waits for whoever holds the package
manager (unattended upgrades and cloud-init on a first boot) and says who it is; it finishes what an interrupted run
left half-configured; it reads the lists again only when they are older than the sources or an hour. What is only begun
goes on in a unit of systemd, beside whatever does not need it.
"""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files as resources
from typing import Literal

from toolkit.converge import Change, Fact, Facts, operation
from toolkit.machine import files
from toolkit.words.command import Command, command, script


@dataclass(frozen=True)
class Package:
    """An installed package."""

    version: str
    held: bool


def parse_installed(text: str) -> dict[str, Package]:
    """Read `dpkg-query`: one line with name, wish, status and version for each package dpkg has ever known."""
    rows = (line.split(" ") for line in text.splitlines() if line)
    return {name: Package(version, want == "hold") for name, want, status, version in rows if status == "installed"}


# A file of dpkg's may go while apt is at work: then it is asked once more.
LIST = """
list() { dpkg-query --show --showformat '${Package} ${db:Status-Want} ${db:Status-Status} ${Version}\\n'; }
found=$(list 2>/dev/null) && printf '%s\\n' "$found" || list
"""
INSTALLED = Fact("installed packages", script(LIST, called="dpkg-query --show"), parse_installed)

# What became of the last installation that was only begun.
BEGUN = """
if systemctl --quiet is-active toolkit-apt.service; then
  grep -q '^Fetched \\|^Preparing to unpack ' /run/toolkit/apt-begun.out && echo working || echo fetching
elif [ "$(cat /run/toolkit/apt-begun.code 2>/dev/null || echo 0)" != 0 ]; then echo failed; fi
"""
WORK = Fact("apt at work", script(BEGUN), str.strip)
AT_WORK = ("fetching", "working")


@operation
def packages(facts: Facts, *names: str) -> Iterator[Change]:
    """Ensure that packages are installed. `name=version` asks for a version; it may end in `*`."""
    if missing := _missing(facts, names):
        yield Change(f"install {', '.join(missing)}", install(*missing))


@operation
def begun(facts: Facts, *names: str) -> Iterator[Change]:
    """Ensure that packages are installed, or that apt has begun with it; `ended` says what stood in its way."""
    facts.need(INSTALLED, WORK)
    missing = _missing(facts, names)
    if missing and not facts.get(WORK):
        yield Change(f"begin to install {', '.join(missing)}", install(*missing, how="begin"))


@operation
def fetched(facts: Facts, *names: str) -> Iterator[Change]:
    """Ensure that packages are installed, and that apt, which had been begun, needs no mirror any more."""
    facts.need(INSTALLED, WORK)
    if _missing(facts, names):
        yield from packages(*names)(facts)
    elif facts.get(WORK) == "fetching":
        yield Change("wait for apt to have its files", install(how="fetch"))


@operation
def ended(facts: Facts, *names: str) -> Iterator[Change]:
    """Ensure that packages are installed and that apt, which had been begun, works on nothing any more."""
    facts.need(INSTALLED, WORK)
    missing = _missing(facts, names)
    if facts.get(WORK) == "failed" and missing:
        yield Change(f"try once more to install {', '.join(missing)}", install(*missing))
    elif missing or facts.get(WORK) in AT_WORK:
        yield Change("wait for apt to end", install(*(missing or names)))


def _missing(facts: Facts, names: Sequence[str]) -> list[str]:
    installed = facts.get(INSTALLED)
    return [name for name in names if not _there(installed, name)]


def _there(installed: dict[str, Package], wanted: str) -> bool:
    name, _, version = wanted.partition("=")
    package = installed.get(name)
    return package is not None and (not version or fnmatch.fnmatchcase(package.version, version))


def install(*names: str, how: Literal["install", "begin", "fetch"] = "install") -> Command:
    """Return the command that installs packages, or only begins to, or waits until what was begun is fetched.

    `name=version` asks for a version.
    """
    text = resources("toolkit.machine").joinpath("apt.sh").read_text()
    return script(text, how, *names, called=f"apt-get install {' '.join(names)}")


@operation
def repository(
    facts: Facts, name: str, *, url: str, suite: str, key: str | bytes, component: str = "", architecture: str = ""
) -> Iterator[Change]:
    """Ensure a signed repository. `key` is its public key, armoured or binary, and vouches for this one alone.

    A suite that ends in `/` is a flat repository and has no component.
    """
    armoured = (key if isinstance(key, str) else key.decode("latin-1")).lstrip().startswith("-----BEGIN")
    ring = f"/etc/apt/keyrings/{name}.{'asc' if armoured else 'gpg'}"
    fields = {
        "Types": "deb", "URIs": url, "Suites": suite, "Components": component,
        "Architectures": architecture, "Signed-By": ring,
    }  # fmt: skip
    source = "".join(f"{field}: {value}\n" for field, value in fields.items() if value)
    path = f"/etc/apt/sources.list.d/{name}.sources"
    facts.need(files.text(ring) if armoured else files.sealed(ring), files.text(path))
    yield from files.file(ring, key)(facts)
    yield from files.file(path, source)(facts)


@operation
def pin(facts: Facts, name: str, packages: str, pin: str, priority: int) -> Iterator[Change]:
    """Ensure a preference: `pin("backports", "*", "release n=trixie", 100)`."""
    content = f"Package: {packages}\nPin: {pin}\nPin-Priority: {priority}\n"
    yield from files.file(f"/etc/apt/preferences.d/{name}.pref", content)(facts)


@operation
def hold(facts: Facts, *names: str) -> Iterator[Change]:
    """Ensure that packages keep their version until somebody lets go."""
    installed = facts.get(INSTALLED)
    loose = [name for name in names if name not in installed or not installed[name].held]
    if loose:
        yield Change(f"hold {', '.join(loose)}", command("apt-mark", "hold", "--", *loose))
