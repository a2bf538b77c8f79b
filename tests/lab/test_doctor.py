"""The doctor on a real host: the relay stack is broken in one way after the other, and each cause is named first."""

import json
import shlex
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.steps import Repository, repository, until
from toolkit.lab import Lab
from toolkit.lab.images import publish

pytestmark = pytest.mark.lab

EXAMPLE = Path("examples/relay").resolve()
UNIT = "toolkit-watchdog.service"

# Has Compose make a service anew with what is added on standard input, past the toolkit, as somebody by hand would.
AGAIN = """
again() {
  cat >/run/extra.yml
  set -- --file /run/extra.yml up --detach --no-deps --force-recreate "$@"
  here=/opt/relay/current
  docker compose --project-name relay --project-directory $here --env-file $here/.env \
    --file $here/0-docker-compose.yml --file $here/1-docker-compose.prod.yml --file $here/override.yaml \
    "$@" >/dev/null 2>&1
}
"""
NOTHING = "services: {}"


def with_environment(service: str, variable: str, value: str) -> tuple[str, str]:
    return made_anew(service, f"environment: {{{variable}: '{value}'}}")


def made_anew(service: str, text: str) -> tuple[str, str]:
    """Return what makes a service anew with something else in its definition, and what takes that back."""
    extra = f"services: {{{service}: {{{text}}}}}"
    return f'{AGAIN}\necho "{extra}" | again {service}', f"{AGAIN}\necho '{NOTHING}' | again {service}"


@dataclass(frozen=True)
class Case:
    """One way to break a stack or its host, and the rule that has to come first."""

    rule: str
    ill: str
    well: str
    symptom: str = ""
    service: str = ""
    settled: str = ""
    """What has to be true before the doctor is asked."""


def stopped(rule: str, service: str, *containers: str, symptom: str = "") -> Case:
    names = " ".join(containers or (f"relay-{service}-1",))
    return Case(rule, f"docker stop {names} >/dev/null", f"docker start {names} >/dev/null", symptom, service)


def psql(query: str) -> str:
    return f'docker exec relay-postgres-1 psql --quiet --username relay --dbname relay --command "{query}"'


QUEUE = "docker exec relay-redis-queue-1 redis-cli"
CACHE = "docker exec relay-redis-cache-1 redis-cli"
# Of both copies: either may be asked.
FILTER = """
for number in 1 2; do
  nsenter --net --target $(docker inspect --format '{{{{.State.Pid}}}}' relay-api-$number) iptables -{} INPUT -p tcp \
    --dport 3000 -m string --algo bm --string 'GET /metrics' -j REJECT --reject-with tcp-reset
done
"""
SERVE = """systemd-run --quiet --unit=squatter python3 -m http.server {}
until ss -tln | grep -q ':{} '; do sleep 0.1; done"""
END_SERVING = "systemctl stop squatter"
ILL = "docker ps --format '{{{{.Names}}}} {{{{.Status}}}}' | grep '{}' | grep -q '{}'"

IDLE = made_anew("worker", "entrypoint: [sh, -c, while touch /tmp/heartbeat; do sleep 1; done]")

# The failure matrix of a stack with an API, workers, a queue and a cache.
MATRIX = (
    stopped("worker-down", "worker", "relay-worker-1", "relay-worker-2", symptom="mail never arrives"),
    Case(
        "queue-elsewhere",
        *with_environment("worker", "QUEUE_URL", "redis://redis-cache:6379/0"),
        "jobs pile up",
        "worker",
    ),
    Case(
        "queue-address", *with_environment("worker", "QUEUE_URL", "redis://redis-jobs:6379/0"), "jobs pile up", "worker"
    ),
    stopped("queue-down", "redis-queue", symptom="mail never arrives"),
    stopped("database-down", "postgres", symptom="/health 503"),
    Case(
        "database-address",
        *with_environment("api", "DATABASE_URL", "postgres://relay@postgre:5432/relay"),
        "/health 503",
        "api",
    ),
    Case(
        "database-missing",
        *with_environment("api", "DATABASE_URL", "postgres://relay@postgres:5432/relais"),
        "/health 503",
        "api",
    ),
    Case(
        "migrations-missing",
        psql("ALTER TABLE digests RENAME TO elsewhere"),
        psql("ALTER TABLE elsewhere RENAME TO digests"),
        "/health 503",
        "api",
    ),
    stopped("cache-down", "redis-cache", symptom="flaky rate limits"),
    Case("cache-address", *with_environment("api", "CACHE_URL", "redis://cache:6379/0"), "flaky rate limits", "api"),
    Case(
        "queue-evicts",
        f"{QUEUE} config set maxmemory-policy allkeys-lru",
        f"{QUEUE} config set maxmemory-policy noeviction",
        "jobs vanish",
        "redis-queue",
    ),
    Case(
        "queue-forgets",
        f"{QUEUE} config set appendonly no",
        f"{QUEUE} config set appendonly yes",
        "jobs vanish",
        "redis-queue",
    ),
    Case("two-consumers", *with_environment("api", "DISABLE_BACKGROUND_WORKERS", "false"), "jobs run twice", "api"),
    Case("metrics-blocked", FILTER.format("A"), FILTER.format("D"), "/metrics empty", "api"),
    Case(
        "metrics-warming",
        # Nobody fills it meanwhile: it takes no writes.
        f"{CACHE} flushall && {CACHE} config set min-replicas-to-write 1",
        f"{CACHE} config set min-replicas-to-write 0",
        "/metrics empty",
        "api",
    ),
)

# The troubleshooting list of any stack.
TROUBLES = (
    stopped("service-down", "web", symptom="services unhealthy"),
    Case(
        "service-unhealthy",
        *made_anew("web", "healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 1, start_period: 0s}"),
        "services unhealthy",
        "web",
        ILL.format("relay-web", "unhealthy"),
    ),
    Case(
        "service-crashing",
        *made_anew("web", "command: [nonsense]"),
        "services unhealthy",
        "web",
        ILL.format("relay-web", "Restarting"),
    ),
    Case(
        "port-taken",
        f"docker stop relay-caddy-1 >/dev/null; {SERVE.format(443, 443)}; docker start relay-caddy-1 2>/dev/null || :",
        f"{END_SERVING}; docker start relay-caddy-1 >/dev/null",
        "port taken",
        "caddy",
    ),
    Case(
        "migration-failed",
        *made_anew("migrate", "command: [nonsense]"),
        "failed migration",
        "migrate",
        "docker ps --all | grep relay-migrate-1 | grep -q 'Exited ([1-9]'",
    ),
    Case(
        "jobs-wait",
        f"{IDLE[0]}; {QUEUE} lpush relay:jobs 1 2 3",
        f"{QUEUE} del relay:jobs; {IDLE[1]}",
        "worker not taking jobs",
        "worker",
        "[ $(docker ps | grep 'relay-worker.*(healthy)\\|(healthy).*relay-worker' | wc -l) = 2 ]",
    ),
    Case("image-not-pulled", "docker pull ghcr.io/acme/relay:1.0.0 2>/dev/null || :", "", "image pull failure"),
    Case("service-address", *with_environment("web", "API_URL", "http://apis:3000"), "connection refused", "web"),
    Case(
        "probe-fails",
        "docker exec relay-caddy-1 curl --silent --request DELETE http://localhost:2019/config/apps",
        "docker exec relay-caddy-1 caddy reload --config /etc/caddy/Caddyfile 2>/dev/null",
        "probe fails",
    ),
    Case("service-paused", "docker pause relay-worker-1", "docker unpause relay-worker-1", "hangs", "worker"),
    Case(
        "changed-by-hand",
        "docker rename relay-caddy-1 relay-caddy-x",
        "docker rename relay-caddy-x relay-caddy-1",
        "works differently",
        "caddy",
    ),
)

FILL = "mkdir -p /boot && mount -t tmpfs -o size=1m,nr_inodes=100 tmpfs /boot &&"
CURRENT = "/opt/toolkit/current"
HOSTS = "cp /etc/hosts /run/hosts;"
MARK = "/var/lib/toolkit/deploys/relay/transaction.json"
METRICS = "/var/lib/toolkit/metrics"
GOOD = "toolkit_backup_last_success_timestamp_seconds"
SCHEDULED = f"""touch /etc/cron.d/toolkit-backup; mkdir -p {METRICS}
echo "{GOOD} $(date -d '{{}}' +%s)" >{METRICS}/backup.prom"""
UNSCHEDULED = f"rm /etc/cron.d/toolkit-backup {METRICS}/backup.prom"

MACHINE = (
    Case("disk-full", f"{FILL} dd if=/dev/zero of=/boot/x bs=1k count=1024 2>/dev/null || :", "umount /boot"),
    Case("inodes-out", f"{FILL} (cd /boot; seq 200 | xargs touch 2>/dev/null) || :", "umount /boot"),
    Case("disk-read-only", "mount -t tmpfs -o ro tmpfs /var/log", "umount /var/log"),
    Case("name-unknown", f"{HOSTS} grep -v ghcr.io /run/hosts >/etc/hosts", "cat /run/hosts >/etc/hosts"),
    Case(
        "registry-unreachable",
        f"{HOSTS} sed 's/.*ghcr.io/127.0.0.1 ghcr.io/' /run/hosts >/etc/hosts",
        "cat /run/hosts >/etc/hosts",
    ),
    Case("firewall-open", "nft delete table inet toolkit", "nft --file /etc/toolkit/firewall.nft"),
    Case(
        "firewall-open",
        "nft add element inet toolkit open_tcp '{ 5432 }'",
        "nft delete element inet toolkit open_tcp '{ 5432 }'",
    ),
    Case(
        "unit-failed",
        "systemd-run --quiet --wait --unit=broken false || :",
        "systemctl reset-failed broken",
        "degraded",
    ),
    Case(
        "secrets-missing",
        "mkdir /run/aside; mv /run/secrets/relay/signing_key-* /run/aside",
        "mv /run/aside/* /run/secrets/relay; rmdir /run/aside",
    ),
    Case("agent-missing", f"mv {CURRENT} {CURRENT}.aside", f"mv {CURRENT}.aside {CURRENT}"),
    Case("watchdog-off", f"systemctl stop {UNIT}", f"systemctl start {UNIT}"),
    Case("reboot-pending", "touch /run/reboot-required", "rm /run/reboot-required", "updates not in effect"),
    Case(
        "deploy-half-way",
        f"""echo '{{"format": "toolkit transaction 1", "target": "b", "previous": "a", "passed": false}}' >{MARK}""",
        f"rm {MARK}",
    ),
    Case("docker-down", "systemctl stop docker.socket docker", "systemctl start docker.socket docker"),
    Case("backup-stale", SCHEDULED.format("-10 days"), UNSCHEDULED, "no backups"),
    Case("drill-stale", SCHEDULED.format("-1 hour"), UNSCHEDULED, "restore untested"),
)


@pytest.fixture(scope="module")
def repo(lab: Lab, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    publish(lab, EXAMPLE)
    # Debian 12, because its guests have limits of memory on every kind of machine.
    made = repository(
        tmp_path_factory.mktemp("doctor") / "repo", lab, lab.host("doctor", "debian12", "relay", stocked=True), EXAMPLE
    )
    gate = {"probes": [{"url": "https://localhost/api/health", "insecure": True}]}
    made.change(lambda content: content["stack"].update(gate=gate))
    made.done("provision", "--host", "box")
    assert first(made)["rule"] == "never-deployed"
    made.done("deploy", "--host", "box")
    yield made
    lab.remove("doctor")


def asked(repo: Repository, symptom: str = "") -> list[dict[str, Any]]:
    said = repo.invoke("doctor", "--host", "box", "--json", *(["--symptom", symptom] if symptom else []))
    assert said.code in (0, 1), said
    assert not [line for line in said.data["untold"] if "another form" in line], said.data["untold"]
    found: list[dict[str, Any]] = said.data["findings"]
    return found


def first(repo: Repository, symptom: str = "") -> dict[str, Any]:
    return asked(repo, symptom)[0]


def rules(repo: Repository) -> list[str]:
    """Return what was found, without notes: what is past may be among those for a while."""
    return [one["rule"] for one in asked(repo) if one["severity"] != "info"]


@contextmanager
def broken(repo: Repository, case: Case) -> Iterator[None]:
    # Whoever heals would be faster than the doctor.
    aside = "" if UNIT in case.ill else f"systemctl stop {UNIT};"
    repo.on_host(f"{aside} {case.ill}")
    try:
        if case.settled:
            until(case.settled, repo, 30)
        yield
    finally:
        repo.on_host(f"{case.well or ':'}\nsystemctl start {UNIT}")


def test_a_healthy_host_has_nothing_but_what_it_lacks(repo: Repository) -> None:
    assert rules(repo) == ["backup-stale"]
    said = repo.invoke("doctor", "--host", "box")
    assert said.code == 1
    assert "no backup is scheduled" in said.out
    repo.on_host(
        SCHEDULED.format("-1 hour") + f"; echo toolkit_drill_last_timestamp_seconds $(date +%s) >{METRICS}/drill.prom"
    )
    said = repo.invoke("doctor", "--host", "box")
    assert (said.code, said.out) == (0, "box: nothing found\n")
    repo.on_host(f"{UNSCHEDULED} {METRICS}/drill.prom")


@pytest.mark.some(5)
@pytest.mark.parametrize("case", [*MATRIX, *TROUBLES, *MACHINE], ids=lambda case: case.rule)
def test_what_is_broken_is_named_first(repo: Repository, case: Case) -> None:
    with broken(repo, case):
        found = asked(repo, case.symptom)
        assert found[0]["rule"] == case.rule, found
        assert case.service in ("", found[0]["service"])
        assert found[0]["seen"]
        assert found[0]["fix"]


def test_the_command_that_it_names_mends(repo: Repository) -> None:
    repo.on_host(
        f"systemctl stop {UNIT}; docker stop relay-worker-1 relay-web-1 >/dev/null; nft delete table inet toolkit"
    )
    mended = set()
    while (one := first(repo))["severity"] == "error":
        assert one["rule"] not in mended, one
        mended.add(one["rule"])
        program, *words = shlex.split(one["fix"])
        assert program == "invoke"
        repo.done(*words)
    # One of two workers is enough for it to be told, and a deploy starts both services.
    assert mended >= {"worker-down", "firewall-open"}
    assert rules(repo) == ["backup-stale"]


def test_it_is_one_login_and_nothing_on_the_host_changes(repo: Repository) -> None:
    # What the host itself writes all the time is left out: logs, and what the watchdog and containers keep.
    folders = ("/var/log", "/var/lib/docker", "/var/lib/systemd", "/var/lib/toolkit/watchdog", METRICS)
    folders += tuple(f"/run/{name}" for name in ("systemd", "containerd", "docker", "log", "sudo", "motd", "udev"))
    noise = " ".join(f"! -path '{one}*'" for one in (*folders, "/proc/", "/run/toolkit/relay/watchdog.json"))
    look = f"find / /run /tmp -xdev -newer /run/before -type f {noise}"
    logins = "journalctl --unit ssh --output cat --no-pager | grep -c 'Accepted publickey'"
    before = int(repo.on_host(f"touch /run/before; sleep 0.1; {logins}"))
    asked(repo)
    after, *changed = repo.on_host(f"{logins}; {look}").splitlines()
    # Ours to look, once each time, and the doctor's.
    assert int(after) == before + 2
    assert changed == []


def test_whoever_is_on_hold_is_told_so(repo: Repository) -> None:
    repo.done("hold", "--host", "box", "--reason", "moving house", "--for", "1h")
    one = first(repo, "cannot deploy")
    assert (one["rule"], one["severity"]) == ("on-hold", "info")
    assert "moving house" in one["seen"][0]
    repo.done(*shlex.split(one["fix"])[1:])
    assert rules(repo) == ["backup-stale"]


def test_a_certificate_that_nobody_renewed(repo: Repository) -> None:
    volume = "/var/lib/docker/volumes/relay_caddy_data/_data"
    repo.on_host(f"cat >{volume}/old.crt <<'END'\n{expired()}END")
    one = first(repo, "certificate expired")
    assert (one["rule"], one["service"]) == ("certificate-ends", "caddy")
    assert "ended 10 days ago" in one["cause"]
    repo.on_host(f"rm {volume}/old.crt")


def expired() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example")])
    end = datetime.now(UTC) - timedelta(days=10)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), end - timedelta(days=90), end
    )
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_a_deploy_that_was_refused_is_told_with_its_reason(repo: Repository) -> None:
    compose = repo.stack / "docker-compose.yml"
    before = compose.read_text()
    repo.on_host(SERVE.format(2222, 2222))
    compose.write_text(
        before.replace("      API_URL: http://api:3000\n", "      API_URL: http://api:3000\n    ports: ['2222:3000']\n")
    )
    assert repo.invoke("deploy", "--host", "box").code not in (0, 10)
    one = first(repo, "deploy fails")
    assert one["rule"] == "deploy-failed"
    assert "2222" in " ".join(one["seen"])
    compose.write_text(before)
    repo.on_host(END_SERVING)
    assert repo.done("deploy", "--host", "box", "--json").data["recreated"] == []
    assert rules(repo) == ["backup-stale"]


CANARY = "canary value/4711+ä"


def test_a_bundle_has_what_others_need_and_no_secret_however_it_is_written(
    repo: Repository, lab: Lab, tmp_path: Path
) -> None:
    repo.change(lambda content: content["stack"]["variables"].update(SITE_TOKEN=CANARY))
    repo.done("deploy", "--host", "box")
    password = lab.home.secret("postgres-password").reveal().decode()
    key = lab.home.secret("signing-key").reveal().decode()
    leaks = [form for secret in (password, key, CANARY) for form in written(secret)]
    lines = "\n".join(f"leak: {form}" for form in leaks)
    repo.on_host(
        f"docker exec --interactive relay-web-1 sh -c 'cat >/proc/1/fd/1' <<'END'\n{lines}\nINFO a line of its own\nEND"
    )
    path = tmp_path / "box.tar.gz"
    said = repo.invoke("doctor", "--host", "box", "--bundle", str(path))
    assert f"written for others: {path}" in said.out
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        files = {one.name: archive.extractfile(one).read().decode() for one in archive.getmembers()}  # type: ignore[union-attr]
    assert {
        "doctor/README.txt",
        "doctor/diagnosis.json",
        "doctor/evidence.json",
        "doctor/docker-ps.txt",
        "doctor/release/release.json",
    } <= set(files)
    assert "INFO a line of its own" in files["doctor/logs/relay-web-1.txt"]
    assert files["doctor/logs/relay-web-1.txt"].count("leak: ") == len(leaks)
    assert json.loads(files["doctor/diagnosis.json"])["findings"]
    everything = "\n".join((*files.values(), said.out, repo.invoke("doctor", "--host", "box", "--json").out))
    # Of what was encoded together with a name, the name may stay.
    assert [form for form in leaks if form.removeprefix("cmVsYXk6") in everything] == []


def written(secret: str) -> list[str]:
    raw = secret.encode()
    encoded = (b64encode(raw).decode(), b64encode(b"relay:" + raw).decode())
    return [secret, quote(secret, safe=""), raw.hex(), json.dumps(secret)[1:-1], *encoded]


@pytest.mark.parametrize(
    ("rule", "connection"),
    [
        ("ssh-refused", {"port": 1}),
        ("address-unknown", {"address": "nowhere.invalid"}),
        (
            "host-key-changed",
            {"host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdcVc2sWQlGY8gq6PTkqOIq8OOaGAaOA2jXXmrCyhAJ"},
        ),
        ("login-refused-by-host", {"user": "nobody"}),
    ],
)
def test_a_host_that_cannot_be_reached_is_looked_at_from_here(
    repo: Repository, rule: str, connection: dict[str, Any]
) -> None:
    before = (repo.root / "hosts/box.yml").read_text()
    repo.change(lambda content: content["connection"].update(connection))
    said = repo.invoke("doctor", "--host", "box", "--json")
    (repo.root / "hosts/box.yml").write_text(before)
    assert said.code == 1, said
    assert [one["rule"] for one in said.data["findings"]] == [rule]


ANOTHER = psql("ALTER ROLE relay PASSWORD 'another'")


def test_a_password_that_is_not_the_databases_is_named(repo: Repository) -> None:
    """Near the end, because what was written counts for a while."""
    repo.on_host(f"systemctl stop {UNIT}; {ANOTHER}; docker restart relay-api-1 >/dev/null")
    until("docker logs --tail 50 relay-postgres-1 2>&1 | grep -q 'password authentication failed'", repo, 30)
    one = first(repo, "database connection")
    assert one["rule"] == "login-refused"
    assert "postgres refuses" in one["cause"]
    repo.on_host(psql("ALTER ROLE relay PASSWORD '$(cat /run/secrets/relay/postgres_password-*)'"))
    repo.on_host(f"systemctl start {UNIT}")


def test_one_that_took_more_memory_than_it_may_is_named(repo: Repository) -> None:
    """Last, because what was killed counts for a while."""
    repo.on_host("docker exec relay-web-1 python3 -c 'b\"x\" * (1 << 30)' || :")
    one = first(repo, "out of memory")
    assert (one["rule"], one["service"]) == ("killed-at-limit", "web")
