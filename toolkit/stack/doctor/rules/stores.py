"""Rules about databases and caches: down, at another address, refusing a login, full, without what is asked of them."""

from collections.abc import Callable, Iterator
from typing import Any

from toolkit.stack.doctor import roles
from toolkit.stack.doctor.evidence import Evidence, Link, links
from toolkit.stack.doctor.rule import Found, Rule, Severity, deploy, last, lately, logs, verb

_ITSELF = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104 - what people write
APART = "which is in none of its networks"
# Percent of the connections that a database allows.
CROWDED = 90


def _down(evidence: Evidence) -> Iterator[Found]:
    yield from _not_up(evidence, roles.databases(evidence), "the database {} is down: whoever needs it fails")


def _cache_down(evidence: Evidence) -> Iterator[Found]:
    yield from _not_up(evidence, roles.caches(evidence), "the cache {} is down: limits and sessions come and go")


def _not_up(evidence: Evidence, names: list[str], told: str) -> Iterator[Found]:
    for name in names:
        verdict = evidence.verdicts.get(name)
        if verdict and verdict.state in ("failed", "missing"):
            aimed = {one.service for one in links(evidence) if name in roles.answering(evidence, one.host)}
            needed = sorted(aimed & set(evidence.services))
            seen = (verdict.reason, *last(evidence.log(name), 2))
            seen += (f"needed by {', '.join(needed)}",) if needed else ()
            yield Found(told.format(name), seen, deploy(evidence), name)


def address_rule(wanted: str) -> Callable[[Evidence], Iterator[Found]]:
    """Return the function that finds variables of one role that point to nobody."""

    def find(evidence: Evidence) -> Iterator[Found]:
        told: dict[tuple[str, str], list[str]] = {}
        for link in links(evidence):
            if (roles.role(link) or "service") == wanted and (why := _astray(evidence, link)):
                told.setdefault((link.host, why), []).append(f"{link.service}: {link.variable} → {link.target}")
        for (host, why), seen in told.items():
            service, variable = seen[0].partition(":")[0], seen[0].split(" ")[1]
            cause = f"{variable} of {service} points to {host}, {why}"
            yield Found(cause, tuple(seen), _join(evidence) if why is APART else _mend(evidence), service)

    return find


def _join(evidence: Evidence) -> str:
    return f"give both a network in the Compose files; where they have one, `{deploy(evidence)}` brings it back"


def _mend(evidence: Evidence) -> str:
    return f"correct the address in the Compose files or stack.variables, then `{verb(evidence, 'deploy')}`"


def _astray(evidence: Evidence, link: Link) -> str:
    """Return why an address leads nowhere, as far as the stack itself can tell."""
    # Whoever shares the network of the host, or of another container, has no names of its own.
    if not evidence.docker or evidence.fault("inspected") or not link.networks or "host" in link.networks:
        return ""
    if link.host in _ITSELF:
        return "which in a container is the container itself" if link.scheme in _STORE_SCHEMES else ""
    found = roles.answering(evidence, link.host)
    if not found:
        return "" if _may_be_elsewhere(evidence, link) else "and nobody in the stack goes by that name"
    shared = any(
        link.networks & set(one["networks"]) and one["service"] in found
        for one in evidence.described
        for name, network in one["networks"].items()
        if link.host in (*network["aliases"], network["ip"]) and name in link.networks
    )
    return "" if shared else APART


def _may_be_elsewhere(evidence: Evidence, link: Link) -> bool:
    """Whether a name may belong to somebody outside of the stack, or to a container that is gone at the moment."""
    known = evidence.manifest is not None and link.host in evidence.manifest.services
    foreign = any(not name.startswith(f"{evidence.wanted.stack}_") for name in link.networks)
    return known or foreign or "." in link.host or link.host in link.given


_STORE_SCHEMES = {"postgres", "postgresql", "mysql", "mariadb", "redis", "rediss", "valkey", "amqp", "mongodb"}


def _login(evidence: Evidence) -> Iterator[Found]:
    seen: dict[str, str] = {}
    for service, line in evidence.phrases("auth"):
        seen.setdefault(service, line)
    if seen:
        stores = [name for name in seen if evidence.kind(name)]
        others = [name for name in seen if not evidence.kind(name)]
        who = f"a login of {', '.join(others)}" if others else "somebody's login"
        cause = f"{stores[0] if stores else 'a store'} refuses {who}: the password is not the one it was made with"
        compare = verb(evidence, "secrets.diff")
        fix = f"set the password inside of the store to the delivered one, or take it back: `{compare}`"
        yield Found(
            cause,
            tuple(f"{name}: {line}" for name, line in list(seen.items())[:3]),
            fix,
            (others or stores)[0],
            severity=lately(evidence),
        )


def _missing(evidence: Evidence) -> Iterator[Found]:
    for name, told in evidence.each("postgres"):
        for link in links(evidence):
            if name[0] not in roles.answering(evidence, link.host) or not link.scheme.startswith("postgres"):
                continue
            if link.database and told["databases"] and link.database not in told["databases"]:
                cause = f"{link.service} asks {name[0]} for the database {link.database}, which it does not have"
                seen = (f"{link.variable} → {link.target}", f"it has {', '.join(told['databases'])}")
                yield Found(cause, seen, _mend(evidence), link.service)
            elif link.user and link.user not in told["roles"]:
                cause = f"{link.service} logs in to {name[0]} as {link.user}, whom it does not know"
                yield Found(
                    cause, (f"{link.variable}", f"it knows {', '.join(told['roles'])}"), _mend(evidence), link.service
                )
    for service, line in evidence.phrases("missing-database"):
        if not evidence.kind(service):
            cause = f"{service} asks for a database that is not there"
            yield Found(cause, (line,), _mend(evidence), service, severity=lately(evidence))


def _crowded(evidence: Evidence) -> Iterator[Found]:
    for name, told in evidence.each("postgres"):
        if 100 * told["connections"] >= CROWDED * told["most"]:
            cause = f"{name[0]} has hardly a connection left to give"
            yield Found(
                cause,
                (f"{told['connections']} of {told['most']} taken",),
                verb(evidence, "exec", f"--service {name[0]} -- psql -c 'TABLE pg_stat_activity'"),
                name[0],
            )
    for service, line in evidence.phrases("too-many"):
        cause = f"{service} is refused a connection: its store gives no more"
        yield Found(cause, (line,), logs(evidence, service), service, severity=lately(evidence))


def _refused(evidence: Evidence) -> Iterator[Found]:
    for phrase, cause in (
        ("unknown-host", "finds no address for what it needs"),
        ("refused", "is refused by what it needs"),
    ):
        for service, line in evidence.phrases(phrase):
            if not evidence.kind(service):
                severity: Severity = "info" if evidence.calm else "warning"
                yield Found(f"{service} {cause}", (line,), logs(evidence, service), service, severity=severity)


def _writes(evidence: Evidence) -> Iterator[Found]:
    for name, told in evidence.each("redis"):
        bad: list[Any] = [
            key for key in ("rdb_last_bgsave_status", "aof_last_write_status") if told.get(key, "ok") != "ok"
        ]
        if bad:
            cause = f"{name[0]} cannot write its data to the disk, and refuses writes"
            yield Found(cause, tuple(f"{key} is {told[key]}" for key in bad), logs(evidence, name[0]), name[0])
    for service, line in evidence.phrases("read-only"):
        cause = f"{service} is refused writes"
        yield Found(cause, (line,), logs(evidence, service), service, severity=lately(evidence))


_WRONG = "Correct the address, and `invoke deploy`."

RULES = (
    Rule(
        "database-down",
        "error",
        85,
        ("database connection", "health 503", "internal server error", "site down"),
        "A database does not run, or its health check fails: applications answer 503.",
        "`invoke deploy` starts it; its last words say why it ended.",
        _down,
    ),
    Rule(
        "cache-down",
        "error",
        79,
        ("flaky rate limits", "rate limit", "sessions lost", "metrics empty", "logged out"),
        "A cache does not run: limits, sessions and what is counted there come and go.",
        "`invoke deploy` starts it.",
        _cache_down,
    ),
    Rule(
        "database-address",
        "error",
        86,
        ("database connection", "health 503", "connection refused", "could not translate host name"),
        "A variable that names a database points to nobody, to the container itself, or into another network.",
        _WRONG,
        address_rule("database"),
    ),
    Rule(
        "cache-address",
        "error",
        79,
        ("flaky rate limits", "rate limit", "sessions lost"),
        "A variable that names a cache points to nobody, or into another network.",
        _WRONG,
        address_rule("cache"),
    ),
    Rule(
        "service-address",
        "error",
        72,
        ("502 bad gateway", "connection refused", "could not resolve host"),
        "A variable that names another service points to nobody, or into another network.",
        _WRONG,
        address_rule("service"),
    ),
    Rule(
        "login-refused",
        "error",
        83,
        ("database connection", "password authentication failed", "health 503", "access denied"),
        "A store refuses a password: a volume keeps the one that it was first made with.",
        "Set the password inside of the store to the delivered one, or take the change back.",
        _login,
    ),
    Rule(
        "database-missing",
        "error",
        83,
        ("database connection", "database does not exist", "role does not exist", "health 503"),
        "An application asks for a database, or logs in as a user, that is not there.",
        "Correct the address, or make what is missing: first-start scripts run on an empty volume only.",
        _missing,
    ),
    Rule(
        "connections-out",
        "error",
        74,
        ("database connection", "too many clients", "sorry, too many clients", "site slow"),
        "A store has no connection left to give.",
        "Find who holds them; a pool with a limit, or fewer replicas.",
        _crowded,
    ),
    Rule(
        "store-refuses-writes",
        "error",
        75,
        ("cannot write", "MISCONF", "jobs lost"),
        "A store cannot write to its disk, or is read-only, and refuses writes.",
        "Make room on the disk, or find the primary.",
        _writes,
    ),
    Rule(
        "refused-connection",
        "warning",
        36,
        ("connection refused", "could not resolve host", "database connection"),
        "A service wrote lately that something it needs is not reached.",
        "If nothing worse is found, it waited for a start and has recovered.",
        _refused,
    ),
)
