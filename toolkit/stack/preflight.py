"""Preflight: what would make a release fail half-way is looked for before anything is touched."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from toolkit.stack import moves, room
from toolkit.stack.containers import Container
from toolkit.stack.manifest import Manifest
from toolkit.stack.site import Site
from toolkit.words.command import command, script
from toolkit.words.errors import Error, HostError
from toolkit.words.values import Size

_LACKING = 'for image in "$@"; do docker image inspect "$image" >/dev/null 2>&1 || echo "$image"; done'
_NAMES = ("docker", "ps", "--all", "--format", '{{.Names}}\t{{.Label "com.docker.compose.project"}}')


@dataclass(frozen=True)
class Machine:
    """What the Engine says of the host: memory in bytes, and where images lie."""

    cpus: int
    memory: int
    images_in: str


def whole(site: Site, manifest: Manifest) -> None:
    """Raise HostError unless every file of a release is on the host, byte for byte."""
    for path, expected in manifest.content.items():
        try:
            found = hashlib.sha256(site.place.absolute(path).read_bytes()).hexdigest()
        except OSError as error:
            raise HostError(f"{path}: {error.strerror}", hint="deploy again: it sends every file") from error
        if found != expected:
            raise HostError(f"{path} is not what release {manifest.id} was made with", hint="deploy again")


def lacking(site: Site, images: Sequence[str]) -> list[str]:
    """Return which images are not on the host."""
    return site.host.run(script(_LACKING, *images)).text.split() if images else []


def way_back(site: Site, previous: str) -> list[str]:
    """Return the images that the release before lacks; tells where there is no way back, and goes on."""
    if not previous:
        return []
    try:
        manifest = site.place.manifest(previous)
        whole(site, manifest)
    except Error as error:
        site.listener.warn(f"{error.message}: should this deploy fail, there is nothing to go back to")
        return []
    return lacking(site, manifest.images)


def machine(site: Site) -> Machine:
    told = site.host.run(command("docker", "info", "--format", "{{.NCPU}} {{.MemTotal}} {{.DockerRootDir}}")).text
    cpus, memory, images_in = told.split(maxsplit=2)
    return Machine(int(cpus), int(memory), images_in.strip())


def check(site: Site, manifest: Manifest, missing: Sequence[str], *, login: str) -> None:
    """Raise HostError for what cannot work: no room, too much reserved, ports and names that others have.

    `missing` are images that have to be pulled; `login` is the folder with the logins that may ask for their sizes.
    """
    whole(site, manifest)
    found, known = site.containers(), machine(site)
    reserved(site, manifest, known)
    names_free(site, manifest)
    for complaint in ports_taken(site, manifest, found):
        raise HostError(complaint, hint="stop what listens there, or publish another port")
    room.check(site, known.images_in, missing, login=login)


def reserved(site: Site, manifest: Manifest, known: Machine) -> None:
    """Raise HostError where services reserve more than there is; warn where their limits add up to more."""
    wanted = [(one.limits, one.replicas) for one in manifest.services.values() if not one.one_shot]
    memory = sum(limits.reserved_memory * count for limits, count in wanted)
    cpus = sum(limits.reserved_cpus * count for limits, count in wanted)
    if memory > known.memory or cpus > known.cpus:
        raise HostError(
            f"the services reserve {Size(memory)} and {cpus:g} CPUs; "
            f"the host has {Size(known.memory)} and {known.cpus}",
            hint="take a larger machine, or lower the reservations",
        )
    most = sum(limits.memory * count for limits, count in wanted)
    if most > known.memory:
        site.listener.warn(f"limits of memory add up to {Size(most)}; the host has {Size(known.memory)}")


def names_free(site: Site, manifest: Manifest) -> None:
    """Raise HostError where a container of somebody else's has a name that Compose would give to one of ours."""
    rows = [line.partition("\t") for line in site.host.run(command(*_NAMES)).text.splitlines()]
    others = {name: project for name, _, project in rows if project != site.stack}
    for service, one in manifest.services.items():
        numbered = [f"{site.stack}-{service}-{number + 1}" for number in range(one.replicas)]
        wanted = [one.fixed_name] if one.fixed_name else numbered
        if taken := [name for name in wanted if name in others]:
            raise HostError(
                f"the name {taken[0]} belongs to a container of {others[taken[0]] or 'nobody we know'}",
                hint="rename or remove that container: it was not made by a deploy of this stack",
            )


def ports_taken(site: Site, manifest: Manifest, found: Iterable[Container]) -> Iterator[str]:
    """Yield a sentence for each port that a service wants to publish and somebody else has."""
    ours = {port.partition("→")[0].rpartition(":")[2] for one in found for port in one.ports}
    listening = {key: who for key, who in _listening(site).items() if key[1] not in ours}
    for service, one in sorted(manifest.services.items()):
        for port in one.ports:
            address, _, rest = port.rpartition(":")
            number, _, protocol = rest.partition("/")
            for (at, other, kind), who in listening.items():
                if (other, kind) == (number, protocol) and _overlap(at, address):
                    yield f"port {number}/{protocol}, which {service} publishes, is taken{who}"


def _overlap(one: str, other: str) -> bool:
    anywhere = {"0.0.0.0", "::", "*"}  # noqa: S104 - compared, not bound
    return one == other or one in anywhere or other in anywhere


def _listening(site: Site) -> Mapping[tuple[str, str, str], str]:
    """Return every listening socket as (address, port, protocol) with the words for who has it."""
    found = {}
    told = site.host.run(command("ss", "--no-header", "--listening", "--numeric", "--tcp", "--udp", "--processes"))
    for line in told.text.splitlines():
        words = line.split()
        if len(words) < 5:
            continue
        address, _, port = words[4].rpartition(":")
        who = line.partition('users:(("')[2].partition('"')[0]
        found[address.strip("[]").partition("%")[0], port, words[0]] = f" by {who}" if who else ""
    return found


def healthy_commands(site: Site, manifest: Manifest, changes: Sequence[moves.Move]) -> None:
    """Warn of health checks that call a program which the image does not have, where that can be told."""
    touched = {move.service for move in changes if move.kind in ("start", "recreate", "roll")}
    for name in sorted(touched):
        check = manifest.services[name].check
        if check and check.test[:1] == ("CMD",) and len(check.test) > 1:
            image, word = manifest.pinned(name), check.test[1]
            if site.host.run(script(_HAS, image, word, called=f"look for {word} in {name}"), check=False).code == 3:
                site.listener.warn(f"{name}: its health check calls {word}, which its image does not have")


# Nothing of the image is run: its file system is only looked at. Exit code 3: looked everywhere and found nothing.
_HAS = """
id=$(docker create --network none "$1" true) || exit 1
trap 'docker rm --volumes "$id" >/dev/null' EXIT
has() { docker cp "$id:$1" - >/dev/null 2>&1; }
case $2 in /*) has "$2"; [ $? = 0 ] && exit 0; exit 3 ;; */*) exit 0 ;; esac
path=$(docker image inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$1" | sed -n 's/^PATH=//p')
IFS=:
for folder in ${path:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}; do
  has "$folder/$2" && exit 0
done
exit 3
"""
