"""Docker's daemon: `daemon.json` merged with what is there, and what the running daemon makes of it.

Our keys win, foreign ones stay. A new file is validated as a draft, is loaded by a reload where Docker can take it that
way, and is taken back when the daemon does not come up with it. Where Docker is only being installed it is there before
the daemon is, which then starts with it. What counts is what the Engine's API reports.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.config.models import Docker
from toolkit.converge import Change, Fact, Facts, operation
from toolkit.converge.changes import difference
from toolkit.host import File
from toolkit.machine import files, systemd
from toolkit.words.command import script
from toolkit.words.errors import HostError

PATH = "/etc/docker/daemon.json"
DRAFT = f"{PATH}.draft"
# What was there before, until the daemon has come up with what is there now: its unit then removes this.
BEFORE = f"{PATH}.before"
CAME_UP = systemd.Wanted("docker.service", f"[Service]\nExecStartPost=-/bin/rm -f {BEFORE}\n", beside="toolkit-daemon")
NOTHING = "{}\n"

# What dockerd takes over on SIGHUP; everything else needs a restart.
RELOADABLE = frozenset({
    "allow-nondistributable-artifacts", "authorization-plugins", "debug", "default-runtime", "features",
    "insecure-registries", "labels", "live-restore", "max-concurrent-downloads", "max-concurrent-uploads",
    "max-download-attempts", "registry-mirrors", "runtimes", "shutdown-timeout",
})  # fmt: skip
ROTATED_BY_DOCKER = frozenset({"json-file", "local"})

# Where the API reports what a key came to.
REPORTED = {
    "data-root": "DockerRootDir",
    "debug": "Debug",
    "live-restore": "LiveRestoreEnabled",
    "log-driver": "LoggingDriver",
    "storage-driver": "Driver",
}

# Without a pid file nobody answers, and asking would start the daemon through its socket; but it may be on its way,
# since its package does not wait for it (apt.sh).
ASK = """
for _ in $(seq 600); do
  [ ! -e /run/docker.pid ] || break
  [ "$(systemctl show --value --property=ActiveState docker.service)" = activating ] || break
  sleep 0.1
done
[ -e /run/docker.pid ] && command -v curl >/dev/null || exit 0
exec curl --silent --show-error --max-time 30 --unix-socket /run/docker.sock http://localhost/info
"""

# A reload is a change of state to systemd as well as a restart; a clock that was set back is passed over.
UNREAD = f"""
[ -e /run/docker.pid ] && [ -e {PATH} ] || exit 0
since=$(systemctl show --value --timestamp=us+utc --property=StateChangeTimestamp -- docker.service) || exit 1
since=$(date --date "$since" +%s%6N) || exit 1
changed=$(stat --format %.6Z -- {PATH} | tr -d .) || exit 1
if [ "$changed" -gt "$since" ] && [ "$changed" -le "$(date +%s%6N)" ]; then echo newer; fi
"""

# Live-restore is taken over first: with it the containers go on while the daemon restarts.
LOAD = f"""
how=$1
info() {{ curl --silent --unix-socket /run/docker.sock http://localhost/info; }}
come_up() {{ systemctl reset-failed docker.service 2>/dev/null; systemctl restart docker.service; }}
if [ -e {DRAFT} ]; then
  said=$(dockerd --validate --config-file {DRAFT} 2>&1) || {{ rm -f {DRAFT}; printf '%s\\n' "$said" >&2; exit 1; }}
  if [ -e {PATH} ]; then cp --preserve {PATH} {BEFORE}; else printf %s '{NOTHING}' >{BEFORE}; fi
  mv --force {DRAFT} {PATH}
fi
if grep --quiet '"live-restore": true' {PATH} && systemctl --quiet is-active docker.service; then
  systemctl reload docker.service && for _ in 1 2 3 4 5 6 7 8 9 10; do
    info | grep --quiet '"LiveRestoreEnabled":true' && break
    sleep 0.2
  done
elif [ "$how" = reload ]; then
  systemctl reload docker.service || exit 1
fi
if [ "$how" = reload ] || come_up; then rm -f {BEFORE}; exit 0; fi
journalctl --unit docker.service --lines 6 --output cat --no-pager >&2
[ -e {BEFORE} ] || exit 1
mv --force {BEFORE} {PATH}
come_up && echo 'docker runs with its old daemon.json again' >&2
exit 1
"""


@dataclass(frozen=True)
class Engine:
    """The running daemon, as its API tells."""

    version: str
    in_swarm: bool
    running: int
    mirrors: frozenset[str]
    reported: Mapping[str, Any]


def parse_info(text: str) -> Engine | None:
    """Read the API's `/info`; None stands for no daemon."""
    if not text.strip():
        return None
    info = json.loads(text)
    return Engine(
        version=info["ServerVersion"],
        in_swarm=info["Swarm"]["LocalNodeState"] == "active",
        running=info["ContainersRunning"],
        mirrors=frozenset(url.rstrip("/") for url in info["RegistryConfig"]["Mirrors"] or ()),
        reported={key: info[name] for key, name in REPORTED.items() if name in info},
    )


ENGINE = Fact("docker engine", script(ASK), parse_info)
CONFIGURED = files.text(PATH)
IS_THERE = Fact("docker's daemon", script("command -v dockerd || true"), lambda text: bool(text.strip()))
NOT_READ_YET = Fact("daemon.json newer than docker", script(UNREAD), lambda text: bool(text.strip()))


def wanted(spec: Docker, present: Mapping[str, Any]) -> dict[str, Any]:
    """Return `daemon.json` as it should be: what is there, and over it what the host file says."""
    driver = str(spec.daemon.get("log-driver", "json-file"))
    caps = {"max-size": str(int(spec.log_max_size)), "max-file": str(spec.log_max_files)}
    ours: dict[str, Any] = {"log-driver": driver, "live-restore": spec.live_restore}
    if driver in ROTATED_BY_DOCKER:
        ours["log-opts"] = caps
    kept = dict(present)
    if present.get("log-driver", "json-file") != driver:
        # Options of one log driver are faults to another.
        kept.pop("log-opts", None)
    return merged(merged(kept, ours), spec.daemon)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return one mapping laid over another; mappings inside are merged too, everything else is replaced."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


@operation
def awaited(facts: Facts, spec: Docker) -> Iterator[Change]:
    """Ensure that a daemon that is not there yet finds the host file's settings when it starts for the first time."""
    facts.need(IS_THERE, CONFIGURED)
    entry = facts.get(CONFIGURED)
    before = _parsed(facts, _content(entry))
    after = wanted(spec, before)
    if before != after and not facts.get(IS_THERE):
        yield Change(
            f"keep what {PATH} says, for the way back", File(BEFORE, _content(entry).encode() or NOTHING.encode())
        )
        yield from files.file(PATH, _text(after))(facts)


@operation
def configured(facts: Facts, spec: Docker) -> Iterator[Change]:
    """Ensure that the daemon runs with the host file's settings, where there is one: see `awaited`."""
    facts.need(CONFIGURED, ENGINE, NOT_READ_YET, IS_THERE)
    if not facts.get(IS_THERE):
        return
    entry, engine = facts.get(CONFIGURED), facts.get(ENGINE)
    before = _parsed(facts, _content(entry))
    after = wanted(spec, before)
    _refuse_live_restore_in_swarm(facts, engine, after)
    if before != after:
        text = _text(after)
        diff = difference(entry.content if entry else None, text, PATH)
        how = _how(before, after, engine)
        yield Change(f"write a draft of {PATH}", File(DRAFT, text.encode()), diff)
        yield Change(
            f"validate the draft, put it in place and {how} docker{_cost(how, engine, after)}", script(LOAD, how)
        )
    elif engine and (facts.get(NOT_READ_YET) or deviations(engine, after)):
        strays = ", ".join(deviations(engine, after)) or PATH
        yield Change(
            f"restart docker, which runs without {strays}{_cost('restart', engine, after)}", script(LOAD, "restart")
        )
    elif not engine:
        yield Change("start docker", script(LOAD, "restart"))


def deviations(engine: Engine, settings: Mapping[str, Any]) -> list[str]:
    """Return the settings that the running daemon does not have."""
    strays = [key for key, value in settings.items() if engine.reported.get(key, value) != value]
    mirrors = {str(url).rstrip("/") for url in settings.get("registry-mirrors", ())}
    return [*strays, *(["registry-mirrors"] if mirrors - engine.mirrors else [])]


def _content(entry: files.Entry | None) -> str:
    return entry.content if entry else ""


def _text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, indent=2) + "\n"


def _parsed(facts: Facts, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        raise _not_an_object(facts, f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _not_an_object(facts, "is not a JSON object")
    return value


def _not_an_object(facts: Facts, fault: str) -> HostError:
    return HostError(f"{facts.host.name}: {PATH} {fault}", hint="correct the file on the host, or move it away")


def _refuse_live_restore_in_swarm(facts: Facts, engine: Engine | None, settings: Mapping[str, Any]) -> None:
    if engine and engine.in_swarm and settings.get("live-restore"):
        raise HostError(
            f"{facts.host.name}: docker does not start with live-restore while the host is in a swarm",
            hint="set machine.docker.live_restore: false",
        )


def _how(before: Mapping[str, Any], after: Mapping[str, Any], engine: Engine | None) -> str:
    changed = {key for key in after if before.get(key) != after[key]}
    return "reload" if engine and changed <= RELOADABLE else "restart"


def _cost(how: str, engine: Engine | None, settings: Mapping[str, Any]) -> str:
    if how == "reload" or engine is None or not engine.running or settings.get("live-restore"):
        return ""
    return f"; live-restore is off, so {engine.running} running containers stop and start again"
