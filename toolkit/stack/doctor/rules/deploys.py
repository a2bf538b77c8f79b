"""Rules about deploys: what was left half-way, what failed, who is at work, and what was changed by hand."""

from collections.abc import Iterator

from toolkit.stack.doctor.evidence import Evidence
from toolkit.stack.doctor.rule import Found, Rule, deploy, last, verb
from toolkit.stack.doctor.rules.docker import PULL_PHASES, REGISTRY
from toolkit.words.values import Duration


def _half_way(evidence: Evidence) -> Iterator[Found]:
    found = evidence.body("deploys")
    if found.get("damaged"):
        yield Found("the mark of a deploy under way cannot be read", (found["damaged"],), deploy(evidence))
    elif (mark := found.get("transaction")) and not found["busy"]:
        seen = (f"from {mark['previous'] or 'nothing'} to {mark['target']}", "nobody is at work on it")
        cause = "a deploy was left half-way: the stack may be neither the old nor the new release"
        yield Found(cause, seen, deploy(evidence))


def _at_work(evidence: Evidence) -> Iterator[Found]:
    found = evidence.body("deploys")
    if found.get("busy"):
        driver = found["driver"]
        seen = (f"{driver.get('who', 'somebody')}: {driver.get('action', 'deploy')}, {driver.get('phase', '')}",)
        cause = "somebody is at work on the stack right now: what is seen may pass"
        yield Found(cause, seen, verb(evidence, "attach"))
    if found.get("restoring"):
        fix = f"wait; `{verb(evidence, 'audit')}` says who"
        cause = "data is being put back right now: services are down until that is done"
        yield Found(cause, ("somebody holds the lock of restores",), fix)


def _hold(evidence: Evidence) -> Iterator[Found]:
    held = evidence.body("deploys").get("hold")
    if held:
        left = Duration(round(held["until"] - evidence.now))
        cause = f"on hold for another {left}: nobody deploys, and the watchdog heals nothing"
        yield Found(cause, (f"{held['reason']} ({held['who']})",), verb(evidence, "release-hold"))


def _failed(evidence: Evidence) -> Iterator[Found]:
    ends = evidence.body("deploys").get("ends", [])
    if not ends or ends[-1]["result"] == "deployed":
        return
    end = ends[-1]
    ago = f"{Duration(round(evidence.now - float(end['at'])))} ago, in the phase {end['phase'] or '?'}"
    seen = (ago, *last(str(end["fault"]).splitlines()))
    if end["result"] == "mixed":
        cause = "the last deploy and its way back both failed: the stack is neither the old nor the new release"
        yield Found(cause, seen, deploy(evidence), severity="error")
    elif end["phase"] not in ("one-shots", *PULL_PHASES) and end["code"] != REGISTRY:
        touched = end["result"] == "rolled back"
        cause = f"the last deploy failed; {'the release before runs' if touched else 'nothing was touched'}"
        yield Found(cause, seen, deploy(evidence), severity="warning" if touched else "info")


def _never(evidence: Evidence) -> Iterator[Found]:
    found = evidence.body("deploys")
    if evidence.wanted.stack and found and not found["current"]:
        cause = f"{evidence.wanted.stack} was never deployed to its end on this host"
        yield Found(cause, ("there is no current release",), deploy(evidence))


def _edited(evidence: Evidence) -> Iterator[Found]:
    for one in evidence.containers:
        if evidence.record.edited(one):
            cause = f"somebody changed the container {one.name} by hand: a restart or a deploy may undo it"
            yield Found(
                cause, ("its limits, networks or name are not as the deploy left them",), deploy(evidence), one.service
            )
    if evidence.manifest is None:
        return
    for name in sorted({one.service for one in evidence.containers} - evidence.manifest.services.keys()):
        cause = f"{name} runs in the stack and is not in its current release"
        yield Found(cause, (f"a container of the project {evidence.wanted.stack}",), deploy(evidence), name)


def _migration(evidence: Evidence) -> Iterator[Found]:
    for name, verdict in evidence.verdicts.items():
        if verdict.state == "failed" and evidence.manifest and evidence.manifest.services[name].one_shot:
            cause = f"the one-shot {name} did not do its work: what it prepares is missing"
            seen = (verdict.reason, *last(evidence.log(name)))
            yield Found(cause, seen, deploy(evidence), name)
            return
    ends = evidence.body("deploys").get("ends", [])
    if ends and ends[-1]["result"] != "deployed" and ends[-1]["phase"] == "one-shots":
        seen = last(str(ends[-1]["fault"]).splitlines(), 4)
        yield Found("a migration failed in the last deploy; the release before runs", seen, deploy(evidence))


RULES = (
    Rule(
        "deploy-half-way",
        "error",
        94,
        ("half of the services are new", "deploy was interrupted", "neither old nor new"),
        "A crash or a kill left a deploy half-way, and nobody is at work on it.",
        "`invoke deploy` finishes it or goes back.",
        _half_way,
    ),
    Rule(
        "at-work",
        "info",
        93,
        ("services come and go",),
        "Somebody deploys or restores right now.",
        "Wait; `invoke attach` follows a deploy.",
        _at_work,
    ),
    Rule(
        "on-hold",
        "info",
        45,
        ("cannot deploy", "watchdog does not heal"),
        "Somebody asked that nobody deploys.",
        "Wait, or `invoke release-hold` when the reason is gone.",
        _hold,
    ),
    Rule(
        "deploy-failed",
        "warning",
        50,
        ("deploy fails", "change is not live", "rolled back", "old version"),
        "The last deploy did not pass; the release before runs, unless going back failed too.",
        "Mend what it says, and deploy again.",
        _failed,
    ),
    Rule(
        "never-deployed",
        "warning",
        60,
        ("nothing runs", "nothing answers"),
        "The stack was never deployed to its end on this host.",
        "`invoke deploy`.",
        _never,
    ),
    Rule(
        "changed-by-hand",
        "warning",
        40,
        ("works differently than in the files", "limits are not as written"),
        "A container is not as its deploy left it, or does not belong to the release.",
        "Write the change into the Compose files, and `invoke deploy`.",
        _edited,
    ),
    Rule(
        "migration-failed",
        "error",
        84,
        ("failed migration", "health 503", "column does not exist", "relation does not exist", "deploy fails"),
        "A one-shot, such as a migration, ended with an error.",
        "Its last words say why; mend it and `invoke deploy`.",
        _migration,
    ),
)
