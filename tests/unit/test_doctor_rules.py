"""Every rule of the doctor over evidence that was recorded on a real host, and then made worse in one place."""

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.stack.doctor.diagnosis import Diagnosis, diagnose
from toolkit.stack.doctor.evidence import Evidence, Wanted
from toolkit.stack.doctor.rules import RULES

RECORDED = json.loads(Path("tests/cases/doctor/relay.json").read_text())
DAY = 86400.0


@dataclass
class Patient:
    """A healthy relay, to be made ill."""

    sections: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(RECORDED["sections"]))
    wanted: Wanted = field(
        default_factory=lambda: Wanted(**RECORDED["wanted"] | {"open": tuple(RECORDED["wanted"]["open"])})
    )
    now: float = RECORDED["now"]

    def value(self, name: str) -> Any:
        return self.sections[name]["value"]

    def put(self, name: str, value: Any) -> None:
        self.sections[name] = {"value": value}

    def fails(self, name: str, fault: str) -> None:
        self.sections[name] = {"fault": fault}

    def container(self, service: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Change what Docker says of each container of a service."""
        head, *rows = self.value("inspected").split("\n")
        bodies = [json.loads(row) for row in rows]
        for body in bodies:
            if body["labels"]["com.docker.compose.service"] == service:
                change(body)
        self.put("inspected", "\n".join([head, *(json.dumps(body) for body in bodies)]))

    def state(self, service: str, **state: Any) -> None:
        self.container(service, lambda body: body["state"].update(state))

    def stops(self, service: str, code: int = 1) -> None:
        self.state(service, Status="exited", ExitCode=code)
        self.sections.pop(f"redis {service}", None)
        self.sections.pop(f"postgres {service}", None)

    def is_unhealthy(self, service: str, said: str = "no answer") -> None:
        self.state(service, Health={"Status": "unhealthy", "Log": [{"Output": said}]})

    def described(self, service: str) -> list[dict[str, Any]]:
        return [one for one in self.value("described") if one["service"] == service]

    def points(self, service: str, variable: str, **parts: Any) -> None:
        for one in self.described(service):
            for link in one["links"]:
                if link["variable"] == variable:
                    link.update(parts)

    def says(self, service: str, phrase: str, line: str) -> None:
        for one in self.described(service):
            self.value(f"log {one['name']}")["words"].append({"phrase": phrase, "count": 1, "line": line})

    def answers(self, service: str, path: str, **answer: Any) -> None:
        self.put(f"http {service} 3000 {path}", {"status": 200, "bytes": 0, "type": "text/plain", "text": ""} | answer)

    def ended(self, result: str, phase: str, fault: str, code: int = 18) -> None:
        end = {
            "result": result,
            "phase": phase,
            "fault": fault,
            "code": code,
            "at": self.now - 60,
            "release": "a",
            "target": "b",
        }
        self.value("deploys")["ends"].append(end)

    @property
    def evidence(self) -> Evidence:
        return Evidence(self.wanted, self.sections, self.now)

    def diagnosis(self, symptom: str = "") -> Diagnosis:
        return diagnose(self.evidence, symptom)


def certificate(left: timedelta, life: timedelta = timedelta(days=90)) -> str:
    """Return one that ends in `left` from when the evidence was recorded, as DER in base64."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example")])
    end = datetime.fromtimestamp(RECORDED["now"], UTC) + left
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), end - life, end)
    return base64.b64encode(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)).decode()


def disk(patient: Patient, **changed: Any) -> None:
    patient.value("disks")[0].update(changed)


def reached(patient: Patient, **found: Any) -> None:
    base = {"address": "192.0.2.1", "port": 22, "patience": 3.0, "error": "no login", "hint": "", "untrusted": False}
    patient.sections = {"reach": {"value": base | {"tcp": "open", "banner": "SSH-2.0-x"} | found}}


def serves(patient: Patient, left: timedelta, **more: Any) -> None:
    patient.put(
        "certificates",
        [{"where": "port 443", "name": "shop.example", "of": "caddy", "certificate": certificate(left, **more)}],
    )


def stuck(patient: Patient) -> None:
    patient.value("redis redis-queue").update(
        takers=[], lists=[{"database": 0, "key": "jobs", "kind": "list", "length": 7}]
    )


def switched(patient: Patient, service: str, **switches: bool) -> None:
    for one in patient.described(service):
        one["switches"] = switches


def port(patient: Patient) -> None:
    patient.stops("caddy", 128)
    said = "driver failed: Bind for 0.0.0.0:443 failed: port is already allocated"
    patient.described("caddy")[0]["error"] = said
    patient.put("listening", [{"protocol": "tcp", "address": "0.0.0.0", "port": "443", "process": "apache2"}])


def killed(patient: Patient) -> None:
    patient.put("events", [{"service": "web", "project": "relay", "what": "oom", "exit_code": 0, "ago": 90}])


def crashed(patient: Patient) -> None:
    """Between two ends, when the container runs for a moment."""
    patient.state(
        "web",
        StartedAt=datetime.fromtimestamp(patient.now, UTC).strftime("%Y-%m-%dT%H:%M:%S.0Z"),
        Health={"Status": "starting", "Log": []},
    )
    death = {"service": "web", "project": "relay", "what": "die", "exit_code": 2, "ago": 10}
    patient.put("events", [death, death])


def scaled_to_nothing(patient: Patient) -> None:
    manifest = json.loads(patient.value("manifest"))
    manifest["services"]["worker"]["replicas"] = 0
    patient.put("manifest", json.dumps(manifest))
    head, *rows = patient.value("inspected").split("\n")
    patient.put("inspected", "\n".join([head, *(row for row in rows if '"worker"' not in row)]))


def other_networks(patient: Patient) -> None:
    patient.put(
        "described",
        [
            *patient.value("described"),
            {
                **patient.described("web")[0],
                "id": "x",
                "name": "prometheus",
                "service": "prometheus",
                "networks": {"elsewhere": {"ip": "172.30.0.2", "aliases": ["prometheus"]}},
                "links": [],
            },
        ],
    )
    head, *rows = patient.value("inspected").split("\n")
    body = json.loads(next(row for row in rows if "relay-web-1" in row))
    body |= {"id": "x", "name": "/prometheus", "image": "prom/prometheus:v3"}
    body["labels"]["com.docker.compose.service"] = "prometheus"
    patient.put("inspected", "\n".join([head, *rows, json.dumps(body)]))


# The rule that has to come first, whom it names, and what was done. The text is part of what is told.
CASES: list[tuple[str, str, str, Callable[[Patient], object]]] = [
    ("address-unknown", "", "no address", lambda p: reached(p, name_fault="Name or service not known", tcp="unknown")),
    ("host-silent", "", "port 443 answers", lambda p: reached(p, tcp="silent", banner="", open=[443])),
    ("ssh-refused", "", "connection refused", lambda p: reached(p, tcp="refused", banner="")),
    ("not-ssh", "", "HTTP/1.1 400", lambda p: reached(p, banner="HTTP/1.1 400 Bad Request")),
    ("not-ssh", "", "it says nothing", lambda p: reached(p, banner="")),
    (
        "host-key-changed",
        "",
        "THE HOST KEY HAS CHANGED",
        lambda p: reached(p, untrusted=True, error="THE HOST KEY HAS CHANGED"),
    ),
    ("login-refused-by-host", "", "no login", reached),
    (
        "login-refused-by-host",
        "",
        "behind a jump host",
        lambda p: reached(p, tcp="unknown", error="behind a jump host"),
    ),
    ("python-missing", "", "3.11", lambda p: setattr(p, "sections", {"no python": {"value": True}})),
    ("disk-full", "", "is full", lambda p: disk(p, free=1000)),
    ("disk-full", "", "nearly full", lambda p: disk(p, free=p.value("disks")[0]["size"] * 0.08)),
    ("inodes-out", "", "inodes used", lambda p: disk(p, inodes_free=2)),
    ("disk-read-only", "", "read-only", lambda p: disk(p, read_only=True)),
    (
        "memory-short",
        "",
        "of swap free",
        lambda p: p.value("memory").update(available=1 << 20, swap=1 << 30, swap_free=0),
    ),
    ("killed-by-kernel", "", "postgres, 5 m ago", lambda p: p.put("killed", [{"process": "postgres", "ago": 300}])),
    ("clock-off", "", "behind", lambda p: setattr(p, "wanted", replace(p.wanted, skew=-40.0))),
    ("clock-off", "", "ahead of", lambda p: setattr(p, "wanted", replace(p.wanted, skew=400.0))),
    ("clock-not-kept", "", "NTP=no", lambda p: p.value("clock").update(container=False)),
    (
        "name-unknown",
        "",
        "Temporary failure",
        lambda p: p.put("names", {"ghcr.io": "Temporary failure in name resolution"}),
    ),
    ("unit-failed", "", "certbot.service", lambda p: p.value("units").update(failed=["certbot.service"])),
    (
        "journal-down",
        "",
        "failed",
        lambda p: p.value("units")["known"]["systemd-journald.service"].update(ActiveState="failed"),
    ),
    ("reboot-pending", "", "linux-image", lambda p: p.put("reboot", {"required": True, "packages": ["linux-image-6"]})),
    ("docker-down", "", "no answer within", lambda p: p.fails("docker", "no answer within 3 s")),
    (
        "docker-down",
        "",
        "not installed",
        lambda p: (
            p.fails("docker", "docker does not run"),
            p.value("units")["known"]["docker.service"].update(LoadState="not-found"),
        ),
    ),
    (
        "registry-unreachable",
        "",
        "certificate verify failed",
        lambda p: p.value("registry ghcr.io").update(said="certificate verify failed"),
    ),
    (
        "image-not-pulled",
        "",
        "manifest unknown",
        lambda p: p.ended("failed", "pull", "ghcr.io/acme/relay:2: manifest unknown", 17),
    ),
    (
        "image-not-pulled",
        "",
        "unauthorized",
        lambda p: p.value("docker journal").append("2099-01-01T00:00:00+0000 box dockerd: unauthorized: token expired"),
    ),
    ("firewall-open", "", "no table", lambda p: p.value("firewall").update(live="")),
    (
        "firewall-open",
        "",
        "not as it should be",
        lambda p: p.value("firewall").update(live=p.value("firewall")["live"].replace("80, 443", "80, 443, 5432")),
    ),
    ("port-not-opened", "caddy", "443", lambda p: setattr(p, "wanted", replace(p.wanted, open=("22/tcp", "80/tcp")))),
    (
        "deploy-half-way",
        "",
        "from a to b",
        lambda p: p.value("deploys").update(transaction={"target": "b", "previous": "a", "passed": False}),
    ),
    ("deploy-half-way", "", "cannot be read", lambda p: p.value("deploys").update(damaged="the mark is damaged")),
    (
        "at-work",
        "",
        "ada@laptop",
        lambda p: p.value("deploys").update(busy=True, transaction={"target": "b", "previous": "a"}),
    ),
    ("at-work", "", "being put back", lambda p: p.value("deploys").update(restoring=True)),
    (
        "on-hold",
        "",
        "moving house",
        lambda p: p.value("deploys").update(hold={"who": "ada", "reason": "moving house", "until": p.now + 60}),
    ),
    ("deploy-failed", "", "the release before runs", lambda p: p.ended("rolled back", "gate", "web is not healthy")),
    (
        "deploy-failed",
        "",
        "neither the old nor the new",
        lambda p: p.ended("mixed", "stateless", "web is not healthy", 26),
    ),
    ("never-deployed", "", "relay was never deployed", lambda p: p.value("deploys").update(current="")),
    ("changed-by-hand", "web", "by hand", lambda p: p.container("web", lambda body: body.update(name="/other"))),
    ("migration-failed", "migrate", "exited with code 1", lambda p: p.stops("migrate")),
    ("migration-failed", "", "column exists", lambda p: p.ended("rolled back", "one-shots", "migrate: column exists")),
    ("port-taken", "caddy", "held by apache2", port),
    ("killed-at-limit", "web", "128 MiB", killed),
    ("service-crashing", "web", "ended 2 times", crashed),
    ("service-paused", "worker", "relay-worker-1: paused", lambda p: p.state("worker", Status="paused")),
    ("service-crashing", "web", "ends again", lambda p: p.state("web", Status="restarting", ExitCode=1)),
    ("service-down", "web", "exited with code 3", lambda p: p.stops("web", 3)),
    ("service-unhealthy", "web", "the check said: no answer", lambda p: p.is_unhealthy("web")),
    (
        "disk-full-inside",
        "web",
        "No space left",
        lambda p: (p.says("web", "disk-full", "No space left on device"), p.is_unhealthy("web")),
    ),
    (
        "given-up",
        "web",
        "restarts do not help",
        lambda p: p.value("watchdog")["seen"]["services"][6].update(service="web", gave_up=True, reason="hung"),
    ),
    (
        "database-down",
        "postgres",
        "needed by api, worker",
        lambda p: (p.stops("postgres"), p.is_unhealthy("api"), p.answers("api", "/health", status=503)),
    ),
    ("cache-down", "redis-cache", "limits and sessions", lambda p: p.stops("redis-cache")),
    ("database-address", "api", "nobody in the stack", lambda p: p.points("api", "DATABASE_URL", host="postgre")),
    ("database-address", "api", "the container itself", lambda p: p.points("api", "DATABASE_URL", host="localhost")),
    (
        "database-address",
        "web",
        "in none of its networks",
        lambda p: [
            one["links"].append(
                {
                    "variable": "DATABASE_URL",
                    "scheme": "postgres",
                    "host": "postgres",
                    "port": 5432,
                    "database": "relay",
                    "user": "relay",
                }
            )
            for one in p.described("web")
        ],
    ),
    ("cache-address", "api", "CACHE_URL", lambda p: p.points("api", "CACHE_URL", host="cash")),
    ("service-address", "web", "API_URL", lambda p: p.points("web", "API_URL", host="apis")),
    (
        "login-refused",
        "api",
        "password authentication failed",
        lambda p: (p.says("api", "auth", "password authentication failed"), p.answers("api", "/health", status=503)),
    ),
    ("database-missing", "api", "it has postgres, relay", lambda p: p.points("api", "DATABASE_URL", database="relais")),
    ("database-missing", "api", "it knows relay", lambda p: p.points("api", "DATABASE_URL", user="ada")),
    ("connections-out", "postgres", "98 of 100", lambda p: p.value("postgres postgres").update(connections=98)),
    (
        "store-refuses-writes",
        "redis-queue",
        "aof_last_write_status is err",
        lambda p: p.value("redis redis-queue").update(aof_last_write_status="err"),
    ),
    ("refused-connection", "web", "ECONNREFUSED", lambda p: p.says("web", "refused", "ECONNREFUSED 172.19.0.3")),
    ("worker-down", "worker", "exited with code 1", lambda p: (p.stops("worker"), stuck(p))),
    ("worker-down", "worker", "scaled to 0", scaled_to_nothing),
    ("queue-down", "redis-queue", "no job is accepted", lambda p: p.stops("redis-queue")),
    ("queue-address", "worker", "QUEUE_URL", lambda p: p.points("worker", "QUEUE_URL", host="queues")),
    ("queue-elsewhere", "worker", "redis-cache:6379/0", lambda p: p.points("worker", "QUEUE_URL", host="redis-cache")),
    ("queue-elsewhere", "worker", "redis-queue:6379/1", lambda p: p.points("worker", "QUEUE_URL", database="1")),
    ("jobs-wait", "worker", "7 jobs wait", stuck),
    (
        "jobs-wait",
        "redis-queue",
        "more come than are done",
        lambda p: p.value("redis redis-queue").update(
            lists=[{"database": 0, "key": "jobs", "kind": "list", "length": 5000}]
        ),
    ),
    (
        "queue-evicts",
        "redis-queue",
        "12 keys evicted",
        lambda p: p.value("redis redis-queue").update(maxmemory_policy="allkeys-lru", evicted_keys="12"),
    ),
    (
        "queue-forgets",
        "redis-queue",
        "appendonly is off",
        lambda p: p.value("redis redis-queue").update(aof_enabled="0"),
    ),
    (
        "two-consumers",
        "api",
        "DISABLE_BACKGROUND_WORKERS",
        lambda p: switched(p, "api", DISABLE_BACKGROUND_WORKERS=False),
    ),
    ("two-consumers", "api", "RUN_JOBS", lambda p: switched(p, "api", RUN_JOBS=True)),
    (
        "two-consumers",
        "api",
        "both wait for jobs",
        lambda p: p.value("redis redis-queue").update(takers=["api", "worker"]),
    ),
    (
        "migrations-missing",
        "api",
        'relation "jobs" does not exist',
        lambda p: p.answers("api", "/health", status=503, text='relation "jobs" does not exist'),
    ),
    ("answers-503", "api", "queue is away", lambda p: p.answers("api", "/health", status=503, text="queue is away")),
    ("metrics-blocked", "api", "answers 403", lambda p: p.answers("api", "/metrics", status=403)),
    ("metrics-blocked", "api", "timed out", lambda p: p.put("http api 3000 /metrics", {"fault": "timed out"})),
    ("metrics-blocked", "api", "prometheus is in elsewhere", other_networks),
    ("metrics-warming", "api", "without a number", lambda p: p.answers("api", "/metrics")),
    ("probe-fails", "", "status 502", lambda p: p.put("probes", [{"url": "http://127.0.0.1/", "said": "status 502"}])),
    ("certificate-ends", "caddy", "ended 3 days ago", lambda p: serves(p, timedelta(days=-3))),
    ("certificate-ends", "caddy", "ends in 5 days", lambda p: serves(p, timedelta(days=5))),
    ("agent-missing", "", "is not there", lambda p: p.put("agent", {})),
    ("agent-missing", "", "of another toolkit", lambda p: p.value("agent").update(release="0" * 24)),
    ("secrets-missing", "", "signing_key", lambda p: p.value("secrets")["stacks"][0].update(holes=["signing_key"])),
    (
        "watchdog-off",
        "",
        "inactive",
        lambda p: p.value("units")["known"]["toolkit-watchdog.service"].update(ActiveState="inactive"),
    ),
    ("watchdog-off", "", "not looked", lambda p: p.value("watchdog").update(now=p.now + 3600)),
    (
        "messages-stuck",
        "",
        "3 messages wait",
        lambda p: p.put("notify", {"ops": {"waiting": 3, "fault": "Connection refused"}}),
    ),
    ("backup-stale", "", "no backup is scheduled", lambda p: p.value("backups").update(scheduled=False)),
    ("backup-stale", "", "it is 3 days old", lambda p: p.value("backups").update(backup=p.now - 3 * DAY)),
    ("backup-stale", "", "no backup has ended well", lambda p: p.value("backups").update(backup=None)),
    ("backup-stale", "", "exit code 20", lambda p: p.value("backups").update(code=20.0)),
    ("backup-stale", "", "is incomplete", lambda p: p.value("backups").update(code=3.0)),
    ("drill-stale", "", "ever done", lambda p: p.value("backups").update(drill=None)),
    (
        "log-not-shipped",
        "",
        "log of db is not shipped",
        lambda p: p.value("backups").update(unshipped={'toolkit_backup_wal_failures{source="db"}': 5.0}),
    ),
    ("drill-stale", "", "drill failed", lambda p: p.value("backups").update(passed=0.0)),
    ("drill-stale", "", "40 days old", lambda p: p.value("backups").update(drill=p.now - 40 * DAY)),
]


@pytest.mark.parametrize(
    ("rule", "service", "text", "ill"), CASES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_rule_comes_first_where_its_cause_is_there(
    rule: str, service: str, text: str, ill: Callable[[Patient], object]
) -> None:
    patient = Patient()
    ill(patient)
    found = patient.diagnosis()
    one = found.findings[0]
    assert (one.rule, one.service) == (rule, service)
    assert text in " ".join((one.cause, *one.seen)), one
    assert one.seen
    assert one.fix
    assert not [line for line in found.untold if "another form" in line]


def test_every_rule_has_a_case() -> None:
    assert {rule for rule, *_ in CASES} == {rule.id for rule in RULES}
    assert len({rule.id for rule in RULES}) == len(RULES)


def test_nothing_is_found_on_a_healthy_host() -> None:
    found = Patient().diagnosis("jobs pile up")
    assert (found.findings, found.untold, found.good) == ((), (), True)


@pytest.mark.parametrize(
    ("symptom", "rule"),
    [
        ("jobs pile up", "worker-down"),
        ("mail never arrives", "worker-down"),
        ("flaky rate limits", "cache-down"),
        ("certificate expired", "certificate-ends"),
        ("the disk is full", "disk-full"),
        ("no backups any more", "backup-stale"),
    ],
)
def test_what_a_person_sees_comes_first(symptom: str, rule: str) -> None:
    patient = Patient()
    disk(patient, free=1000)
    serves(patient, timedelta(days=-3))
    patient.stops("worker")
    patient.stops("redis-cache")
    patient.value("backups").update(scheduled=False)
    found = patient.diagnosis(symptom)
    assert (found.findings[0].rule, found.fits) == (rule, True)
    # Without a symptom the likeliest root comes first, and nothing is left out either way.
    plain = patient.diagnosis()
    assert (plain.findings[0].rule, plain.fits) == ("disk-full", False)
    assert set(plain.findings) == set(found.findings)


def test_a_symptom_that_nothing_found_fits_changes_nothing() -> None:
    patient = Patient()
    disk(patient, free=1000)
    assert patient.diagnosis("purple elephants") == patient.diagnosis()


def test_what_is_well_again_is_told_as_past() -> None:
    patient = Patient()
    patient.says("api", "auth", "password authentication failed")
    [one] = patient.diagnosis().findings
    assert (one.rule, one.severity) == ("login-refused", "warning")


@pytest.mark.parametrize(
    "around",
    [
        {"networks": {"host": {"ip": "", "aliases": []}}},
        {"networks": {}},
        {"networks": {"relay_data": {"ip": "172.18.0.5", "aliases": ["api"]}, "proxy": {"ip": "", "aliases": []}}},
        {"hosts": ["elsewhere"]},
    ],
)
def test_a_name_that_others_may_answer_to_is_not_judged(around: dict[str, Any]) -> None:
    patient = Patient()
    patient.points("api", "DATABASE_URL", host="elsewhere")
    assert patient.diagnosis().findings[0].rule == "database-address"
    for one in patient.described("api"):
        one.update(around)
    assert "database-address" not in {one.rule for one in patient.diagnosis().findings}


def test_certificates_of_short_life_are_renewed_late_and_that_is_fine() -> None:
    patient = Patient()
    serves(patient, timedelta(hours=4), life=timedelta(hours=12))
    assert patient.diagnosis().findings == ()
    serves(patient, timedelta(hours=1), life=timedelta(hours=12))
    assert patient.diagnosis().findings[0].rule == "certificate-ends"


def test_what_cannot_be_told_is_said() -> None:
    patient = Patient()
    patient.fails("docker", "docker does not run")
    patient.fails("inspected", "`docker` ended with 1")
    patient.fails("clock", "no answer within 4 s")
    found = patient.diagnosis()
    assert [one.rule for one in found.findings] == ["docker-down"]
    assert found.untold[0] == "how services, databases, queues and certificates are: Docker does not answer"
    assert "whether the clock is kept: no answer within 4 s" in found.untold
    assert not found.good


def test_notes_alone_are_good() -> None:
    patient = Patient()
    patient.put("reboot", {"required": True, "packages": []})
    assert [one.severity for one in patient.diagnosis().findings] == ["info"]
    assert patient.diagnosis().good


GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(RECORDED["sections"])), st.fixed_dictionaries({"value": GARBAGE}), max_size=5
    )
)
def test_evidence_of_another_form_stops_nobody(garbage: dict[str, Any]) -> None:
    patient = Patient()
    patient.sections |= garbage
    disk(patient, free=1000) if "disks" not in garbage else None
    found = patient.diagnosis()
    assert "disks" in garbage or any(one.rule == "disk-full" for one in found.findings)
