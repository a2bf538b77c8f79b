"""Docker Engine and Compose: from the official repository, the distribution or a mirror, held at their version.

Nothing is downloaded and run: packages come signed through apt. A host that has an engine from elsewhere is refused,
not converted, because that would stop its containers.
"""

import re
from collections.abc import Iterator

from toolkit.config.models import Docker, HostFile
from toolkit.converge import Change, Fact, Facts, Operation, operation
from toolkit.machine import apt, docker_daemon, docker_source, systemd
from toolkit.machine.os import SYSTEM, System
from toolkit.words.command import command, script
from toolkit.words.errors import HostError, Unsupported

OFFICIAL_PACKAGES = ("docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin")
UBUNTU_PACKAGES = ("docker.io", "docker-compose-v2")
COMPOSE_PACKAGES = ("docker-compose-plugin", "docker-compose-v2", "docker-compose")
OLDEST_COMPOSE = (2, 24)

APPARMOR = Fact(
    "AppArmor in the kernel",
    script("cat /sys/module/apparmor/parameters/enabled 2>/dev/null || true"),
    lambda text: text.strip() == "Y",
)


def before_packages(host_file: HostFile) -> list[Operation]:
    """Return what is worth doing before Docker's packages are there, where apt has begun with them already."""
    spec = host_file.machine.docker
    return [one_origin(spec), docker_daemon.awaited(spec)] if spec else []


def units(host_file: HostFile) -> list[systemd.Wanted]:
    """Return what is added to Docker's own unit."""
    return [docker_daemon.CAME_UP] if host_file.machine.docker else []


def operations(host_file: HostFile) -> list[Operation]:
    """Return what the host file wants of Docker, in order."""
    spec = host_file.machine.docker
    if spec is None:
        return []
    return [
        one_origin(spec),
        docker_source.repository(spec, host_file.root),
        systemd.units(*units(host_file)),
        docker_daemon.awaited(spec),
        engine(spec),
        docker_daemon.configured(spec),
        systemd.service("docker.service"),
        compose(),
    ]


@operation
def one_origin(facts: Facts, spec: Docker) -> Iterator[Change]:
    """Refuse what would end with no engine, two engines, or one without Compose v2."""
    facts.need(SYSTEM, apt.INSTALLED)
    system, where = facts.get(SYSTEM), facts.host.name
    other = "docker-ce" if spec.source == "distro" else "docker.io"
    if other in facts.get(apt.INSTALLED):
        raise HostError(
            f"{where}: {other} is installed, and the host file wants Docker from elsewhere",
            hint=f"set machine.docker.source to what is there, or plan a stop: `apt-get remove {other}` keeps volumes",
        )
    if spec.source == "distro" and spec.suite is None and (system.name, system.version) == ("debian", "12"):
        raise Unsupported(
            f"{where}: Debian 12 itself has Compose v1 only, and stacks need Compose 2.24 or newer",
            hint="set machine.docker.source: official, or keep distro and set machine.docker.suite: trixie",
        )
    yield from ()


@operation
def engine(facts: Facts, spec: Docker) -> Iterator[Change]:
    """Ensure that the engine and Compose are installed, at the version asked for, and stay at it."""
    facts.need(SYSTEM, apt.INSTALLED, APPARMOR)
    names = _packages(spec, facts.get(SYSTEM))
    moved = tuple(apt.packages(*_helpers(facts), *(_versioned(name, spec) for name in names))(facts))
    yield from moved
    # apt lets go of a held package when it is told to move it.
    if moved:
        yield Change(f"hold {', '.join(names)}", command("apt-mark", "hold", "--", *names))
    else:
        yield from apt.hold(*names)(facts)


def early(facts: Facts, spec: Docker) -> tuple[str, ...]:
    """Return what can be had with the packages of the baseline, in the same call of apt.

    That is Docker itself where it is not there yet and no repository has to be set up first; a version that is asked
    for may have to move what is held, and is left to `engine`.
    """
    system, installed = facts.get(SYSTEM), facts.get(apt.INSTALLED)
    names = _packages(spec, system)
    key = ("gnupg",) if spec.source == "official" else ()
    waits = spec.source != "distro" or spec.suite or spec.version or any(name in installed for name in names)
    return (*_helpers(facts), *key, *(() if waits else names))


def _helpers(facts: Facts) -> tuple[str, ...]:
    # With AppArmor on and its parser missing no container starts.
    return ("ca-certificates", "curl", *(["apparmor"] if facts.get(APPARMOR) else []))


def _packages(spec: Docker, system: System) -> tuple[str, ...]:
    if spec.source != "distro":
        return OFFICIAL_PACKAGES
    return UBUNTU_PACKAGES if system.name == "ubuntu" else docker_source.DEBIAN_PACKAGES


def _versioned(name: str, spec: Docker) -> str:
    """Return a package with the version the host file pins; Compose and containerd have versions of their own."""
    if spec.version is None or name not in ("docker-ce", "docker-ce-cli", "docker.io", "docker-cli"):
        return name
    # 28.1 must not take 28.10 for its own.
    whole = spec.version.count(".") >= 2
    epoch = "" if spec.source == "distro" else "5:"
    return f"{name}={epoch}{spec.version}{'' if whole else '.'}*"


@operation
def compose(facts: Facts) -> Iterator[Change]:
    """Refuse a Compose that lacks what stacks are deployed with."""
    installed = facts.get(apt.INSTALLED)
    for name in COMPOSE_PACKAGES:
        if name in installed and compose_version(installed[name].version) < OLDEST_COMPOSE:
            raise Unsupported(
                f"{facts.host.name}: {name} {installed[name].version} is too old: stacks need Compose 2.24 or newer",
                hint="set machine.docker.source: official, or on Debian 12 with distro machine.docker.suite: trixie",
            )
    yield from ()


def compose_version(text: str) -> tuple[int, int]:
    """Return major and minor of a version as dpkg or Compose itself writes it: `5:2.40.3-1~…`, `v2.26.1`."""
    match = re.match(r"(?:\d+:)?v?(\d+)\.(\d+)", text)
    if not match:
        raise ValueError(f"{text!r} is not a version")
    return int(match[1]), int(match[2])
