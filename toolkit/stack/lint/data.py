"""Rules about what a stack writes down: volumes, Redis, first-start scripts, files of the repository."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from toolkit.stack.lint import kinds
from toolkit.stack.lint.model import Model, Mount, Service
from toolkit.stack.lint.rights import SOCKETS
from toolkit.stack.lint.rule import Found, Rule, each

INIT = "/docker-entrypoint-initdb.d"
# The machine's own, which nobody backs up and a service may well have to write to.
_SYSTEM = ("/dev", "/proc", "/sys", "/run", "/var/run")


def _several_writers(model: Model) -> Iterator[Found]:
    writers: dict[str, list[Service]] = defaultdict(list)
    for service in model.services.values():
        # What ends before others start writes alone.
        for name in {one.source for one in service.mounts if one.kind == "volume" and one.source and not one.read_only}:
            if not model.one_shot(service):
                writers[name].append(service)
    for volume, services in sorted(writers.items()):
        containers = sum(model.replicas(service) for service in services)
        if containers > 1:
            names = ", ".join(service.name for service in services)
            told = f"volume {volume} has {containers} writers: {names}"
            yield Found(told, services[0].name, ("volumes",))


def _setting(service: Service, name: str) -> str:
    """Return a setting that Redis is given as an argument, or as a line on its standard input."""
    words = [word.strip("\"'") for word in service.command]
    given = (value for option, value in pairwise(words) if option == f"--{name}")
    return next(given, "").lower()


def _unread(service: Service) -> bool:
    """Whether Redis has a configuration file, so that its settings are not to be seen here."""
    named = any(word.endswith(".conf") for word in service.command)
    return named or any("redis.conf" in mount.target for mount in service.mounts) or bool(service.at("configs"))


def _evicts(service: Service) -> bool:
    return _setting(service, "maxmemory-policy") not in {"", "noeviction"}


def _forgetful_queue(model: Model, service: Service) -> Iterator[Found]:
    if not kinds.redis(service) or not kinds.queue(model, service) or _unread(service):
        return
    if _evicts(service):
        yield Found("holds jobs and evicts them when its memory is full", service.name, ("command",))
    if _setting(service, "appendonly") != "yes":
        yield Found("holds jobs and keeps no append-only file", service.name, ("command",))


def _persistent_cache(model: Model, service: Service) -> Iterator[Found]:
    if not kinds.redis(service) or kinds.queue(model, service) or _unread(service) or not _evicts(service):
        return
    volumes = [mount for mount in service.mounts if mount.kind == "volume" and mount.source]
    if _setting(service, "appendonly") == "yes" or volumes:
        kept = "an append-only file" if _setting(service, "appendonly") == "yes" else f"the volume {volumes[0].source}"
        yield Found(f"evicts what it holds, and writes it to {kept} all the same", service.name, ("command",))


def _changed_init(model: Model, service: Service) -> Iterator[Found]:
    if model.deployed is None or not _full(model, service):
        return
    for mount in service.mounts:
        here = (service.name, mount.target)
        before, after = model.deployed.sources.get(here), model.sources.get(here)
        if mount.target.startswith(INIT) and after and before != after:
            told = f"{mount.target} changed, and the volume it would fill is full: it will not run"
            yield Found(told, service.name, ("volumes",))


def _full(model: Model, service: Service) -> bool:
    """Whether a volume of this service holds data on the host already."""
    assert model.deployed is not None
    named = (model.volumes.get(mount.source) for mount in service.mounts if mount.kind == "volume")
    return any(name in model.deployed.volumes for name in named)


def _written_bind(_model: Model, service: Service) -> Iterator[Found]:
    for mount in service.mounts:
        if mount.kind == "bind" and not mount.read_only and not _of_the_system(mount):
            yield Found(f"may write to the mounted {mount.target}", service.name, ("volumes",))


def _of_the_system(mount: Mount) -> bool:
    own = any(mount.source == path or mount.source.startswith(f"{path}/") for path in _SYSTEM)
    return mount.source in SOCKETS or mount.target in SOCKETS or own


RULES = (
    Rule(
        "several-writers",
        "warning",
        "Two containers that write to one volume overwrite each other's files, unless both were made for it.",
        "Let one service write and mount it `read_only` elsewhere, or give each its own volume.",
        _several_writers,
    ),
    Rule(
        "queue-that-forgets",
        "error",
        "Jobs vanish without an error: evicted when memory is short, or gone with the container.",
        "Start Redis with `--appendonly yes --maxmemory-policy noeviction`, and keep caches in another one.",
        each(_forgetful_queue),
    ),
    Rule(
        "cache-that-persists",
        "info",
        "A cache that may lose everything anyway pays for every write with disk, and backups carry it along.",
        'Take its volume and `--appendonly yes` away, and set `--save ""`.',
        each(_persistent_cache),
    ),
    Rule(
        "init-scripts-changed",
        "warning",
        "Scripts of the first start run on an empty volume only: what changed in them will never happen.",
        "Make the change as a migration that a one-shot runs.",
        each(_changed_init),
    ),
    Rule(
        "written-bind-mount",
        "warning",
        "What a service writes beside the Compose files is in no backup, and the next release lays another copy there.",
        "Mount it `read_only`, or use a named volume for what the service writes.",
        each(_written_bind),
    ),
)
