"""Rules about jobs: nobody takes them, two kinds of process do, they are lost, or they are put elsewhere."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from toolkit.stack.doctor import roles
from toolkit.stack.doctor.evidence import Evidence
from toolkit.stack.doctor.rule import Found, Rule, deploy, last, logs, verb
from toolkit.stack.doctor.rules.stores import address_rule

# So many waiting jobs are a heap although somebody takes them.
HEAP = 1000
_OFF = ("DISABLE", "NO_", "SKIP", "WITHOUT")


def _down(evidence: Evidence) -> Iterator[Found]:
    for name in roles.workers(evidence):
        verdict = evidence.verdicts.get(name)
        if verdict and verdict.state in ("failed", "missing"):
            seen = (verdict.reason, *last(evidence.log(name), 2), *_waiting(evidence))
            yield Found(f"{name}, which takes jobs, does not work: they pile up", seen, deploy(evidence), name)
    for name, count in evidence.manifest.services.items() if evidence.manifest else ():
        if roles.is_worker(evidence, name) and count.replicas == 0 and roles.queues(evidence):
            cause = f"no copy of {name} is wanted: nobody takes jobs"
            yield Found(
                cause,
                ("it is scaled to 0", *_waiting(evidence)),
                f"raise stack.scale.{name}, then `{verb(evidence, 'deploy')}`",
                name,
            )


def _waiting(evidence: Evidence) -> tuple[str, ...]:
    rows = [(name, one) for name in roles.queues(evidence) for one in _redis(evidence, name).get("lists", ())]
    return tuple(f"{name}: {one['length']} in {one['key']}" for name, one in rows[:3])


def _redis(evidence: Evidence, name: str) -> dict[str, Any]:
    return evidence.body(f"redis {name}")


def _queue_down(evidence: Evidence) -> Iterator[Found]:
    for name in roles.queues(evidence):
        verdict = evidence.verdicts.get(name)
        if verdict and verdict.state in ("failed", "missing"):
            cause = f"the queue {name} is down: no job is accepted and none is done"
            yield Found(cause, (verdict.reason, *last(evidence.log(name), 2)), deploy(evidence), name)


def _elsewhere(evidence: Evidence) -> Iterator[Found]:
    """Find those who take jobs from another place than the others put them into."""
    places: dict[tuple[frozenset[str], str], list[str]] = defaultdict(list)
    for link in roles.queue_links(evidence):
        if answering := roles.answering(evidence, link.host):
            places[frozenset(answering), link.database or "0"].append(
                f"{link.service}: {link.variable} → {link.target}"
            )
    if len(places) < 2:
        return
    workers = set(roles.workers(evidence))
    here = {place: {one.partition(":")[0] for one in told} for place, told in places.items()}
    takers = {place for place, names in here.items() if names & workers}
    givers = {place for place, names in here.items() if names - workers}
    if takers and givers and not takers & givers:
        service = min(name for place in takers for name in here[place] & workers)
        seen = tuple(line for told in places.values() for line in told)
        cause = f"{service} takes jobs from another place than the others put them into"
        fix = f"give both the same address, then `{verb(evidence, 'deploy')}`"
        yield Found(cause, (*seen, *_waiting(evidence)), fix, service)


def _idle(evidence: Evidence) -> Iterator[Found]:
    for name in roles.queues(evidence):
        told = _redis(evidence, name)
        for one in told.get("lists", ()):
            if one["kind"] != "zset" and one["length"] and not told.get("takers", True):
                cause = f"{one['length']} jobs wait in {name}, and nobody takes any"
                seen = (f"{one['key']}: {one['length']}", f"connected: {', '.join(told['clients']) or 'nobody'}")
                workers = roles.workers(evidence)
                fix = logs(evidence, workers[0]) if workers else deploy(evidence)
                yield Found(cause, seen, fix, workers[0] if workers else name)
                break
            if one["length"] >= HEAP:
                cause = f"{one['length']} jobs wait in {name}: more come than are done"
                yield Found(
                    cause,
                    (f"{one['key']}: {one['length']}",),
                    "raise stack.scale of the workers and deploy",
                    name,
                    severity="warning",
                )
                break


def _evicts(evidence: Evidence) -> Iterator[Found]:
    for name in roles.queues(evidence):
        told = _redis(evidence, name)
        policy, most = told.get("maxmemory_policy", "noeviction"), int(told.get("maxmemory", 0))
        if policy != "noeviction":
            lost = int(told.get("evicted_keys", 0))
            seen = (
                f"maxmemory-policy is {policy}, maxmemory {most or 'unlimited'}",
                f"{lost} keys evicted since its start",
            )
            cause = f"{name} holds jobs, and throws some away when its memory is full"
            yield Found(
                cause, seen, f"set `--maxmemory-policy noeviction` for {name}, then `{verb(evidence, 'deploy')}`", name
            )


def _forgets(evidence: Evidence) -> Iterator[Found]:
    for name in roles.queues(evidence):
        told = _redis(evidence, name)
        if told.get("aof_enabled", "1") == "0":
            seen = ("appendonly is off", f"it was started {told.get('uptime_in_seconds', '?')} s ago")
            cause = f"{name} holds jobs in memory only: a restart loses what came since the last save"
            yield Found(
                cause, seen, f"set `--appendonly yes` and a volume for {name}, then `{verb(evidence, 'deploy')}`", name
            )


def _twice(evidence: Evidence) -> Iterator[Found]:
    workers = set(roles.workers(evidence))
    told = set()
    for one in evidence.described:
        name = one["service"]
        on = [switch for switch, value in one["switches"].items() if value is not switch.startswith(_OFF)]
        if on and workers and name not in workers and not evidence.kind(name) and name not in told:
            told.add(name)
            seen = (
                *(f"{name}: {switch} says that it takes jobs" for switch in on),
                f"so do {', '.join(sorted(workers))}",
            )
            cause = f"{name} takes jobs beside {', '.join(sorted(workers))}: a job may be done twice"
            yield Found(cause, seen, f"turn that off for {name}, then `{verb(evidence, 'deploy')}`", name)
    for redis, found in evidence.each("redis"):
        takers = set(found.get("takers", ()))
        for name in sorted(takers - workers - told):
            if takers & workers:
                cause = f"{name} takes jobs from {redis[0]} beside {', '.join(sorted(takers & workers))}"
                seen = (f"both wait for jobs of {redis[0]} right now",)
                yield Found(
                    f"{cause}: a job may be done twice",
                    seen,
                    f"turn that off for {name}, then `{verb(evidence, 'deploy')}`",
                    name,
                )
        if len(takers & workers) > 1:
            names = ", ".join(sorted(takers & workers))
            cause = f"{names} all take from {redis[0]}: if it is the same list, each job is done by one kind at random"
            yield Found(
                cause,
                (f"waiting at {redis[0]}: {names}",),
                "give each kind a list of its own",
                min(takers),
                severity="info",
            )


RULES = (
    Rule(
        "worker-down",
        "error",
        84,
        ("mail never arrives", "jobs pile up", "worker not taking jobs", "queue grows", "nothing is sent"),
        "The worker does not run, or is scaled to 0: jobs pile up.",
        "`invoke deploy` starts it; its last words say why it ended.",
        _down,
    ),
    Rule(
        "queue-down",
        "error",
        86,
        ("mail never arrives", "jobs pile up", "worker not taking jobs", "health 503"),
        "The queue itself does not run.",
        "`invoke deploy` starts it.",
        _queue_down,
    ),
    Rule(
        "queue-address",
        "error",
        85,
        ("mail never arrives", "jobs pile up", "worker not taking jobs"),
        "A variable that names the queue points to nobody, or into another network.",
        "Correct the address, and `invoke deploy`.",
        address_rule("queue"),
    ),
    Rule(
        "queue-elsewhere",
        "error",
        85,
        ("mail never arrives", "jobs pile up", "worker not taking jobs", "jobs vanish"),
        "Workers take jobs from another Redis, or another database of it, than the others put them into.",
        "Give both the same address, and `invoke deploy`.",
        _elsewhere,
    ),
    Rule(
        "jobs-wait",
        "error",
        66,
        ("mail never arrives", "jobs pile up", "worker not taking jobs", "queue grows"),
        "Jobs wait and nobody takes any, or more come than are done.",
        "Read the worker's log; scale it where it is only slow.",
        _idle,
    ),
    Rule(
        "queue-evicts",
        "error",
        71,
        ("jobs vanish", "jobs lost", "mail never arrives"),
        "A Redis with jobs evicts keys when its memory is full.",
        "`maxmemory-policy noeviction`: a full queue then refuses, and nothing is lost unseen.",
        _evicts,
    ),
    Rule(
        "queue-forgets",
        "error",
        70,
        ("jobs vanish", "jobs lost", "jobs lost after a restart"),
        "A Redis with jobs keeps no append-only file: a restart loses them.",
        "`appendonly yes`, and a volume.",
        _forgets,
    ),
    Rule(
        "two-consumers",
        "error",
        69,
        ("jobs run twice", "mail sent twice", "duplicates"),
        "Another process takes jobs beside the worker, such as an API whose switch says so.",
        "Let one kind of process consume: switch it off in the other.",
        _twice,
    ),
)
