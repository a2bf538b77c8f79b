"""Containers of a stack: what runs, read in one command, and whether that is what should run.

The verdict is a pure function of what was read; waiting for it is the gate's.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from toolkit.stack.service import GRACE, Service
from toolkit.words.command import Command, script

# Without a health check a container counts as healthy once it has run this long without a restart.
STEADY = 5.0
# This many restarts since its start are a crash loop, whatever the state is at this very moment.
CRASHES = 3

_FORMAT = (
    '{"id":{{json .Id}},"name":{{json .Name}},"state":{{json .State}},"restarts":{{.RestartCount}},'
    '"image":{{json .Config.Image}},"labels":{{json .Config.Labels}},"ports":{{json .NetworkSettings.Ports}},'
    # Only `index` finds nothing without a complaint, whichever way this Engine's client looks into its answer.
    '"grace":{{json (index .Config "StopTimeout")}},'
    '"mounts":{{json .Mounts}},"host":{{json .HostConfig}},"networks":{{json .NetworkSettings.Networks}}}'
)

_READ = """
date +%s.%N
command -v docker >/dev/null || exit 0
ids=$(docker ps --all --quiet --no-trunc --filter "label=com.docker.compose.project=$1") || exit
# A container may go between the two calls; that is no failure to look, and the rest is told all the same.
[ -n "$ids" ] || exit 0
{ said=$(docker inspect --format "$2" $ids 2>&1 >&3 3>&-); } 3>&1 && exit 0
case $said in *"o such"*) exit 0 ;; esac
echo "$said" >&2
exit 1
"""

# What `docker update` changes.
EDITABLE = (
    *("Memory", "MemorySwap", "MemoryReservation", "NanoCpus", "CpuShares", "CpuQuota", "CpuPeriod"),
    *("CpusetCpus", "CpusetMems", "PidsLimit", "BlkioWeight", "RestartPolicy"),
)
MARKS = ("toolkit.service", "toolkit.files", "toolkit.secrets")
"""Labels that say of which definition, files and secrets a container was made."""

State = Literal["healthy", "done", "starting", "failed", "missing"]
GOOD: frozenset[State] = frozenset({"healthy", "done"})


@dataclass(frozen=True)
class Container:
    """One container of a stack."""

    id: str
    name: str
    service: str
    image: str
    status: str
    health: str
    exit_code: int
    oom_killed: bool
    restarts: int
    age: float
    """Seconds since it was started, by the host's own clock."""

    ports: tuple[str, ...] = ()
    health_log: tuple[str, ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict)
    """Its labels of those in `MARKS`."""

    number: int = 1
    pid: int = 0
    """Of its first process, on the host; 0 where none runs."""

    grace: float = GRACE
    """Seconds that it has to stop."""

    fingerprint: str = ""
    """Hash of what Docker lets people change on a container that is there."""

    anonymous: bool = False
    """Whether it keeps something in a volume without a name: only Compose hands such a one on."""


@dataclass(frozen=True)
class Verdict:
    """How one service is, and why."""

    service: str
    state: State
    reason: str
    containers: tuple[Container, ...] = ()

    @property
    def good(self) -> bool:
        return self.state in GOOD


def read(project: str) -> Command:
    """Return the command that reads every container of a project; `parse` understands its output."""
    return script(_READ, project, _FORMAT)


def parse(text: str) -> tuple[Container, ...]:
    """Read the output of `read`. One-off containers of `docker compose run` are left out."""
    # Not splitlines: Docker's JSON may hold a bare U+0085, which Python takes for the end of a line.
    first, *rest = text.split("\n")
    now = float(first)
    found = [_container(json.loads(line), now) for line in rest if line]
    return tuple(sorted((one for one in found if one is not None), key=lambda one: (one.service, one.name)))


def from_api(body: Mapping[str, Any], now: float) -> Container | None:
    """Read what the Engine's API says of one container; None for a one-off.

    Its fingerprint is not that of `parse`: the two say the same in different words.
    """
    config, network = body["Config"], body["NetworkSettings"]
    return _container(
        {
            "id": body["Id"],
            "name": body["Name"],
            "state": body["State"],
            "restarts": body["RestartCount"],
            "image": config["Image"],
            "labels": config["Labels"],
            "ports": network.get("Ports"),
            "grace": config.get("StopTimeout"),
            "mounts": body.get("Mounts"),
        },
        now,
    )


def _container(data: Mapping[str, Any], now: float) -> Container | None:
    labels, state = data["labels"], data["state"]
    if labels.get("com.docker.compose.oneoff") == "True":
        return None
    health = state.get("Health") or {}
    return Container(
        id=data["id"],
        name=data["name"].lstrip("/"),
        service=labels["com.docker.compose.service"],
        image=data["image"],
        status=state["Status"],
        health=health.get("Status", ""),
        exit_code=state["ExitCode"],
        oom_killed=state["OOMKilled"],
        restarts=data["restarts"],
        age=max(0.0, now - _seconds(state["StartedAt"])),
        ports=tuple(_ports(data["ports"] or {})),
        health_log=tuple(entry["Output"].strip() for entry in health.get("Log") or ())[-3:],
        marks={key: labels[key] for key in MARKS if key in labels},
        number=int(labels.get("com.docker.compose.container-number", 1)),
        pid=state.get("Pid", 0),
        grace=GRACE if data.get("grace") is None else float(data["grace"]),
        fingerprint=_fingerprint(data),
        anonymous=any(_is_anonymous(mount) for mount in data.get("mounts") or ()),
    )


def _is_anonymous(mount: Mapping[str, Any]) -> bool:
    return mount.get("Type") == "volume" and re.fullmatch(r"[0-9a-f]{64}", mount.get("Name", "")) is not None


def _fingerprint(data: Mapping[str, Any]) -> str:
    # The rest is fixed when a container is made, or differs after each start of the Engine, as addresses do.
    host = data.get("host") or {}
    seen = [data["name"], {key: host.get(key) for key in EDITABLE}, sorted(data.get("networks") or ())]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:16]


def _seconds(written: str) -> float:
    # Docker writes nanoseconds; Python reads microseconds.
    head, _, rest = written.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{rest[:6] or '0'}+00:00").timestamp()


def _ports(published: Mapping[str, Sequence[Mapping[str, str]] | None]) -> Iterable[str]:
    for inner, bindings in sorted(published.items()):
        for address in sorted({f"{one['HostIp'] or '0.0.0.0'}:{one['HostPort']}" for one in bindings or ()}):  # noqa: S104
            yield f"{address}→{inner.removesuffix('/tcp')}"


def judge(
    expected: Mapping[str, Service], containers: Iterable[Container], *, finished: Collection[str] = ()
) -> tuple[Verdict, ...]:
    """Return a verdict for each service that should run. What else runs is not judged.

    `finished` names one-shots that need no container any more: they did their work for an earlier release.
    """
    running: dict[str, list[Container]] = {name: [] for name in expected}
    for container in containers:
        if container.service in running:
            running[container.service].append(container)
    return tuple(
        Verdict(name, "done", "did its work before")
        if name in finished and not found
        else _service(name, expected[name], tuple(found))
        for name, found in sorted(running.items())
    )


def _service(name: str, service: Service, found: tuple[Container, ...]) -> Verdict:
    if len(found) < service.replicas:
        return Verdict(name, "missing", f"{len(found)} of {service.replicas} containers", found)
    verdicts = [_one(service, container) for container in found]
    order: tuple[State, ...] = ("failed", "starting", "healthy", "done")
    none: tuple[State, str] = ("done", "no containers wanted")
    state, reason = min(verdicts, key=lambda verdict: order.index(verdict[0]), default=none)
    return Verdict(name, state, reason, found)


def _one(service: Service, container: Container) -> tuple[State, str]:
    if container.status == "exited" or container.status == "dead":
        return _ended(service, container)
    if container.restarts >= CRASHES:
        return "failed", f"restarted {container.restarts} times"
    if container.status != "running":
        return "starting", container.status
    if container.health == "unhealthy":
        return "failed", "its health check fails"
    if container.health == "healthy":
        return "healthy", "its health check passes"
    if container.health or service.one_shot:
        return "starting", container.health or "at work"
    return ("healthy", _calm(container)) if container.age >= STEADY else ("starting", "just started")


def _calm(container: Container) -> str:
    return f"runs, restarted {container.restarts} times" if container.restarts else "runs without restarts"


def _ended(service: Service, container: Container) -> tuple[State, str]:
    if container.oom_killed:
        return "failed", "killed: out of memory"
    if service.one_shot and container.exit_code == 0:
        return "done", "finished with exit code 0"
    return "failed", f"exited with code {container.exit_code}"
