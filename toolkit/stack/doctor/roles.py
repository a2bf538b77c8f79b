"""Roles: which services take jobs, which Redis holds them, and which one may be lost. Told from names and from use."""

import re
from collections.abc import Sequence

from toolkit.stack.doctor.evidence import Evidence, Link, links

QUEUE = re.compile(r"QUEUE|JOBS?(_|$)|BROKER|CELERY|BULL|SIDEKIQ", re.IGNORECASE)
CACHE = re.compile(r"CACHE|RATE|LIMIT|SESSION", re.IGNORECASE)
DATABASE = re.compile(r"DATABASE|(^|_)DB(_|$)|POSTGRES|MYSQL|MARIA|(^|_)PG", re.IGNORECASE)
WORKER = re.compile(r"worker|consumer|jobs?\b|celery|sidekiq|cron|scheduler", re.IGNORECASE)
STORES = {"postgres", "redis", "clickhouse", "mysql"}
_SQL = {"postgres", "postgresql", "mysql", "mariadb", "clickhouse"}


def is_worker(evidence: Evidence, service: str) -> bool:
    """Whether a service is there to take jobs."""
    if evidence.kind(service):
        return False
    return bool(WORKER.search(service)) or any(one["command"] for one in evidence.of(service))


def workers(evidence: Evidence) -> list[str]:
    return [name for name in evidence.services if is_worker(evidence, name)]


def databases(evidence: Evidence) -> list[str]:
    return [name for name in evidence.services if evidence.kind(name) in STORES - {"redis"}]


def role(link: Link, target: str = "") -> str:
    """Return what a variable points to: `queue`, `cache`, `database`, or nothing. `target` is the kind of who answers.

    The variable's own name says it; a lone `REDIS_URL` does not, and then only the kind of who answers does.
    """
    if QUEUE.search(link.variable):
        return "queue"
    if CACHE.search(link.variable):
        return "cache"
    if DATABASE.search(link.variable) or link.scheme.partition("+")[0] in _SQL or target in STORES - {"redis"}:
        return "database"
    return ""


def answering(evidence: Evidence, host: str) -> set[str]:
    """Return the services that go by this name, in whatever network."""
    return {
        one["service"]
        for one in evidence.described
        if any(host in network["aliases"] or host == network["ip"] for network in one["networks"].values())
    }


def queue_links(evidence: Evidence) -> list[Link]:
    """Return variables of applications that say where jobs are."""
    return [one for one in links(evidence) if role(one) == "queue"]


def queues(evidence: Evidence) -> list[str]:
    """Return the services that hold jobs in a Redis: by their names, by who points there, or because jobs are taken."""
    redis = [name for name in evidence.services if evidence.kind(name) == "redis"]
    named = {name for name in redis if QUEUE.search(name)}
    if not named:
        aimed = {name for link in queue_links(evidence) for name in answering(evidence, link.host)}
        named = {name for name in redis if name in aimed or _takers(evidence, name)}
    if not named and len(redis) == 1 and any(_points(evidence, worker, redis) for worker in workers(evidence)):
        named = set(redis)
    return sorted(named)


def _points(evidence: Evidence, service: str, targets: Sequence[str]) -> bool:
    mine = (link for link in links(evidence) if link.service == service)
    return any(answering(evidence, link.host) & set(targets) for link in mine)


def _takers(evidence: Evidence, redis: str) -> list[str]:
    found: list[str] = evidence.body(f"redis {redis}").get("takers", [])
    return found


def caches(evidence: Evidence) -> list[str]:
    """Return every Redis that holds no jobs."""
    held = queues(evidence)
    return [name for name in evidence.services if evidence.kind(name) == "redis" and name not in held]
