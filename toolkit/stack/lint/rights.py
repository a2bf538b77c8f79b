"""Rules about what a container may do to its machine."""

from collections.abc import Iterator

from toolkit.stack.lint import kinds
from toolkit.stack.lint.model import Model, Service, sequence, text
from toolkit.stack.lint.rule import Found, Rule, each

SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
_AS_GOOD_AS = {"ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "DAC_READ_SEARCH"}
# Official images that start as root to own their files, and then step down by themselves.
_STEP_DOWN = {"nginx", "caddy", "httpd", "haproxy", "traefik"}


def _privileged(_model: Model, service: Service) -> Iterator[Found]:
    if service.at("privileged") is True:
        yield Found("is privileged", service.name, ("privileged",))
    added = {text(name).upper().removeprefix("CAP_") for name in sequence(service.at("cap_add"))}
    if strong := sorted(added & _AS_GOOD_AS):
        yield Found(f"may as good as everything: {', '.join(strong)}", service.name, ("cap_add",))
    for key in ("pid", "ipc", "userns_mode"):
        if text(service.at(key)) == "host":
            yield Found(f"shares the machine's own {key.removesuffix('_mode')}", service.name, (key,))


def _socket(_model: Model, service: Service) -> Iterator[Found]:
    for mount in service.mounts:
        if mount.source in SOCKETS or mount.target in SOCKETS:
            yield Found("has Docker's socket, also where it is mounted read-only", service.name, ("volumes",))


def _user(service: Service) -> str:
    return text(service.at("user")).partition(":")[0]


def _root(_model: Model, service: Service) -> Iterator[Found]:
    if _user(service) in {"0", "root"}:
        yield Found("runs as root", service.name, ("user",))


def _left_to_image(_model: Model, service: Service) -> Iterator[Found]:
    known = kinds.database(service) or kinds.words(service) & _STEP_DOWN
    if not _user(service) and not known:
        yield Found("runs as whoever its image says, which is root unless it says", service.name, ("user",))


def _writable(_model: Model, service: Service) -> Iterator[Found]:
    if service.at("read_only") is not True:
        yield Found("may write to its own root file system", service.name, ("read_only",))


RULES = (
    Rule(
        "privileged",
        "error",
        "Whoever takes over such a container has the whole machine.",
        "Take `privileged` out, and add the single capability or device that is needed.",
        each(_privileged),
    ),
    Rule(
        "docker-socket",
        "error",
        "Docker's socket is root on the machine: one request starts a container that mounts its disk.",
        "Do without, or put a proxy in front of the socket that lets single requests through.",
        each(_socket),
    ),
    Rule(
        "root-user",
        "warning",
        "A hole in the service is then a hole with root's rights in the container, one step from the machine's.",
        "Set `user:` to a number of its own, and let the image own what it writes by that number.",
        each(_root),
    ),
    Rule(
        "user-left-to-image",
        "info",
        "An image that names no user runs as root, and nobody sees it in these files.",
        "Set `user:` where the image carries that.",
        each(_left_to_image),
    ),
    Rule(
        "writable-root",
        "info",
        "An intruder can replace the program itself, and what a service writes there is lost with its container.",
        "Set `read_only: true`, with `tmpfs: [/tmp]` for what is passing.",
        each(_writable),
    ),
)
