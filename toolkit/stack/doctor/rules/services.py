"""Rules about services as such: down, ending again and again, unhealthy, out of memory, without their port."""

import re
from collections.abc import Iterator

from toolkit.stack.containers import Container
from toolkit.stack.doctor import roles
from toolkit.stack.doctor.evidence import Evidence
from toolkit.stack.doctor.rule import Found, Rule, deploy, last, lately, logs, there, verb
from toolkit.words.values import Duration, Size

_PORT = re.compile(r"(?:port is already allocated|address already in use)", re.IGNORECASE)
# Seconds in which two ends are a crash loop, and exit codes of what was asked to stop.
LATELY, STOPPED = 120, (0, 137, 143)
# Seconds after which what was killed and is back counts as past.
FRESH = 600.0
_NUMBER = re.compile(r":(\d{1,5})(?!\S*:\d)")


def _down(evidence: Evidence) -> Iterator[Found]:
    for name, verdict in evidence.verdicts.items():
        plain = not evidence.kind(name) and not roles.is_worker(evidence, name)
        one_shot = evidence.manifest is not None and evidence.manifest.services[name].one_shot
        if plain and not one_shot and not verdict.good and _is_down(evidence, name):
            yield Found(f"{name} does not run", _seen(evidence, name), deploy(evidence), name)


def _is_down(evidence: Evidence, service: str) -> bool:
    found = [one for one in evidence.containers if one.service == service]
    return not found or any(one.status not in ("running", "restarting", "paused") for one in found)


def _seen(evidence: Evidence, service: str) -> tuple[str, ...]:
    errors = tuple(str(one["error"]) for one in evidence.of(service) if one["error"])
    return (evidence.why_down(service), *errors[:1], *last(evidence.log(service)))


def _paused(evidence: Evidence) -> Iterator[Found]:
    if evidence.body("backups").get("working"):
        # A backup holds services still for a moment, and lets them go again.
        return
    for one in evidence.containers:
        if one.status == "paused":
            cause = f"{one.service} is paused: it answers nobody, and nothing fails"
            yield Found(cause, (f"{one.name}: paused",), there(evidence, f"docker unpause {one.name}"), one.service)


def _crashing(evidence: Evidence) -> Iterator[Found]:
    for name, verdict in evidence.verdicts.items():
        deaths = [one for one in evidence.rows("events") if one["service"] == name and one["what"] == "die"]
        # Between two ends it runs for a moment, and says nothing of them.
        fresh = [one for one in deaths if one["ago"] < LATELY and one["exit_code"] not in STOPPED]
        restarting = any(one.service == name and one.status == "restarting" for one in evidence.containers)
        again = "restarted" in verdict.reason or len(fresh) > 1
        if restarting or (again and not verdict.good):
            seen = _seen(evidence, name) + ((f"ended {len(deaths)} times in the last hour",) if deaths else ())
            yield Found(f"{name} ends again and again", seen, logs(evidence, name), name)


def _unhealthy(evidence: Evidence) -> Iterator[Found]:
    for name, verdict in evidence.verdicts.items():
        ill = [one for one in evidence.containers if one.service == name and _is_ill(one)]
        if ill:
            said = tuple(line for one in ill for line in last(one.health_log, 1))
            seen = (
                verdict.reason,
                *(f"the check said: {line}" for line in dict.fromkeys(said)),
                *last(evidence.log(name), 2),
            )
            yield Found(f"{name} runs, and its health check fails", seen, logs(evidence, name), name)


def _is_ill(container: Container) -> bool:
    # The health of one that ended is that of its last moment.
    return container.status == "running" and container.health == "unhealthy"


def _memory(evidence: Evidence) -> Iterator[Found]:
    limits = {one["service"]: one["memory"] for one in evidence.described}
    times: dict[str, list[float]] = {}
    for one in evidence.rows("events"):
        if one["what"] == "oom" and one["service"] in limits:
            times.setdefault(one["service"], []).append(float(one["ago"]))
    ended = {one.service: one.name for one in evidence.containers if one.oom_killed}
    for name in sorted({*times, *ended}):
        limit = f"its limit of {Size(limits[name])}" if limits.get(name) else "the memory there was"
        seen = [f"{ended[name]}: killed for memory"] if name in ended else []
        if ago := times.get(name):
            seen.append(f"killed {len(ago)} times in the last hour, last {Duration(round(min(ago)))} ago")
        past = name not in ended and min(times[name]) > FRESH and evidence.calm
        fix = f"raise its memory limit in the Compose files, then `{deploy(evidence)}`"
        cause = f"{name} needed more than {limit} and was killed"
        yield Found(cause, tuple(seen), fix, name, severity="warning" if past else "error")


def _port(evidence: Evidence) -> Iterator[Found]:
    for one in evidence.described:
        if _PORT.search(str(one["error"])):
            match = _NUMBER.search(str(one["error"]))
            port = match[1] if match else ""
            holders = sorted({each["process"] or "?" for each in evidence.rows("listening") if each["port"] == port})
            seen = (str(one["error"])[:300], *(f"port {port} is held by {holder}" for holder in holders))
            fix = there(evidence, f"ss --listening --tcp --processes 'sport = :{port}'" if port else "ss -tlnp")
            cause = f"{one['service']} cannot have its port {port}: somebody else holds it".replace("  ", " ")
            yield Found(cause, seen, fix, one["service"])
    for service, line in evidence.phrases("port-taken"):
        cause = f"{service} finds a port taken inside its own container, or on the host"
        yield Found(cause, (line,), logs(evidence, service), service, severity=lately(evidence))


def _disk(evidence: Evidence) -> Iterator[Found]:
    for service, line in evidence.phrases("disk-full"):
        fix = there(evidence, "df --human-readable")
        yield Found(f"{service} finds its disk full", (line,), fix, service, severity=lately(evidence))


def _given_up(evidence: Evidence) -> Iterator[Found]:
    for one in evidence.body("watchdog").get("seen", {}).get("services", ()):
        if one["gave_up"]:
            cause = f"the watchdog gave up on {one['service']}: restarts do not help"
            yield Found(cause, (str(one["reason"]),), verb(evidence, "watchdog.history"), one["service"])


RULES = (
    Rule(
        "port-taken",
        "error",
        87,
        ("port taken", "address already in use", "port is already allocated", "container does not start"),
        "A service cannot have its port: another program or stack holds it.",
        "End who holds it, or publish another port.",
        _port,
    ),
    Rule(
        "killed-at-limit",
        "error",
        81,
        ("out of memory", "exit code 137", "restarts by itself", "services die"),
        "A service reached its memory limit, and the kernel killed it.",
        "Raise its limit, or find the leak: `invoke watchdog.history` shows how it grew.",
        _memory,
    ),
    Rule(
        "service-paused",
        "error",
        85,
        ("hangs", "does not answer", "jobs pile up", "worker not taking jobs"),
        "A container is paused, and no backup is at work that would let it go again.",
        "`docker unpause` on the host.",
        _paused,
    ),
    Rule(
        "service-crashing",
        "error",
        62,
        ("services unhealthy", "restarts by itself", "crash loop", "site down"),
        "A service ends again and again right after its start.",
        "Its last words say why; `invoke rollback` brings the release before back.",
        _crashing,
    ),
    Rule(
        "service-down",
        "error",
        60,
        ("services unhealthy", "site down", "nothing answers", "502 bad gateway"),
        "A service does not run.",
        "`invoke deploy` starts it again.",
        _down,
    ),
    Rule(
        "service-unhealthy",
        "error",
        42,
        ("services unhealthy", "site slow", "health check fails"),
        "A service runs, and its health check fails: what the check says, and what it needs, come first.",
        "Read its log; the watchdog restarts it unless that does not help.",
        _unhealthy,
    ),
    Rule(
        "disk-full-inside",
        "error",
        77,
        ("no space left", "cannot write"),
        "A service writes that its disk is full: a volume, or its memory file system.",
        "Make room; a `tmpfs` of the service may be too small.",
        _disk,
    ),
    Rule(
        "given-up",
        "error",
        44,
        ("watchdog does not heal", "services unhealthy"),
        "The watchdog restarted a service as often as it may, and leaves it alone now.",
        "Mend the cause and `invoke deploy`, which counts anew.",
        _given_up,
    ),
)
