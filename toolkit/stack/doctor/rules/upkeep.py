"""Rules about what the toolkit keeps up on a host: agent, secrets, watchdog, messages, backups, drills."""

from collections.abc import Iterator

from toolkit.stack.doctor.evidence import Evidence
from toolkit.stack.doctor.rule import Found, Rule, deploy, there, verb
from toolkit.words.values import Duration

DAY = 86400.0
# A backup is late when twice the time between two has passed; where nobody knows that time, two days.
LATE, UNKNOWN = 2.0, DAY
# So many tries to ship a log that fail are no hiccup.
TRIES = 3
# A drill proves what is stored; older than the backup file wants, or than a month, it proves little.
DRILL = 30 * DAY
# The exit code of a backup that is not all of it.
INCOMPLETE = 3.0


def _agent(evidence: Evidence) -> Iterator[Found]:
    if "agent" not in evidence.sections or evidence.fault("agent"):
        return
    found = evidence.body("agent")
    if not found:
        cause = "the agent is missing: nobody backs up, heals or brings secrets back after a reboot"
        yield Found(cause, ("/opt/toolkit/current is not there",), verb(evidence, "provision"))
    elif evidence.wanted.agent and found.get("release") != evidence.wanted.agent:
        seen = (
            f"it is {found.get('release')} of version {found.get('version')}",
            f"this toolkit's is {evidence.wanted.agent}",
        )
        yield Found(
            "the agent is of another toolkit than this one", seen, verb(evidence, "provision"), severity="warning"
        )


def _holes(evidence: Evidence) -> Iterator[Found]:
    for stack in evidence.body("secrets").get("stacks", ()):
        if stack["holes"]:
            names = ", ".join(sorted({str(hole) for hole in stack["holes"]}))
            cause = f"secrets of {stack['stack']} are not in memory: containers that need them do not start"
            yield Found(cause, (f"missing: {names}",), deploy(evidence))


def _watchdog(evidence: Evidence) -> Iterator[Found]:
    found = evidence.body("watchdog")
    unit = evidence.body("units").get("known", {}).get("toolkit-watchdog.service", {})
    if not found or not found["wanted"]:
        return
    seen, age = found["seen"], found["now"] - found["seen"].get("at", 0)
    if unit.get("ActiveState") != "active":
        state = (f"toolkit-watchdog.service is {unit.get('ActiveState', 'not there')}",)
        yield Found("the watchdog does not run: nothing is healed", state, verb(evidence, "provision"))
    elif seen and age > max(60.0, 4 * float(seen["every"])):
        yield Found(
            "the watchdog has not looked for a while",
            (f"last {Duration(round(age))} ago",),
            there(evidence, "systemctl restart toolkit-watchdog"),
        )


def _messages(evidence: Evidence) -> Iterator[Found]:
    for name, one in evidence.body("notify").items():
        if one.get("fault"):
            seen = (f"{one['waiting']} messages wait", str(one["fault"])[:200])
            yield Found(
                f"{name} is not told what happens: messages do not get through", seen, verb(evidence, "notify.test")
            )


def _backup(evidence: Evidence) -> Iterator[Found]:
    if "backups" not in evidence.sections or evidence.fault("backups"):
        return
    found = evidence.body("backups")
    if not found.get("scheduled"):
        seen = "" if evidence.wanted.backups else f"backups/{evidence.host}.yml is not there"
        again = verb(evidence, "provision")
        first = f"write backups/{evidence.host}.yml, as backups/example.yml is, and `{again}`"
        fix = again if evidence.wanted.backups else first
        yield Found(
            "no backup is scheduled", (seen or "neither a timer nor a cron file is on",), fix, severity="warning"
        )
        return
    code, last = found.get("code"), found.get("backup")
    if last is None:
        yield Found(
            "no backup has ended well yet", ("there is no time of one",), verb(evidence, "backup"), severity="warning"
        )
    elif (age := evidence.now - last) > LATE * float(found.get("every") or UNKNOWN):
        yield Found("the last good backup is too old", (f"it is {_long(age)} old",), verb(evidence, "backup"))
    if code:
        told = "is incomplete" if code == INCOMPLETE else "failed"
        yield Found(f"the last backup {told}", (f"it ended with exit code {code:.0f}",), verb(evidence, "audit"))


def _log(evidence: Evidence) -> Iterator[Found]:
    for name, failures in evidence.body("backups").get("unshipped", {}).items():
        if failures >= TRIES:
            source = name.partition('source="')[2].partition('"')[0]
            cause = f"the log of {source} is not shipped: what is written since is in no backup"
            yield Found(cause, (f"{failures:.0f} tries failed in a row",), verb(evidence, "backup.status"))


def _drill(evidence: Evidence) -> Iterator[Found]:
    found = evidence.body("backups")
    if not found.get("scheduled"):
        # Without backups there is nothing to prove.
        return
    drill = found.get("drill")
    if drill is None:
        cause = "no restore drill was ever done: whether the backups come back is not known"
        yield Found(cause, ("there is no time of one",), verb(evidence, "drill"))
    elif found.get("passed") == 0:
        cause = "the last restore drill failed: the backups may not come back"
        yield Found(cause, (f"it was {_long(evidence.now - drill)} ago",), verb(evidence, "drill"), severity="error")
    elif (age := evidence.now - drill) > (evidence.wanted.drills or DRILL) + DAY:
        yield Found("the last restore drill is too old", (f"it is {_long(age)} old",), verb(evidence, "drill"))


def _long(seconds: float) -> str:
    return f"{seconds / DAY:.0f} days" if seconds >= 2 * DAY else f"{seconds / 3600:.0f} hours"


RULES = (
    Rule(
        "agent-missing",
        "error",
        73,
        ("no backups", "secrets missing after a reboot", "no answer from the agent"),
        "The agent is not on the host, or is of another toolkit than this one.",
        "`invoke provision`.",
        _agent,
    ),
    Rule(
        "secrets-missing",
        "error",
        89,
        ("secret not found", "container does not start", "docker does not start after a reboot"),
        "Secrets that the current release names are not in memory.",
        "`invoke deploy` delivers them again and starts Docker, which waits for them.",
        _holes,
    ),
    Rule(
        "watchdog-off",
        "error",
        43,
        ("watchdog does not heal", "nothing is healed"),
        "The host file asks for a watchdog, and none is at work.",
        "`invoke provision`.",
        _watchdog,
    ),
    Rule(
        "messages-stuck",
        "warning",
        34,
        ("no notifications", "nobody was told"),
        "Somebody who should be told what happens cannot be reached.",
        "Correct the address in `notify`, then `invoke provision` and `invoke notify.test`.",
        _messages,
    ),
    Rule(
        "backup-stale",
        "error",
        38,
        ("no backups", "backup missing", "backup fails"),
        "No backup is scheduled, the last good one is too old, or the last one failed.",
        "`invoke backup` makes one now and says what is in its way.",
        _backup,
    ),
    Rule(
        "log-not-shipped",
        "error",
        39,
        ("no backups", "data would be lost", "disk fills"),
        "The log of a database is not shipped to the store: the database keeps it, and a loss would take it.",
        "`invoke backup.status` says what is in its way.",
        _log,
    ),
    Rule(
        "drill-stale",
        "warning",
        32,
        ("restore untested", "drill missing"),
        "No restore drill was done for a month, or the last one failed: backups that nobody restored are a hope.",
        "`invoke drill`.",
        _drill,
    ),
)
