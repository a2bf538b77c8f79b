"""Rules about what answers over HTTP and TLS: health, metrics, probes, certificates."""

import re
from collections.abc import Iterator
from typing import Any

from toolkit.crypto import certificates
from toolkit.stack.doctor import roles
from toolkit.stack.doctor.evidence import Evidence
from toolkit.stack.doctor.gather.containers import PHRASES
from toolkit.stack.doctor.rule import Found, Rule, deploy, lately, logs, there, verb
from toolkit.words.values import Duration

# Of its life, the share that may be left before somebody has to look; and never more than two weeks. Whoever renews
# by itself does so earlier: Let's Encrypt's clients with a third left, Caddy's own authority with a fifth.
SHARE, LONGEST = 0.1, 14 * 24 * 3600.0
_SAMPLE = re.compile(r"^[a-zA-Z_:][\w:]*(\{.*\})? ", re.MULTILINE)
_TABLE = re.compile(PHRASES["missing-table"] + r"|UndefinedColumn|column \S+ does not exist", re.IGNORECASE)
_SCRAPER = re.compile(r"prometheus|victoria|grafana/(agent|alloy)|vmagent", re.IGNORECASE)


def _answers(evidence: Evidence, path: str) -> Iterator[tuple[str, str, Any]]:
    """Yield (service, port, answer) for a path that services were asked for."""
    for (service, port, asked), answer in ((tuple(words), one) for words, one in evidence.each("http")):
        if asked == path:
            yield service, port, answer


def _health(evidence: Evidence) -> Iterator[Found]:
    for service, port, answer in _answers(evidence, "/health"):
        if int(answer.get("status", 0)) >= 500 and not _TABLE.search(answer["text"]):
            seen = (f"port {port} answers {answer['status']}: {answer['text'][:200]}",)
            cause = f"{service} itself says that something it needs is not there"
            yield Found(cause, seen, logs(evidence, service), service)


def _migrations(evidence: Evidence) -> Iterator[Found]:
    seen = dict(evidence.phrases("missing-table"))
    for service, port, answer in _answers(evidence, "/health"):
        if int(answer.get("status", 0)) >= 500 and _TABLE.search(answer["text"]):
            seen.setdefault(service, f"port {port} answers {answer['status']}: {answer['text'][:200]}")
    asking = {name: line for name, line in seen.items() if not evidence.kind(name)}
    if asking:
        names = ", ".join(sorted(asking))
        lines = tuple(f"{name}: {line}" for name, line in list(seen.items())[:3])
        empty = tuple(f"{name[0]} has no tables" for name, one in evidence.each("postgres") if one["tables"] == 0)
        cause = f"{names} asks for tables that are not there: migrations did not run on this database"
        yield Found(cause, (*lines, *empty), deploy(evidence), min(asking), severity=lately(evidence))


def _has_samples(answer: Any) -> bool:
    return bool(_SAMPLE.search(answer.get("text", "")))


def _blocked(evidence: Evidence) -> Iterator[Found]:
    healthy = {(service, port) for service, port, one in _answers(evidence, "/health") if one.get("status") == 200}
    for service, port, answer in _answers(evidence, "/metrics"):
        status = answer.get("status", 0)
        if status in (401, 403, 405, 407) or (status == 0 and (service, port) in healthy):
            told = f"answers {status}" if status else str(answer.get("fault"))
            seen = (
                f"{service}, port {port}, /metrics: {told}",
                *(("/health answers 200",) if (service, port) in healthy else ()),
            )
            cause = f"/metrics of {service} is blocked for whoever asks from inside of the host"
            yield Found(cause, seen, logs(evidence, service), service)
    yield from _apart(evidence)


def _apart(evidence: Evidence) -> Iterator[Found]:
    """Find scrapers that share no network with a service that has metrics."""
    networks = {one["service"]: set(one["networks"]) for one in evidence.described}
    images = {one.service: one.image for one in evidence.containers}
    for scraper in sorted(name for name, image in images.items() if _SCRAPER.search(image)):
        for service, _, answer in _answers(evidence, "/metrics"):
            if _has_samples(answer) and service != scraper and not networks[service] & networks[scraper]:
                seen = (
                    f"{scraper} is in {', '.join(sorted(networks[scraper]))}",
                    f"{service} in {', '.join(sorted(networks[service]))}",
                )
                fix = f"give both a network, then `{verb(evidence, 'deploy')}`"
                yield Found(f"{scraper} cannot reach the metrics of {service}", seen, fix, service)


def _empty(evidence: Evidence) -> Iterator[Found]:
    for service, port, answer in _answers(evidence, "/metrics"):
        is_page = "html" in answer.get("type", "") or "json" in answer.get("type", "")
        if answer.get("status") == 200 and not _has_samples(answer) and not is_page:
            seen: tuple[str, ...] = (
                f"{service}, port {port}, /metrics: 200 and {answer['bytes']} bytes without a number",
            )
            fresh = [
                one.name
                for one in evidence.containers
                if one.age < 300 and one.service in (service, *roles.caches(evidence))
            ]
            seen += (f"started lately: {', '.join(fresh)}",) if fresh else ()
            cause = f"/metrics of {service} is empty: whoever counts has not done so since its cache was empty"
            yield Found(cause, seen, "wait a minute, and ask again", service)


def _probes(evidence: Evidence) -> Iterator[Found]:
    for one in evidence.rows("probes"):
        if one["said"]:
            fix = verb(evidence, "status")
            yield Found(f"the probe {one['url']} of the host file fails", (one["said"],), fix)


def _certificates(evidence: Evidence) -> Iterator[Found]:
    shown = evidence.rows("certificates")
    for one in (*shown, *evidence.rows("kept certificates")):
        try:
            begin, end = certificates.validity(one["certificate"])
        except ValueError:
            continue
        left = end - evidence.now
        if left > min(LONGEST, SHARE * (end - begin)):
            continue
        state = f"ended {_ago(-left)} ago" if left <= 0 else f"ends in {_ago(left)}"
        named = f" for {one['name']}" if one["name"] else ""
        served = one in shown
        seen = (f"{one['where']}{named}", f"of {one['of']}" if one["of"] else "nobody of the stack publishes it")
        fix = logs(evidence, one["of"]) if one["of"] else there(evidence, "ss -tlnp")
        severity: Any = "error" if left <= 0 and served else "warning"
        yield Found(f"the certificate at {one['where']} {state}", seen, fix, one["of"], severity=severity)


def _ago(seconds: float) -> str:
    return f"{seconds / 86400:.0f} days" if seconds >= 2 * 86400 else str(Duration(round(seconds)))


RULES = (
    Rule(
        "migrations-missing",
        "error",
        82,
        ("health 503", "failed migration", "relation does not exist", "column does not exist", "internal server error"),
        "An application asks for tables that its database does not have.",
        "`invoke deploy` runs the one-shots; look whether it is the right database.",
        _migrations,
    ),
    Rule(
        "answers-503",
        "error",
        46,
        ("health 503", "service unavailable", "site down"),
        "A service answers `/health` with a server error: what it says comes with it.",
        "Mend what it names; its log says more.",
        _health,
    ),
    Rule(
        "metrics-blocked",
        "error",
        58,
        ("metrics empty", "scrape fails", "no graphs"),
        "`/metrics` of a service is refused, or its scraper shares no network with it.",
        "Allow the scraper's address or token, or give both a network.",
        _blocked,
    ),
    Rule(
        "metrics-warming",
        "warning",
        56,
        ("metrics empty", "no graphs"),
        "`/metrics` answers and has no numbers yet: the cache that they are kept in was emptied lately.",
        "Wait until they are counted again; if it stays so, the worker that counts is not well.",
        _empty,
    ),
    Rule(
        "probe-fails",
        "error",
        48,
        ("site down", "502 bad gateway", "probe fails"),
        "A probe of the host file does not get the answer that it wants.",
        "Look at the service behind it.",
        _probes,
    ),
    Rule(
        "certificate-ends",
        "error",
        64,
        ("certificate expired", "not secure", "tls", "browser warns"),
        "A certificate that a port shows, or that a proxy keeps in its volume, has ended or is about to.",
        "See why it was not renewed: DNS, port 80, or a limit of the authority.",
        _certificates,
    ),
)
