"""What no single value can be blamed for: doubles, lock-outs, and paths that lead nowhere or out of the repository."""

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from toolkit.config.faults import Trail
from toolkit.config.models import Connection, Docker, DockerRepository, HostFile, Machine, Sshd, Stack

Finding = tuple[Trail, str, str]
"""Where, what is wrong, and what to do about it."""

_OWN_KEYS = {
    "port": "port",
    "passwordauthentication": "password_authentication",
    "permitrootlogin": "root_login",
    "maxauthtries": "max_auth_tries",
    "allowusers": "allow_users",
}
# They change what the lines after them mean, or bring in lines nobody checked.
_BLOCKS = {"match", "include"}


def check(host: HostFile) -> Iterator[Finding]:
    """Yield what contradicts itself in a file whose values are sound one by one."""
    yield from _doubles(host)
    if host.machine.sshd:
        yield from _sshd(host.machine.sshd)
        if isinstance(host.connection, Connection):
            yield from _lock_outs(host.connection, host.machine.sshd)
    if host.machine.docker:
        yield from _docker(host.machine.docker, host.machine)
    for place, one in enumerate(host.stack.gate.assertions if host.stack else ()):
        trail = ("stack", "gate", "assertions", place)
        if bool(one.command) == (one.variable is not None):
            yield trail, "asks for nothing, or for two things", "give either command or variable"
        if (one.equals is None) == (one.contains is None):
            yield trail, "expects nothing, or two things", "give either equals or contains"


def check_paths(host: HostFile) -> Iterator[Finding]:
    """Yield what the file names in the repository and is not there, or is outside."""
    docker = host.machine.docker
    if docker and isinstance(docker.source, DockerRepository) and "BEGIN PGP" not in docker.source.key:
        key = docker.source.key
        yield from _path(host.root, host.root / key, ("machine", "docker", "source", "key"), key, Path.is_file)
    if host.stack:
        yield from _stack(host.root, host.stack)


def _doubles(host: HostFile) -> Iterator[Finding]:
    machine = host.machine
    if machine.firewall:
        yield from _twice(map(str, machine.firewall.open), ("machine", "firewall", "open"))
    yield from _twice((user.name for user in machine.users), ("machine", "users"), "name")
    yield from _twice((registry.host.lower() for registry in host.registries), ("registries",), "host")
    yield from _twice((one.name for one in host.notify), ("notify",), "name")
    if host.stack:
        yield from _twice((str(Path(file)) for file in host.stack.files), ("stack", "files"))


def _twice(names: Iterable[str], trail: Trail, *rest: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for place, name in enumerate(names):
        if name in seen:
            yield (*trail, place, *rest), f"{name} is there already", "keep one of them"
        seen.add(name)


def _sshd(sshd: Sshd) -> Iterator[Finding]:
    for keyword in sshd.settings:
        trail = ("machine", "sshd", "settings", keyword)
        if own := _OWN_KEYS.get(keyword.lower()):
            yield trail, f"has a key of its own, machine.sshd.{own}", "set that one"
        if keyword.lower() in _BLOCKS:
            yield trail, "cannot be set here: it decides over other lines", "set single keywords only"


def _lock_outs(connection: Connection, sshd: Sshd) -> Iterator[Finding]:
    user = connection.user
    if user is None:
        return
    if sshd.allow_users and not any(fnmatchcase(user, allowed.partition("@")[0]) for allowed in sshd.allow_users):
        yield ("machine", "sshd", "allow_users"), f"would lock out {user}, who connects", f"add {user} to the list"
    if user == "root" and sshd.root_login == "no":
        told = "would lock out root, who connects"
        yield ("machine", "sshd", "root_login"), told, "set prohibit-password, or connect as another user"


def _docker(docker: Docker, machine: Machine) -> Iterator[Finding]:
    if docker.suite and docker.source != "distro":
        yield ("machine", "docker", "suite"), "is for source: distro", "remove it, or set source: distro"
    for family in ("iptables", "ip6tables"):
        if docker.daemon.get(family) is False:
            told = "would open or cut off every published port"
            yield ("machine", "docker", "daemon", family), told, "remove it; the firewall works beside Docker's rules"
    for key, value in (machine.sysctl or {}).items():
        if key.replace("/", ".") == "net.ipv4.ip_forward" and value == "0":
            yield ("machine", "sysctl", key), "would cut off every container", "remove it, or turn docker off"


def _stack(root: Path, stack: Stack) -> Iterator[Finding]:
    trail = ("stack", "directory")
    wrong = list(_path(root, root / stack.directory, trail, stack.directory, Path.is_dir))
    yield from wrong
    if wrong:
        return
    for place, file in enumerate(stack.files):
        yield from _path(root, root / stack.directory / file, ("stack", "files", place), file, Path.is_file)
    for file in stack.env_files:
        if Path(file).is_absolute() or ".." in Path(file).parts:
            yield ("stack", "env_files", file), "leads out of the stack's folder", "use a path inside it"


def _path(root: Path, path: Path, trail: Trail, written: str, exists: Callable[[Path], bool]) -> Iterator[Finding]:
    try:
        # Resolved, so that a symbolic link in a pull request cannot lead out either.
        if Path(written).is_absolute() or not path.resolve().is_relative_to(root.resolve()):
            yield trail, "leads out of the repository", "use a path inside it"
        elif not exists(path):
            kind = "folder" if exists is Path.is_dir else "file"
            yield trail, f"there is no {kind} {path.relative_to(root)}", "paths begin at the repository"
    except (OSError, RuntimeError, ValueError):
        # A name that is too long, a loop of links, a character no file system takes.
        yield trail, "is not a path that can be followed", "use a path inside the repository"
